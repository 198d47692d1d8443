"""What goes between the engine and a cluster's worker process, in frames of `evac.framing` over stdin and stdout.

The engine speaks first with `Setup`, then sends `Ask`s; each answer is some `Part`s and then `Done` or `Failed`. A big
answer comes in parts, so that no single frame holds up the engine's loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from backends.libvirt.options import HostEntry, Moves
from evac.backend import Call
from evac.framing import reader
from evac.model import Problem
from evac.workers import Cancel, Ready

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


Request = Setup | Ask | Cancel


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


request: Callable[[bytes], Request] = reader(Request)
"""What the engine sent. Raises FrameError."""

answer: Callable[[bytes], Answer] = reader(Answer)
"""What the worker sent. Raises FrameError."""
