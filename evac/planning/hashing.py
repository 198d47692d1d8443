"""A plan's hash: two plans that decide the same, on the same grounds, have the same one.

It covers each field, whether it is written in a file or left to its default, save for who made the plan and when, and for
estimates. Reasons, warnings and the checks' outlook are covered: who approves a plan has read them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from evac.decoding import converted
from evac.window.plan import WindowPlan

ESTIMATES = frozenset(
    {"p50", "p90", "guess", "basis", "memory", "out_p50", "out_p90", "refill_p50", "refill_p90"}
)
"""Figures of a host or a move that decide nothing: they change with every VM that is moved."""

_encode = msgspec.json.Encoder(order="sorted").encode


def plan_hash(plan: WindowPlan) -> str:
    """Hex SHA-256 of what the plan decides."""
    return hashlib.sha256(canonical(plan)).hexdigest()


def canonical(plan: WindowPlan) -> bytes:
    """What is hashed: JSON, keys sorted, no space, every field present."""
    # Made as if it came from a file: 0 and 0.0, a list and a tuple are one.
    same = converted(msgspec.to_builtins(plan), WindowPlan)
    body = _fields(same)
    del body["made"], body["by"]
    return _encode(body)


def _fields(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {
            name: _fields(getattr(value, name)) for name in value.__struct_fields__ if name not in ESTIMATES
        }
    if isinstance(value, tuple):
        return [_fields(item) for item in value]
    return value
