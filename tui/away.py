"""While you were away: what ended since this user's last console left, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from evac.decoding import from_json
from evac.jobs import JobState, OrderState
from evac.window.nouns import HostRun, StepState, Window
from tui import windows
from tui.store import Store


class LastSeen(Struct, frozen=True, kw_only=True):
    """When this user last looked, by the wall clock."""

    epoch: str = ""
    rev: int = -1
    at: float = 0.0


def file_of(state_dir: Path) -> Path:
    """One small file per user, so that several admins on one state directory each have theirs."""
    return state_dir / f"last-seen-{os.getuid()}.json"


def load(path: Path) -> LastSeen | None:
    """What was written last; None when there is nothing, or nothing readable."""
    try:
        return from_json(path.read_bytes(), LastSeen)
    except (OSError, msgspec.MsgspecError):
        return None


def save(path: Path, store: Store) -> None:
    """Remember now as the last look. A console that cannot write it still quits cleanly."""
    seen = LastSeen(epoch=store.epoch, rev=store.rev, at=store.wall())
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        fresh.write_bytes(msgspec.json.encode(seen))
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)


def summary(store: Store, last: LastSeen | None) -> str:
    """As "While you were away: 8 done, 1 failed; drain cmp-07 done; 3 still moving." or ""."""
    if last is None or not last.at:
        return ""
    ended = [job for job in store.jobs.values() if job.state.ended and (job.ended or 0.0) > last.at]
    counts = {state: sum(job.state is state for job in ended) for state in JobState}
    parts = [
        f"{counts[state]} {state.value}"
        for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
        if counts[state]
    ]
    orders = [
        f"{order.title} {'done' if order.state is OrderState.DONE else 'INCOMPLETE'}"
        for order in store.orders.values()
        if order.state is not OrderState.OPEN and (order.ended or 0.0) > last.at
    ]
    if len(orders) > 3:
        orders = [*orders[-2:], f"{len(orders) - 2} other orders ended"]
    steps = window_words(store, last.at)
    unknown = sum(job.state is JobState.UNKNOWN for job in store.jobs.values())
    flying = sum(job.state.in_flight and job.state is not JobState.UNKNOWN for job in store.jobs.values())
    adopted = sum("re-adopted" in job.note for job in store.jobs.values() if not job.state.ended)
    pieces = [", ".join(parts)] if parts else []
    pieces += orders + steps
    if not pieces and not unknown and not adopted:
        return ""
    if flying:
        pieces.append(f"{flying} still moving")
    if adopted:
        pieces.append(f"{adopted} re-adopted")
    pieces.append(f"{unknown} UNKNOWN, needs you" if unknown else "0 unknown")
    return f"While you were away: {'; '.join(pieces)}."


def window_words(store: Store, since: float) -> list[str]:
    """What windows did since then: as "W3: pve-a1 through, pve-a2 drained, NEEDS YOU: hook of pve-a2"."""
    said = [_of_window(window, since) for window in store.windows.values()]
    ledger = store.ledger.values()
    restored = sum((entry.restored_at or 0.0) > since for entry in ledger)
    late = len(windows.overdue(store))
    switches = [
        words
        for count, words in ((restored, f"{restored} switched back"), (late, f"{late} STILL SWITCHED"))
        if count
    ]
    return [words for words in (*said, ", ".join(switches)) if words]


def _of_window(window: Window, since: float) -> str:
    pieces = [words for run in window.hosts if (words := _of_host(run, since))]
    if window.ended is not None and window.ended > since:
        pieces.append(window.state.value)
    elif windows.is_open(window):
        pieces += [words for run in window.hosts if (words := _waits(run))]
    return f"{window.id}: {', '.join(pieces)}" if pieces else ""


def _of_host(run: HostRun, since: float) -> str:
    """How far it came in that time."""
    over = [step for step in run.steps if step.state.over and (step.ended or 0.0) > since]
    if not over:
        return ""
    if windows.through(run):
        return f"{run.name} through"
    last = over[-1]
    return f"{run.name} {last.kind.value} {last.state.value}"


def _waits(run: HostRun) -> str:
    """What it stands at, where it does not just go on."""
    step = run.step
    if windows.through(run) or step is None:
        return ""
    words = {
        StepState.NEEDS_YOU: "NEEDS YOU",
        StepState.UNKNOWN: "UNKNOWN, needs you",
        StepState.HELD: "held",
    }
    word = words.get(step.state)
    return f"{run.name} {step.kind.value} {word}" if word else ""
