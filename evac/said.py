"""What a program said, cut down to what a message can repeat."""

from __future__ import annotations

LAST_WORDS = 300
"""Characters of it."""


def last_line(text: str) -> str:
    """What it said last, short and without control characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    clean = "".join(char for char in (lines[-1] if lines else "") if char.isprintable())
    return clean[:LAST_WORDS].rstrip(".")
