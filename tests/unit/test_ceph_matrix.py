"""The PG matrix of real and classic clusters, against the recorded dumps, `osd df` and the one-liner everyone copies."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from backends.ceph.dump import NOBODY
from backends.ceph.matrix import DumpError, Matrix, Row, decode
from tests.dumps import PG, bare_json, brief_json, brief_text, full_json, full_text, made_up, old_text, placed

FIXTURES = Path(__file__).parents[1] / "fixtures" / "ceph"
REST = FIXTURES / "16.2.15-12osd-15pool"
MAINTENANCE = FIXTURES / "16.2.15-maintenance"
STATES = [
    REST,
    *(MAINTENANCE / name for name in ("backfill", "ec_holes", "host_down_noout", "osd_out_backfill")),
]

CLASSIC = {4: 470, 5: 480, 6: 477, 7: 472, 8: 490, 9: 470, 10: 527, 11: 476, 0: 468, 1: 477, 2: 455, 3: 498}
"""Row sums of the report that came with the first wish for this: 12 OSDs, 15 pools, 384 places in each."""


def cells(matrix: Matrix, table: str = "up") -> dict[tuple[int, int], int]:
    """(OSD, pool) → count, without zeros."""
    counts = getattr(matrix, table)
    return {
        (int(matrix.osds[row]), int(matrix.pools[column])): int(counts[row, column])
        for row, column in zip(*np.nonzero(counts), strict=True)
    }


def counted(groups: list[dict[str, list[int]]], which: str) -> Counter[tuple[int, int]]:
    """The same by the simplest code there can be."""
    out: Counter[tuple[int, int]] = Counter()
    for group in groups:
        for osd in group[which]:
            if osd != NOBODY:
                out[osd, int(str(group["pgid"]).split(".")[0])] += 1
    return out


def by_awk(text: bytes) -> dict[tuple[int, int], int]:
    """What the corrected one-liner prints, as cells. Debian's awk is mawk."""
    awk = next((found for name in ("mawk", "gawk", "awk") if (found := shutil.which(name))), None)
    assert awk, "this needs an awk; every Debian has mawk"
    done = subprocess.run(
        [awk, "-f", str(FIXTURES / "oneliner_fixed.awk")], input=text, capture_output=True, check=True
    )
    return awk_cells(done.stdout.decode())


def awk_cells(text: str) -> dict[tuple[int, int], int]:
    pools = [int(pool) for pool in re.findall(r"\d+", re.search(r"^pool :(.*)\|", text, re.MULTILINE)[1])]  # type: ignore[index]
    out = {}
    for osd, counts in re.findall(r"^osd\.(\d+)\t(.*)\t\|", text, re.MULTILINE):
        out.update({(int(osd), pool): int(count) for pool, count in zip(pools, counts.split(), strict=True)})
    return {cell: count for cell, count in out.items() if count}


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.name)
def test_text_gives_the_cells_of_the_corrected_one_liner(state: Path) -> None:
    text = gzip.decompress((state / "pg_dump.txt.gz").read_bytes())
    matrix = decode(text)
    assert cells(matrix) == by_awk(text)
    assert sum(cells(matrix).values()) > 4000


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.name)
@pytest.mark.parametrize("table", ["up", "acting"])
def test_json_gives_the_cells_of_a_plain_count(state: Path, table: str) -> None:
    data = (state / "pg_dump_pgs_brief.json.gz").read_bytes()
    groups = json.loads(gzip.decompress(data))["pg_stats"]
    assert cells(decode(data), table) == counted(groups, table)


def test_every_form_of_one_dump_gives_one_matrix() -> None:
    """Brief and full, text and JSON, `pg dump pgs` and `pg ls` were recorded in one state."""
    forms = [
        "pg_dump.txt.gz",
        "pg_dump.json.gz",
        "pg_dump_pgs.json.gz",
        "pg_ls.json.gz",
        "pg_dump_pgs_brief.txt.gz",
    ]
    first = decode((REST / "pg_dump_pgs_brief.json.gz").read_bytes())
    recorded = awk_cells((REST / "oneliner_fixed.mawk.txt").read_text())
    assert cells(first) == recorded
    for form in forms:
        other = decode((REST / form).read_bytes())
        assert not first.changed(other), form
        assert other.total == 1920


