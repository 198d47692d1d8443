"""What rings: that a window or a drain needs a human, or is done. Nothing else does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evac.jobs import Order, OrderState
from evac.news import SETTLES, News, What, news
from evac.window.nouns import LedgerState, Step, StepKind, StepState, Wait, Window, WindowState
from tests.unit import report_rig as rig


def at(state: StepState, **more: object) -> Window:
    step = Step(kind=StepKind.HOOK, state=state, began=rig.BEGAN + 7, **more)  # type: ignore[arg-type]
    first = replace(rig.window().hosts[0], steps=(step,))
    return rig.window(WindowState.RUNNING, hosts=(first,))


def order(state: OrderState, **more: object) -> Order:
    found, _ = rig.drain(state=state, **more)
    return replace(found, jobs=3)


def one(*windows: Window) -> News:
    (found,) = news(windows, ())
    return found


@pytest.mark.parametrize("state", [StepState.NEEDS_YOU, StepState.UNKNOWN])
def test_a_step_that_does_not_go_on_by_itself_rings(state: StepState) -> None:
    found = one(at(state, reason="patch it", next_step="say done"))
    assert (found.what, found.subject, found.lasting) == (What.NEEDS_YOU, "W3", True)
    assert found.text == "pve-a1, hook: patch it"
    assert found.next_step == "say done"


@pytest.mark.parametrize(
    "state", [StepState.WAITING, StepState.RUNNING, StepState.HELD, StepState.DONE, StepState.SKIPPED]
)
def test_a_step_that_goes_on_by_itself_does_not(state: StepState) -> None:
    assert news([at(state)], ()) == ()


def test_the_key_stays_while_the_reason_lasts_and_changes_the_next_time() -> None:
    def waiting(since: float, reason: str) -> Window:
        return at(
            StepState.NEEDS_YOU,
            reason=reason,
            waits=(Wait(state=StepState.NEEDS_YOU, since=since, why=reason),),
        )

    first, later, again = one(waiting(5, "a")), one(waiting(5, "b, 7 min")), one(waiting(99, "a"))
    assert first.key == later.key != again.key
    assert first.about == again.about


def test_a_window_that_is_over_is_done_and_one_that_owes_needs_somebody() -> None:
    assert (one(rig.window()).what, one(rig.window()).text) == (What.DONE, "1 of 2 hosts through")
    (owing,) = news([rig.window(WindowState.ENDED)], (), [rig.switched(LedgerState.SWITCHED)])
    assert owing.what is What.NEEDS_YOU
    assert owing.text.endswith("STILL OWED: noout of pve-a1")
    (back,) = news([rig.window(WindowState.ENDED)], (), [rig.switched(LedgerState.RESTORED)])
    assert back.what is What.DONE


def test_a_window_whose_hosts_are_all_through_and_that_still_owes_needs_somebody_after_a_while() -> None:
    through = rig.window(WindowState.RUNNING, hosts=(rig.window().hosts[0],))
    assert news([through], ()) == ()
    (owing,) = news([through], (), [rig.switched(LedgerState.SWITCHED)])
    assert (owing.what, owing.after) == (What.NEEDS_YOU, SETTLES)
    assert "STILL OWED: noout of pve-a1" in owing.text


def test_a_window_that_falls_behind_needs_somebody_once() -> None:
    window = rig.window(WindowState.RUNNING, hosts=(), behind="p90 finish 04:12 is after 04:00")
    assert one(window).what is What.NEEDS_YOU
    assert one(window).key == one(replace(window, behind="p90 finish 04:20")).key


def test_a_drain_that_ended_is_done_or_needs_somebody() -> None:
    (good,) = news((), [order(OrderState.DONE, reason="pve-a1 is empty")])
    assert (good.what, good.text, good.next_step) == (What.DONE, "pve-a1 is empty", "evac report O4")
    (bad,) = news((), [order(OrderState.INCOMPLETE, reason="1 failed of 3")])
    assert (bad.what, bad.text) == (What.NEEDS_YOU, "incomplete: 1 failed of 3")


def test_what_is_unknown_rings_after_it_was_looked_for() -> None:
    (found,) = news((), [order(OrderState.OPEN, unknown=1)])
    assert (found.what, found.after, found.lasting) == (What.NEEDS_YOU, SETTLES, True)


def test_an_open_drain_a_single_move_and_the_orders_of_a_window_do_not_ring() -> None:
    assert news((), [order(OrderState.OPEN)]) == ()
    assert news((), [replace(order(OrderState.INCOMPLETE), empties="")]) == ()
    assert news((), [order(OrderState.INCOMPLETE, window="W3")]) == ()


def test_a_drain_that_is_retried_and_ends_again_is_news_again() -> None:
    first = order(OrderState.INCOMPLETE)
    keys = {found.key for found in news((), [first]) + news((), [replace(first, ended=rig.BEGAN + 999)])}
    assert len(keys) == 2
