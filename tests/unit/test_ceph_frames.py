"""What crosses the pipe arrives as it was sent, and anything else is an error and never a surprise."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.ceph import frames
from evac import framing
from evac.model import Finding, Problem
from evac.workers import Cancel, Ready

ANSWERS: list[frames.Answer] = [
    Ready(how="librados"),
    frames.Part(id=1, data=b"\x00\xff" * 9),
    frames.Done(id=1, code=16, err="Error EBUSY: ✗", took=0.5),
    frames.Rows(id=2, rows={0: frames.Counts(up=(1, 2)), 4096: frames.Counts()}),
    frames.Placed(id=2, placement=frames.Placement(columns=(1, 3), whole=True, pgs=(4, 5))),
    frames.Examined(id=3, findings=(Finding(check="a", ok=None, detail="b"),)),
    frames.Failed(id=4, kind="auth", problem=Problem(happened="x"), sent=True),
]

REQUESTS: list[frames.Request] = [
    frames.Setup(cluster="c", carrier="ssh", read_only=True, connect_timeout=1.0, read_timeout=2.0),
    frames.Ask(id=1, target="mgr", command={"prefix": "osd ok-to-stop", "ids": ["0"], "max": 3}, write=True),
    frames.Place(id=2, whole=True),
    frames.Examine(id=3),
    Cancel(id=1),
]


@pytest.mark.parametrize("frame", ANSWERS, ids=lambda frame: type(frame).__name__)
def test_an_answer_arrives_as_it_was_sent(frame: frames.Answer) -> None:
    packed = framing.pack(frame)
    assert framing.length(packed[:4]) == len(packed) - 4
    assert frames.answer(packed[4:]) == frame


@pytest.mark.parametrize("frame", REQUESTS, ids=lambda frame: type(frame).__name__)
def test_a_request_arrives_as_it_was_sent(frame: frames.Request) -> None:
    packed = framing.pack(frame)
    assert framing.length(packed[:4]) == len(packed) - 4
    assert frames.request(packed[4:]) == frame


def test_the_rows_of_a_frame_stay_far_below_its_limit() -> None:
    wide = frames.Counts(*((70_000,) * 200,) * 4)
    packed = framing.pack(frames.Rows(id=1, rows=dict.fromkeys(range(frames.ROWS), wide)))
    assert len(packed) < framing.MAX_FRAME


@given(st.binary(max_size=200))
def test_bytes_of_somebody_else_are_an_error_with_words(body: bytes) -> None:
    for read in (frames.answer, frames.request):
        with suppress(framing.FrameError):
            assert isinstance(read(body), frames.Answer | frames.Request)


@given(st.binary(min_size=4, max_size=4))
def test_no_length_makes_the_reader_wait_for_more_than_a_frame(head: bytes) -> None:
    with suppress(framing.FrameError):
        assert 0 < framing.length(head) <= framing.MAX_FRAME
