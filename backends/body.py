"""The body of an answer over HTTP: whole or as it arrives, bounded in size and in time."""

from __future__ import annotations

import functools
import http.client
import time
from collections.abc import Iterator

import requests

CAP = 256 * 1024 * 1024
"""Bytes of one answer, unpacked. 10,000 servers in pages of 1,000 are 2 to 3 MB a page; 50 MB answers are fine."""

CHUNK = 64 * 1024
LARGE = 1024 * 1024
"""Bytes of an answer from which on it is not copied once more: fresh pages cost more than what is done with them."""


class Sink:
    """Takes the body of a good answer as it arrives, so that a large one is never held as a whole."""

    def begin(self) -> None:
        """An answer begins. What came of one before is void: it broke off, and was asked for again."""
        raise NotImplementedError

    def take(self, piece: bytes) -> None:
        """The next bytes. What is wrong with them is told when all is there, for the rest is to be read all the same."""
        raise NotImplementedError


class Broken(Exception):
    """It is not whole; the text says how, as in "the answer is …"."""


def receive(response: requests.Response, deadline: float, sink: Sink | None) -> tuple[bytes | bytearray, int]:
    """The whole of it, or b"" where a sink took it; and its size. `deadline`: of time.monotonic().

    What is large and tells its length goes straight to where it stays.

    Raises:
        Broken: too large, or cut off.
        requests.exceptions.ReadTimeout: it was not there in time.
    """
    promised = _promised(response)
    if sink is not None and response.status_code == 200:
        sink.begin()
    else:
        sink = None
    body = bytearray(promised) if promised > LARGE and sink is None else bytearray()
    size = 0
    for piece in _pieces(response):
        if sink is None:
            body[size : size + len(piece)] = piece
        else:
            sink.take(piece)
        size += len(piece)
        if size > CAP:
            raise Broken(f"larger than {CAP // 1024**2} MB")
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout("the answer comes too slowly", request=response.request)
    if size < promised:
        raise Broken(f"cut off after {size} of {promised} bytes")
    return body if size > LARGE else bytes(body), size


def _promised(response: requests.Response) -> int:
    """Bytes that its head tells of; 0: it does not tell."""
    length = response.headers.get("Content-Length", "")
    plain = not response.headers.get("Content-Encoding")
    has_body = response.request.method != "HEAD" and response.status_code not in {204, 304}
    promised = int(length) if length.isdigit() and plain and has_body else 0
    if promised > CAP:
        raise Broken(f"larger than {CAP // 1024**2} MB")
    return promised


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """As they arrive: read1 returns what is there, so a slow drip is noticed."""
    raw = response.raw
    line = getattr(raw, "_original_response", None)
    plain = not response.headers.get("Content-Encoding") and not getattr(raw, "chunked", False)
    if not plain or not isinstance(line, http.client.HTTPResponse):
        yield from raw.stream(CHUNK, decode_content=True)
        return
    # A TLS record is 16 KB, and urllib3's own read1 costs more for each than TLS does.
    yield from iter(functools.partial(line.read1, CHUNK), b"")
    if not line.length:  # else it was cut off, and the connection is not to be used again
        line.close()
        raw.release_conn()
