"""A cluster may be slow, silent, wrong or mad: it is told in words, and nothing else suffers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.actions import LiveMigrate
from evac.errors import AuthFailed, BackendError, BadAnswer, Unreachable
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState
from evac.link import Link
from evac.model import VM, ClusterState, Host, Inventory, Migration, Phase, Problem
from evac.poller import Poller, PollPace
from evac.sanity import doubtful, examined
from tests.unit.playing import PlayedCluster, answer, cluster, hosts, until, vms

EVEN: Callable[[], float] = lambda: 0.5  # noqa: E731  # no jitter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watch(player: PlayedCluster, fleet: Fleet | None = None, **more: Any) -> tuple[Poller, Fleet, Clock]:
    fleet, clock = fleet or Fleet(), Clock()
    rules = more.pop("rules", {})
    link = Link(cluster=cluster(player.name, **rules), read_only=True, read_only_why="a test")
    poller = Poller(link, player, fleet, now=clock, jitter=more.pop("jitter", EVEN), **more)
    return poller, fleet, clock


def state(fleet: Fleet, name: str = "north") -> ClusterState:
    found = fleet.cluster(name)
    assert found is not None
    return found


def problem(text: str) -> Problem:
    return Problem(happened=text)


async def test_a_cluster_is_on_show_before_it_has_answered() -> None:
    _, fleet, _ = watch(PlayedCluster("north", answer("north")))
    shown = state(fleet)
    assert (shown.fresh_stamp, shown.read_only, shown.read_only_why) == (None, True, "a test")


async def test_a_good_answer_is_on_show_with_its_facts() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", answer("north", skew=1.0, size=77, calls=4)))
    await poller.once()
    shown = state(fleet)
    assert (shown.hosts, shown.vms, shown.fresh_stamp, shown.failures) == (1, 3, 1000.0, 0)
    assert (shown.endpoint, shown.region, shown.size, shown.calls) == (
        "https://nova.example:8774",
        "one",
        77,
        4,
    )
    assert shown.capabilities[0].able
    assert not shown.polling
    assert shown.problems == ()


@pytest.mark.parametrize("kind", [Unreachable, AuthFailed, BadAnswer])
async def test_a_failure_is_told_and_the_last_figures_stay_with_their_age(kind: type[BackendError]) -> None:
    player = PlayedCluster("north", answer("north"), kind(problem("no answer: connection refused")))
    poller, fleet, clock = watch(player)
    await poller.once()
    clock.now += 50
    await poller.once()
    shown = state(fleet)
    assert shown.failures == 1
    assert shown.fresh_stamp == 1000.0
    assert len(fleet.table("vms")) == 3
    (told,) = shown.problems
    assert told.happened == "no answer: connection refused"
    assert "The figures shown are from" in told.unaffected
    assert told.next_step


async def test_a_failure_before_the_first_answer_says_that_nothing_is_known() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", Unreachable(problem("down"))))
    await poller.once()
    assert "Nothing has been read" in state(fleet).problems[0].unaffected


@pytest.mark.parametrize("garbage", [None, {"hosts": 1}, "<html>", KeyError("servers"), ZeroDivisionError()])
async def test_garbage_from_a_backend_is_worded_as_our_mistake(
    garbage: object, caplog: pytest.LogCaptureFixture
) -> None:
    poller, fleet, _ = watch(PlayedCluster("north", answer("north"), garbage))
    await poller.once()
    with caplog.at_level(logging.ERROR):
        await poller.once()
    (told,) = state(fleet).problems
    assert told.happened.startswith("evac made a mistake while reading north")
    assert "Traceback" not in str(told)
    assert caplog.records[-1].exc_info, "the trace belongs in the log"
    assert len(fleet.table("vms")) == 3


async def test_one_mad_cluster_leaves_the_others_alone() -> None:
    fleet = Fleet()
    mad, _, _ = watch(PlayedCluster("mad", ValueError("x")), fleet)
    good, _, _ = watch(PlayedCluster("good", answer("good")), fleet)
    await asyncio.gather(mad.once(), good.once())
    assert state(fleet, "good").problems == ()
    assert state(fleet, "mad").failures == 1
    assert {vm.cluster for vm in fleet.table("vms").values()} == {"good"}


# --- time ----------------------------------------------------------------------------------------


@asynccontextmanager
async def stuck_thread() -> AsyncIterator[Callable[[], Any]]:
    """A call that sits in a thread and does not notice that it was cancelled, as a socket in a black hole."""
    release, pool = threading.Event(), ThreadPoolExecutor(1)

    async def call() -> Any:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, release.wait))

    async def stubborn() -> Any:
        task = asyncio.ensure_future(call())
        while not task.done():
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                continue
        return None

    try:
        yield stubborn
    finally:
        release.set()
        pool.shutdown()


async def test_a_call_that_hangs_even_when_cancelled_is_told_and_not_repeated() -> None:
    async with stuck_thread() as stuck:
        player = PlayedCluster("north", answer("north"), stuck)
        poller, fleet, _ = watch(player, rules={"connect_timeout": 0.1, "read_timeout": 0.1})
        await poller.once()
        async with asyncio.timeout(3):
            await poller.once()
            assert "has not answered within 0.5 s" in state(fleet).problems[0].happened
            await poller.once()
            await poller.close()
        assert len(player.asked) == 2, "no second call is piled up behind one that hangs"
        assert state(fleet).failures == 2
        assert player.closed
        hung = poller._hung
    assert hung is not None
    await asyncio.wait({hung}, timeout=3)


async def test_a_cancelled_poller_ends_at_once_though_its_cluster_hangs() -> None:
    async with stuck_thread() as stuck:
        player = PlayedCluster("north", stuck)
        poller, _, _ = watch(player)
        task = asyncio.create_task(poller.run())
        await until(lambda: player.asked, "the first poll")
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        assert done
        hung = poller._hung
    assert hung is not None
    await asyncio.wait({hung}, timeout=3)


async def test_failures_are_asked_again_ever_more_slowly_up_to_a_minute() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", Unreachable(problem("down"))))
    waits = []
    for _ in range(8):
        await poller.once()
        waits.append(state(fleet).interval)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_quiet_cluster_is_asked_less_often_and_never_so_rarely_that_it_goes_stale() -> None:
    poller, fleet, _ = watch(PlayedCluster("north", answer("north")), rules={"stale_after": 50.0})
    waits = []
    for _ in range(8):
        await poller.once()
        waits.append(state(fleet).interval)
    assert waits[0] == 10
    assert waits == sorted(waits)
    assert waits[-1] == 25


async def test_while_somebody_looks_the_pace_stays_as_configured_and_a_newcomer_need_not_wait() -> None:
    looked: list[bool] = []
    looking = True

    def watched() -> bool:
        looked.append(looking)
        return looking

    player = PlayedCluster("north", answer("north"))
    poller, fleet, clock = watch(player, pace=PollPace(least=0, tick=0.01), watched=watched)
    for _ in range(8):
        await poller.once()
    assert state(fleet).interval == 10
    looking = False
    await poller.once()
    assert state(fleet).interval > 20
    looked.clear()
    task = asyncio.create_task(poller._rest())
    try:
        await until(lambda: looked, "its first look")
        clock.now += 11
        looked.clear()
        await until(lambda: len(looked) > 1, "another look, 11 s after the poll")
        assert not task.done(), "with nobody looking there is no hurry"
        looking = True
        await asyncio.wait_for(task, 3)
    finally:
        task.cancel()


async def test_a_change_or_a_running_migration_brings_the_pace_back() -> None:
    move = Migration(cluster="north", id="7", vm="v0", phase=Phase.RUNNING)
    player = PlayedCluster("north", answer("north"))
    poller, fleet, _ = watch(player)
    for _ in range(5):
        await poller.once()
    assert state(fleet).interval > 20
    player.script = [answer("north", migrations=(move,))]
    await poller.once()
    assert state(fleet).interval == 10
    await poller.once()
    assert state(fleet).interval == 10, "a migration that runs is news although nothing else changed"


async def test_a_job_in_flight_makes_it_fast_and_wakes_it() -> None:
    player = PlayedCluster("north", answer("north"))
    poller, fleet, clock = watch(player, pace=PollPace(least=0, tick=0.01))
    task = asyncio.create_task(poller.run())
    try:
        await until(lambda: state(fleet).fresh_stamp, "the first answer")
        action = LiveMigrate(cluster="north", vm="v0", name="vm-0", host="h1")
        me = Actor(uid=0, user="root", role="admin")
        job = Job(id="J1", order="O1", action=action, by=me, created=0, state=JobState.RUNNING)
        fleet.publish(jobs=(job,))
        clock.now += 2.5
        await until(lambda: len(player.asked) > 1, "a poll 2 s after the first, not 10")
        assert state(fleet).interval == 2
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_slow_cluster_is_not_hammered() -> None:
    async def slow() -> Inventory:
        clock.now += 30
        return answer("north")

    poller, fleet, clock = watch(PlayedCluster("north", slow))
    await poller.once()
    assert state(fleet).took == 30
    assert state(fleet).interval == 60


async def test_intervals_vary_so_that_clusters_do_not_ask_in_step() -> None:
    seen = set()
    for spread in (0.0, 0.3, 1.0):
        poller, fleet, _ = watch(PlayedCluster("north", answer("north")), jitter=lambda spread=spread: spread)
        await poller.once()
        seen.add(round(state(fleet).interval, 3))
    assert seen == {9.0, 9.6, 11.0}


async def test_asking_for_a_poll_wakes_it_and_reads_in_full() -> None:
    player = PlayedCluster("north", answer("north"))
    poller, _, _ = watch(player, pace=PollPace(least=0, tick=0.01))
    task = asyncio.create_task(poller.run())
    try:
        await until(lambda: player.asked, "the first poll")
        poller.wake()
        await until(lambda: len(player.asked) == 2, "the second poll")
        assert player.asked == ["", ""]
    finally:
        task.cancel()
        await asyncio.wait({task})


# --- what is asked, what is believed -------------------------------------------------------------


async def test_polls_are_incremental_with_a_full_one_now_and_then_and_after_a_failure() -> None:
    delta = answer("north", 0, complete=False, mark="m2")
    player = PlayedCluster(
        "north", answer("north"), delta, answer("north"), Unreachable(problem("x")), answer("north"), delta
    )
    poller, fleet, clock = watch(player)
    for _ in range(2):
        await poller.once()
    assert player.asked == ["", "m1"]
    assert len(fleet.table("vms")) == 3
    clock.now += 301
    for _ in range(4):
        await poller.once()
    assert player.asked == ["", "m1", "", "m1", "", "m1"]


async def test_a_cluster_that_is_suddenly_empty_is_believed_only_after_a_second_full_look() -> None:
    player = PlayedCluster("north", answer("north", 500), answer("north", 0), answer("north", 0))
    poller, fleet, _ = watch(player)
    await poller.once()
    await poller.once()
    shown = state(fleet)
    assert len(fleet.table("vms")) == 500
    assert "Suddenly empty" in shown.problems[0].happened
    assert shown.interval == 1
    await poller.once()
    assert player.asked == ["", "m1", ""]
    assert len(fleet.table("vms")) == 0
    assert state(fleet).problems == ()


async def test_a_cluster_that_was_empty_for_one_answer_only_never_loses_a_row() -> None:
    player = PlayedCluster("north", answer("north", 50), Inventory(), answer("north", 50))
    poller, fleet, _ = watch(player)
    for _ in range(3):
        await poller.once()
    assert len(fleet.table("vms")) == 50
    assert state(fleet).problems == ()


async def test_an_incremental_answer_that_deletes_nearly_all_is_checked_in_full() -> None:
    gone = answer("north", 0, complete=False, gone=tuple(f"v{n}" for n in range(49)))
    player = PlayedCluster("north", answer("north", 50), gone, answer("north", 50))
    poller, fleet, _ = watch(player)
    for _ in range(3):
        await poller.once()
    assert player.asked == ["", "m1", ""]
    assert len(fleet.table("vms")) == 50


def test_an_empty_cluster_that_always_was_is_no_news() -> None:
    assert doubtful(Inventory(), known=(0, 0), before=None) is None
    assert doubtful(Inventory(), known=(1, 9), before=None) is None
    assert doubtful(answer("c", 9), known=(1, 10), before=None) is None


def test_things_listed_twice_or_without_an_id_are_told_and_shown_once() -> None:
    rows = (
        *vms("c", 3),
        VM(cluster="c", id="v1", name="later"),
        VM(cluster="c", id="", name="?"),
        *vms("x", 1),
    )
    found = examined("c", Inventory(hosts=hosts("c", "h1"), vms=rows))
    assert [vm.name for vm in found.vms] == ["vm-0", "later", "vm-2"]
    words = " ".join(problem.happened for problem in found.problems)
    assert "lists 1 of its VMs twice (such as v1)" in words
    assert "lists 2 VMs without an id" in words


def test_hosts_that_vms_name_and_nobody_lists_are_told() -> None:
    found = examined("c", Inventory(hosts=hosts("c", "h1"), vms=vms("c", 2, "ghost")))
    (told,) = found.problems
    assert told.severity == "warning"
    assert "2 VMs are on hosts that are not in its list of hosts (ghost)" in told.happened
    assert len(found.vms) == 2


async def test_a_warning_does_not_vanish_because_an_incremental_answer_did_not_repeat_it() -> None:
    ghosts = answer("north", vms=vms("north", 2, "ghost"))
    player = PlayedCluster("north", ghosts, Inventory(hosts=hosts("north", "h1"), complete=False, mark="m2"))
    poller, fleet, _ = watch(player)
    await poller.once()
    await poller.once()
    assert "ghost" in state(fleet).problems[0].happened


def test_a_vm_on_no_host_is_nothing_odd() -> None:
    assert examined("c", Inventory(vms=vms("c", 2, ""))).problems == ()


@pytest.mark.parametrize(("skew", "words"), [(90.0, "90 s ahead of"), (-31.0, "31 s behind")])
def test_a_clock_that_is_off_is_told(skew: float, words: str) -> None:
    (told,) = examined("c", Inventory(skew=skew)).problems
    assert words in told.happened
    assert told.severity == "warning"
    assert "NTP" in told.next_step


@pytest.mark.parametrize("skew", [None, 0.0, 30.0, -30.0])
def test_a_clock_that_is_nearly_right_is_fine(skew: float | None) -> None:
    assert examined("c", Inventory(skew=skew)).problems == ()


names = st.sampled_from(["", "a", "b"])
guests = st.builds(VM, cluster=st.sampled_from(["c", "x"]), id=names, name=names, host=names)
machines = st.builds(Host, cluster=st.sampled_from(["c", "x"]), id=names, name=names)


@given(st.lists(guests, max_size=6), st.lists(machines, max_size=6))
def test_whatever_a_cluster_lists_what_is_shown_has_one_row_per_id(some: list[VM], more: list[Host]) -> None:
    found = examined("c", Inventory(vms=tuple(some), hosts=tuple(more)))
    ids = [vm.id for vm in found.vms]
    assert sorted(ids) == sorted(set(ids))
    assert set(ids) == {vm.id for vm in some if vm.cluster == "c" and vm.id}
    assert bool(found.problems) == (
        len(found.vms) < len(some)
        or len(found.hosts) < len(more)
        or any(vm.host and vm.host not in {host.id for host in found.hosts} for vm in found.vms)
    )


# --- events --------------------------------------------------------------------------------------


async def test_trouble_is_an_event_when_it_begins_changes_and_ends_and_not_at_every_poll() -> None:
    player = PlayedCluster(
        "north",
        answer("north"),
        *(Unreachable(problem("down")) for _ in range(3)),
        AuthFailed(problem("no rights")),
        answer("north"),
        answer("north"),
    )
    poller, fleet, _ = watch(player)
    for _ in range(7):
        await poller.once()
    texts = [event.text for event in fleet.table("events").values()]
    assert texts == ["down", "no rights", "north is well again."]


async def test_a_backend_that_says_it_read_only_half_keeps_the_good_half_and_the_reason() -> None:
    half = msgspec.structs.replace(answer("north"), problems=(problem("no right to list hypervisors"),))
    poller, fleet, _ = watch(PlayedCluster("north", half))
    await poller.once()
    assert state(fleet).problems[0].happened == "no right to list hypervisors"
    assert len(fleet.table("vms")) == 3
