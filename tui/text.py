"""Text at the edge: whatever a cluster, a config or a person wrote is made harmless once, then measured in cells.

Nothing here or above interprets markup: what comes out of `clean` is drawn as it is.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ASCII_REPLACEMENT = "?"

LONGEST = 2_000
"""Characters kept of one text. A Nova name has at most 255; an error text of megabytes must not stall a key."""

STACKED = 2
"""Combining marks kept on one character; more of them paint over the neighbouring lines."""

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls (C0, C1, ESC), format characters (bidi, zero-width, tags), surrogates, private use, unassigned, separators."""

_VARIATION = frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x3164, 0x115F, 0x1160, 0xFFA0))
)
"""Variation selectors and blank fillers: invisible, and terminals disagree on their width."""


_PLAIN = {
    "…": "...",
    "→": "->",
    "·": "-",
    "≥": ">=",
    "≤": "<=",
}
"""What the engine and the clusters write in their sentences, in ASCII."""


@lru_cache(maxsize=65_536)
def clean(text: str, ascii_only: bool = False) -> str:
    """One line that cannot move the cursor, reorder its neighbours or hide: each unsafe character becomes visible."""
    if text.isascii() and text.isprintable():
        return text[:LONGEST]
    out: list[str] = []
    stacked = 0
    for char in text[:LONGEST]:
        kind = unicodedata.category(char)
        if kind in {"Mn", "Me"} and char not in _VARIATION:
            stacked += 1
            if stacked > STACKED or not out:
                continue
        else:
            stacked = 0
        out.append(_safe(char, kind, ascii_only))
    return "".join(out)


def _safe(char: str, kind: str, ascii_only: bool) -> str:
    if char in "\n\r\t" or kind == "Zs":
        return " / " if char == "\n" else " "
    if kind in _DROPPED or char in _VARIATION:
        return ASCII_REPLACEMENT if ascii_only else REPLACEMENT
    if ascii_only and not char.isascii():
        if char in _PLAIN:
            return _PLAIN[char]
        return ASCII_REPLACEMENT * (cell_len(char) or 0)
    return char


def width(text: str) -> int:
    """Cells the text takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, cells: int, *, right: bool = False, ascii_only: bool = False) -> str:
    """Exactly `cells` cells: padded, or cut with "…" ("~" in ASCII). Wide characters are never halved."""
    if cells <= 0:
        return ""
    used = width(text)
    if used <= cells:
        pad = " " * (cells - used)
        return pad + text if right else text + pad
    mark = "~" if ascii_only else "…"
    cut = text[: cells - 1] if text.isascii() else set_cell_size(text, cells - 1)
    return cut + mark


def head(text: str, cells: int) -> str:
    """As much of the beginning as fits into `cells`, at least one character."""
    used = 0
    for index, char in enumerate(text):
        used += width(char)
        if used > cells:
            return text[: max(1, index)]
    return text
