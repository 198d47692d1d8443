"""One machine that is a real Nova's host and carries a real Ceph's OSDs: the window waits for the PGs, and takes noout back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from evac.window.nouns import StepKind, StepState, Window
from tests.real.ceph import state
from tests.real.ceph.daemons import start_osds
from tests.real.ceph.layout import osds_of
from tests.real.ceph.rig import as_toml
from tests.real.ceph.witness import Witness
from tests.real.openstack import lab
from tests.real.rig import Rig
from tests.real.test_openstack_window import at, begin, done, over, step
from tests.real.world import World

HOST, NODE = "cmp01", "node01"
"""What Nova calls the machine, and what CRUSH calls it in the lab."""
AWAY = "3"
"""An OSD of another host, whose data is copied elsewhere when the window begins."""
STANDSTILL = ("nobackfill", "norecover")
COPYING = 240
"""Seconds that the copying may take once it may go fast."""


@contextlib.contextmanager
def joint(ceph: Witness, folder: Path) -> Iterator[Rig]:
    """An engine over both clusters, while CRUSH has the machine by Nova's name."""
    ceph.ask("osd crush rename-bucket", srcname=NODE, dstname=HOST)
    rig = Rig(folder, extra=as_toml("ceph"))
    try:
        yield rig
    finally:
        rig.stop()
        ceph.ask("osd crush rename-bucket", srcname=HOST, dstname=NODE)


async def test_a_window_holds_until_the_pgs_are_clean_and_takes_noout_back_when_they_are_again(
    ceph: Witness, world: World, tmp_path: Path
) -> None:
    """Held at the gate while PGs are not clean; noout for this host alone; ready only when every PG is active+clean."""
    world.last(1)
    for flag in STANDSTILL:  # or all is copied before the host is empty
        ceph.ask("osd set", key=flag)
    ceph.ask("osd out", ids=[AWAY])
    ceph.until("PGs are to be copied", lambda: set(ceph.states()) != {"active+clean"})
    with joint(ceph, tmp_path / "evac") as rig:
        await rig.start()
        await rig.until(
            "both are read", lambda one: bool(one.vms) and any(row.placed for row in one.storages)
        )
        window = await begin(rig, HOST)
        run = await at(rig, window, HOST, StepKind.STORAGE, StepState.HELD)
        assert world.on(HOST) == {}, "it is emptied first"
        assert ceph.node_flags() == {}
        reason = step(run, StepKind.STORAGE).reason
        assert "may not stop" in reason, reason
        assert set(ceph.states()) != {"active+clean"}
        for flag in STANDSTILL:
            ceph.ask("osd unset", key=flag)
        run = await at(rig, window, HOST, StepKind.HOOK, StepState.NEEDS_YOU, seconds=COPYING)
        said = step(run, StepKind.HOOK).reason
        assert "SAFE TO REBOOT" in said, said
        assert "ok-to-stop osd.0,osd.4,osd.8 yes" in said, said
        assert ceph.node_flags() == {HOST: ["noout"]}, "for this host alone"
        await _restart(ceph, rig, window)
        delta = await over(rig, window, COPYING)
        assert ceph.node_flags() == {}
        assert set(ceph.states()) == {"active+clean"}
        assert world.service(HOST)["status"] == "enabled"
        assert not [entry for entry in delta.ledger if entry.state.owed]


async def _restart(ceph: Witness, rig: Rig, window: Window) -> None:
    """Compute and OSDs go together, and come back; a person says so. While PGs are degraded it is not ready."""
    run = await at(rig, window, HOST, StepKind.HOOK, StepState.NEEDS_YOU)
    lab.compute_kill(HOST)
    state.stop(ceph, NODE)
    await done(rig, window, run, StepKind.HOOK, "patched by hand")
    run = await at(rig, window, HOST, StepKind.BACK, StepState.NEEDS_YOU)
    lab.compute_start(HOST)
    await done(rig, window, run, StepKind.BACK, "seen on its console")
    run = await at(rig, window, HOST, StepKind.READY, StepState.HELD)
    assert step(run, StepKind.READY).passes == 0
    assert ceph.node_flags() == {HOST: ["noout"]}, "it stays while the OSDs are down"
    start_osds(set(osds_of(NODE)))
