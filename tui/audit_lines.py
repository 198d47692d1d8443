"""Records of the audit chain as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tui.cells import clock_time
from tui.look import Line, Look, Span
from tui.text import clean


def audit_lines(records: Sequence[Any], look: Look) -> list[Line]:
    """Newest first: number, time, kind, body."""
    lines = [_line(record, look) for record in reversed(records)]
    return lines or [(Span("The audit record is empty.", "dim"),)]


def _line(record: Any, look: Look) -> Line:
    fields = record if isinstance(record, dict) else msgspec.to_builtins(record)
    at, kind = fields.get("at"), str(fields.get("kind", ""))
    when = clock_time(float(at), date=True) if isinstance(at, int | float) else ""
    number = fields.get("seq", fields.get("id", ""))
    return (
        Span(f"{number} ", "dim"),
        Span(f"{when} "),
        Span(f"{clean(kind, look.ascii_only)} ", "title"),
        Span(clean(_words(fields.get("body", "")), look.ascii_only)),
    )


def _words(body: Any) -> str:
    """What was done first, then the rest as name=value."""
    if not isinstance(body, dict):
        return str(body)
    first = [str(body[name]) for name in ("job", "title", "what") if body.get(name)]
    if body.get("from") and body.get("to"):
        first.append(f"{body['from']}→{body['to']}")
    rest = [
        f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in body.items()
        if name not in {"job", "title", "what", "from", "to"} and value not in ("", None)
    ]
    return "  ".join([*first, *rest])
