"""What a terminal answers by itself is never a key; what a person does always is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tui.replies import PATIENCE, Parser, Replies

ANSWERS = [
    "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",
    "\x1b]10;rgb:c/m/x\x07",
    "\x1b[?64;1;2;6;9;15;22c",
    "\x1b[>41;354;0c",
    "\x1b[?1u",
    "\x1b[0n",
    "\x1b[4;600;800t",
    "\x1b[8;24;80t",
    "\x1bP>|xterm(388)\x1b\\",
    "\x1bP1+r5463=787465726d\x1b\\",
    "\x1b_Gi=1;OK\x1b\\",
    "\x1b]52;c;ZHJhaW4=\x07",
]
KEYS = [
    "d",
    "y",
    "\r",
    "\x1b[A",
    "\x1b[5~",
    "\x1bOP",
    "\x1b[1;5C",
    "\x1b[15~",
    "\x1b[Z",
    "é",
    "界",
    "\x1b[24;1R",
]
DONE = ["\x1b[<0;10;5M", "\x1b[<64;1;1M", "\x1b[I", "\x1b[200~a ;c\x1b[201~", "\x1b[?2026;2$y", "\x1b[[A"]


@given(st.lists(st.sampled_from(ANSWERS + KEYS + DONE), max_size=12), st.randoms(use_true_random=False))
def test_of_any_mixture_in_any_pieces_only_what_was_done_is_left(
    parts: list[str], chance: random.Random
) -> None:
    parts = [*parts, "\x1b[B"]
    wanted = "".join(part for part in parts if part not in ANSWERS)
    replies, left, rest = Replies(), "", "".join(parts)
    while rest:
        cut = _cut(rest, chance.randint(1, 9))
        left += replies.without(rest[:cut], 1.0)
        rest = rest[cut:]
    assert left == wanted


def _cut(text: str, at: int) -> int:
    """Not within the introducer of a control sequence without a private mark: a terminal sends those in one piece."""
    while at < len(text) and "\x1b" in text[max(0, at - 12) : at]:
        at += 1
    return at


@pytest.mark.parametrize(
    "answer", ["\x1b]11;rgb:1e1e/cccc/dddd\x1b\\", "\x1b[?64;1c", "\x1bP1+r5463=78\x1b\\"]
)
def test_an_answer_that_arrives_byte_by_byte_is_none_the_less_one(answer: str) -> None:
    """Its first two or three come together: the escape alone may be the Escape key, which Textual finds out by waiting."""
    replies = Replies()
    pieces = (answer[:3], *answer[3:])
    assert "".join(replies.without(piece, 1.0) for piece in pieces) == ""
    assert replies.without("d", 1.0) == "d"


def test_an_answer_that_is_broken_off_swallows_nothing_of_the_next_key() -> None:
    assert Replies().without("\x1bP1$r0m\x1b[B", 1.0) == "\x1b[B"


def test_a_key_pressed_with_alt_does_not_make_the_console_deaf() -> None:
    replies = Replies()
    assert replies.without("\x1bP", 1.0) == ""
    assert replies.without("j", 1.0 + 2 * PATIENCE) == "j"
    assert replies.without("\x1b]", 5.0) == ""
    assert replies.without("\x1b[A", 5.1) == "\x1b[A", "and an escape ends it at once"


def test_a_paste_stays_whole_whatever_is_in_it() -> None:
    replies = Replies()
    assert replies.without("\x1b[200~web\x1b]0;x", 1.0) == "\x1b[200~web"
    assert replies.without("\x1b[201~", 1.1) == "\x1b[201~", "its end is never swallowed"


@pytest.mark.parametrize("answer", ANSWERS)
def test_textual_makes_no_key_of_it(answer: str) -> None:
    parser = Parser()
    seen = [*parser.feed(answer), *parser.feed("\x1b[B"), *parser.tick()]
    assert [event.key for event in seen if isinstance(event, events.Key)] == ["down"]
