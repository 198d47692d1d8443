"""Hostile and wide text: harmless, and measured in cells."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.look import Span
from tui.text import clean, fit
from tui.widgets.lines import folded

ANY = st.text(st.characters(codec=None), max_size=80)
HOSTILE = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "a\u202egnp.exe",
    "web\u200b-01",
    "zero\ufeffwidth",
    "line\nbreak",
    "tab\tstop\r",
    "[red]markup[/red]",
    "e" + "\u0301" * 40,
    "\u0301starts combining",
    "\U000e0041tag",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_reaches_the_terminal(text: str) -> None:
    for ascii_only in (False, True):
        shown = clean(text, ascii_only)
        assert all(
            unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in shown
        )
        assert "\x1b" not in shown


def test_what_was_hidden_becomes_visible() -> None:
    """web-01 with a zero-width space must not look like web-01."""
    assert clean("web\u200b-01") != clean("web-01")
    assert clean("[red]x[/red]") == "[red]x[/red]"


def test_an_endless_text_is_cut() -> None:
    assert len(clean("x" * 10_000_000)) <= 2_000


@given(ANY, st.booleans())
def test_clean_is_idempotent_and_never_raises(text: str, ascii_only: bool) -> None:
    once = clean(text, ascii_only)
    assert clean(once, ascii_only) == once
    if ascii_only:
        assert once.isascii()


@given(ANY, st.integers(0, 40), st.booleans(), st.booleans())
def test_fit_is_exact_in_cells(text: str, cells: int, right: bool, ascii_only: bool) -> None:
    shown = fit(clean(text, ascii_only), cells, right=right, ascii_only=ascii_only)
    assert cell_len(shown) == cells
    if ascii_only:
        assert shown.isascii()


def test_a_wide_character_is_never_halved() -> None:
    assert fit("日本語サーバー", 6) == "日本… " or cell_len(fit("日本語サーバー", 6)) == 6
    assert fit("日本", 4) == "日本"


@given(st.lists(st.tuples(ANY, st.sampled_from(["plain", "bad"])), max_size=5), st.integers(12, 60))
def test_folding_keeps_every_word_and_stays_within_the_width(
    parts: list[tuple[str, str]], cells: int
) -> None:
    line = tuple(Span(clean(text), tone) for text, tone in parts)
    lines = folded(line, cells)
    assert all(cell_len("".join(span.text for span in piece)) <= cells for piece in lines)
    whole = "".join(span.text for span in line)
    again = "".join(span.text for piece in lines for span in piece)
    assert "".join(again.split()) == "".join(whole.split())
