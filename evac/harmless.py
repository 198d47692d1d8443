"""Text from elsewhere made harmless for files and messages that people open: no control, no hidden character survives."""

from __future__ import annotations

import unicodedata

LONGEST = 2_000
"""Characters kept of one text."""

STACKED = 2
"""Combining marks kept on one character; more of them paint over the neighbouring lines."""

_WRITTEN_OUT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls (C0, C1, ESC), format characters (bidi, zero-width, tags), surrogates, private use, unassigned, separators."""

_INVISIBLE = frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x3164, 0x115F, 0x1160, 0xFFA0))
)
"""Variation selectors and blank fillers."""


def harmless(text: str) -> str:
    """One line; whatever could move a cursor, reorder its neighbours or hide is written out, as Python does in a string."""
    if text.isascii() and text.isprintable():
        return _cut(text)
    out: list[str] = []
    stacked = 0
    for char in text[: LONGEST + 1]:
        kind = unicodedata.category(char)
        stacked = stacked + 1 if kind in {"Mn", "Me"} else 0
        if kind in _WRITTEN_OUT or char in _INVISIBLE or stacked > STACKED:
            out.append(char.encode("unicode_escape").decode())
        else:
            out.append(" " if kind == "Zs" else char)
    return _cut("".join(out))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def wide(text: str) -> int:
    """Cells that the text takes where letters have one width."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
