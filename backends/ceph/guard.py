"""Which commands may leave this machine. Data, so that it can be read and tested on its own.

A command is known by its prefix, the names of its arguments and the form of their values; anything else is never sent,
whatever the key would allow. The order of the arguments is that of Ceph's own signatures (16.2's
`get_command_descriptions`), which is also their order on a command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from backends.ceph.carrier import Command


class Shape(NamedTuple):
    """What a command takes."""

    positions: tuple[str, ...] = ()
    """Names of its arguments, in the order of the command line."""
    options: tuple[str, ...] = ()
    """Names of those that are written --name VALUE."""


_PLAIN = Shape()

READS: Mapping[str, Shape] = {
    "status": _PLAIN,
    "health": Shape(("detail",)),
    "versions": _PLAIN,
    "df": Shape(("detail",)),
    "fsid": _PLAIN,
    "quorum_status": _PLAIN,
    "mon dump": _PLAIN,
    "mon metadata": _PLAIN,
    "mgr dump": _PLAIN,
    "mgr stat": _PLAIN,
    "config get": Shape(("who", "key")),
    "node ls": Shape(("type",)),
    "osd dump": _PLAIN,
    "osd stat": _PLAIN,
    "osd tree": Shape(("states",)),
    "osd df": Shape(("output_method",)),
    "osd perf": _PLAIN,
    "osd blocked-by": _PLAIN,
    "osd utilization": _PLAIN,
    "osd metadata": Shape(("id",)),
    "osd find": Shape(("id",)),
    "osd crush dump": _PLAIN,
    "osd crush rule dump": Shape(("name",)),
    "osd pool ls": Shape(("detail",)),
    "osd pool stats": Shape(("pool_name",)),
    "osd pool autoscale-status": _PLAIN,
    "osd erasure-code-profile get": Shape(("name",)),
    "osd ok-to-stop": Shape(("ids",), ("max",)),
    "osd safe-to-destroy": Shape(("ids",)),
    "pg dump": Shape(("dumpcontents",)),
    "pg dump_stuck": Shape(("stuckops", "threshold")),
    "pg ls": Shape(("pool", "states")),
    "pg ls-by-osd": Shape(("osd", "pool", "states")),
    "pg ls-by-pool": Shape(("poolstr", "states")),
    "pg stat": _PLAIN,
    "progress": _PLAIN,
    "progress json": _PLAIN,
    "balancer status": _PLAIN,
    "auth get": Shape(("entity",)),
}
"""Commands that change nothing.

Two are narrower than their shape: "auth get" shows a key, so it may ask for our own only; of "pg dump" only the brief
list is asked for, since the full one has 22 times its size and is known to hang managers (tracker.ceph.com/issues/57460).
"""

WRITES: Mapping[str, Shape] = {
    "osd set-group": Shape(("flags", "who")),
    "osd unset-group": Shape(("flags", "who")),
}
"""Commands that change something: noout of one CRUSH host, and nothing else."""

_VALUE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.:/+*-]{0,199}", re.ASCII)
"""Of an argument. A leading dash would be an option of the `ceph` command."""

_NODE = re.compile(r"(?!osd\.\d+$)(?!\d+$)[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}", re.ASCII)
"""A CRUSH node by the rule of CrushWrapper::is_valid_crush_name; "4" and "osd.4" would mean one OSD."""


class Verdict(Enum):
    """What the guard thinks of a command."""

    READS = "reads"
    CHANGES = "changes"
    """A change evac makes."""
    FOREIGN = "foreign"
    """Anything else; never sent."""


def judge(command: Command, own: tuple[str, ...] = ()) -> Verdict:
    """`own`: the client names of this cluster's keys, the only ones "auth get" may ask for."""
    prefix = command.get("prefix")
    if not isinstance(prefix, str):
        return Verdict.FOREIGN
    if prefix in WRITES:
        return Verdict.CHANGES if _is_noout_of_one_host(command) else Verdict.FOREIGN
    shape = READS.get(prefix)
    if shape is None or not all(_fits(name, value, shape) for name, value in command.items()):
        return Verdict.FOREIGN
    if prefix == "auth get" and command.get("entity") not in own:
        return Verdict.FOREIGN
    if prefix == "pg dump" and list(_values(command.get("dumpcontents"))) != ["pgs_brief"]:
        return Verdict.FOREIGN
    return Verdict.READS


def _fits(name: str, value: object, shape: Shape) -> bool:
    if name == "prefix":
        return True
    if name == "format":
        return value == "json"
    if name not in shape.positions and name not in shape.options:
        return False
    return all(_is_plain(one) for one in _values(value))


def _values(value: object) -> list[object] | tuple[object, ...]:
    return value if isinstance(value, list | tuple) else [value]


def _is_plain(value: object) -> bool:
    match value:
        case bool():
            return False
        case int():
            return value >= 0
        case str():
            return _VALUE.fullmatch(value) is not None
    return False


def _is_noout_of_one_host(command: Command) -> bool:
    who = command.get("who")
    return (
        set(command) <= {"prefix", "format", "flags", "who"}
        and command.get("format", "json") == "json"
        and command.get("flags") == "noout"
        and isinstance(who, list | tuple)
        and len(who) == 1
        and isinstance(who[0], str)
        and _NODE.fullmatch(who[0]) is not None
    )
