"""What carries a command to a Ceph cluster and the answer back: librados, the `ceph` command, or that command over SSH."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from evac.model import Problem

Target = Literal["mon", "mgr"]
"""Who answers: librados must be told, and the wrong one says EINVAL."""

Command = Mapping[str, object]
"""As Ceph's own JSON commands: {"prefix": "osd set-group", "flags": "noout", "who": ["node01"]}."""


class Reply(Struct, frozen=True, kw_only=True):
    """What Ceph answered. A code other than 0 is an answer too: EBUSY of ok-to-stop comes with its JSON."""

    code: int = 0
    """0, or a positive errno."""
    out: bytes | bytearray | memoryview = b""
    err: str = ""
    """Ceph's words for people."""


class Carrier(Protocol):
    """One way to a cluster, used by one worker process. Asks may overlap."""

    @property
    def how(self) -> str:
        """Its name and version, for the doctor."""
        ...

    @property
    def worn(self) -> bool:
        """True: it has lost so much to calls that never came back that a new process is better."""
        ...

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """Send one command; "format": "json" is added unless it is given. `write`: with the key for changing calls.

        Raises CarrierError when no answer came.

        Cancelling is allowed at any time. It gives up waiting; whether Ceph carried the command out is then unknown.
        """
        ...

    async def close(self) -> None:
        """Let go of connections, processes and threads."""
        ...


FailureKind = Literal["unreachable", "auth", "forbidden", "bad", "notfound", "refused", "readonly"]


class CarrierError(Exception):
    """No answer came. `kind` says which of `evac.errors` it is, `sent` whether the command may have arrived."""

    def __init__(self, kind: FailureKind, problem: Problem, *, sent: bool) -> None:
        super().__init__(problem.happened)
        self.kind: FailureKind = kind
        self.problem = problem
        self.sent = sent


def as_json(command: Command) -> bytes:
    """The command in Ceph's wire form."""
    return msgspec.json.encode({"format": "json", **command})
