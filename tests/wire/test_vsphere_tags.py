"""Tags of a simulated vCenter: by REST, beside the inventory, and never at its cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.vsphere import PLUGIN, tagging
from backends.vsphere.options import Options
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator
from evac.backend import Settings
from evac.model import VM, Inventory
from tests.wire.vsphere_site import small_world

PATIENCE = 10.0


@asynccontextmanager
async def site(**more: Any) -> AsyncIterator[tuple[VCenterSimulator, Any]]:
    """A vCenter whose first two VMs have tags, and a read-only backend at it."""
    world = small_world()
    first, second, *_ = world.vms.values()
    first.tags, second.tags = ("critical", "backup:daily"), ("backup:daily",)
    async with VCenterSimulator(world).serve() as simulator:
        options = Options(
            server=simulator.endpoint,
            username=ADMIN,
            password=PASSWORD,
            fingerprint=simulator.fingerprint,
            **more,
        )
        settings = Settings(name="vc", options=options, read_only=True, connect_timeout=2, read_timeout=2)
        backend: Any = PLUGIN.build(settings)
        yield simulator, backend
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 1


async def polled(backend: Any, mark: str, good: Any) -> Inventory:
    """Polls as the engine does, until an answer is good."""
    end = time.monotonic() + PATIENCE
    while True:
        answer: Inventory = await backend.inventory(mark)
        if good(answer):
            return answer
        assert time.monotonic() < end, f"not within {PATIENCE:g} s; last: {answer.problems}"
        mark = answer.mark
        await asyncio.sleep(0.02)


def tagged(answer: Inventory) -> dict[str, tuple[str, ...]]:
    return {vm.name: vm.tags for vm in answer.vms if vm.tags}


def again(backend: Any) -> None:
    """As if five minutes had passed."""
    backend._tags._due = float("-inf")


async def test_tags_come_with_a_poll_after_the_first_and_only_for_those_that_have_them() -> None:
    async with site() as (simulator, backend):
        whole = await backend.inventory()
        assert not tagged(whole), "the first answer waits for no tags"
        news = await polled(backend, whole.mark, tagged)
        assert not news.complete
        assert tagged(news) == {"vm-1": ("General:critical", "backup:daily"), "vm-2": ("backup:daily",)}
        everything = await backend.inventory()
        assert tagged(everything) == tagged(news)
        seen = await backend.look([vm.id for vm in news.vms])
        assert {one.vm.name: one.vm.tags for one in seen.values()} == tagged(news)
        assert simulator.rest.sessions == {}, "the REST session was closed"


async def test_hosts_have_their_tags_in_the_inventory_and_in_a_look() -> None:
    async with site() as (simulator, backend):
        simulator.world.hosts["cmp02"].tags = ("rack:B12", "spare")
        answer = await polled(backend, "", tagged)
        assert {host.name: host.tags for host in answer.hosts if host.tags} == {
            "cmp02": ("General:spare", "rack:B12")
        }
        seen = await backend.host("cmp02")
        assert seen == next(host for host in answer.hosts if host.name == "cmp02")
        simulator.world.hosts["cmp02"].tags = ()
        again(backend)

        def gone(answer: Inventory) -> bool:
            return not any(host.tags for host in answer.hosts)

        news = await polled(backend, answer.mark, gone)
        assert not news.complete
        assert news.vms == (), "no VM has changed"


async def test_a_tag_that_is_taken_off_is_told_as_a_change() -> None:
    async with site() as (simulator, backend):
        mark = (await polled(backend, "", tagged)).mark
        next(iter(simulator.world.vms.values())).tags = ("backup:daily",)
        again(backend)

        def told(answer: Inventory) -> bool:
            return any(vm.name == "vm-1" and vm.tags == ("backup:daily",) for vm in answer.vms)

        assert not (await polled(backend, mark, told)).complete


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.GARBAGE, Kind.RESET_BEFORE, Kind.BLACK_HOLE])
async def test_tags_that_cannot_be_read_are_a_problem_and_the_inventory_goes_on(kind: Kind) -> None:
    async with site() as (simulator, backend):
        await polled(backend, "", tagged)
        simulator.world.faults.order(Fault(kind=kind, on="tags", status=503))
        again(backend)
        answer = await polled(backend, "", lambda answer: answer.problems)
        (problem,) = answer.problems
        assert "tags are not known" in problem.happened
        assert "tries again" in problem.next_step
        assert PASSWORD not in repr(problem)
        whole = await backend.inventory()
        assert len(whole.vms) == len(simulator.world.vms)
        assert tagged(whole), "those that were read before stay"


async def test_a_tag_that_may_not_be_read_is_left_out() -> None:
    async with site() as (simulator, backend):
        simulator.rest.hidden.add("backup:daily")
        answer = await polled(backend, "", tagged)
        assert tagged(answer) == {"vm-1": ("General:critical",)}
        assert answer.problems == ()


async def test_without_tags_in_the_config_nothing_is_asked() -> None:
    async with site(tags=False) as (simulator, backend):
        asked: list[str] = []
        simulator.rest.sessions = _Noting(asked)
        for _ in range(3):
            assert not tagged(await backend.inventory())
        assert not backend._tags.is_due()
        assert asked == []


class _Noting(dict[str, str]):
    """Notes each session that is opened."""

    def __init__(self, into: list[str]) -> None:
        super().__init__()
        self._into = into

    def __setitem__(self, key: str, value: str) -> None:
        self._into.append(key)
        super().__setitem__(key, value)


def test_a_vm_without_tags_is_left_as_it_is() -> None:
    session: Any = None
    settings: Any = None
    vm = VM(cluster="vc", id="vm-1", name="a", host="h")
    assert tagging.Tags(session, settings).on(vm) is vm
