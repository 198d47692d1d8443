"""A window on hosts that carry OSDs: it waits for clean PGs however long that takes, and leaves no flag behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from evac.window.nouns import StepKind, StepState
from tests.unit.rig import ADMIN
from tests.unit.window_rig import WindowRig, at_home, by_a_person, homes, rack
from tests.unit.window_storage import StorageBackend, ceph_on
from tests.virtualtime import now, run


def unflagged(backend: StorageBackend) -> None:
    assert not any(backend.ceph.node_flags.values())


def frozen(backend: StorageBackend, *, on: bool) -> None:
    """Nothing recovers while it is on."""
    for flag in ("nobackfill", "norecover", "norebalance"):
        backend.ceph.set_flag(flag, on=on)


def test_noout_is_set_before_and_taken_back_when_all_is_clean(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=5, vms=1)
        before = homes(sim)
        store = StorageBackend("ceph", ceph_on(sim))
        async with WindowRig(tmp_path, {"sim": sim}, storage=[store]) as rig:
            await rig.window("h0", "h1")
            step = await rig.stands("h0", StepKind.SAFE, StepState.DONE)
            assert step.reason == (
                "SAFE TO REBOOT h0: guests 0, ceph ok-to-stop osd.0,osd.1 yes, noout set, none of the 3 monitors runs here"
            )
            assert store.ceph.node_flags["h0"] == {"noout"}
            await rig.through()
            assert store.calls == [
                (verb, host) for host in ("h0", "h1") for verb in ("set_noout", "unset_noout")
            ]
            unflagged(store)
            assert all(osd.inside for osd in store.ceph.osds.values())
            at_home(sim, before)

    run(main)


def test_unclean_pgs_hold_a_host_for_hours_and_nothing_is_restarted(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=5, vms=1)
        store = StorageBackend("ceph", ceph_on(sim))
        async with WindowRig(tmp_path, {"sim": sim}, storage=[store]) as rig:
            frozen(store, on=True)
            store.ceph.reweight(9, 0.0)
            await rig.poll("ceph")
            assert store.ceph.ailing
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.STORAGE, StepState.HELD)
            assert "PGs are not clean" in step.reason
            await asyncio.sleep(6 * 3600)
            assert rig.step("h0", StepKind.STORAGE).state is StepState.HELD
            assert not rig.machines.ran
            assert not store.calls
            frozen(store, on=False)
            await rig.through(within=24 * 3600)
            unflagged(store)

    run(main)


def test_a_host_that_comes_back_is_not_ready_before_its_pgs_are_clean(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=5, vms=1)
        store = StorageBackend("ceph", ceph_on(sim))
        async with WindowRig(tmp_path, {"sim": sim}, storage=[store]) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            rig.machines.restart("sim", "h0")
            await asyncio.sleep(30)
            frozen(store, on=True)
            store.ceph.reweight(9, 0.0)
            await asyncio.sleep(120)
            assert store.ceph.ailing
            await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
            await rig.until(lambda: "ceph PGs" in rig.step("h0", StepKind.READY).reason, "the PGs are told")
            await asyncio.sleep(2 * 3600)
            assert rig.step("h0", StepKind.READY).state is StepState.HELD
            assert store.ceph.node_flags["h0"] == {"noout"}
            await rig.windows.steps.skip("W1", "sim/h0", StepKind.READY, "we go on", ADMIN)
            step = await rig.stands("h0", StepKind.UNFENCE, StepState.HELD)
            assert "noout stays on ceph until its PGs are clean" in step.reason
            frozen(store, on=False)
            await rig.through(within=24 * 3600)
            unflagged(store)

    run(main)


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_moments_no_flag_is_left_behind(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        dice = random.Random(seed)
        sim = rack(hosts=5, vms=1)
        before = homes(sim)
        store = StorageBackend("ceph", ceph_on(sim))
        rig = WindowRig(tmp_path, {"sim": sim}, storage=[store])
        await rig.begin()
        await rig.window("h0", "h1", policy=by_a_person())
        crashes = [dice.uniform(0, 60) for _ in range(8)]
        ends = now() + 4 * 3600
        while rig.the_window().state.value != "done":
            assert now() < ends, rig.story()
            for host in rig.the_window().hosts:
                if (
                    host.step is not None
                    and host.step.kind is StepKind.HOOK
                    and host.step.state is StepState.NEEDS_YOU
                ):
                    if not rig.machines.boots["sim", host.host]:
                        rig.machines.restart("sim", host.host)
                        await asyncio.sleep(120)
                    await rig.windows.steps.by_hand("W1", host.key, StepKind.HOOK, "", ADMIN)
            await asyncio.sleep(crashes[-1] if crashes else 1.0)
            if crashes:
                crashes.pop()
                await rig.crash()
                await asyncio.sleep(dice.choice((0.0, 30.0)))
                await rig.begin()
        await rig.end()
        unflagged(store)
        at_home(sim, before)
        assert [call for call in store.calls if call[1] == "h0"] == [
            ("set_noout", "h0"),
            ("unset_noout", "h0"),
        ]

    run(main)
