"""A move is measured from outside, by a real prober on loopback, against guests that really stop answering."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from backends.simulation.direct import DirectBackend
from backends.simulation.faults import Fault, Kind
from backends.simulation.listener import Listeners
from backends.simulation.things import GIB, Timing
from backends.simulation.world import World
from evac import clock
from evac.actions import LiveMigrate
from evac.api import OrderRequest
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState
from evac.journal import Journal
from evac.model import ClusterState
from evac.probe import FeltVerdict
from evac.probe_rules import ProbeRule, ProbeRules
from evac.prober.client import Prober
from evac.probing import Probing
from evac.queue import LimitRules, Pace, Queue

ADMIN = Actor(uid=0, user="anna", role="admin", via="test")
PATIENCE = 30.0
SWITCH = Timing(live_per_source=0, schedule=0.1, prepare=0.1, finish=0.1, pause=0.6)
"""Guests stand still for 0.6 s."""

RULES = ProbeRules(cutover=0.02, grace=0.3, reachable_within=1.5, limit=2.0)


class Watched(Listeners):
    """The ports, and between which two moments each change of theirs truly came: a busy machine is late with them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.changes: list[tuple[float, float]] = []

    def follow(self) -> None:
        began, before = time.monotonic(), [guest.awake for guest in self._guests.values()]
        super().follow()
        if None not in before and before != [guest.awake for guest in self._guests.values()]:
            self.changes.append((began, time.monotonic()))


class Site:
    """One simulated cloud whose guests have ports, and a queue that measures its moves."""

    def __init__(self, path: Path, rules: ProbeRules, timing: Timing) -> None:
        self.path, self.rules, self.timing = path, rules, timing
        self.world = World(timing=timing)
        for host in ("a", "b"):
            self.world.add_host(host, link=1e11)
        self.fleet = Fleet()
        self.token = 0
        self.ports: Watched

    def guest(self, name: str, address: str = "127.0.0.1") -> str:
        return self.world.add_vm(name, "a", memory=GIB, dirty_rate=0.0, addresses=(address,)).id

    async def start(self) -> None:
        self.direct = DirectBackend("sim", self.world)
        self.fleet = Fleet()
        self.journal = await Journal.open(self.path / "journal.db")
        self.probers: list[Prober] = []
        self.probing = Probing(self.rules, self.fleet, self._prober)
        self.queue = Queue(
            journal=self.journal,
            fleet=self.fleet,
            backends={"sim": self.direct},
            rules=LimitRules(),
            pace=Pace(tick_min=0.05, tick=0.05, tick_max=0.1, hold=0.2),
            measure=self.probing,
        )
        await self.poll()
        await self.queue.start()

    def _prober(self, on_rows: Callable[..., None]) -> Prober:
        self.probers.append(Prober(rate=self.rules.rate, on_rows=on_rows))
        return self.probers[-1]

    async def poll(self) -> None:
        at = clock.stamp()
        inventory = await self.direct.inventory()
        state = ClusterState(name="sim", kind="openstack", fresh_stamp=at, stale_after=3600.0)
        self.fleet.absorb(state, inventory, began=at)

    async def stop(self) -> None:
        await self.queue.stop()
        await self.journal.close()

    async def move(self, vm: str, name: str) -> str:
        self.token += 1
        action = LiveMigrate(cluster="sim", vm=vm, name=name, host="a", to="b")
        reply = await self.queue.order(
            OrderRequest(title=f"move {name}", actions=(action,), token=f"t{self.token}"), ADMIN
        )
        return reply.jobs[0].id

    async def until(self, what: Callable[[], object], words: str) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, words
            await asyncio.sleep(0.01)

    async def ended(self, job: str) -> Job:
        await self.until(
            lambda: self.job(job).state.ended and self.job(job).felt_verdict, f"{job} never ended"
        )
        return self.job(job)

    def job(self, job: str) -> Job:
        found = self.fleet.job(job)
        assert found is not None
        return found

    def states(self, *, typed: bool) -> list[str]:
        """How the addresses that were typed, or the others, stand."""
        return [one.row.state for one in self.fleet.table("probes").values() if one.typed is typed]

    def stood_still(self) -> tuple[float, float]:
        """Seconds for which the only guest's port was silent in its only move, at least and at most."""
        (slept, sleeping), (wakes, awake) = self.ports.changes
        return wakes - sleeping, awake - slept


@contextlib.asynccontextmanager
async def site(path: Path, rules: ProbeRules = RULES, timing: Timing = SWITCH) -> AsyncIterator[Site]:
    here = Site(path, rules, timing)
    async with Watched(here.world) as ports:
        here.ports = ports
        await here.start()
        try:
            yield here
        finally:
            await here.stop()


def over_tcp(here: Site, vm: str, pattern: str = "*") -> ProbeRule:
    """A rule for the port on which this guest answers."""
    address, port = here.ports.open(vm)
    return ProbeRule(name=pattern, address=address, port=port, method="tcp")


