"""`evac pgs`: the table admins know from the one-liner, offline from a dump and live from the engine's rows."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from evac.api import Delta
from evac.jobs import QueueState
from evac.model import ClusterState
from evac.placement import Which
from evac.storage import OSD, Pool, Storage
from tests.dumps import PG, brief_json, brief_text, full_json, placed
from tui import pg_sheet
from tui.cli import cli
from tui.commands.exits import Stop
from tui.commands.pgs import narrowed, of_view
from tui.commands.session import View

FIXTURES = Path(__file__).parents[1] / "fixtures" / "ceph"
REST = FIXTURES / "16.2.15-12osd-15pool"
HOLES = FIXTURES / "16.2.15-maintenance" / "ec_holes" / "pg_dump.txt.gz"
MOVING = FIXTURES / "16.2.15-maintenance" / "backfill" / "pg_dump_pgs_brief.json.gz"
HOSTILE = "\x1b]0;owned\x07no\x1b[2Jde\u202e\u6771\u4eac"


def evac(*words: object, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["pgs", *map(str, words)], input=stdin)


def table(text: str) -> dict[str, list[str]]:
    """First word of a line → the other words."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split()) and line[0] != "-"}


def test_the_table_is_that_of_the_corrected_one_liner() -> None:
    result = evac(REST / "pg_dump.txt.gz")
    assert result.exit_code == 0
    ours = table(result.stdout)
    theirs = [
        line for line in (REST / "oneliner_fixed.gawk.txt").read_text().splitlines() if line[:4] == "osd."
    ]
    assert len(theirs) == 12
    for line in theirs:
        name, *counts, _, total = line.split()
        assert ours[name][:-1] == [*counts, total]
    assert ours["SUM"] == ["384"] * 15 + ["5760"]
    assert ours["avg"][-1] == "480.0"
    assert (ours["min"][-1], ours["max"][-1], ours["osd.10"][-1]) == ("436", "521", "+9%")
    assert "1920 PGs, 12 OSDs, 15 pools" in result.stdout


def test_a_dump_comes_through_a_pipe_and_no_config_is_needed(tmp_path: Path) -> None:
    words = ["--config", str(tmp_path / "none"), "--state", str(tmp_path), "pgs", "-", "--json"]
    result = CliRunner().invoke(cli, words, input=brief_text([placed(1, 0, [3, 1]), placed(4, 0, [3])]))
    assert result.exit_code == 0
    body = json.loads(result.stdout)
    assert [pool["id"] for pool in body["pools"]] == [1, 4]
    assert [(osd["id"], osd["counts"], osd["sum"]) for osd in body["osds"]] == [
        (1, [1, 0], 1),
        (3, [1, 1], 2),
    ]
    assert (body["sums"], body["osd_sums"]["max"], body["ready"], body["age"]) == ([2, 1], 2, True, None)


def test_holes_and_empty_osds_are_shown() -> None:
    result = evac(HOLES)
    rows = table(result.stdout)
    assert rows["(nobody)"] == ["0"] * 15 + ["32", "32"]
    assert rows["osd.0"][:-1] == ["0"] * 17
    assert "osd.2147483647" not in rows
    assert "not in such a dump" not in result.stderr
    assert "not in such a dump" in evac(MOVING).stderr, "pgs_brief cannot name an OSD that holds nothing"


@pytest.mark.parametrize(("option", "counts"), [("--up", ["1", "1", "1"]), ("--acting", ["2", "1", "."])])
def test_up_and_acting_and_what_moves(option: str, counts: list[str]) -> None:
    """One group goes from osd.1 to osd.3, whose other group stays."""
    data = brief_json([PG(1, 0, (2, 3), (2, 1), 2), PG(1, 1, (1,), (1,), 1)])
    rows = table(evac("-", option, stdin=data).stdout)
    assert [rows[name][0] if name in rows else "." for name in ("osd.1", "osd.2", "osd.3")] == [
        count.replace(".", "0") for count in counts
    ]
    moving = table(evac("-", "--moving", stdin=data).stdout)
    assert [moving[f"osd.{osd}"] for osd in (1, 2, 3)] == [["-1", "-1"], [".", "."], ["+1", "+1"]]
    assert moving["SUM"] == ["+1-1", "+1-1"]
    assert table(evac("-", "--primary", stdin=data).stdout)["osd.2"][0] == "1"


def test_the_drain_of_an_osd_in_json() -> None:
    body = json.loads(evac(MOVING, "--moving", "--json").stdout)
    drained = next(osd for osd in body["osds"] if osd["id"] == 5)
    assert (sum(drained["leaving"]), sum(drained["arriving"]), drained["sum"]) == (35, 0, -35)
    assert sum(sum(osd["arriving"]) for osd in body["osds"]) == 35


def test_csv_has_a_line_for_each_osd() -> None:
    rows = list(csv.reader(io.StringIO(evac(REST / "pg_dump_pgs_brief.json.gz", "--csv").stdout)))
    assert rows[0] == ["osd", *map(str, range(1, 16)), "sum"]
    assert len(rows) == 13
    assert rows[1][:3] == ["0", "29", "43"]
    assert rows[1][-1] == "514"
    moving = list(csv.reader(io.StringIO(evac(MOVING, "--csv", "--moving", "--pool", 1).stdout)))
    assert moving[0] == ["osd", "1 arriving", "1 leaving"]
    assert ["5", "0", "35"] in moving


def test_one_pool_and_one_that_is_not_there() -> None:
    rows = table(evac(REST / "pg_dump.txt.gz", "--pool", 15, "--pool", 2).stdout)
    assert rows["pool"] == ["15", "2", "SUM", "DEV"]
    assert rows["osd.0"][:3] == ["43", "43", "86"]
    result = evac(REST / "pg_dump.txt.gz", "--pool", "99")
    assert result.exit_code == 2
    assert "There is no pool '99'" in result.stderr


