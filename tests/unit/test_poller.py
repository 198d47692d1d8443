"""A cluster may be slow, silent, wrong or mad: it is told in words, and nothing else suffers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest

from evac.errors import AuthFailed, BackendError, BadAnswer, Forbidden, Unreachable
from evac.fleet import Fleet
from evac.model import Capability, Inventory
from evac.secret import SecretTrouble
from tests.unit.playing import PlayedCluster, answer, hosts, vms
from tests.unit.watching import problem, state, watch


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


async def test_a_clock_of_ours_that_is_set_during_a_poll_does_not_change_what_time_it_is_there() -> None:
    """Else the log would be read from too late on, a call of ours not be found in it, and be made again."""
    poller, fleet, _ = watch(PlayedCluster("north", answer("north", skew=-90.0, ahead=1_000_000.0)))
    await poller.once()
    assert (state(fleet).skew, state(fleet).ahead) == (-90.0, 1_000_000.0)


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


async def test_a_secret_that_cannot_be_had_is_that_clusters_problem() -> None:
    trouble = SecretTrouble(problem("env:PW is not set"))
    poller, fleet, _ = watch(PlayedCluster("north", trouble))
    await poller.once()
    assert state(fleet).problems[0].happened == "env:PW is not set"


async def test_not_knowing_what_can_be_done_is_a_warning_beside_good_figures() -> None:
    class Shy(PlayedCluster):
        refuse = True

        async def capabilities(self) -> Sequence[Capability]:
            if self.refuse:
                raise Forbidden(problem("no right to ask for the policy"))
            return self.able

    player = Shy("north", answer("north"))
    poller, fleet, _ = watch(player)
    await poller.once()
    shown = state(fleet)
    assert (shown.failures, shown.vms, shown.problems[0].severity) == (0, 3, "warning")
    player.refuse = False
    await poller.once()
    assert state(fleet).problems == ()
    assert state(fleet).capabilities == player.able


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


async def test_a_warning_does_not_vanish_because_an_incremental_answer_did_not_repeat_it() -> None:
    ghosts = answer("north", vms=vms("north", 2, "ghost"))
    player = PlayedCluster("north", ghosts, Inventory(hosts=hosts("north", "h1"), complete=False, mark="m2"))
    poller, fleet, _ = watch(player)
    await poller.once()
    await poller.once()
    assert "ghost" in state(fleet).problems[0].happened


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