@contextlib.asynccontextmanager
async def one_guest(
    path: Path, rules: ProbeRules = RULES, timing: Timing = SWITCH
) -> AsyncIterator[tuple[Site, str]]:
    """A site with the guest "db-1", which is asked over TCP."""
    here = Site(path, rules, timing)
    vm = here.guest("db-1")
    async with Watched(here.world) as ports:
        here.ports = ports
        here.rules = msgspec.structs.replace(rules, rules=(over_tcp(here, vm),))
        await here.start()
        try:
            yield here, vm
        finally:
            await here.stop()


async def answers(here: Site) -> None:
    """The guest's baseline is there."""
    probes = here.fleet.table("probes")
    await here.until(
        lambda: any(probe.row.state == "answers" for probe in probes.values()), "it was never asked"
    )


async def test_the_bracket_of_a_move_holds_how_long_the_guest_truly_stood_still(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        job = await here.ended(await here.move(vm, "db-1"))
        assert job.state is JobState.DONE
        (felt,) = job.felt
        assert felt.unmeasured == ""
        gap = felt.longest
        assert gap is not None
        assert gap.most is not None
        least, most = here.stood_still()
        assert gap.least <= most
        assert least <= gap.most
        assert gap.most - gap.least < 0.3
        assert (felt.answered_before, felt.answers_now) == (True, True)
        assert job.felt_verdict is FeltVerdict.FINE
        assert job.felt_words.startswith("out for ")
        saved = await here.journal.order(job.order)
        assert saved is not None
        assert saved[1][0].felt == job.felt
        records = [record for record in await here.journal.audit() if record.kind == "felt"]
        assert [msgspec.json.decode(record.body)["job"] for record in records] == [job.id]


async def test_a_queued_vm_is_asked_before_its_move_begins(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        await here.queue.pause(ADMIN)
        job = await here.move(vm, "db-1")
        await answers(here)
        assert here.job(job).state is JobState.HELD
        (probe,) = here.fleet.table("probes").values()
        assert (probe.cluster, probe.vm, probe.name, probe.job) == ("sim", f"sim/{vm}", "db-1", "")
        await here.queue.resume(ADMIN)
        await here.until(lambda: here.fleet.table("probes")[probe.id].job == job, "the move shows nowhere")
        assert (await here.ended(job)).felt_verdict is FeltVerdict.FINE


async def test_an_outage_over_the_limit_fails_the_move_and_pauses_the_queue_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    rules = msgspec.structs.replace(RULES, limit=0.2, on_limit="pause")
    async with one_guest(tmp_path, rules) as (here, vm):
        job = await here.ended(await here.move(vm, "db-1"))
        assert (job.state, job.felt_verdict) == (JobState.FAILED, FeltVerdict.OVER)
        assert job.reason == job.felt_words
        assert "the limit is 0.20 s" in job.reason
        assert "has moved" in job.next_step
        assert here.world.vms[vm].host == "b"
        await here.until(lambda: here.fleet.queue.paused, "the queue goes on")
        assert job.id in here.fleet.queue.paused_by


async def test_over_the_limit_with_report_leaves_the_queue_running(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(RULES, limit=0.2)
    async with one_guest(tmp_path, rules) as (here, vm):
        assert (await here.ended(await here.move(vm, "db-1"))).state is JobState.FAILED
        assert not here.fleet.queue.paused


async def test_migrated_and_silent_is_not_done(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        job = await here.move(vm, "db-1")
        await here.until(lambda: here.world.moved(vm), "it never moved")
        here.world.hosts["b"].alive = False  # the guest's network is gone; the cluster still says "running"
        here.ports.follow()
        ended = await here.ended(job)
        assert (ended.state, ended.felt_verdict) == (JobState.FAILED, FeltVerdict.SILENT)
        assert ended.reason.startswith("migrated, guest silent: ")
        assert "1.5 s" in ended.reason
        assert ended.next_step


async def test_a_vm_that_did_not_answer_before_is_moved_and_not_blamed(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        here.world.hosts["a"].alive = False
        here.ports.follow()
        here.world.hosts["a"].alive = True  # the port sleeps on, as nobody follows the world any more
        here.ports.follow = lambda: None  # type: ignore[method-assign]
        began = time.monotonic()
        job = await here.ended(await here.move(vm, "db-1"))
        assert (job.state, job.felt_verdict) == (JobState.DONE, FeltVerdict.UNMEASURED)
        assert "before the move" in job.felt_words
        assert time.monotonic() - began < 10


async def test_a_vm_without_an_address_is_moved_as_not_measured(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        vm = here.world.add_vm("bare", "a", memory=GIB, dirty_rate=0.0).id
        await here.poll()
        job = await here.ended(await here.move(vm, "bare"))
        assert (job.state, job.felt_verdict, job.felt) == (JobState.DONE, FeltVerdict.UNMEASURED, ())
        assert job.felt_words.startswith("not measured: no address is known")
        assert not here.fleet.table("probes")


async def test_switched_off_nothing_is_asked_and_that_is_said(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(RULES, enabled=False)
    async with one_guest(tmp_path, rules) as (here, vm):
        job = await here.ended(await here.move(vm, "db-1"))
        assert job.state is JobState.DONE
        assert "switched off" in job.felt_words
        assert here.probers[0].pid is None


async def test_a_prober_that_dies_during_the_move_loses_the_measure_and_not_the_move(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        job = await here.move(vm, "db-1")
        await here.until(
            lambda: here.world.log and here.world.log[-1].kind == "paused", "it never switched over"
        )
        here.probers[0]._process.kill()  # type: ignore[union-attr]  # by its own handle
        ended = await here.ended(job)
        assert (ended.state, ended.felt_verdict) == (JobState.DONE, FeltVerdict.UNMEASURED)
        assert ended.felt_words.startswith("not measured: ")


async def test_an_engine_that_was_killed_during_the_move_says_so(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        job = await here.move(vm, "db-1")
        await here.until(lambda: here.job(job).state.in_flight, "it never began")
        await here.stop()  # what a kill leaves behind is the journal; windows are in no journal
        await here.start()
        ended = await here.ended(job)
        assert ended.state is JobState.DONE
        assert ended.felt_words == "not measured: the engine was restarted during the move"


async def test_an_address_that_appears_during_the_move_is_asked_too_and_said(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(RULES, grace=2.0)
    async with site(tmp_path, rules) as here:
        vm = here.guest("web-1", "127.0.0.1")
        address, port = here.ports.open(vm)
        here.rules = msgspec.structs.replace(rules, rules=(ProbeRule(port=port, method="tcp"),))
        here.world.vms[vm].addresses = (address,)
        await here.stop()
        await here.start()
        job = await here.move(vm, "web-1")
        await here.until(lambda: here.job(job).state.in_flight, "it never began")
        here.world.vms[vm].addresses = ("127.0.0.77",)
        here.world.touch(here.world.vms[vm])
        await here.poll()
        ended = await here.ended(job)
        assert [felt.address for felt in ended.felt] == [address, "127.0.0.77"]
        assert f"{address} went away during the move" in ended.felt_words
        assert "127.0.0.77 appeared during the move" in ended.felt_words


async def test_a_typed_address_is_asked_at_once_and_in_every_move_until_it_is_taken_back(
    tmp_path: Path,
) -> None:
    """It is kept over a restart of the engine, and told from the others."""
    async with one_guest(tmp_path) as (here, vm):
        key, text = f"sim/{vm}", "127.0.0.9:9"  # refused there, which is an answer
        with pytest.raises(ValueError, match="is no address"):
            await here.probing.type_address(key, "web-1")
        await here.probing.type_address(key, text)
        await here.until(lambda: here.states(typed=True) == ["answers"], "it is not asked")
        await here.stop()
        await here.start()
        assert here.probing.typed(key) == (text,)
        job = await here.ended(await here.move(vm, "db-1"))
        assert [felt.port == 9 for felt in job.felt] == [False, True]
        await here.probing.type_address(key, text, remove=True)
        assert here.states(typed=True) == []
        assert len(here.states(typed=False)) == 1
        await here.probing.type_address(key, text)
        await here.until(lambda: here.states(typed=True) == ["answers"], "it is not asked again")


async def test_an_address_typed_or_taken_back_during_a_move_is_measured_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    async with one_guest(tmp_path, msgspec.structs.replace(RULES, grace=2.0)) as (here, vm):
        await here.probing.type_address(f"sim/{vm}", "127.0.0.8:9")
        job = await here.move(vm, "db-1")
        await here.until(lambda: here.job(job).state.in_flight, "it never began")
        await here.probing.type_address(f"sim/{vm}", "127.0.0.9:9")
        await here.probing.type_address(f"sim/{vm}", "127.0.0.8:9", remove=True)
        ended = await here.ended(job)
        assert ended.state is JobState.DONE
        told = {felt.address: felt for felt in ended.felt}
        assert told["127.0.0.8"].unmeasured
        assert told["127.0.0.9"].answers_now
        assert "127.0.0.9 was typed during the move" in ended.felt_words


async def test_a_move_that_is_refused_leaves_nothing_being_measured(tmp_path: Path) -> None:
    async with one_guest(tmp_path) as (here, vm):
        here.world.faults.order(Fault(kind=Kind.STATUS, status=409, on="live_migrate", times=1))
        ended = await here.ended(await here.move(vm, "db-1"))
        assert ended.state is JobState.FAILED
        assert ended.felt_verdict is FeltVerdict.FINE, ended.felt
        assert next(iter(here.fleet.table("probes").values())).job == ""


pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
