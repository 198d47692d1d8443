"""What all answers of the simulated Ceph share: refusals, times as Ceph writes them, and how a handler looks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_things import Key

RELEASE = "ceph version 16.2.15 (618f440892089921c3e944a991122ddc44e60516) pacific (stable)"
FEATURES = 4540138314316775423
"""Bits of the release, as recorded."""

HOLE = 2147483647
"""CRUSH_ITEM_NONE: a place of an erasure-coded PG that no OSD fills."""

Command = Mapping[str, object]


class Refused(Exception):
    """Ceph says no. `code` is a positive errno; some refusals come with data."""

    def __init__(self, code: int, words: str, data: object = None) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.data = data


@dataclass(frozen=True, slots=True)
class Told:
    """Data, and words for people beside it."""

    data: object
    words: str = ""


@dataclass(slots=True)
class Context:
    """What a handler may look at."""

    ceph: CephWorld
    dumps: dict[tuple[int, str], tuple[tuple[object, ...], bytes]] = field(default_factory=dict)
    """(pool, form) → what its rows depend on, and the rows: a dump costs nothing while nothing changes."""


Handler = Callable[[Context, Command], object]
"""Gives data to be written as JSON, or bytes as they are, or both with words as `Told`. Raises Refused."""


def stamp(ceph: CephWorld, at: float | None = None) -> str:
    """World time as Ceph's utime_t prints it."""
    return datetime.fromtimestamp(ceph.world.wall(at), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def zulu(ceph: CephWorld, at: float | None = None) -> str:
    """World time as the monitors' map prints it."""
    return datetime.fromtimestamp(ceph.world.wall(at), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pgid(key: Key) -> str:
    """Decimal pool, hexadecimal seed."""
    return f"{key[0]}.{key[1]:x}"


def word(command: Command, name: str) -> str:
    """An argument as text; "" when it was not given."""
    value = command.get(name, "")
    return value if isinstance(value, str) else str(value)


def words(command: Command, name: str) -> list[str]:
    """An argument that may be given several times."""
    value = command.get(name, [])
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value).split()


def number_of_osd(text: str) -> int:
    """Take "3" or "osd.3" as Ceph's parse_osd_id_list does. Raises Refused (recorded words)."""
    bare = text.removeprefix("osd.")
    if not bare.isdecimal():
        raise Refused(22, f"Expected option value to be integer, got '{text}'invalid osd id '{text}'")
    return int(bare)


def addresses(last: int, port: int, nonce: int) -> tuple[dict[str, object], str]:
    """(addrvec, the old form) of a daemon; the addresses are from the range for documentation."""
    address = f"192.0.2.{last % 250 + 1}:{port}"
    return {"addrvec": [{"type": "v2", "addr": address, "nonce": nonce}]}, f"{address}/{nonce}"


def same_uuid(*parts: object) -> str:
    """A UUID that depends on these words only."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, parts))))


def ratio(part: float, whole: float) -> float:
    """0 when there is nothing."""
    return part / whole if whole else 0.0
