"""What must not be overlooked in a report: it stands on top, in bold words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac.jobs import JobState
from evac.probe import FeltVerdict
from evac.report_nouns import Done, HostPart, Moved, Switched
from evac.window.nouns import StepState

NAMED = 5
"""Names told in one line; the tables below have them all."""


def attention(
    what: str,
    *,
    over: bool,
    hosts: Sequence[HostPart],
    moves: Sequence[Moved],
    others: Sequence[Done],
    ledger: Sequence[Switched],
    behind: str,
    left: Sequence[str],
) -> tuple[str, ...]:
    """The lines; () when it is over and all is well."""
    return (
        *(() if over else (f"STILL RUNNING: {what} is not over. This report is not the last one.",)),
        *((f"BEHIND: {behind}",) if behind else ()),
        *(_owed(entry) for entry in ledger if entry.owed),
        *_unknown(moves, others),
        *_failed(moves, others),
        *_silent(moves),
        *_left(left),
        *(_unfinished(hosts) if over else ()),
        *(_skipped(hosts)),
        *_same_boot(hosts),
    )


def _owed(entry: Switched) -> str:
    was = f" (it was: {entry.was})" if entry.was else ""
    why = f": {entry.reason}" if entry.reason else ""
    return f"STILL OWED: {entry.what} of {entry.name} in {entry.cluster} is not switched back{was}{why}"


def _unknown(moves: Sequence[Moved], others: Sequence[Done]) -> Iterable[str]:
    unknown = JobState.UNKNOWN.value
    names = [move.name for move in moves if move.state == unknown]
    names += [one.what for one in others if one.state == unknown]
    if names:
        yield f"UNKNOWN: what became of {_named(names)} cannot be told. Look at the cluster before anything is repeated."


def _failed(moves: Sequence[Moved], others: Sequence[Done]) -> Iterable[str]:
    """What failed once and was done by a later order is no failure any more; it stands in the tables."""
    good = {(one.cluster, one.vm, one.purpose) for one in moves if one.state == JobState.DONE.value}
    bad = [one for one in moves if one.state == JobState.FAILED.value]
    moved = [one.name for one in bad if (one.cluster, one.vm, one.purpose) not in good]
    again = {one.what for one in others if one.state == JobState.DONE.value}
    done = [one.what for one in others if one.state == JobState.FAILED.value and one.what not in again]
    if moved:
        yield f"FAILED: {len(moved)} of {len(moves)} moves: {_named(moved)}"
    if done:
        yield f"FAILED: {_named(done)}"


def _silent(moves: Sequence[Moved]) -> Iterable[str]:
    names = [move.name for move in moves if move.verdict == FeltVerdict.SILENT.value]
    if names:
        yield f"SILENT since the move: {_named(names)}"


def _left(left: Sequence[str]) -> Iterable[str]:
    if left:
        yield f"NOT EMPTY: {_named(left)} still there when all had ended"


def _unfinished(hosts: Sequence[HostPart]) -> Iterable[str]:
    """A window that was ended leaves hosts as they stand."""
    for host in hosts:
        if host.outcome.startswith("at "):
            away = f"; {len(host.left)} VMs had left it" if host.left else ""
            yield f"NOT FINISHED: {host.name} stood {host.outcome} when the window ended{away}"
    names = [host.name for host in hosts if host.outcome == "not begun"]
    if names:
        yield f"NOT BEGUN: {_named(names)}"


def _skipped(hosts: Sequence[HostPart]) -> Iterable[str]:
    for host in hosts:
        if host.left_out:
            by = next((f" by {step.skipped_by}" for step in host.steps if step.skipped_by), "")
            yield f"LEFT OUT: {host.name}{by}: {host.left_out}"
            continue
        for step in host.steps:
            if step.state == StepState.SKIPPED.value and step.skipped_by:
                why = step.skipped_why or "no reason given"
                yield f"SKIPPED: {step.kind} of {host.name} by {step.skipped_by}: {why}"


def _same_boot(hosts: Sequence[HostPart]) -> Iterable[str]:
    for host in hosts:
        before, after = host.before, host.after
        if before is not None and after is not None and before.boot and before.boot == after.boot:
            yield f"NOT RESTARTED: {host.name} runs the same boot as before"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
