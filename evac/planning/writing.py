"""A plan as the file in which people review it: TOML, one VM a line, in the order in which things are done. Pure.

What is decided stands first on each line, estimates last; a line of Git's diff is one VM. `evac.planning.reading` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from evac.toml_text import toml_value
from evac.window.plan import PlannedHost, Policy, WindowPlan

HEAD = """\
# A maintenance plan of evac. Review it, keep it in Git, have its hash approved; `evac plan check` compares it with what is
# there now. Edit it if you like: the order of hosts and moves, targets, the fate of what cannot move, the policy.
# Times are UTC. Memory and seconds (p50, p90) are estimates, and not part of the hash.
"""

FATES = """\
# What cannot move. fate: "leave" it where it is, "stop" it and start it again afterwards, or "hold" the window at this
# host until somebody has moved it. While one is "" and the policy's fates is "" too, the window does not begin.
"""

KIB = 1024
TIMES = ("starts", "ends", "made")
"""Fields of the plan that a file has as dates."""

_UNITS = (("TiB", KIB**4), ("GiB", KIB**3), ("MiB", KIB**2))

_LINE_ORDER = ("name", "vm", "fate", "harmless", "way", "to", "to_name", "outlook", "why", "fix")
"""What comes first on a VM's line; the rest follows."""

_HOST_ORDER = ("name", "cluster", "host")


def dump_plan(plan: WindowPlan) -> str:
    """The file's text."""
    lines = [HEAD, f"format = {plan.format}", f"title = {toml_value(plan.title)}"]
    lines += [f"{name} = {_value(name, value)}" for name, value in _given(plan, leave=_NOT_ON_TOP)]
    lines += ["", "[policy]"]
    lines += [f"{name} = {toml_value(value)}" for name, value in _whole(plan.policy).items()]
    for number, host in enumerate(plan.hosts, start=1):
        lines += ["", f"# {number} of {len(plan.hosts)}: {_summary(host)}", *_host(host)]
    return "\n".join(lines) + "\n"


_NOT_ON_TOP = ("format", "title", "policy", "hosts")


def _whole(policy: Policy) -> dict[str, Any]:
    """With the fields that have their default: a reviewer sees all of it."""
    return {name: msgspec.to_builtins(getattr(policy, name)) for name in policy.__struct_fields__}


def _summary(host: PlannedHost) -> str:
    undecided = sum(not stay.harmless and not stay.fate for stay in host.stays)
    words = f"{len(host.moves)} move, {len(host.stays)} stay"
    return words + (f", {undecided} to be decided" if undecided else "")


def _host(host: PlannedHost) -> Iterator[str]:
    yield "[[hosts]]"
    for name, value in _given(host, first=_HOST_ORDER, leave=("storage", "moves", "stays", "warnings")):
        yield f"{name} = {toml_value(value)}"
    for name in ("storage", "moves", "stays"):
        rows: tuple[Struct, ...] = getattr(host, name)
        if rows:
            yield from FATES.splitlines() if name == "stays" else ()
            yield from _listed(name, (_line(row) for row in rows))
    if host.warnings:
        yield from _listed("warnings", map(toml_value, host.warnings))


def _listed(name: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"{name} = ["
    yield from (f"  {row}," for row in rows)
    yield "]"


def _line(row: Struct) -> str:
    first = tuple(name for name in _LINE_ORDER if name in row.__struct_fields__)
    always = ("fate", "outlook")
    inner = (f"{name} = {_value(name, value)}" for name, value in _given(row, first=first, always=always))
    return f"{{ {', '.join(inner)} }}"


def _given(
    part: Struct, *, first: tuple[str, ...] = (), leave: tuple[str, ...] = (), always: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """The fields that differ from their default, and those that are always told."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(part)}
    for name in (*first, *(name for name in part.__struct_fields__ if name not in first)):
        value = getattr(part, name)
        if name not in leave and (value != defaults[name] or name in always):
            yield name, msgspec.to_builtins(value)


def _value(name: str, value: Any) -> str:
    if name in TIMES:
        return moment(value)
    if name == "memory":
        return size(value)
    return toml_value(value)


def moment(at: float) -> str:
    """A date where it is a whole second, so that nothing is lost."""
    if at == int(at) and 0 <= at < 253_402_300_800:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return toml_value(float(at))


def size(count: int) -> str:
    """As "16 GiB" where that is exact, else the bytes."""
    for word, unit in _UNITS:
        if count and count % unit == 0:
            return f'"{count // unit} {word}"'
    return str(count)
