"""Times as a person types them into a dialog: "00:30" or "2026-11-30 00:30", UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\s*Z?")
_WHOLE = re.compile(r"(\d{4})-(\d{2})-(\d{2})[ T](\d{1,2}):(\d{2})\s*Z?")

FORMS = "HH:MM or YYYY-MM-DD HH:MM, in UTC"


def moment(text: str, after: float) -> float | None:
    """Unix seconds; of a time without a date the next one after `after`; None for nothing typed.

    Raises:
        ValueError: it is no time, in words.
    """
    text = text.strip()
    if not text:
        return None
    whole, clock = _WHOLE.fullmatch(text), _CLOCK.fullmatch(text)
    try:
        if whole is not None:
            year, month, day, hour, minute = map(int, whole.groups())
            return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()
        if clock is not None:
            hour, minute = map(int, clock.groups())
            base = datetime.fromtimestamp(after, UTC)
            at = base.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return (at if at.timestamp() > after else at + timedelta(days=1)).timestamp()
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no time: {FORMS}")
