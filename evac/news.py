"""What somebody who does not look at the screen must hear: that a window or drain needs a human, or is done. Pure.

Both the notify hooks and the console's bell ask here, so they ring for the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from enum import StrEnum

from evac.jobs import Order, OrderState
from evac.noun import Noun
from evac.window.nouns import HostRun, LedgerEntry, StepState, Window, WindowState
from evac.window.owner import orphaned

SETTLES = 60.0
"""Seconds that a job must be unknown before it is news: after a crash every call on the wire is, until it is looked for."""

QUIET = 300.0
"""Seconds between two pieces of news about the same step: one that flaps must not page somebody each second."""

NAMED = 3


class What(StrEnum):
    """Which of the two."""

    NEEDS_YOU = "needs-you"
    DONE = "done"


class News(Noun, frozen=True, kw_only=True):
    """One of them, for one reason."""

    key: str
    """The same as long as the reason lasts, also in the next engine; another the next time."""
    about: str
    """What it is about; two of one `about` that follow each other closely are told with a pause between."""
    what: What
    subject: str
    """"W3" or "O4"."""
    title: str
    ticket: str = ""
    text: str
    next_step: str = ""
    since: float
    """Unix seconds."""
    lasting: bool = False
    """It holds until somebody does something, however old it is; the others are old news after a while."""
    after: float = 0.0
    """Seconds it must have been seen before it is told."""


class Ripening:
    """Which news is to be told now: what lasts long enough, and not twice in a short time about the same step."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        """News.key → stamp since which it has been seen."""
        self._about: dict[str, float] = {}
        """News.about → when it was told last."""

    def ripe(self, found: Iterable[News], told: Container[str], stamp: float) -> list[News]:
        """Those of `found`, all there is at `stamp` (seconds on a steady clock), that are to be told and are not in `told`."""
        found = tuple(found)
        self._seen = {one.key: self._seen.get(one.key, stamp) for one in found}
        ready = [one for one in found if one.key not in told and self._may(one, stamp)]
        self._about |= {one.about: stamp for one in ready}
        return ready

    def _may(self, one: News, stamp: float) -> bool:
        lasted = stamp - self._seen[one.key] >= one.after
        return lasted and stamp - self._about.get(one.about, float("-inf")) >= QUIET


def news(
    windows: Iterable[Window], orders: Iterable[Order], ledger: Iterable[LedgerEntry] = ()
) -> tuple[News, ...]:
    """All there is at present. Moves that a person made one by one are none, nor are the orders of a window."""
    owed: dict[str, list[LedgerEntry]] = {}
    for entry in ledger:
        if entry.window and entry.state.owed:
            owed.setdefault(entry.window, []).append(entry)
    found = [one for window in windows for one in _of_window(window, owed.get(window.id, []))]
    return (
        *found,
        *(one for order in orders if order.empties and not order.window for one in _of_order(order)),
    )


# --- windows -------------------------------------------------------------------------------------


def _of_window(window: Window, owed: list[LedgerEntry]) -> Iterable[News]:
    if window.state in (WindowState.DONE, WindowState.ENDED):
        yield _over(window, owed)
        return
    for run in window.hosts:
        yield from _of_host(window, run)
    if owed and all(run.step is None for run in window.hosts):
        text = f"all hosts are through, but {_owed(owed)}"
        about = f"{window.id}/owed"
        yield _news(
            window, about, text, since=window.created, lasting=True, next_step="evac restore", after=SETTLES
        )
    if orphaned(window):
        step = f"another admin: evac window resume {window.id}"
        about = f"{window.id}/orphan"
        yield _news(
            window, about, window.orphan, since=window.created, lasting=True, next_step=step, after=SETTLES
        )
    if window.behind:
        yield _news(window, f"{window.id}/behind", window.behind, since=window.created, lasting=True)


def _of_host(window: Window, run: HostRun) -> Iterable[News]:
    step = run.step
    if step is None or run.left_out or step.state not in (StepState.NEEDS_YOU, StepState.UNKNOWN):
        return
    wait = step.waits[-1] if step.waits and step.waits[-1].until is None else None
    since = wait.since if wait is not None else step.began or window.created
    text = f"{run.name}, {step.kind.value}: {step.reason or step.state.value}"
    about = f"{window.id}/{run.key}/{step.kind.value}"
    yield _news(window, about, text, since=since, lasting=True, next_step=step.next_step)


def _over(window: Window, owed: list[LedgerEntry]) -> News:
    since = window.ended if window.ended is not None else window.created
    through = sum(run.step is None and not run.left_out for run in window.hosts)
    early = "ended early, " if window.state is WindowState.ENDED else ""
    text = f"{early}{through} of {len(window.hosts)} hosts through"
    report = f"evac report {window.id}"
    if owed:
        text += f"; {_owed(owed)}"
        return _news(window, f"{window.id}/owed", text, since=since, lasting=True, next_step=report)
    return _news(window, f"{window.id}/over", text, since=since, what=What.DONE, next_step=report)


def _owed(owed: list[LedgerEntry]) -> str:
    names = ", ".join(f"{entry.what} of {entry.name}" for entry in owed[:NAMED])
    more = f" and {len(owed) - NAMED} more" if len(owed) > NAMED else ""
    return f"STILL OWED: {names}{more}"


def _news(
    window: Window,
    about: str,
    text: str,
    *,
    since: float,
    what: What = What.NEEDS_YOU,
    lasting: bool = False,
    next_step: str = "",
    after: float = 0.0,
) -> News:
    return News(
        key=f"{about}/{what.value}/{since:.3f}",
        about=about,
        what=what,
        subject=window.id,
        title=window.title,
        ticket=window.ticket,
        text=text,
        next_step=next_step,
        since=since,
        lasting=lasting,
        after=after,
    )


# --- orders --------------------------------------------------------------------------------------


def _of_order(order: Order) -> Iterable[News]:
    if order.state is OrderState.OPEN:
        if order.unknown:
            text = f"what became of {order.unknown} of {order.jobs} jobs cannot be told yet"
            yield _told(
                order, What.NEEDS_YOU, text, "unknown", since=order.created, lasting=True, after=SETTLES
            )
        return
    since = order.ended if order.ended is not None else order.created
    good = order.state is OrderState.DONE
    text = order.reason or f"{order.done} of {order.jobs} jobs done"
    if not good:
        text = f"incomplete: {text}"
    yield _told(order, What.DONE if good else What.NEEDS_YOU, text, "over", since=since)


def _told(
    order: Order, what: What, text: str, word: str, *, since: float, lasting: bool = False, after: float = 0.0
) -> News:
    return News(
        key=f"{order.id}/{word}/{what.value}/{since:.3f}",
        about=f"{order.id}/{word}",
        what=what,
        subject=order.id,
        title=order.title,
        ticket=order.ticket,
        text=text,
        next_step=f"evac report {order.id}",
        since=since,
        lasting=lasting,
        after=after,
    )
