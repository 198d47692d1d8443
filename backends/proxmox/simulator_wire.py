"""What every room of the simulated Proxmox VE shares: a request, an answer, a refusal in PVE's form, and routes.

A route names its parameters, and everything else is refused as PVE's own schema check refuses it: what a client sends
that PVE would not take is seen here first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from backends.simulation.world import World

if TYPE_CHECKING:
    from backends.proxmox.simulator_access import Account

MISSING = "property is missing and it is not optional"
UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
BOOLEANS = {
    "1": True,
    "on": True,
    "yes": True,
    "true": True,
    "0": False,
    "off": False,
    "no": False,
    "false": False,
}
"""PVE::JSONSchema::parse_boolean."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Wrong(Exception):
    """PVE refuses; nothing was done. `errors` go with 400: parameter → what is wrong with it."""

    def __init__(self, code: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = dict(errors or {})


def wrong_parameter(name: str, why: str) -> Wrong:
    """The 400 that PVE gives for one parameter."""
    return Wrong(400, "Parameter verification failed.", {name: why})


@dataclass(slots=True)
class Ask:
    """One request as a room sees it."""

    world: World
    method: str
    path: str
    account: Account
    local: str
    """Name of the node that was asked."""
    where: dict[str, str] = field(default_factory=dict)
    """What stands in the path: node, vmid, upid, …"""
    given: dict[str, str] = field(default_factory=dict)
    """Parameters as they were sent."""

    def want(self, path: str, *privileges: str) -> None:
        """403 in PVE's words when the account has none of these privileges there."""
        if not any(self.account.may(path, one) for one in privileges):
            raise Wrong(403, f"Permission check failed ({path}, {'|'.join(privileges)})")

    def text(self, name: str, default: str = "") -> str:
        """A parameter as text."""
        return self.given.get(name, default)

    def flag(self, name: str) -> bool:
        """A boolean parameter; False when it was not given."""
        return BOOLEANS[self.given.get(name, "0").lower()]

    def number(self, name: str, default: int = 0) -> int:
        """An integer parameter."""
        return int(self.given.get(name, default))


@dataclass(slots=True)
class Answer:
    """What goes back: `data`, or an error with a message."""

    data: Any = None
    status: int = 200
    reason: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    total: int | None = None
    """Goes beside the data: how many lines or rows there are in all."""
    raw: bytes | None = None
    kind: str = "application/json;charset=UTF-8"

    def encoded(self) -> bytes:
        """The bytes of the body."""
        if self.raw is not None:
            return self.raw
        body: dict[str, Any] = {"data": self.data}
        if self.total is not None:
            body["total"] = self.total
        if self.status >= 400:
            body["message"] = f"{self.reason}\n"
        if self.errors:
            body["errors"] = self.errors
        return msgspec.json.encode(body)


Handler = Callable[[Ask], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path. `name` is what faults are ordered by.

    `takes`: parameters, each "name" for text, "name:int", "name:bool", or "name:this|that"; "!" after the name: required.
    """

    method: str
    path: str
    """With {names} for one path segment each."""
    name: str
    handler: Handler
    takes: Sequence[str] = ()
    pattern: re.Pattern[str] = field(init=False)
    known: Mapping[str, tuple[bool, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Turn the path into a pattern."""
        parts = re.split(r"(\{\w+\})", self.path)
        text = "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in parts
        )
        object.__setattr__(self, "pattern", re.compile(f"{text}/?$"))
        known = {}
        for item in self.takes:
            name, _, kind = item.partition(":")
            known[name.rstrip("!")] = (name.endswith("!"), kind)
        object.__setattr__(self, "known", known)

    def check(self, given: Mapping[str, str]) -> None:
        """Raises the 400 of PVE's schema check."""
        errors = {name: UNKNOWN for name in given if name not in self.known}
        for name, (required, kind) in self.known.items():
            if name not in given:
                if required:
                    errors[name] = MISSING
                continue
            wrong = _mismatch(kind, given[name])
            if wrong:
                errors[name] = wrong
        if errors:
            raise Wrong(400, "Parameter verification failed.", errors)


def _mismatch(kind: str, value: str) -> str:
    if kind == "int":
        return "" if re.fullmatch(r"[+-]?\d+", value) else f"type check ('integer') failed - got '{value}'"
    if kind == "bool":
        return "" if value.lower() in BOOLEANS else f"type check ('boolean') failed - got '{value}'"
    if kind and value not in kind.split("|"):
        choices = ", ".join(kind.split("|"))
        return f"value '{value}' does not have a value in the enumeration '{choices}'"
    return ""


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route | None, dict[str, str]]:
    """The route and what stands in its path; None when nothing serves it."""
    for route in routes:
        match = route.pattern.match(path) if route.method == method else None
        if match:
            return route, match.groupdict()
    return None, {}


def parameters(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """A repeated parameter is a list, which PVE takes joined by NUL or commas."""
    found: dict[str, str] = {}
    for name, value in pairs:
        text = str(int(value)) if isinstance(value, bool) else str(value)
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


def human(amount: float) -> str:
    """Bytes as PVE::Format::render_bytes writes them in task logs: 1.2 GiB."""
    power = 0
    while amount >= 1024 and power < len(UNITS) - 1:
        amount /= 1024
        power += 1
    return f"{amount:.1f} {UNITS[power]}"