def test_row_sums_are_those_of_osd_df() -> None:
    """`osd df` counts "acting", which is seen while an OSD is drained."""
    for state in STATES:
        nodes = json.loads((state / "osd_df.json").read_text())["nodes"]
        matrix = decode((state / "pg_dump_pgs_brief.json.gz").read_bytes())
        sums = dict(zip(matrix.osds.tolist(), matrix.acting.sum(axis=1).tolist(), strict=True))
        assert {node["id"]: node["pgs"] for node in nodes if node["pgs"]} == {
            o: n for o, n in sums.items() if n
        }


def classic() -> list[PG]:
    """128 groups of size 3 in each of 15 pools; each takes the OSDs that have the most places left."""
    left = Counter(CLASSIC)
    out = []
    for number in range(15 * 128):
        osds = [osd for osd, _ in left.most_common(3)]
        left.subtract(osds)
        out.append(placed(number % 15 + 1, number // 15, osds))
    assert not any(left.values())
    return out


@pytest.mark.parametrize("form", [brief_json, bare_json, brief_text])
def test_the_classic_report_comes_out_again(form: object) -> None:
    matrix = decode(form(classic()))  # type: ignore[operator]
    assert dict(zip(matrix.osds.tolist(), matrix.up.sum(axis=1).tolist(), strict=True)) == CLASSIC
    assert matrix.up.sum(axis=0).tolist() == [384] * 15
    assert cells(matrix) == by_awk(brief_text(classic()))


def test_a_full_dump_shows_osds_that_hold_nothing() -> None:
    """The one-liner drops the three OSDs of the host that is down."""
    matrix = decode((MAINTENANCE / "host_down_noout" / "pg_dump.txt.gz").read_bytes())
    assert matrix.osds.tolist() == list(range(12))
    assert matrix.lists_all
    assert [osd for osd, row in matrix.rows().items() if row == Row()] == [0, 4, 8]
    assert not decode((MAINTENANCE / "host_down_noout" / "pg_dump_pgs_brief.json.gz").read_bytes()).lists_all


def test_holes_are_counted_and_are_no_osd() -> None:
    """k=4 m=2 on four hosts: two places of each of the 16 groups are empty."""
    for form in ("pg_dump.txt.gz", "pg_dump_pgs_brief.json.gz"):
        matrix = decode((MAINTENANCE / "ec_holes" / form).read_bytes())
        assert matrix.osds.max() == 11
        assert dict(zip(matrix.pools.tolist(), matrix.missing_up.tolist(), strict=True)) == {
            **dict.fromkeys(range(1, 16), 0),
            16: 32,
        }
        assert matrix.up.sum(axis=0)[-1] == 64


def test_a_drain_shows_what_arrives_and_what_leaves() -> None:
    """35 groups still lie on osd.5, which is out, and go elsewhere."""
    matrix = decode((MAINTENANCE / "backfill" / "pg_dump_pgs_brief.json.gz").read_bytes())
    drained = matrix.rows()[5]
    assert drained.up == ()
    assert sum(drained.acting) == 35
    assert matrix.arriving.sum() == matrix.leaving.sum() == 35
    assert matrix.leaving.sum(axis=1)[matrix.osds.tolist().index(5)] == 35


def test_only_changed_rows_are_told() -> None:
    groups = made_up(200, 20, 4, moved=0.0)
    former = decode(brief_json(groups))
    assert former.changed(None) is None
    assert former.changed(decode(brief_json(reversed(groups)))) == []
    moved = PG(groups[0].pool, groups[0].seed, (901, *groups[0].up[1:]), groups[0].acting, groups[0].primary)
    later = decode(brief_json([moved, *groups[1:]]))
    assert later.changed(former) == sorted({groups[0].up[0], 901})
    assert sum(later.rows([901])[901].arriving) == 1
    assert later.rows([902]) == {902: Row()}
    assert former.changed(later) == later.changed(former), "a vanished OSD is a changed row"
    other_pools = decode(brief_json([placed(99, 0, [1, 2, 3]), *groups]))
    assert other_pools.changed(former) is None


def test_not_ready_is_told_and_is_not_zero() -> None:
    data = brief_json(classic(), ready=False)
    assert not decode(data).ready
    assert decode(data).total == 1920
    assert decode(brief_json(classic())).ready
    assert decode(b'{"pg_ready":true}').total == 0, "a filter that matches nothing leaves the list out"


@pytest.mark.parametrize(
    "text",
    [
        old_text(classic(), range(14)),
        full_text(classic(), range(14)),
        full_text(classic(), range(14), extra="LOG_DUPS "),
    ],
    ids=["hammer", "pacific", "reef"],
)
def test_the_header_says_which_column_is_which(text: bytes) -> None:
    """Stamps of one word and of two, lower case, columns that came later."""
    matrix = decode(text)
    assert matrix.osds.tolist() == list(range(14))
    assert {osd: sum(row.up) for osd, row in matrix.rows().items()} == {**CLASSIC, 12: 0, 13: 0}
    assert matrix.primary.sum() == 1920


def test_pg_ls_text_has_its_primaries_behind_a_p() -> None:
    text = b"PG   OBJECTS  STATE         SINCE  UP          ACTING      SCRUB_STAMP\n" + b"".join(
        b"%b  0  active+clean  4m  [%b]p%d  [%b]p%d  2026-11-21T06:10:29.996538+0000\n"
        % (g.id.encode(), osds := b",".join(b"%d" % osd for osd in g.up), g.up[0], osds, g.primary)
        for g in classic()
    )
    matrix = decode(text)
    assert not matrix.changed(decode(brief_json(classic())))


@pytest.mark.parametrize(
    "wrap",
    [
        gzip.compress,
        lambda data: b"dumped pgs_brief\n" + data,
        lambda data: data + b"\ndumped pgs_brief\n",
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b"\n", b"\r\n"),
        memoryview,
    ],
    ids=["gzip", "stderr-first", "stderr-last", "bom", "utf-16", "crlf", "view"],
)
@pytest.mark.parametrize("form", [brief_json, brief_text])
def test_what_a_file_picks_up_on_its_way_does_no_harm(wrap: object, form: object) -> None:
    groups = classic()
    matrix = decode(wrap(form(groups)))  # type: ignore[operator]
    assert not matrix.changed(decode(brief_json(groups)))


GROUPS = made_up(50, 9, 3)

BROKEN: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b" \n", "nothing in it"),
    "cut JSON": (brief_json(GROUPS)[:-40], "ends after"),
    "cut row": (brief_text(GROUPS)[:-30], "Line 51 does not fit"),
    "cut number": (brief_text(made_up(50, 999, 3))[:-2], "cut off in line 51"),
    "cut before the OSDs": (full_text(GROUPS, range(9)).split(b"OSD_STAT")[0], "before the list of OSDs"),
    "cut in the OSDs": (full_text(GROUPS, range(9))[:-20], "cut off in the list of OSDs"),
    "sorted": (b"\n".join(sorted(brief_text(GROUPS).split(b"\n"))), "before the header"),
    "two in one": (brief_text(GROUPS) * 2, "second list"),
    "other JSON": ((REST / "status.json").read_bytes(), "holds fsid, health"),
    "stuck only": ((MAINTENANCE / "pg_dump_stuck_undersized.json.gz").read_bytes(), "dump_stuck"),
    "other text": (b"  cluster:\n    id: 7\n", "no header line"),
    "XML": (b"<pg_stats></pg_stats>", "XML"),
    "a bad id": (brief_json(GROUPS).replace(b'"1.0"', b'"x.0"'), "'x.0'"),
    "a negative OSD": (brief_json([*GROUPS, PG(1, 99, (-4,), (1,), 1)]), "`$.pg_stats[50].up[0]`"),
    "cut gzip": (gzip.compress(brief_json(GROUPS))[:-20], "gzip file is cut off"),
    "broken gzip": (gzip.compress(brief_json(GROUPS))[:-5] + b"12345", "gzip file is broken"),
    "an empty word": (b'"x"', "no header line"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_dump_is_told_with_its_place_and_a_way_out(name: str) -> None:
    data, words = BROKEN[name]
    with pytest.raises(DumpError) as caught:
        decode(data)
    assert words in caught.value.problem.happened
    assert caught.value.problem.next_step


def test_absurd_dimensions_cost_an_error_and_no_memory() -> None:
    groups = [placed(number, 0, [number * 7919, number + 1]) for number in range(1, 9000)]
    with pytest.raises(DumpError, match="more than any cluster has"):
        decode(brief_json(groups))


def test_full_json_up_to_mimic_and_since_nautilus() -> None:
    for mapped in (True, False):
        matrix = decode(full_json(GROUPS, range(12), mapped=mapped))
        assert matrix.osds.tolist() == list(range(12))
        assert cells(matrix) == cells(decode(brief_json(GROUPS)))
