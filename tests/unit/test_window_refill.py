"""VMs come back when it is known what they are: those that are known do not wait for the others."""

from __future__ import annotations

from pathlib import Path

from evac.model import VMState
from evac.window.nouns import StepKind, StepState
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