def test_a_map_that_is_not_ready_is_told_and_exits_4() -> None:
    data = brief_json([placed(1, 0, [1])], ready=False)
    result = evac("-", stdin=data)
    assert result.exit_code == 4
    assert "not complete yet" in result.stderr
    assert json.loads(evac("-", "--json", stdin=data).stdout)["ready"] is False


def test_what_is_no_dump_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(brief_json([placed(1, 0, [1])])[:-9])
    result = evac(path)
    assert result.exit_code == 1
    assert "cut.json: The JSON ends after" in result.stderr
    assert "Next: Save or copy it again" in result.stderr
    assert json.loads(evac(path, "--json").stderr)["error"]["exit"] == 1
    assert evac(tmp_path / "none").exit_code == 2


def test_without_numpy_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['numpy'] = None; from tui.cli import main; main(['pgs', '-'])"
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert b'Install "evac[ceph]"' in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_table_too_wide_for_the_terminal_is_printed_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "wide.json"
    path.write_bytes(full_json([placed(pool, 0, [1, 2]) for pool in range(1, 60)], range(4)))
    main, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "LINES": "24", "TERM": "xterm"}
    run = [sys.executable, "-c", "from tui.cli import main; main()", "pgs", str(path)]
    with subprocess.Popen(run, stdout=child, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(child)
        text = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        assert process.wait(30) == 0
    os.close(main)
    lines = text.decode().splitlines()[2:]
    assert max(map(len, lines)) <= 60
    heads = [line.split()[1:] for line in lines if line.startswith("pool")]
    assert len(heads) > 2
    assert [word for head in heads for word in head] == [*map(str, range(1, 60)), "SUM", "DEV"]
    assert sum(line.startswith("osd.0") for line in lines) == len(heads)
    assert max(map(len, evac(path).stdout.splitlines())) > 200, "into a pipe it stays whole"


# --- live --------------------------------------------------------------------------------------------


def fleet(*storages: Storage) -> View:
    view = View(stamp=lambda: 100.0)
    osds = [
        OSD(
            cluster=storage.cluster,
            id=osd,
            name=f"osd.{osd}",
            host=HOSTILE if osd == 0 else "node2",
            crush=("default", f"node{osd}"),
            weight=1.0,
            up=osd != 2,
            inside=osd != 2,
            reweight=float(osd != 2),
            pgs_up=() if osd == 2 else (30, 10),
            pgs_acting=() if osd == 2 else (30, 10),
        )
        for storage in storages
        for osd in (10, 0, 2)
    ]
    pools = [
        Pool(cluster=s.cluster, id=n, name=f"pool-{n}", size=2, pg_num=30) for s in storages for n in (1, 7)
    ]
    view.apply(
        Delta(
            epoch="e",
            rev=1,
            full=True,
            queue=QueueState(),
            clusters=tuple(ClusterState(name=s.cluster, kind="ceph", fresh_stamp=90.0) for s in storages),
            storages=storages,
            osds=tuple(osds),
            pools=tuple(pools),
        )
    )
    return view


def ceph(name: str, *, placed: bool = True, limit: int | None = 250) -> Storage:
    return Storage(
        cluster=name,
        columns=(1, 7),
        placed=placed,
        placed_stamp=88.0,
        max_pgs_per_osd=limit,
        missing_up=(0, 4),
    )


def test_the_live_table_has_hosts_states_age_and_the_limit() -> None:
    sheet = of_view(fleet(ceph("prod")), "", Which.UP)
    lines = list(pg_sheet.lines(sheet, None))
    assert [line.split()[0] for line in lines[2:5]] == ["osd.0", "osd.2", "osd.10"]
    assert sheet.age == 12.0
    assert "down out" in lines[3]
    assert lines[4].split()[1:3] == ["node2", "up"]
    assert [line.split()[-1] for line in lines if line.startswith("(nobody)")] == ["4"]
    assert pg_sheet.too_many(sheet) == "40 PGs per OSD that is in; the limit is 250"
    tight = pg_sheet.too_many(of_view(fleet(ceph("prod", limit=39)), "", Which.UP))
    assert tight.startswith("too many PGs per OSD (40 > max 39): ")


def test_hostile_names_neither_move_the_cursor_nor_the_columns() -> None:
    lines = list(pg_sheet.lines(of_view(fleet(ceph("prod")), "", Which.UP), None))
    assert all(char.isprintable() for char in "".join(lines))
    ends = [cell_len(line[: line.rindex(" up") + 3]) for line in lines if " up" in line]
    assert len(ends) == 2
    assert len(set(ends)) == 1


def test_which_cluster_is_asked_when_there_are_several() -> None:
    view = fleet(ceph("a"), ceph("b"))
    with pytest.raises(Stop) as caught:
        of_view(view, "", Which.UP)
    assert caught.value.exit_code == 2
    assert "a, b" in str(caught.value)
    assert of_view(view, "b", Which.UP).source == "b"
    with pytest.raises(Stop) as caught:
        of_view(fleet(), "", Which.UP)
    assert "evac pgs -" in caught.value.next_step
    with pytest.raises(Stop) as caught:
        of_view(fleet(ceph("a", placed=False)), "", Which.UP)
    assert caught.value.exit_code == 6


def test_a_live_pool_is_found_by_name_too() -> None:
    sheet = narrowed(of_view(fleet(ceph("prod")), "", Which.UP), ("pool-7",))
    assert pg_sheet.plain(sheet)["pools"] == [{"id": 7, "name": "pool-7", "pgs": None, "missing": 4}]
    assert pg_sheet.plain(sheet)["osds"][0]["in"] is True
