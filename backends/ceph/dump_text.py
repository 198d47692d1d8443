"""Dumps as the `ceph` command prints them for people: `pg dump`, `pg dump pgs`, `pgs_brief`, `pg ls` of any release.

The header says which column is which, and no column is found by counting words: stamps have two words up to Nautilus
("2019-03-01 10:11:12.123456") and one since ("2024-03-01T10:11:12.123456+0000"), columns come and go with releases,
and old headers are in lower case. Plain full dumps print NONE for a hole, all others 2147483647.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from backends.ceph.dump import NOBODY, DumpError, Group, OSDId, Primary, Reading
from evac.decoding import json_decoder

_GAP = rb"[ \t]+"
_ANY = rb"(?:[0-9]{4}-[0-9]{2}-[0-9]{2} )?[^ \t]+"
_OSDS = rb"\[([0-9,NOE]*)\]"
_WITH_PRIMARY = _OSDS + rb"(?:p(-?[0-9]+|NONE))?"
_COLUMNS = {
    b"UP": _OSDS + rb"(?:p-?[0-9]+|pNONE)?",
    b"ACTING": _WITH_PRIMARY,  # `pg ls` prints [4,9,6]p4
    b"ACTING_PRIMARY": rb"(-?[0-9]+|NONE)",
}
_ID = re.compile(rb"[ \t]*[0-9]+\.[0-9a-f]*(?:[ \t]|$)")
_OSD_ROW = re.compile(rb"[ \t]*(?:osd\.)?([0-9]{1,10})[ \t]")
_SUM = re.compile(rb"[ \t]*sum\b")

_lists: msgspec.json.Decoder[list[list[OSDId]]] = json_decoder(list[list[OSDId]])
_primaries: msgspec.json.Decoder[list[Primary]] = json_decoder(list[Primary])

Row = tuple[bytes, ...]
"""Id, up, acting, the acting primary after a "p", and if there is such a column the acting primary."""


def read(data: bytes) -> Reading:
    """All groups of a dump.

    Raises:
        DumpError: there is no header with the columns needed, a row does not fit it, or the end is missing.
    """
    lines = data.split(b"\n")
    start, header = _header(lines)
    row = _row_pattern(header)
    rows, rest = _rows(lines, start, row)
    _need_last_line(lines, rows)
    listed = _listed(rest)
    if lines[0].startswith(b"version ") and listed is None:
        raise DumpError(
            f"The text ends after {len(lines)} lines, before the list of OSDs that ends a full `pg dump`.",
            "Save or copy it again, in full.",
        )
    return Reading(_groups(rows), listed=listed)


def _header(lines: Sequence[bytes]) -> tuple[int, list[bytes]]:
    """The index of the line after the header, and the names of the columns in upper case."""
    for index, line in enumerate(lines):
        names = line.upper().split()
        if names and names[0] in {b"PG_STAT", b"PG"} and b"UP" in names and b"ACTING" in names:
            return index + 1, names
        if _ID.match(line):
            raise DumpError(
                f"Line {index + 1} is a placement group and stands before the header.",
                "Keep the file as `ceph pg dump` wrote it: with its header line, and not sorted.",
            )
    raise DumpError(
        "There is no header line with PG_STAT, UP and ACTING, so this is no list of placement groups."
    )


def _row_pattern(names: list[bytes]) -> re.Pattern[bytes]:
    last = max(index for index, name in enumerate(names) if name in _COLUMNS)
    if names.index(b"UP") > names.index(b"ACTING"):
        raise DumpError("The header has ACTING before UP, as no release of Ceph prints it.")
    parts = [_COLUMNS.get(name, _ANY) for name in names[1 : last + 1]]
    return re.compile(
        rb"[ \t]*([0-9]+\.[0-9a-f]+)" + b"".join(_GAP + part for part in parts) + rb"(?![^ \t\r])"
    )


def _rows(lines: Sequence[bytes], start: int, row: re.Pattern[bytes]) -> tuple[list[Row], list[bytes]]:
    """The rows of groups, and the lines that are none."""
    rows: list[Row] = []
    rest: list[bytes] = []
    match = row.match
    for index in range(start, len(lines)):
        line = lines[index]
        if found := match(line):
            rows.append(found.groups())
        elif _ID.match(line):
            shown = line.decode(errors="replace").split()
            raise DumpError(
                f"Line {index + 1} does not fit the header: {' '.join(shown)[:60]!r}.",
                "If it is the last line, the file is cut off: save or copy it again.",
            )
        elif line.upper().startswith((b"PG_STAT", b"PG ")):
            raise DumpError(
                f"A second list of placement groups begins in line {index + 1}.", "Give one dump at a time."
            )
        else:
            rest.append(line)
    return rows, rest


def _need_last_line(lines: Sequence[bytes], rows: Sequence[Row]) -> None:
    """A last line without its line end can have lost more than that: padded columns make all rows equally long."""
    last = lines[-1]
    if not last.strip() or not _ID.match(last):
        return
    former = lines[-2].rstrip(b"\r") if len(rows) > 1 else b""
    if b"\t" in last or (former and len(former) != len(last)):
        raise DumpError(f"The text is cut off in line {len(lines)}.", "Save or copy it again, in full.")


def _listed(rest: Sequence[bytes]) -> tuple[int, ...] | None:
    """The ids of the list of OSDs of a full dump; None when there is no such list."""
    start = next(
        (
            index
            for index, line in enumerate(rest)
            if line[:8].lower().replace(b"_", b"").startswith(b"osdstat")
        ),
        None,
    )
    if start is None:
        return None
    osds: list[int] = []
    for line in rest[start + 1 :]:
        if _SUM.match(line):
            return tuple(sorted(osds))
        if found := _OSD_ROW.match(line):
            osds.append(int(found[1]))
    raise DumpError("The text is cut off in the list of OSDs.", "Save or copy it again, in full.")


def _groups(rows: Sequence[Row]) -> list[Group]:
    if not rows:
        return []
    columns = list(zip(*rows, strict=True))
    ids, ups, actings = columns[0], columns[1], columns[2]
    primaries = columns[4] if len(columns) > 4 else columns[3]
    try:
        return [
            Group(pgid.decode(), up, acting, primary)
            for pgid, up, acting, primary in zip(
                ids, _numbers(ups), _numbers(actings), _primary(primaries), strict=True
            )
        ]
    except msgspec.MsgspecError as error:
        raise DumpError(f"A list of OSDs makes no sense: {error}.") from None


def _numbers(texts: Sequence[bytes]) -> list[list[int]]:
    """All lists at once, as JSON: four times as fast as number by number."""
    return _lists.decode(b"[[%b]]" % b"],[".join(texts).replace(b"NONE", b"%d" % NOBODY))


def _primary(texts: Sequence[bytes | None]) -> Sequence[int | None]:
    if any(text is None for text in texts):
        return [None] * len(texts)
    return _primaries.decode(b"[%b]" % b",".join(texts).replace(b"NONE", b"%d" % NOBODY))  # type: ignore[arg-type]
