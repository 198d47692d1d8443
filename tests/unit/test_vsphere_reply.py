"""An answer of vCenter that drips, is too large, or is cut off: each ends in time, with what it was."""

from __future__ import annotations

import gzip
import http.client
import io
import time
from typing import Any

import pytest

from backends.vsphere import wire
from backends.vsphere.wire import Reply

BODY = b"<a/>" * 40


class Line:
    """What a socket gives to http.client."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._text)


def reply(body: bytes, *, length: int | None = None, packed: bool = False, left: float = 60.0) -> Reply:
    """Of an answer with that body; `left`: seconds until it has to be there."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) if length is None else length}\r\n"
    head += "Content-Encoding: gzip\r\n" if packed else ""
    line: Any = Line(head.encode() + b"\r\n" + body)
    response = http.client.HTTPResponse(line)
    response.begin()
    return Reply(response, time.monotonic() + left)


def test_an_answer_comes_whole_packed_or_not() -> None:
    assert b"".join(reply(BODY)) == BODY
    assert b"".join(reply(gzip.compress(BODY), packed=True)) == BODY


def test_an_answer_that_drips_past_its_time_is_given_up() -> None:
    with pytest.raises(TimeoutError, match="too slowly"):
        b"".join(reply(BODY, left=-1.0))


def test_an_answer_that_is_too_large_once_unpacked_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CAP", len(BODY) - 1)
    with pytest.raises(http.client.HTTPException):
        b"".join(reply(gzip.compress(BODY), packed=True))


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    short = gzip.compress(BODY)[:-9]
    for cut in (reply(short, packed=True), reply(BODY[:-9], length=len(BODY))):
        with pytest.raises(http.client.IncompleteRead):
            b"".join(cut)
