"""`evac pgs`: the same table from a live cluster and from every form of a saved `ceph pg dump` of it."""

from __future__ import annotations

import csv
import gzip
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.real.ceph import state
from tests.real.ceph.layout import osds_of
from tests.real.ceph.oneliner import Table, oneliner
from tests.real.ceph.rig import CephRig
from tests.real.ceph.witness import Witness
from tests.real.ceph.witness import ceph as ceph_command

FORMS: dict[str, Sequence[str]] = {
    "text": (),
    "json": ("--format", "json"),
    "json-pretty": ("--format", "json-pretty"),
    "brief": ("pgs_brief",),
    "brief-json": ("pgs_brief", "--format", "json"),
    "pgs": ("pgs",),
    "pgs-json": ("pgs", "--format", "json"),
}
"""What admins save, and the words after `ceph pg dump` that make it."""


def offline(file: Path, *flags: str) -> str:
    """The command with no engine, no config and no cluster."""
    line = [str(Path(sys.executable).with_name("evac")), "pgs", *flags, str(file)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=60, check=False, env={"LANG": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(sheet: str) -> Table:
    """The matrix of a CSV; zeros left out."""
    head, *rows = csv.reader(io.StringIO(sheet))
    at = {int(word): number for number, word in enumerate(head) if word.isdecimal()}
    found: Table = {}
    for row in rows:
        if row[0].removeprefix("osd.").isdecimal():
            counts = {pool: int(row[number]) for pool, number in at.items() if int(row[number])}
            assert int(row[head.index("sum")]) == sum(counts.values())
            found[int(row[0].removeprefix("osd."))] = counts
    return {number: row for number, row in found.items() if row}


def saved(folder: Path) -> dict[str, Path]:
    """The dumps, as files."""
    files = {}
    for form, words in FORMS.items():
        files[form] = folder / form
        files[form].write_text(ceph_command("pg", "dump", *words))
    files["gzipped"] = folder / "json.gz"
    files["gzipped"].write_bytes(gzip.compress(files["json"].read_bytes()))
    return files


async def test_a_clean_cluster_live_and_saved_is_one_table(
    ceph: Witness, ceph_rig: CephRig, tmp_path: Path
) -> None:
    """Cell for cell the one-liner's, row for row `osd df`."""
    files = saved(tmp_path)
    wanted = oneliner(files["text"].read_text())
    assert {number: sum(row.values()) for number, row in wanted.items()} == {
        one["id"]: one["pgs"] for one in ceph.ask("osd df")["nodes"]
    }
    for form, file in files.items():
        assert cells(offline(file, "--csv")) == wanted, form
    await ceph_rig.start()
    await ceph_rig.read()
    live = await ceph_rig.evac_later("pgs", "--csv")
    assert cells(live.stdout) == wanted
    for_people = (await ceph_rig.evac_later("pgs")).stdout
    assert _figures(for_people) == _figures(offline(files["text"])), (
        "live, hosts and states stand beside them"
    )
    assert "480" in for_people.splitlines()[-1]
    assert "300" in for_people.splitlines()[-1]


def _figures(told: str) -> list[list[str]]:
    """The numbers of each line of the table."""
    lines = [line.split() for line in told.splitlines() if line.startswith(("osd.", "pool", "SUM"))]
    return [[word for word in line if re.fullmatch(r"[0-9.]+|[+-]?[0-9]+%", word)] for line in lines]


@pytest.fixture
def away(ceph: Witness) -> None:
    """A host is down: PGs are one short, those of the erasure-coded pool have holes."""
    ceph.ask("osd set-group", flags="noout", who=["node03"])
    state.stop(ceph, "node03")


async def test_with_a_host_down_its_osds_stay_in_the_table(away: None, tmp_path: Path) -> None:
    """The one-liner loses them; the holes of the erasure-coded pool are no OSD."""
    files = saved(tmp_path)
    wanted = oneliner(files["text"].read_text())
    assert set(wanted).isdisjoint(osds_of("node03"))
    for form, file in files.items():
        assert cells(offline(file, "--csv")) == wanted, form
        assert "2147483647" not in offline(file), form
    told = offline(files["text"])
    assert all(f"osd.{number} " in told for number in osds_of("node03"))
