"""Durations and times of day, in the words of a window. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def minutes(seconds: float) -> str:
    """In words: "45 s", "14 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 90 else f"{whole // 60} h {whole % 60:02d} min"


def hour(at: float) -> str:
    """In words: "04:00 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")
