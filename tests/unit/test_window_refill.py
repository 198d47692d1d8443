"""VMs come back when it is known what they are: those that are known do not wait for the others."""

from __future__ import annotations

from pathlib import Path

from backends.simulation import deeds
from evac.jobs import JobState, Limits
from evac.model import VMState
from evac.window.nouns import Step, StepKind, StepState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import WindowRig, at_home, homes, rack
from tests.virtualtime import run


def test_a_vm_whose_state_the_cluster_does_not_tell_comes_back_later_than_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(on=("h0",))
        before = homes(sim)
        vague = next(vm for vm in sim.vms.values())
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.READY, StepState.RUNNING)
            vague.state = VMState.UNKNOWN
            step = await rig.stands("h0", StepKind.REFILL, StepState.HELD)
            said = "the cluster does not say in what state 1 VM is: {}; on {} (up)"
            assert step.reason == said.format(vague.name, vague.host)
            assert "Or skip this step: they stay there." in step.next_step
            assert {vm.host for vm in sim.vms.values() if vm is not vague} == {"h0"}
            vague.state = VMState.RUNNING
            await rig.through()
            at_home(sim, before)
            assert len(rig.step("h0", StepKind.REFILL).orders) == 2

    run(main)


ONE = Limits(total=1, per_cluster=1, per_source=1, per_target=1)


def test_a_node_that_dies_while_it_sends_a_vm_back_holds_only_its_own_vms(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(on=("h0",), vms=2, memory=16 * 2**30, dirty_rate=1e6)
        async with WindowRig(tmp_path, {"sim": sim}, limits=ONE) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.REFILL, StepState.RUNNING)
            await rig.until(sim.live.open_moves, "the first is on its way")
            (first,) = sim.live.open_moves()
            others = [vm for vm in sim.vms.values() if vm.host not in (first.source, "h0")]
            deeds.kill(sim, first.source)
            await rig.until(lambda: all(vm.runs_on == "h0" for vm in others), "the others are back")
            assert others

            def step() -> Step:
                return rig.step("h0", StepKind.REFILL)

            await rig.until(lambda: f"{first.source} is down" in step().reason, "it says why")
            assert step().state is StepState.RUNNING, "what became of the first is not known, and not said"
            deeds.revive(sim, first.source)
            await rig.stands("h0", StepKind.REFILL, StepState.NEEDS_YOU)
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.REFILL, "", ADMIN)
            await rig.through()
            assert {vm.runs_on for vm in sim.vms.values()} == {"h0"}

    run(main)


def test_a_move_that_its_cluster_has_called_off_keeps_no_place_while_it_clears_up(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(on=("h0",), vms=2, memory=16 * 2**30, dirty_rate=1e6)
        async with WindowRig(tmp_path, {"sim": sim}, limits=ONE) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.DRAIN, StepState.RUNNING)
            await rig.until(sim.live.open_moves, "the first is on its way")
            (first,) = sim.live.open_moves()
            sim.live.interrupt(first.vm)
            sim.vms[first.vm].task = "migrating"
            others = [vm for vm in sim.vms.values() if vm.id != first.vm]
            await rig.until(lambda: all(vm.host != "h0" for vm in others), "the others leave")
            jobs = rig.fleet.table("jobs").values()
            assert [job.state for job in jobs if "still clearing up" in job.reason] == [JobState.RUNNING]
            sim.vms[first.vm].task = ""
            await rig.stands("h0", StepKind.DRAIN, StepState.NEEDS_YOU)

    run(main)
