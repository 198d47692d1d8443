"""The list of everything that a cluster has, read a piece at a time and compared with the one before.

The answer for ten thousand guests is 4 MB, and it differs in every poll, for load, traffic and uptime do. So its rows are
decoded without them, and those of a piece that are as they were are dropped at once, while they are in the processor's
cache: comparing costs next to nothing then, and there is no step of Python's own per guest.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from backends.body import Sink
from backends.proxmox.client import Client, sound
from backends.proxmox.payload import Guest, Resource
from evac.decoding import from_json, json_decoder

PIECE = 64 * 1024
"""Bytes that are decoded at a time, at least: what becomes of them fits into the processor's cache."""

HEAD, TAIL = b'{"data":[', b"]}"
"""Between them are the rows, in the compact JSON that pveproxy writes."""

CLOSED = ord("]")

_GUESTS = json_decoder(list[Guest], strict=False)
_RESOURCES = json_decoder(list[Resource], strict=False)

Row = TypeVar("Row", bound=Guest)


class Listing(Struct):
    """What was listed, and how it differs from the list before."""

    rows: list[Guest] = field(default_factory=list)
    """All, in the order of the answer: guests, and what the others have in common with them."""
    bare: list[int] = field(default_factory=list)
    """Places of rows that are no guest's."""
    others: list[Resource] = field(default_factory=list)
    """Those rows with all that is used of them."""
    fresh: list[Guest] = field(default_factory=list)
    """Rows of pieces in which something is not as it was; most rows of such a piece are."""
    stale: list[Guest] = field(default_factory=list)
    """What stood in their places before."""
    odd: int = 0
    """Rows that make no sense."""


class Taken(Sink):
    """Takes an answer in and makes a listing of it."""

    def __init__(self, client: Client, before: Listing, what: str) -> None:
        """`what` is asked for, in words."""
        self._client = client
        self._before = before
        self._what = what
        self.begin()

    def begin(self) -> None:
        """As the sink says."""
        self._listing = Listing()
        self._left: list[bytes] = []
        self._size = 0
        self._due = PIECE
        self._headed = False

    def take(self, piece: bytes) -> None:
        """As the sink says."""
        self._left.append(piece)
        self._size += len(piece)
        if self._size >= self._due:
            self._cut()

    def listing(self) -> Listing:
        """Of all that was taken. Raises BadAnswer: it is no list."""
        text = self._text()
        if not (self._headed and text.endswith(TAIL) and self._add(text, len(text) - len(TAIL))):
            # Not as pveproxy writes it, or broken: then this tells what is wrong, in words.
            whole = bytes(HEAD + text[1:] if self._headed else text)
            rows = self._client.decode(list[msgspec.Raw], whole, self._what)
            text = bytearray(b"[%b]" % b",".join(rows))
            if not self._add(text, len(text) - 1):
                raise self._client.nonsense(self._what, "is not whole JSON")
        self._listing.stale += self._before.rows[len(self._listing.rows) :]
        return self._listing

    def _text(self) -> bytearray:
        """What is not decoded yet. Where the head of the answer is ours it begins with "[" and a row."""
        text = bytearray().join(self._left)
        if not self._headed and text.startswith(HEAD):
            self._headed = True
            del text[: len(HEAD) - 1]
        return text

    def _cut(self) -> None:
        """Decode what is there up to the last row that is whole.

        A cut inside a text or a row leaves brackets or quotes open on both sides: it is noticed, and more is waited for.
        """
        text = self._text()
        end = text.rfind(b"},{") + 1
        if self._headed and end and self._add(text, end):
            left, self._due = b"[" + text[end + 1 :], PIECE
        else:
            left, self._due = bytes(text), 2 * self._due
        self._left, self._size = [left], len(left)

    def _add(self, text: bytearray, end: int) -> bool:
        """Rows of the list up to `end`, where it is closed in place, for a copy costs; False: they are not whole."""
        was, text[end] = text[end], CLOSED
        try:
            _add(self._listing, memoryview(text)[: end + 1], self._before)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text[end] = was
            return False
        return True


def _add(listing: Listing, piece: memoryview, before: Listing) -> None:
    rows, lost = _rows(_GUESTS, Guest, piece)
    at, end = len(listing.rows), len(listing.rows) + len(rows)
    held = before.rows[at:end]
    if rows == held:
        rows = held  # the new ones, just made, are the cheap ones to drop
        bare = before.bare[bisect_left(before.bare, at) : bisect_left(before.bare, end)]
    else:
        listing.fresh += rows
        listing.stale += held
        bare = [at + place for place, row in enumerate(rows) if not row.vmid]
    listing.rows += rows
    listing.bare += bare
    listing.odd += lost
    if bare:
        others = [row for row in _rows(_RESOURCES, Resource, piece)[0] if not row.vmid]
        listing.others += others
        listing.odd += len(bare) - len(others)


def _rows(
    decoder: msgspec.json.Decoder[list[Row]], kind: type[Row], piece: memoryview
) -> tuple[list[Row], int]:
    """(Those that make sense, how many do not)."""
    try:
        return decoder.decode(piece), 0
    except msgspec.ValidationError:
        raws = from_json(piece, list[msgspec.Raw])
        good = list(sound(kind, raws))
        return good, len(raws) - len(good)
