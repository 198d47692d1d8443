"""Frames between the engine and the prober survive the way; anything else is called garbled and never a crash."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac import framing
from evac.probe import Felt, Gap, Method, ProbeRow, Target
from evac.prober import messages

TARGET = Target(
    id="a/b#192.0.2.1", method=Method.TCP, address="192.0.2.1", port=22, interval=0.1, deadline=0.5
)
GAP = Gap(least=0.1, most=None, began=1.5, lost=2, late=1, blind="why", over=False)
FELT = Felt(
    target="x",
    method=Method.COMMAND,
    address="",
    interval=1.0,
    deadline=1.0,
    began=1.0,
    ended=2.0,
    gaps=(GAP,),
    answers_now=False,
)
ROW = ProbeRow(id="x", state="silent", strip="..xl?", rtt=0.1, longest=GAP, silent_for=3.0, window="w")

ORDERS: list[messages.Order] = [
    messages.Watch((TARGET,)),
    messages.Drop(("x", "\x1b[31mü")),
    messages.Begin("x", "w", 0.01, None),
    messages.Begin("x", "w", 0.01, 0.5),
    messages.End("x", "w"),
    messages.Rate(500.0),
]
NEWS: list[messages.News] = [
    messages.Rows((ROW,)),
    messages.Measured("w", FELT),
    messages.State(stretch=2.0, punctual=True),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda one: type(one).__name__)
def test_an_order_arrives_as_it_was_given(order: messages.Order) -> None:
    frame = framing.pack(order)
    assert framing.length(frame[:4]) == len(frame) - 4
    assert messages.order(frame[4:]) == order


@pytest.mark.parametrize("news", NEWS, ids=lambda one: type(one).__name__)
def test_news_arrive_as_they_were_sent(news: messages.News) -> None:
    assert messages.news(framing.pack(news)[4:]) == news


@given(st.binary(max_size=200))
def test_what_is_no_frame_is_garbled(data: bytes) -> None:
    for decode in (messages.order, messages.news):
        with contextlib.suppress(framing.FrameError):
            decode(data)


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\x01"])
def test_a_length_no_frame_has_is_garbled(head: bytes) -> None:
    with pytest.raises(framing.FrameError):
        framing.length(head)
