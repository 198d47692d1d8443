"""Decoders that several threads may use, each built once and by one thread at a time.

msgspec learns the fields of a Struct when a type that has it is first decoded, and marks it as known before they are, so that
a type may hold itself. A second thread that decodes the same Struct at that moment works with the half and crashes the whole
process (msgspec 0.22, measured: tests/unit/test_decoding.py). The engine decodes in many threads, so all of it goes through here.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_building = threading.RLock()
_json: dict[tuple[Any, bool], msgspec.json.Decoder[Any]] = {}
_msgpack: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def json_decoder(kind: type[T], *, strict: bool = True) -> msgspec.json.Decoder[T]:
    """The one decoder of JSON for this type. `strict` as in msgspec."""
    key = (kind, strict)
    found = _json.get(key)
    if found is None:
        with _building:
            found = _json[key] = msgspec.json.Decoder(kind, strict=strict)
    return found


def msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """The one decoder of MessagePack for this type."""
    found = _msgpack.get(kind)
    if found is None:
        with _building:
            found = _msgpack[kind] = msgspec.msgpack.Decoder(kind)
    return found


def from_json(raw: bytes | bytearray | memoryview | str, kind: type[T], *, strict: bool = True) -> T:
    """As msgspec.json.decode, and raises what that raises."""
    return json_decoder(kind, strict=strict).decode(raw)


def from_msgpack(raw: bytes, kind: type[T]) -> T:
    """As msgspec.msgpack.decode, and raises what that raises."""
    return msgpack_decoder(kind).decode(raw)


def converted(value: object, kind: type[T], *, strict: bool = True, str_keys: bool = False) -> T:
    """As msgspec.convert, and raises what that raises."""
    json_decoder(kind)  # its fields are known from here on
    return msgspec.convert(value, kind, strict=strict, str_keys=str_keys)
