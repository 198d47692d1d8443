"""A saved or fetched `ceph pg dump`: what a reader of one yields, and what is said when it cannot be read.

Only the id of a placement group, "up", "acting" and the acting primary are looked at.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from gzip import GzipFile
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from evac.model import Problem

NOBODY = 2147483647
"""CRUSH_ITEM_NONE: a place of an erasure-coded group that no OSD fills. Plain full dumps print NONE instead."""

MOST_BYTES = 8 << 30
"""Of an unpacked file. A full dump of a million groups as JSON has 2.3 GB; above this it is no dump."""

HOW = "Save one with: ceph pg dump pgs_brief -f json > pgs.json"

OSDId = Annotated[int, Meta(ge=0, le=NOBODY)]
Primary = Annotated[int, Meta(ge=-1, le=NOBODY)]


class Group(Struct, gc=False):
    """One placement group as a dump tells it."""

    pgid: str
    """Decimal pool id, ".", hexadecimal seed."""
    up: list[OSDId]
    acting: list[OSDId]
    acting_primary: Primary | None = None
    """-1 or NOBODY where there is none; None in dumps of releases that did not print it."""


class Reading(NamedTuple):
    """All groups of a dump."""

    groups: list[Group]
    ready: bool = True
    """False: the manager says that its map is not complete yet."""
    listed: tuple[int, ...] | None = None
    """The OSDs the dump lists, with or without groups; None when this kind of dump lists none."""


class DumpError(Exception):
    """What was given is no dump of placement groups, or a broken one."""

    def __init__(self, happened: str, next_step: str = HOW) -> None:
        super().__init__(happened)
        self.problem = Problem(happened=happened, unaffected="Nothing was counted.", next_step=next_step)


_CHATTER = re.compile(rb"(?:\s*dumped [a-z_, ]+\r?\n)+")
"""What the `ceph` command writes to stderr, and `2>&1` puts into the file."""


def unpacked(data: bytes | memoryview) -> bytes | memoryview:
    """Without gzip, byte order mark and the words of stderr around it; as it came when there is none of these.

    Raises:
        DumpError: the gzip data is broken, cut off or absurdly large, or the text is none.
    """
    if bytes(data[:2]) == b"\x1f\x8b":
        data = _gunzip(bytes(data))
    head = bytes(data[:3])
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:  # what `>` of PowerShell writes
        data = _utf16(bytes(data))
    elif head == b"\xef\xbb\xbf":
        data = data[3:]
    if chatter := _CHATTER.match(data):
        data = data[chatter.end() :]
    tail = bytes(data[-64:])
    if b"]" in tail and (at := tail.find(b"\ndumped ")) >= 0:
        data = data[: len(data) - len(tail) + at]
    return data


def _gunzip(data: bytes) -> bytes:
    try:
        plain = GzipFile(fileobj=io.BytesIO(data)).read(MOST_BYTES + 1)
    except EOFError:
        raise DumpError("The gzip file is cut off.", "Copy it again, in full.") from None
    except (OSError, zlib.error) as error:
        raise DumpError(f"The gzip file is broken: {error}.", "Copy it again, in full.") from None
    if len(plain) > MOST_BYTES:
        raise DumpError(f"The gzip file unpacks to more than {MOST_BYTES >> 30} GiB.")
    return plain


def _utf16(data: bytes) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeError as error:
        raise DumpError(f"The file begins as UTF-16 and goes on as something else: {error}.") from None


def strings(groups: Sequence[Group]) -> str:
    """All ids, one on a line."""
    return "\n".join([group.pgid for group in groups])


_IDS = re.compile(r"^([0-9]{1,10})\.[0-9a-f]{1,8}$", re.MULTILINE | re.ASCII)


def pool_ids(groups: Sequence[Group]) -> list[int]:
    """The pool of each group, in their order.

    Raises:
        DumpError: an id is none; it is named.
    """
    text = strings(groups)
    found = _IDS.findall(text)
    if len(found) != len(groups) or text.count("\n") != len(groups) - 1:
        for number, group in enumerate(groups, 1):
            if not _IDS.fullmatch(group.pgid):
                raise DumpError(
                    f"Group number {number} has the id {group.pgid[:40]!r}, which is no PG id like 15.7f."
                )
    return list(map(int, found))
