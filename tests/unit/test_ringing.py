"""The bell rings for what somebody must hear, once, and not for what is on the screen already."""

from __future__ import annotations

from msgspec.structs import replace

from evac.api import Delta
from evac.jobs import Order, OrderState
from evac.news import QUIET, SETTLES
from evac.window.nouns import StepState, Window, WindowState
from tests.unit import report_rig as rig
from tests.unit.test_news import at
from tui.ringing import Ringer
from tui.store import Store


class Desk:
    def __init__(self) -> None:
        self.store, self.ringer, self.rev, self.now = Store(), Ringer(), 0, 0.0

    def comes(self, *windows: Window, orders: tuple[Order, ...] = (), after: float = 1.0) -> bool:
        self.rev += 1
        self.now += after
        self.store.apply(Delta(epoch="e", rev=self.rev, full=self.rev == 1, windows=windows, orders=orders))
        return self.ringer.rings(self.store, self.now)


def test_nothing_rings_before_the_first_answer_and_what_holds_then_does_not_ring() -> None:
    desk = Desk()
    assert not desk.ringer.rings(desk.store, 0)
    assert not desk.comes(at(StepState.NEEDS_YOU), orders=rig_orders())
    assert not desk.comes()


def rig_orders() -> tuple[Order, ...]:
    return (rig.drain()[0],)


def test_a_window_that_begins_to_need_somebody_rings_once() -> None:
    desk = Desk()
    assert not desk.comes(at(StepState.RUNNING))
    assert desk.comes(at(StepState.NEEDS_YOU, reason="patch it"))
    assert not desk.comes(at(StepState.NEEDS_YOU, reason="patch it, 5 min"))
    assert not desk.comes(after=9_999)


def test_a_window_and_a_drain_that_end_ring() -> None:
    desk = Desk()
    assert not desk.comes(rig.window(WindowState.RUNNING), orders=(rig.drain(state=OrderState.OPEN)[0],))
    assert desk.comes(rig.window(WindowState.DONE))
    assert desk.comes(orders=rig_orders())
    assert not desk.comes()


def test_a_step_that_flaps_rings_every_few_minutes_at_most() -> None:
    desk = Desk()
    desk.comes(at(StepState.RUNNING))
    rang = 0
    for second in range(600):
        state = StepState.NEEDS_YOU if second % 2 else StepState.RUNNING
        window = at(state)
        step = replace(window.hosts[0].steps[0], began=float(second))
        rang += desk.comes(replace(window, hosts=(replace(window.hosts[0], steps=(step,)),)))
    assert 1 <= rang <= 600 / QUIET + 1


def test_what_is_unknown_for_a_moment_does_not_ring() -> None:
    desk = Desk()
    open_drain = rig.drain(state=OrderState.OPEN)[0]
    desk.comes(orders=(open_drain,))
    assert not desk.comes(orders=(replace(open_drain, unknown=1),))
    assert not desk.comes(orders=(open_drain,))
    assert not desk.comes(orders=(replace(open_drain, unknown=1),))
    assert desk.comes(after=SETTLES)
