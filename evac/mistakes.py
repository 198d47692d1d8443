"""Mistakes in a file that people write: where each is, what is allowed there, which name was probably meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct


class Mistake(Struct, frozen=True, kw_only=True):
    """One mistake in the file."""

    file: str
    line: int
    """From 1; 0 when it belongs to no line."""
    key: str
    """"clusters.prod.read_timeout", or "" for the file as a whole."""
    message: str
    allowed: str = ""
    nearest: str = ""
    """The name that was probably meant."""

    def __str__(self) -> str:
        """One line: file:line: key: what; allowed: …; did you mean …?"""
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.nearest:
            parts.append(f'did you mean "{self.nearest}"?')
        return "; ".join(parts)


def nearest_of(name: str, names: Iterable[str]) -> str:
    """The name that was probably meant; "" when none is near."""
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def shown(value: Any) -> str:
    """A value as the file has it, short."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}…"'
        case dict():
            return "a table"
        case list():
            return "a list"
    return str(value)


def in_plain_words(error: str) -> str:
    """Msgspec's message without its JSON words."""
    text = error.replace("`", "").replace("array", "list").replace("object", "table")
    text = (
        text.replace("Expected str", "expected a text")
        .replace("got str", "got a text")
        .replace("Expected list", "expected a list")
        .replace("Expected table", "expected a table")
        .replace("Expected float", "expected a number")
        .replace("Expected int", "expected a whole number")
        .replace("Expected bool", "expected true or false")
        .replace("got int", "got a number")
        .replace("got float", "got a number")
        .replace("got bool", "got true or false")
    )
    return text[:1].lower() + text[1:]


def _info(kind: Any) -> list[Any]:
    """Msgspec's own view of a type; the members of a union one by one."""
    info = msgspec.inspect.type_info(kind)
    return list(info.types) if isinstance(info, msgspec.inspect.UnionType) else [info]


def struct_in(kind: Any) -> type[Struct] | None:
    """The table that a field holds, if it holds one."""
    found = [info.cls for info in _info(kind) if isinstance(info, msgspec.inspect.StructType)]
    return found[0] if found else None


def struct_listed(kind: Any) -> type[Struct] | None:
    """What a list of tables holds."""
    listed = [info for info in _info(kind) if isinstance(info, msgspec.inspect.VarTupleType)]
    found = [info.item_type.cls for info in listed if isinstance(info.item_type, msgspec.inspect.StructType)]
    return found[0] if found else None


def choices_of(kind: Any) -> list[str]:
    """The words of which a field takes one; [] where any text will do."""
    out: list[str] = []
    for info in _info(kind):
        if isinstance(info, msgspec.inspect.LiteralType):
            out += [str(value) for value in info.values]
        elif isinstance(info, msgspec.inspect.EnumType):
            out += [str(member.value) for member in info.cls]
    return out


def type_name(kind: Any) -> str:
    """What a field takes, in words."""
    return " or ".join(name for info in _info(kind) if (name := _one_type_name(info)))


_WORDS: dict[type[Any], str] = {
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.IntType: "a whole number",
    msgspec.inspect.FloatType: "a number",
    msgspec.inspect.StrType: "a text",
    msgspec.inspect.StructType: "a table",
    msgspec.inspect.DictType: "a table",
    msgspec.inspect.ListType: "a list",
    msgspec.inspect.VarTupleType: "a list",
    msgspec.inspect.LiteralType: "one of the listed words",
    msgspec.inspect.EnumType: "one of the listed words",
}


def _one_type_name(info: Any) -> str:
    if isinstance(info, msgspec.inspect.Metadata):
        return _one_type_name(info.type)
    return _WORDS.get(type(info), "") + (_bounds(info) if hasattr(info, "ge") else "")


def _bounds(info: Any) -> str:
    low = [f"at least {info.ge:g}"] if info.ge is not None else []
    low += [f"more than {info.gt:g}"] if info.gt is not None else []
    high = [f"at most {info.le:g}"] if info.le is not None else []
    high += [f"less than {info.lt:g}"] if info.lt is not None else []
    return f", {' and '.join([*low, *high])}" if low or high else ""
