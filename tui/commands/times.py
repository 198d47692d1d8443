"""Times as they are typed on the command line. Without a zone they are UTC, as in plans and reports."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tui.commands.exits import Code, Stop

FORMS = "2026-11-30T00:30Z, with +01:00 for a zone, or 00:30 for the next such time; UTC"

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})Z?")


def moment(text: str, after: float) -> float | None:
    """Unix seconds; of a time without a date the next one after `after`; None for "". Stop when it is no time."""
    if not text.strip():
        return None
    try:
        clock = _CLOCK.fullmatch(text.strip())
        if clock is None:
            at = datetime.fromisoformat(text.strip())
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        base = datetime.fromtimestamp(after, UTC)
        at = base.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return (at if at.timestamp() > after else at + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        raise Stop(f"{text!r} is no time.", Code.USAGE, next_step=f"Write {FORMS}.") from None
