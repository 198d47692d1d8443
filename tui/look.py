"""How things are drawn: glyphs (with ASCII stand-ins) and tones (names for colours) by theme.

A tone never carries meaning alone: every state is a glyph and a word first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct
from rich.style import Style

GLYPHS: Mapping[str, tuple[str, str]] = {
    "good": ("✓", "+"),
    "bad": ("✗", "x"),
    "warn": ("▲", "!"),
    "unknown": ("?", "?"),
    "run": ("▶", ">"),
    "wait": ("○", "o"),
    "held": ("‖", "="),
    "info": ("·", "."),
    "off": ("■", "-"),
    "pause": ("‖", "="),
    "maintenance": ("◆", "#"),
    "cancelled": ("∅", "0"),
    "arrow": ("→", "->"),
    "left": ("←", "<-"),
    "mark": ("●", "*"),
    "up": ("↑", "^"),
    "down": ("↓", "v"),
    "full": ("█", "#"),
    "empty": ("░", "."),
    "bar": ("│", "|"),
    "thumb": ("█", "#"),
    "track": ("│", "|"),
    "rule": ("─", "-"),
    "branch": ("└", "`"),
    "dot": ("·", "-"),
    "reply": ("▁", "."),
    "late": ("▄", "l"),
    "lost": ("█", "x"),
}

Tone = str
"""One of the names in `TONES`."""

_DARK = {
    "plain": "",
    "dim": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "strong_bad": "bold red",
    "busy": "cyan",
    "title": "bold",
    "key": "bold cyan",
    "head": "bold underline",
    "mark": "bold magenta",
    "cursor": "reverse",
    "cell": "bold reverse",
    "bar": "reverse",
    "armed": "bold black on yellow",
    "readonly": "bold black on cyan",
    "banner": "bold white on red",
    "label": "bold yellow",
    "safe": "bold black on green",
}

_BLIND = _DARK | {
    "good": "#56b4e9",
    "warn": "#f0e442",
    "bad": "bold #e69f00",
    "strong_bad": "bold underline #e69f00",
    "busy": "#cc79a7",
    "key": "bold #56b4e9",
    "mark": "bold #cc79a7",
    "armed": "bold black on #f0e442",
    "readonly": "bold black on #56b4e9",
    "banner": "bold black on #e69f00",
    "label": "bold #f0e442",
    "safe": "bold black on #56b4e9",
}
"""Okabe and Ito's palette: told apart with any common colour blindness (jfly.uni-koeln.de/color)."""

_MONO = _DARK | {
    "good": "",
    "warn": "bold",
    "bad": "bold",
    "strong_bad": "bold reverse",
    "busy": "",
    "key": "bold",
    "mark": "bold",
    "armed": "bold reverse",
    "readonly": "bold reverse",
    "banner": "bold reverse",
    "label": "bold",
    "safe": "bold reverse",
}

_LIGHT = _DARK | {"warn": "bold magenta", "busy": "blue", "key": "bold blue", "label": "bold magenta"}

THEMES: Mapping[str, Mapping[str, str]] = {
    "dark": _DARK,
    "light": _LIGHT,
    "colour-blind": _BLIND,
    "mono": _MONO,
}
"""Dark, light and mono use the terminal's own sixteen colours, so they agree with whatever the admin chose there."""

TONES = tuple(_DARK)

DEFAULT_THEME = "dark"


class Span(NamedTuple):
    """A piece of text and how it is drawn. The text is already clean."""

    text: str
    tone: Tone = "plain"


Line = tuple[Span, ...]


class Look(Struct, frozen=True, kw_only=True):
    """Which characters and which theme."""

    ascii_only: bool = False
    theme: str = DEFAULT_THEME

    def glyph(self, name: str) -> str:
        """A symbol by its meaning."""
        return GLYPHS[name][1 if self.ascii_only else 0]

    def styles(self) -> dict[Tone, Style]:
        """Tone → rich style."""
        return {tone: Style.parse(text or "none") for tone, text in THEMES[self.theme].items()}


def theme_or_default(name: str | None) -> tuple[str, str]:
    """A theme we have, and a complaint when the one asked for does not exist."""
    if not name:
        return DEFAULT_THEME, ""
    wanted = {"color-blind": "colour-blind", "colorblind": "colour-blind"}.get(name.lower(), name.lower())
    if wanted in THEMES:
        return wanted, ""
    return DEFAULT_THEME, f"There is no theme {name!r}; using {DEFAULT_THEME}. Themes: {', '.join(THEMES)}."
