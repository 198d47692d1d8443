"""A window goes host by host from full to empty, restarted, ready and full again; and what stands in its way is said."""

from __future__ import annotations

from pathlib import Path

from evac.window.nouns import StepKind, StepState, WindowState
from tests.unit.window_rig import HOOK, WindowRig, at_home, homes, rack
from tests.virtualtime import run


def test_two_hosts_are_emptied_restarted_and_refilled_one_after_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1")
            await rig.stands("h0", StepKind.HOOK, StepState.RUNNING)
            assert not sim.hosts["h0"].vms
            assert sim.hosts["h0"].maintenance
            assert rig.step("h1", StepKind.PREFLIGHT).state is StepState.WAITING
            assert rig.step("h0", StepKind.SAFE).reason.startswith("SAFE TO REBOOT h0: guests 0")
            window = await rig.through()
            assert window.state is WindowState.DONE
            at_home(sim, before)
            assert rig.machines.ran == [("sim", "h0", HOOK), ("sim", "h1", HOOK)]
            assert all(step.state is StepState.DONE for run in window.hosts for step in run.steps), (
                rig.story()
            )
            h0 = rig.host_run("h0")
            assert h0.before is not None
            assert h0.after is not None
            assert (h0.before.kernel, h0.after.kernel) == ("6.8.0-1", "6.8.0-2")
            assert len(h0.moved) == 4

    run(main)
