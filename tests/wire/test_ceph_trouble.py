"""A Ceph cluster that hangs, lies, or loses its managers: told in words, the rest stands, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from evac.errors import BackendError, Forbidden, Uncertain, Unreachable
from evac.model import Inventory
from evac.storage import Health, StopAnswer, Storage
from tests.wire.ceph_lab import FASTER, SimulatedCeph

SLOWEST = 6.0
"""Seconds within which anything ends when the read time-out is 1 s; the worker's start and two busy cores included."""


@pytest.fixture
async def ceph(tmp_path: Path) -> AsyncIterator[SimulatedCeph]:
    async with SimulatedCeph(tmp_path).serve() as lab:
        yield lab


@pytest.fixture
async def backend(ceph: SimulatedCeph) -> AsyncIterator[Any]:
    backend = ceph.build(read_timeout=1.0)
    yield backend
    await backend.close()


def strike(ceph: SimulatedCeph, on: str, kind: Kind) -> None:
    ceph.simulator.faults.order(Fault(on=on, kind=kind, times=math.inf))


def whole(found: Inventory) -> Storage:
    assert found.storage is not None
    return found.storage


PARTS = {
    "osd df": "use of OSDs",
    "osd perf": "latency of OSDs",
    "pg dump": "placement of PGs",
    "osd tree": "list of OSDs and pools",
    "mgr stat": "name of the manager",
}


@pytest.mark.parametrize("prefix", PARTS)
@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.TRUNCATED, Kind.WRONG_TYPE, Kind.RESET_BEFORE])
async def test_a_part_that_is_garbage_costs_that_part(
    ceph: SimulatedCeph, backend: Any, prefix: str, kind: Kind
) -> None:
    strike(ceph, prefix, kind)
    found = await backend.inventory()
    assert whole(found).health is Health.OK
    assert whole(found).pgs == 112
    assert any(PARTS[prefix] in problem.unaffected for problem in found.problems)


async def test_a_manager_that_hangs_holds_up_nothing_the_monitors_say(
    ceph: SimulatedCeph, backend: Any
) -> None:
    for prefix in ("osd df", "osd perf", "pg dump", "progress json"):
        strike(ceph, prefix, Kind.BLACK_HOLE)
    began = time.monotonic()
    found = await backend.inventory()
    assert time.monotonic() - began < SLOWEST
    assert len(found.osds) == 12
    assert not whole(found).placed
    assert whole(found).placed_doubt
    assert {problem.severity for problem in found.problems} == {"warning"}


async def test_monitors_that_hang_are_unreachable_in_good_time(ceph: SimulatedCeph, backend: Any) -> None:
    strike(ceph, "status", Kind.BLACK_HOLE)
    began = time.monotonic()
    with pytest.raises(BackendError) as error:
        await backend.inventory()
    assert time.monotonic() - began < SLOWEST
    assert error.value.problem.next_step


async def test_without_a_quorum_nobody_answers_and_a_verdict_is_unknown(
    ceph: SimulatedCeph, backend: Any
) -> None:
    assert (await backend.inventory()).osds
    for mon in ("node01", "node02"):
        ceph.ceph.daemons.set_mon(mon, running=False)
    with pytest.raises(Unreachable):
        await backend.inventory()
    assert (await backend.may_stop("node04")).answer is StopAnswer.UNKNOWN


async def test_while_there_is_no_manager_the_last_counts_stay(ceph: SimulatedCeph, backend: Any) -> None:
    before = await backend.inventory()
    ceph.ceph.daemons.mgr.gone = ceph.ceph.now
    found = await backend.inventory()
    assert [osd.pgs_up for osd in found.osds] == [osd.pgs_up for osd in before.osds]
    assert "no manager" in whole(found).placed_doubt
    assert whole(found).manager == ""
    verdict = await backend.may_stop("node02")
    assert verdict.answer is StopAnswer.UNKNOWN
    assert any(one.ok is None and "manager" in one.detail for one in verdict.findings)


async def test_a_manager_that_takes_over_is_not_believed_at_once(ceph: SimulatedCeph, backend: Any) -> None:
    before = await backend.inventory()
    ceph.ceph.timing = type(ceph.ceph.timing)(mgr_warm=3600.0 * FASTER)
    ceph.ceph.daemons.fail_mgr()
    found = await ceph.until(backend.inventory, lambda one: bool(whole(one).placed_doubt), "a doubt")
    assert [osd.pgs_up for osd in found.osds] == [osd.pgs_up for osd in before.osds]
    assert (await backend.may_stop("node02")).answer is not StopAnswer.SAFE


@pytest.mark.parametrize(
    "prefix", ["osd tree", "osd ok-to-stop", "pg ls-by-osd", "quorum_status", "osd dump", "status"]
)
@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.WRONG_TYPE, Kind.RESET_BEFORE])
async def test_no_host_is_safe_while_a_part_of_the_question_is_not_answered(
    ceph: SimulatedCeph, backend: Any, prefix: str, kind: Kind
) -> None:
    await backend.set_noout("node02")
    assert (await backend.may_stop("node02")).answer is StopAnswer.SAFE
    strike(ceph, prefix, kind)
    assert (await backend.may_stop("node02")).answer is StopAnswer.UNKNOWN


async def test_noout_whose_answer_is_lost_is_uncertain_and_is_not_sent_twice(
    ceph: SimulatedCeph, backend: Any
) -> None:
    strike(ceph, "osd set-group", Kind.RESET_AFTER)
    with pytest.raises(Uncertain):
        await backend.set_noout("node02")
    assert ceph.simulator.asked.count("osd set-group") == 1
    host = await backend.host("node02")
    assert host.flags == ("noout",), "it was carried out all the same"


async def test_noout_without_the_right_is_forbidden_and_remembered(ceph: SimulatedCeph, backend: Any) -> None:
    strike(ceph, "osd set-group", Kind.UNAUTHORIZED)
    with pytest.raises(Forbidden):
        await backend.set_noout("node02")
    able = {one.action: one for one in await backend.capabilities()}
    assert not able["set_noout"].able
    assert able["set_noout"].why_not


async def test_closing_does_not_wait_for_a_cluster_that_hangs(ceph: SimulatedCeph) -> None:
    backend = ceph.build(read_timeout=60.0)
    strike(ceph, "status", Kind.BLACK_HOLE)
    poll = asyncio.create_task(backend.inventory())
    async with asyncio.timeout(10):
        while not ceph.simulator.faults.struck:  # noqa: ASYNC110  # the world has no event for it
            await asyncio.sleep(0.02)
    began = time.monotonic()
    await backend.close()
    assert time.monotonic() - began < 2
    with pytest.raises(BackendError):
        await poll
