"""While you were away: what ended since this user's last console left, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from evac.jobs import JobState, OrderState
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
        return msgspec.json.decode(path.read_bytes(), type=LastSeen)
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
    unknown = sum(job.state is JobState.UNKNOWN for job in store.jobs.values())
    flying = sum(job.state.in_flight and job.state is not JobState.UNKNOWN for job in store.jobs.values())
    adopted = sum("re-adopted" in job.note for job in store.jobs.values() if not job.state.ended)
    pieces = [", ".join(parts)] if parts else []
    pieces += orders
    if not pieces and not unknown and not adopted:
        return ""
    if flying:
        pieces.append(f"{flying} still moving")
    if adopted:
        pieces.append(f"{adopted} re-adopted")
    pieces.append(f"{unknown} UNKNOWN, needs you" if unknown else "0 unknown")
    return f"While you were away: {'; '.join(pieces)}."
