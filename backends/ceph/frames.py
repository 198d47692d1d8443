"""What goes between the engine and a cluster's worker process, in frames of `evac.framing` over stdin and stdout.

The engine speaks first with `Setup`; afterwards it sends `Ask`, `Place` and `Cancel`, each with an id that the
worker's answers carry. A big answer comes in parts, so that no single frame holds up the engine's loop.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from backends.ceph.carrier import FailureKind, Target
from evac.framing import reader
from evac.model import Finding, Problem
from evac.ssh_rules import Door
from evac.workers import Cancel, Ready

PART = 256 << 10
"""Bytes of an answer in one frame."""

ROWS = 100
"""OSDs in one frame of a placement; at 50 pools their decode takes the loop about 1 ms."""


class Counts(Struct, frozen=True, array_like=True, gc=False):
    """PGs of one OSD per column. An empty tuple stands for zeros everywhere."""

    up: tuple[int, ...] = ()
    acting: tuple[int, ...] = ()
    primary: tuple[int, ...] = ()
    """Of the acting set."""
    arriving: tuple[int, ...] = ()
    """In "up" and not in "acting"."""


class Placement(Struct, frozen=True, kw_only=True):
    """How PGs lie on OSDs, as far as it changed since the former answer of the same worker."""

    columns: tuple[int, ...] = ()
    """Pool ids, ascending; a change of them makes every row a changed one."""
    rows: dict[int, Counts] = msgspec.field(default_factory=dict)
    """OSD id → counts, only of rows that changed; a row that lost everything is Counts()."""
    whole: bool = False
    """These are all rows: forget those not named. So after a start of the worker and after a change of `columns`."""
    missing_up: tuple[int, ...] = ()
    """Per column: places in "up" that no OSD fills."""
    missing_acting: tuple[int, ...] = ()
    pgs: tuple[int, ...] = ()
    """PGs per column."""
    ready: bool = True
    """False: the manager says that its PG map is not complete yet."""
    warning: str = ""
    """The manager's own doubt, such as "due to ceph-mgr restart, some PG states may not be up to date"."""
    fetched: float = 0.0
    """Seconds the carrier took."""
    decoded: float = 0.0
    """Seconds the decode took, in the worker."""
    size: int = 0
    """Bytes of the dump."""


# --- from the engine ----------------------------------------------------------------------------------


class Setup(Struct, frozen=True, kw_only=True, tag="setup"):
    """The first frame: how to reach the cluster, with everything secret. Never on a command line."""

    cluster: str
    carrier: str
    read_only: bool
    connect_timeout: float
    read_timeout: float
    conf: str = ""
    keyring: str = ""
    user: str = "client.evac"
    write_keyring: str = ""
    write_user: str = ""
    command: tuple[str, ...] = ("ceph",)
    socket: str = ""
    door: Door | None = None
    """The host on which the command is run; None: here."""


class Ask(Struct, frozen=True, kw_only=True, tag="ask"):
    """Send one command."""

    id: int
    target: Target
    command: dict[str, object]
    write: bool = False
    """Use the key for changing calls; without it nothing is changed."""
    lean: bool = False
    """Send only what evac reads of the answer, as msgpack (see `shapes.LEAN`): a tenth of the bytes, decoded there."""


class Place(Struct, frozen=True, kw_only=True, tag="place"):
    """Fetch and count the placement groups."""

    id: int
    whole: bool = False
    """Send all rows: the engine does not have the former ones."""


class Examine(Struct, frozen=True, kw_only=True, tag="examine"):
    """What the doctor can see from the worker: the library, the files, the known hosts."""

    id: int


Request = Setup | Ask | Place | Examine | Cancel

# --- from the worker ----------------------------------------------------------------------------------


class Part(Struct, frozen=True, kw_only=True, tag="part"):
    """A piece of the bytes of an answer, in order; `Done` ends them."""

    id: int
    data: bytes


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """An `Ask` was answered."""

    id: int
    code: int = 0
    err: str = ""
    took: float = 0.0
    """Seconds."""


class Rows(Struct, frozen=True, kw_only=True, tag="rows"):
    """Changed rows of a placement, at most ROWS."""

    id: int
    rows: dict[int, Counts]


class Placed(Struct, frozen=True, kw_only=True, tag="placed"):
    """A `Place` was answered; its `placement` has no rows, they came before."""

    id: int
    placement: Placement


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """No answer: why, and whether the command may have reached the cluster."""

    id: int
    kind: FailureKind
    problem: Problem
    sent: bool = False


class Examined(Struct, frozen=True, kw_only=True, tag="examined"):
    """An `Examine` was answered."""

    id: int
    findings: tuple[Finding, ...] = ()


Answer = Ready | Part | Done | Rows | Placed | Examined | Failed


request: Callable[[bytes], Request] = reader(Request)
"""What the engine sent. Raises FrameError."""

answer: Callable[[bytes], Answer] = reader(Answer)
"""What the worker sent. Raises FrameError."""
