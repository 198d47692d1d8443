"""Length-prefixed msgpack over a pipe: how the engine talks to the processes it starts (the prober, backends' workers).

A frame is four bytes of length, big-endian, then that many bytes of msgpack: one of the structs of the conversation, told
apart by its tag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from evac.decoding import msgpack_decoder

MAX_FRAME = 16 << 20
"""Bytes. A longer one means that something else wrote to the pipe."""

Reader = Callable[[bytes], Any]
"""Turns the body of a frame into its struct; raises FrameError."""

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """What came is no frame: another program wrote to the pipe, or the other side is broken."""


def pack(frame: Struct) -> bytes:
    """A frame as it goes over the pipe."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(4, "big") + body


def length(head: bytes) -> int:
    """Of the body that follows these four bytes. Raises FrameError."""
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes is announced")
    return size


def reader(kinds: Any) -> Reader:
    """What reads one of `kinds`, a union of tagged structs."""
    decode = msgpack_decoder(kinds).decode

    def read(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.MsgspecError as error:
            raise FrameError(str(error)) from None

    return read


async def receive(stream: asyncio.StreamReader, read: Reader) -> Any:
    """The next frame. Raises FrameError, and asyncio.IncompleteReadError at the end."""
    return read(await stream.readexactly(length(await stream.readexactly(4))))
