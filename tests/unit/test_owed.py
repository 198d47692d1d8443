"""What a person is reminded of, and when."""

from __future__ import annotations

from typing import Any

from evac.jobs import Actor
from evac.window.nouns import LedgerEntry, LedgerState, Window, WindowState
from evac.window.owed import NAMED, PATIENCE, overdue, owed

BY = Actor(uid=0, user="anna", role="admin")
NIGHT = Window(id="W1", plan="p", title="kernel", by=BY, created=0.0, ends=1000.0)


def entry(number: int = 1, **more: Any) -> LedgerEntry:
    fields: dict[str, Any] = {"what": "maintenance", "now": "in maintenance", "at": 0.0, "calls": 1}
    fields |= {"state": LedgerState.SWITCHED, "name": f"pve-a{number}", "by": BY}
    return LedgerEntry(id=f"L{number}", cluster="pve", subject=f"pve/host/pve-a{number}", **(fields | more))


def late(one: LedgerEntry, at: float, *windows: Window) -> bool:
    return bool(overdue([one], {window.id: window for window in windows}, at))


def test_what_a_window_switched_is_due_when_the_window_is_over_or_past_its_end() -> None:
    of_window = entry(window="W1")
    assert not late(of_window, 999.0, NIGHT)
    assert late(of_window, 1001.0, NIGHT)
    open_end = Window(id="W1", plan="p", title="kernel", by=BY, created=0.0)
    assert not late(of_window, 1e9, open_end)
    for state in (WindowState.DONE, WindowState.ENDED):
        over = Window(id="W1", plan="p", title="kernel", by=BY, created=0.0, ends=1000.0, state=state)
        assert late(of_window, 1.0, over)
    assert late(of_window, 1.0), "a window that nobody knows any more is over"


def test_what_was_switched_without_a_window_is_due_after_some_hours() -> None:
    assert not late(entry(), PATIENCE)
    assert late(entry(), PATIENCE + 1)


def test_what_was_put_back_settled_or_never_begun_is_not_due() -> None:
    for one in (
        entry(state=LedgerState.RESTORED),
        entry(state=LedgerState.SETTLED),
        entry(state=LedgerState.INTENDED, calls=0),
    ):
        assert not late(one, 1e9)
    for state in (LedgerState.INTENDED, LedgerState.SWITCHED, LedgerState.RESTORING):
        assert late(entry(state=state), 1e9), "what may have been made is owed"


def test_one_line_names_the_oldest_and_counts_the_rest() -> None:
    assert owed([], {}, 1e9) == ""
    assert owed([entry()], {}, 0.0) == ""
    assert (
        owed([entry()], {}, 1e9)
        == "Still switched by evac: pve-a1 in maintenance (L1). Put it back: evac restore"
    )
    many = [entry(number, at=100.0 - number) for number in range(1, NAMED + 3)]
    words = owed(many, {}, 1e9)
    assert words.startswith("Still switched by evac: pve-a5 in maintenance (L5), pve-a4 ")
    assert "and 2 more. Put it back" in words
    assert "\n" not in words
