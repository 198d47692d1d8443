"""kill -9 of the monitor, the manager, the engine and its worker: evac says so in words, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from evac.api import Delta
from evac.errors import Unreachable
from tests.real.ceph import daemons
from tests.real.ceph.client import client
from tests.real.ceph.lab import settle
from tests.real.ceph.layout import MGR, MON, PGS
from tests.real.ceph.rig import CephRig, options, states, storage, table
from tests.real.ceph.witness import Witness
from tests.real.daemons import descendants
from tests.real.processes import gone, wait_for_end

QUICK = 0.5
"""Seconds within which the engine answers whatever its cluster does; the suite's own client and two cores included."""


def workers(pid: int) -> list[int]:
    """The processes below this one in which evac talks to Ceph."""
    return [one for one in descendants(pid) if b"backends.ceph.worker" in _command(one)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _problems(delta: Delta) -> str:
    return " ".join(one.happened for one in delta.clusters[0].problems)


async def _responsive(rig: CephRig, seconds: float) -> None:
    """The engine answers at once, again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        await rig.snapshot()
        assert time.monotonic() - began < QUICK
        await asyncio.sleep(0.1)


async def test_a_dead_monitor_is_told_with_the_age_of_what_is_shown(ceph: Witness, ceph_rig: CephRig) -> None:
    """What was read stays, with its age and the trouble in words; the engine answers on; then all is well again."""
    await ceph_rig.start()
    before = await ceph_rig.read()
    daemons.kill(MON)
    delta = await ceph_rig.until("the trouble is told", lambda delta: bool(delta.clusters[0].problems), 60)
    assert "monitor" in _problems(delta)
    assert table(delta) == table(before), "what was last seen is still shown"
    await _responsive(ceph_rig, 5)
    stamp = (await ceph_rig.snapshot()).clusters[0].fresh_stamp or 0.0
    assert stamp < time.clock_gettime(time.CLOCK_BOOTTIME) - 5, "and its age is told truly"
    daemons.start_mon()

    def well(delta: Delta) -> bool:
        one = delta.clusters[0]
        return (
            not one.problems and (one.fresh_stamp or 0.0) > stamp and states(delta) == {"active+clean": PGS}
        )

    delta = await ceph_rig.until("all is well again", well, 90)
    assert table(delta) == table(before)


async def test_a_dead_manager_leaves_old_figures_in_doubt_and_never_zeros(
    ceph: Witness, ceph_rig: CephRig
) -> None:
    """The counts come from the manager: without one they are old, which is said; a new one's first words are no zeros."""
    await ceph_rig.start()
    before = await ceph_rig.read()
    daemons.kill(MGR)
    seen: list[Delta] = []

    def doubted(delta: Delta) -> bool:
        seen.append(delta)
        return bool(storage(delta).placed_doubt or _problems(delta))

    delta = await ceph_rig.until("the figures are in doubt", doubted, 90)
    said = f"{storage(delta).placed_doubt} {_problems(delta)}"
    assert "manager" in said
    daemons.start_mgr()

    def trusted(delta: Delta) -> bool:
        seen.append(delta)
        return (
            not storage(delta).placed_doubt
            and not _problems(delta)
            and states(delta) == {"active+clean": PGS}
        )

    await ceph_rig.until("the figures can be trusted again", trusted, 120)
    assert all(table(delta) == table(before) for delta in seen), "at no moment was anything else shown"


async def test_a_killed_engine_leaves_no_process_behind(ceph: Witness, ceph_rig: CephRig) -> None:
    """SIGKILL in the middle of its polls: the worker of the cluster ends by itself, and the next engine reads again."""
    await ceph_rig.start()
    before = await ceph_rig.read()
    assert ceph_rig.process is not None
    before_kill = workers(ceph_rig.process.pid)
    assert len(before_kill) == 1, "it has a process for the cluster"
    ceph_rig.kill()
    for pid in before_kill:
        await asyncio.to_thread(wait_for_end, pid, 10)
    await ceph_rig.start()
    assert table(await ceph_rig.read()) == table(before)


async def test_a_killed_worker_is_replaced(ceph: Witness, ceph_rig: CephRig) -> None:
    """librados can abort the process it runs in: the engine does not notice but for one failed read."""
    await ceph_rig.start()
    before = await ceph_rig.fresh()
    assert ceph_rig.process is not None
    (worker,) = workers(ceph_rig.process.pid)
    os.kill(worker, signal.SIGKILL)
    delta = await ceph_rig.fresh()
    assert table(delta) == table(before)
    assert gone(worker)
    assert len(workers(ceph_rig.process.pid)) == 1


def _manager_back(witness: Witness) -> None:
    daemons.start_mgr()
    witness.until("a manager", lambda: bool(witness.ask("mgr dump")["available"]))
    settle(witness)


async def test_a_manager_that_comes_back_late_finds_the_same_worker(ceph: Witness) -> None:
    """librados answers into memory that is gone if its own time-out ended a manager's command (tracker 65985)."""
    async with client(options("librados"), read_timeout=2) as watcher:
        await watcher.placement()
        before = workers(os.getpid())
        daemons.kill(MGR)
        for _ in range(2):  # 2 s each: in the second, librados' own time-out of the first would strike
            with pytest.raises(Unreachable, match="manager"):
                await watcher.ask("mgr", "pg stat")
        assert (await watcher.ask("mon", "status"))["fsid"], "the monitors answer all the while"
        await asyncio.to_thread(_manager_back, ceph)
        assert (await watcher.placement()).ready
        assert workers(os.getpid()) == before
