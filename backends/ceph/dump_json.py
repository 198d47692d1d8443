"""Dumps as JSON, of any release and any of the commands that list groups. Strict: every byte is parsed.

Up to Mimic `pg dump pgs_brief` is a bare list and `pg dump` has "pg_stats" at the top; since Nautilus there is
"pg_ready", and `pg dump` puts all else under "pg_map".
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backends.ceph.dump import DumpError, Group, OSDId, Reading
from evac.decoding import json_decoder


class _OSDStat(Struct, gc=False):
    osd: OSDId


class _Map(Struct):
    pg_stats: list[Group] | UnsetType = UNSET
    osd_stats: list[_OSDStat] | UnsetType = UNSET


class _Answer(_Map):
    pg_ready: bool = True
    pg_map: _Map | UnsetType = UNSET


_list: msgspec.json.Decoder[list[Group]] = json_decoder(list[Group])
_answer: msgspec.json.Decoder[_Answer] = json_decoder(_Answer)
_keys: msgspec.json.Decoder[dict[str, Raw]] = json_decoder(dict[str, Raw])


@contextmanager
def no_collection() -> Iterator[None]:
    """A million new objects and none of them garbage: looking for some doubles the time of a decode."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read(data: bytes | memoryview) -> Reading:
    """All groups of a dump.

    Raises:
        DumpError: it is not JSON, is cut off, or is the answer of another command.
    """
    with no_collection():
        if bytes(data[:64]).lstrip()[:1] == b"[":
            return Reading(_decoded(_list, data))
        answer = _decoded(_answer, data)
    place = answer if answer.pg_map is UNSET else answer.pg_map
    groups = place.pg_stats
    if groups is UNSET:
        _need_nothing_else(data)
        groups = []  # a filter that matches nothing leaves the list out
    listed = place.osd_stats
    return Reading(
        groups, answer.pg_ready, None if listed is UNSET else tuple(sorted(stat.osd for stat in listed))
    )


def groups(data: bytes) -> list[Group]:
    """A bare list of groups. Raises DumpError."""
    with no_collection():
        found: list[Group] = _decoded(_list, data)
    return found


def _decoded(decoder: msgspec.json.Decoder[Any], data: bytes | memoryview) -> Any:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise DumpError(f"This JSON is not what Ceph prints for placement groups: {error}.") from None
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            text = f"The JSON ends after {len(data)} bytes, before it is complete."
            raise DumpError(text, "Save or copy it again, in full.") from None
        raise DumpError(f"This is no JSON that Ceph would print: {error}.") from None
    except UnicodeDecodeError as error:
        raise DumpError(f"A text in the JSON is not UTF-8: {error.reason}.") from None
    except RecursionError:
        raise DumpError("The JSON is nested too deeply for a dump of Ceph.") from None


def _need_nothing_else(data: bytes | memoryview) -> None:
    """An answer with neither groups nor anything else is empty; one with something else is not a list of groups."""
    keys = [key for key in _decoded(_keys, data) if key != "pg_ready"]
    if keys == ["stuck_pg_stats"]:
        raise DumpError("This is `ceph pg dump_stuck`: only the stuck groups, so sums over it mean nothing.")
    if keys:
        shown = ", ".join(key[:40] for key in keys[:4])
        raise DumpError(f"The JSON holds no placement groups; it holds {shown}.")
