"""Proxmox VE's own schema of its API, as the installed fakepve ships it: does a request, or an answer, fit it?

The schema is under the AGPL like fakepve itself: it is read from the installed wheel by tests, and never copied here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from fakepve import schema

BASE = "/api2/json"


@functools.cache
def _loaded() -> Any:
    return schema.load()


def request_troubles(method: str, path: str, values: Mapping[str, object]) -> dict[str, str]:
    """What Proxmox VE would refuse of a request: parameter → why; {} when it fits.

    `path` may begin with /api2/json and has no query; `values` are the query's or the form's.
    """
    match = _loaded().match(path.removeprefix(BASE))
    if match is None:
        return {"": f"no such path: {path}"}
    info = match.methods.get(method)
    if info is None:
        return {"": f"{path} has no {method}"}
    _, errors = schema.validate(info.get("parameters"), {**values, **match.params})
    return dict(errors)


def answer_troubles(method: str, path: str, data: object) -> list[str]:
    """What of the "data" of an answer is not as the schema has it, each with its place; [] when it fits.

    Fields the schema does not name are let pass: Proxmox VE sends more than it documents.
    """
    match = _loaded().match(path.removeprefix(BASE))
    if match is None or method not in match.methods:
        return [f"no such call: {method} {path}"]
    return list(_troubles(match.methods[method].get("returns") or {}, data, "data"))


def _troubles(spec: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    kind = spec.get("type", "any")
    if kind == "array":
        yield from _of_list(spec, value, where)
    elif kind == "object":
        yield from _of_object(spec, value, where)
    elif kind == "null" and value is not None:
        yield f"{where} is not null"
    elif kind in {"string", "integer", "number", "boolean"}:
        yield from _scalar(spec, kind, value, where)


def _of_list(spec: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} is no list"
        return
    for number, item in enumerate(value):
        yield from _troubles(spec.get("items") or {}, item, f"{where}[{number}]")


def _of_object(spec: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    for name, inner in (spec.get("properties") or {}).items():
        if name in value:
            yield from _troubles(inner, value[name], f"{where}.{name}")
        elif not inner.get("optional"):
            yield f"{where}.{name} is missing"


def _scalar(spec: Mapping[str, Any], kind: str, value: object, where: str) -> Iterator[str]:
    fits = {
        "string": isinstance(value, str | int | float),  # Perl hands numbers out where a string is documented
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": value in (0, 1, "0", "1", ""),
    }[kind]
    if not fits:
        yield f"{where} is {value!r}, not {kind}"
    elif "enum" in spec and str(value) not in {str(one) for one in spec["enum"]}:
        yield f"{where} is {value!r}, not one of {spec['enum']}"
