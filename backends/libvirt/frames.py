"""What goes between the engine and a cluster's worker process: length-prefixed msgpack over stdin and stdout.

The engine speaks first with `Setup`, then sends `Ask`s; each answer is some `Part`s and then `Done` or `Failed`. A big
answer comes in parts, so that no single frame holds up the engine's loop.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from backends.libvirt.options import HostEntry, Moves
from evac.backend import Call
from evac.model import Problem

MAX_FRAME = 16 << 20
"""Bytes. A longer one means that something else wrote to the pipe."""

FailureKind = Literal[
    "unreachable", "auth", "forbidden", "bad", "notfound", "refused", "readonly", "uncertain"
]


class Setup(Struct, frozen=True, kw_only=True, tag="setup"):
    """The first frame: the hosts and how to reach them, with everything secret. Never on a command line."""

    cluster: str
    hosts: tuple[HostEntry, ...]
    read_only: bool
    connect_timeout: float
    read_timeout: float
    state_dir: str = ""
    """Folder of what evac itself keeps of this cluster; "": it is kept in memory only."""
    username: str = ""
    password: str = ""
    shared_paths: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    cpu_check: bool = True
    shutdown_timeout: float = 120.0
    migration: Moves


class Ask(Struct, frozen=True, kw_only=True, tag="ask"):
    """Do something; the names and arguments are those of `evac.backend`'s methods."""

    id: int
    op: str
    args: list[Any]


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Nobody waits for this any more. No answer comes. A change that has begun goes on."""

    id: int


Request = Setup | Ask | Cancel


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker has read its setup."""

    version: str
    """libvirt's, here."""


class Part(Struct, frozen=True, kw_only=True, tag="part"):
    """A piece of an answer: a value of the operation's type as msgpack."""

    id: int
    data: bytes


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """That was all of it."""

    id: int


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """No answer, and why."""

    id: int
    kind: FailureKind
    problem: Problem


class Called(Struct, frozen=True, kw_only=True, tag="called"):
    """A changing call was made of a host."""

    call: Call


Answer = Ready | Part | Done | Failed | Called


class FrameError(Exception):
    """What came is no frame: another program wrote to the pipe, or the other side is broken."""


_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def pack(frame: Request | Answer) -> bytes:
    """A frame as it goes over the pipe."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(4, "big") + body


def length(head: bytes) -> int:
    """Of the body that follows these four bytes. Raises FrameError."""
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes is announced")
    return size


def request(body: bytes) -> Request:
    """What the engine sent. Raises FrameError."""
    try:
        return _requests.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from None


def answer(body: bytes) -> Answer:
    """What the worker sent. Raises FrameError."""
    try:
        return _answers.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from None
