"""A plan out of its file. Every mistake is told at once, with line, key, what is allowed, and the name that was meant. Pure."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from evac.decoding import converted
from evac.mistakes import (
    Mistake,
    choices_of,
    in_plain_words,
    nearest_of,
    shown,
    struct_in,
    struct_listed,
    type_name,
)
from evac.planning.writing import TIMES
from evac.toml_lines import Key, item_lines, key_lines, line_of
from evac.window.plan import FORMAT, WindowPlan

_AT = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$", re.DOTALL)
_SIZE = re.compile(r"(\d{1,12}) ?(TiB|GiB|MiB|KiB|B)")
_UNIT = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class PlanFileErrors(Exception):
    """All mistakes of a plan's file, by line."""

    def __init__(self, errors: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


def load_plan(raw: bytes, *, file: str) -> WindowPlan:
    """The plan that a file holds; `file` is its name, for the messages.

    Raises:
        PlanFileErrors: it is no plan, or one of a newer evac.
    """
    return _Reading(file).plan(raw)


class _Reading:
    """One reading of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._text = ""
        self._lines: dict[Key, int] = {}
        self._items: dict[Key, list[int]] = {}
        self._errors: list[Mistake] = []

    def plan(self, raw: bytes) -> WindowPlan:
        """See load_plan."""
        table = self._parse(raw)
        self._refuse_newer(table)
        values = self._struct((), table, WindowPlan)
        self._stop_if_wrong()
        try:
            plan = converted(values, WindowPlan, strict=True)
        except msgspec.ValidationError as error:
            self._add((), in_plain_words(str(error)))
            self._stop_if_wrong()
            raise
        for key, message in contradictions(plan):
            self._add(key, message)
        self._stop_if_wrong()
        return plan

    def _stop_if_wrong(self) -> None:
        if self._errors:
            raise PlanFileErrors(tuple(sorted(self._errors, key=lambda error: error.line)))

    def _parse(self, raw: bytes) -> dict[str, Any]:
        try:
            self._text = raw.decode("utf-8-sig").replace("\r\n", "\n")
            table = tomllib.loads(self._text)
        except UnicodeDecodeError as error:
            self._add((), "is not UTF-8 text here", line=raw.count(b"\n", 0, error.start) + 1)
        except tomllib.TOMLDecodeError as error:
            told = _AT.match(str(error))
            what = (told["what"] if told else str(error)).rstrip(".")
            line = int(told["line"]) if told and told["line"] else self._text.count("\n") + 1
            self._add((), f"is not TOML: {what[:1].lower()}{what[1:]}", line=line)
        except RecursionError:
            self._add((), "is nested too deeply for a plan")
        else:
            self._lines = key_lines(self._text)
            return table
        self._stop_if_wrong()
        raise AssertionError

    def _refuse_newer(self, table: Mapping[str, Any]) -> None:
        """What a newer evac means by a key of its own cannot be guessed: nothing else is looked at."""
        number = table.get("format", FORMAT)
        if isinstance(number, int) and number > FORMAT:
            message = f"is {number}: a newer evac wrote this plan. This one reads up to {FORMAT}"
            self._add(("format",), message)
            self._stop_if_wrong()

    # --- tables ----------------------------------------------------------------------------------

    def _struct(self, key: Key, table: Mapping[str, Any], kind: type[Struct]) -> dict[str, Any]:
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for name in table:
            if name not in fields:
                nearest = nearest_of(name, fields)
                self._add(
                    (*key, name),
                    "is not known here",
                    allowed="" if nearest else ", ".join(fields),
                    nearest=nearest,
                )
        for name, field in fields.items():
            if field.required and name not in table:
                self._add((*key, name), "is missing", allowed=type_name(field.type))
        return {
            name: self._field((*key, name), value, fields[name])
            for name, value in table.items()
            if name in fields
        }

    def _field(self, key: Key, value: Any, field: FieldInfo) -> Any:
        nested, listed = struct_in(field.type), struct_listed(field.type)
        if nested is not None and isinstance(value, dict):
            return self._struct(key, value, nested)
        if listed is not None and isinstance(value, list):
            return [
                self._item((*key, str(number)), item, listed) for number, item in enumerate(value, start=1)
            ]
        return self._plain(key, self._spelt(key, value), field)

    def _item(self, key: Key, value: Any, kind: type[Struct]) -> Any:
        if isinstance(value, dict):
            return self._struct(key, value, kind)
        self._add(key, f"is {shown(value)}", allowed="a table: { … }")
        return value

    def _spelt(self, key: Key, value: Any) -> Any:
        """Dates and sizes, as a file has them."""
        if key[-1] in TIMES and isinstance(value, datetime):
            if value.tzinfo is not None:
                return value.timestamp()
            self._add(key, f"is {value.isoformat()}, of no time zone", allowed="UTC: a Z at its end")
            return 0.0
        if key[-1] == "memory" and isinstance(value, str) and (found := _SIZE.fullmatch(value)):
            return int(found[1]) * _UNIT[found[2]]
        return value

    def _plain(self, key: Key, value: Any, field: FieldInfo) -> Any:
        try:
            made = converted(value, field.type, strict=True)
        except msgspec.ValidationError as error:
            choices = choices_of(field.type)
            allowed = ", ".join(f'"{choice}"' for choice in choices) or type_name(field.type)
            detail = (
                in_plain_words(str(error)) if not choices and isinstance(value, str | list | dict) else ""
            )
            message = f"is {shown(value)}" + (f": {detail}" if detail else "")
            self._add(key, message, allowed=allowed, nearest=nearest_of(str(value), choices))
            return value
        if isinstance(made, float) and not math.isfinite(made):
            self._add(key, f"is {value}", allowed=type_name(field.type))
        return value

    # --- telling ---------------------------------------------------------------------------------

    def _add(self, key: Key, message: str, *, line: int = 0, allowed: str = "", nearest: str = "") -> None:
        self._errors.append(
            Mistake(
                file=self._file,
                line=line or self._line(key),
                key=".".join(key),
                message=message,
                allowed=allowed,
                nearest=nearest,
            )
        )

    def _line(self, key: Key) -> int:
        """A list of tables that was written in one statement: the line of its n-th table."""
        if len(key) > 3 and key[0] == "hosts" and key not in self._lines and key[3].isdigit():
            start = self._lines.get(key[:3], 0)
            if start:
                items = self._items.setdefault(key[:3], item_lines(self._text, start))
                number = int(key[3])
                return items[number - 1] if number <= len(items) else start
        return line_of(self._lines, key)


def contradictions(plan: WindowPlan) -> Iterator[tuple[Key, str]]:
    """What each part allows by itself, and the whole does not."""
    if not plan.hosts:
        yield ("hosts",), "holds no host"
    if plan.starts is not None and plan.ends is not None and plan.ends <= plan.starts:
        yield ("ends",), "is not after starts"
    hosts = Counter(host.key for host in plan.hosts)
    for count, host in enumerate(plan.hosts, start=1):
        place = ("hosts", str(count))
        if hosts[host.key] > 1:
            yield place, f"is {host.name}, which is in this plan {hosts[host.key]} times"
        vms = Counter(row.vm for row in host.rows)
        for at, row in enumerate(host.rows):
            name, number = ("moves", at) if at < len(host.moves) else ("stays", at - len(host.moves))
            if vms[row.vm] > 1:
                yield (
                    (*place, name, str(number + 1)),
                    f"is {row.name}, which is on this host {vms[row.vm]} times",
                )
        for at, move in enumerate(host.moves, start=1):
            if move.to == host.host:
                yield (*place, "moves", str(at)), f"moves {move.name} to the host that it is on"
