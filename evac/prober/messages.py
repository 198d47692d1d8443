"""What goes between the engine and the prober's process: length-prefixed msgpack over stdin and stdout."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from evac.probe import Felt, ProbeRow, Target

MAX_FRAME = 16 << 20


class Watch(Struct, frozen=True, tag="watch"):
    """Ask these from now on; one whose id is known is replaced if it differs."""

    targets: tuple[Target, ...]


class Drop(Struct, frozen=True, tag="drop"):
    """Ask these no more."""

    ids: tuple[str, ...]


class Begin(Struct, frozen=True, tag="begin"):
    """A move of the target begins."""

    target: str
    window: str
    interval: float
    deadline: float | None = None


class End(Struct, frozen=True, tag="end"):
    """The move and its grace time are over."""

    target: str
    window: str


class Rate(Struct, frozen=True, tag="rate"):
    """Probes per second in all, at most."""

    most: float


Order = Watch | Drop | Begin | End | Rate


class Rows(Struct, frozen=True, tag="rows"):
    """Targets as they stand: those with a move four times a second, the others once, and only where something changed."""

    rows: tuple[ProbeRow, ...]


class Measured(Struct, frozen=True, tag="measured"):
    """A window was closed."""

    window: str
    felt: Felt


class State(Struct, frozen=True, tag="state"):
    """How the prober is: sent once a second, which also says that it lives, and whenever it changes."""

    stretch: float = 1.0
    """Intervals are stretched by this factor to keep within the rate."""
    punctual: bool = False
    """It got a place before others on the CPU."""


News = Rows | Measured | State

_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_news: msgspec.msgpack.Decoder[News] = msgspec.msgpack.Decoder(News)


class Garbled(Exception):
    """What came is no frame."""


def pack(frame: Order | News) -> bytes:
    """A frame as it goes over the pipe."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(4, "big") + body


def length(head: bytes) -> int:
    """Of the body that follows these four bytes. Raises Garbled."""
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FRAME:
        raise Garbled(f"a frame of {size} bytes is announced")
    return size


def order(body: bytes) -> Order:
    """What the engine sent. Raises Garbled."""
    try:
        return _orders.decode(body)
    except msgspec.MsgspecError as error:
        raise Garbled(str(error)) from None


def news(body: bytes) -> News:
    """What the prober sent. Raises Garbled."""
    try:
        return _news.decode(body)
    except msgspec.MsgspecError as error:
        raise Garbled(str(error)) from None
