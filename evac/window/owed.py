"""What a person is reminded of: things that evac switched and that nobody has put back in time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evac.window.nouns import LedgerEntry, Window, WindowState

PATIENCE = 4 * 3600.0
"""Seconds after which something that was switched without a window is called forgotten: as long as a night's change."""

NAMED = 3
"""Things that the line names; more are counted."""

_OPEN = (WindowState.RUNNING, WindowState.STOPPED)


def overdue(
    entries: Iterable[LedgerEntry], windows: Mapping[str, Window], at: float
) -> tuple[LedgerEntry, ...]:
    """What should have been put back by now (`at`, Unix seconds), oldest first."""
    found = [entry for entry in entries if entry.state.owed and entry.calls and _late(entry, windows, at)]
    return tuple(sorted(found, key=lambda entry: entry.at))


def _late(entry: LedgerEntry, windows: Mapping[str, Window], at: float) -> bool:
    if not entry.window:
        return at - entry.at > PATIENCE
    window = windows.get(entry.window)
    if window is None or window.state not in _OPEN:
        return True
    return window.ends is not None and at > window.ends


def phrase(entry: LedgerEntry) -> str:
    """As "pve-a1 in maintenance", "web-1 stopped", "DRS of c1 manual"."""
    return f"{entry.name} {entry.now or entry.what}"


def owed(entries: Iterable[LedgerEntry], windows: Mapping[str, Window], at: float) -> str:
    """One line that says what was forgotten, or "" when nothing was."""
    late = overdue(entries, windows, at)
    if not late:
        return ""
    named = ", ".join(f"{phrase(entry)} ({entry.id})" for entry in late[:NAMED])
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    return f"Still switched by evac: {named}{more}. Put it back: evac restore"
