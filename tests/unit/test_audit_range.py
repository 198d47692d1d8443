"""Which audit records cover a report, in the journal and in closed files; and whether one still has its hash."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from evac.archive import LONGEST_WAIT
from evac.audit_range import SLACK, covering, seal_of
from evac.journal import Journal
from tui.cli import cli

OLD = 1_000_000.0


async def written(path: Path, *times: float) -> None:
    journal = await Journal.open(path)
    assert await journal.save(records=[(float(at), "job", {"n": at}) for at in times], needed=True) == ""
    await journal.close()


async def test_the_range_is_of_the_stretch_and_the_records_written_just_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await written(path, 10, 20, 30, 40 + SLACK, 99)
    found = covering(path, 20, 40)
    assert (found.first, found.last) == (2, 4)
    assert found.hash == seal_of(path, 4)
    assert covering(path, 20, None).last == 5


async def test_records_in_closed_files_are_found_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await written(path, OLD, OLD + 1, OLD + 2, OLD + 2 * LONGEST_WAIT)
    journal = await Journal.open(path)
    assert await journal.rotate(OLD + 2 * LONGEST_WAIT - 1) == 1
    await journal.close()
    inside = covering(path, OLD + 0.5, OLD + 2.5 - SLACK)
    assert (inside.first, inside.last, inside.hash) == (2, 3, seal_of(path, 3))
    across = covering(path, OLD + 0.5, None)
    assert (across.first, across.last, across.hash) == (2, 4, seal_of(path, 4))


async def test_what_is_not_there_says_why(tmp_path: Path) -> None:
    assert "cannot be read" in covering(tmp_path / "none.db", 0, 1).why_not
    await written(tmp_path / "journal.db", 10)
    assert covering(tmp_path / "journal.db", 500, 600).why_not == "no record of that time is left"
    assert seal_of(tmp_path / "journal.db", 7) == ""


def holds(folder: Path, given: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["--state", str(folder), "audit", "verify", "--holds", given])
    return done.exit_code, done.output


async def test_a_record_is_held_against_the_hash_of_a_report(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await written(path, 10, 20)
    sealed = seal_of(path, 1)
    code, words = holds(tmp_path, f"1:{sealed}")
    assert (code, "Record 1 has that hash." in words) == (0, True)
    code, words = holds(tmp_path, f"2:{sealed}")
    assert (code, "ANOTHER hash" in words) == (1, True)
    code, words = holds(tmp_path, f"9:{sealed}")
    assert (code, "NO record 9" in words) == (1, True)
    assert holds(tmp_path, "1:abc")[0] == 2


async def test_a_past_that_was_written_anew_no_longer_holds(tmp_path: Path) -> None:
    """Who can write the file can compute every seal anew: then the chain is intact, and the report's hash tells."""
    path = tmp_path / "journal.db"
    await written(path, 10, 20)
    noted = f"2:{seal_of(path, 2)}"
    path.unlink()
    await written(path, 10, 21)
    code, words = holds(tmp_path, noted)
    assert "2 records, none changed" in words
    assert (code, "ANOTHER hash" in words) == (1, True)


@pytest.mark.parametrize("text", ["", "x", "1", ":", "-1:" + "a" * 64])
def test_what_is_no_number_and_hash_is_told_so(tmp_path: Path, text: str) -> None:
    with sqlite3.connect(tmp_path / "journal.db"):
        pass
    assert holds(tmp_path, text)[0] == 2
