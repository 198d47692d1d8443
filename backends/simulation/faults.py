"""Faults on order: declared, counted, and limited in time. The 2nd call fails because a test says so.

A fault names the calls it is for by a glob over the call's names. Every call has several: its class ("read" or
"write"), what it does ("inventory", "look", "live_migrate", …) and, on the wire, its request line
("GET /servers/detail"). What a fault does to a call depends on its `kind`; see `Kind`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Kind(StrEnum):
    """What goes wrong. The first group happens to calls, the second inside the world."""

    LATENCY = "latency"
    STATUS = "status"
    """An HTTP error of `status`, nothing done."""
    RESET_BEFORE = "reset before"
    """The connection breaks before the call had its effect."""
    RESET_AFTER = "reset after"
    """The connection breaks after the call had its effect: it was carried out and nobody was told."""
    UNAUTHORIZED = "unauthorized"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    """Valid JSON that stops in the middle (the effect happened)."""
    WRONG_TYPE = "wrong type"
    """Valid JSON of an unexpected shape (the effect happened)."""
    HUGE = "huge"
    """An answer of `size` bytes."""
    BLACK_HOLE = "black hole"
    """Taken, never answered, nothing done."""
    BLACK_HOLE_AFTER = "black hole after"
    """Taken, carried out, never answered."""

    NO_VALID_HOST = "no valid host"
    FAILS = "fails"
    """The hypervisor gives up in the middle of a migration."""
    NEVER_STARTS = "never starts"
    """Accepted, and then nothing at all happens."""
    STUCK = "stuck"
    """It starts and never ends; the VM keeps its task for ever."""
    LIES_COMPLETED = "lies completed"
    """The cluster says completed, and the VM is still on the source."""
    EARLY_TARGET = "early target"
    """The cluster names the target as the VM's host long before it is there."""


CALL_FAULTS = frozenset(
    {
        Kind.LATENCY,
        Kind.STATUS,
        Kind.RESET_BEFORE,
        Kind.RESET_AFTER,
        Kind.UNAUTHORIZED,
        Kind.GARBAGE,
        Kind.TRUNCATED,
        Kind.WRONG_TYPE,
        Kind.HUGE,
        Kind.BLACK_HOLE,
        Kind.BLACK_HOLE_AFTER,
    }
)
WORLD_FAULTS = frozenset(Kind) - CALL_FAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One order. It counts the calls it matches and strikes from the `nth` on, `times` times."""

    kind: Kind
    on: str = "*"
    """Glob over a call's names."""
    vm: str = ""
    """Only for this VM's id; "" for any."""
    nth: int = 1
    times: float = 1
    """`math.inf`: for ever."""
    after: float = 0.0
    """Seconds since the world began from which on it is armed."""
    before: float = math.inf
    seconds: float = 0.0
    """How long a latency lasts."""
    status: int = 503
    size: int = 50_000_000


@dataclass(slots=True)
class _Order:
    fault: Fault
    seen: int = 0
    struck: int = 0


class Faults:
    """The list of orders of one world."""

    def __init__(self, age: Callable[[], float]) -> None:
        self._age = age
        self._orders: list[_Order] = []
        self.struck: list[tuple[float, Fault, str]] = []
        """What has happened: (age of the world, fault, the call's most precise name)."""

    def order(self, fault: Fault) -> None:
        """Add one."""
        self._orders.append(_Order(fault))

    def clear(self) -> None:
        """Take all back."""
        self._orders.clear()

    def take(self, names: Iterable[str], kinds: frozenset[Kind], vm: str = "") -> list[Fault]:
        """The faults that strike this call now; each one's count goes on."""
        if not self._orders:
            return []
        words = tuple(names)
        return [
            order.fault
            for order in self._orders
            if order.fault.kind in kinds
            and self._matches(order.fault, words, vm)
            and self._count(order, words)
        ]

    def _matches(self, fault: Fault, names: tuple[str, ...], vm: str) -> bool:
        if fault.vm and fault.vm != vm:
            return False
        if not fault.after <= self._age() < fault.before:
            return False
        return any(fnmatchcase(name, fault.on) for name in names)

    def _count(self, order: _Order, names: tuple[str, ...]) -> bool:
        order.seen += 1
        if order.seen < order.fault.nth or order.struck >= order.fault.times:
            return False
        order.struck += 1
        self.struck.append((self._age(), order.fault, names[-1]))
        return True
