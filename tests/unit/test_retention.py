"""What is old leaves the working journal, and nothing of the audit record is lost on the way, whenever the power goes."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from evac import archive, audit, audit_check, board, store
from evac.archive import close_segment, segments
from evac.fleet import Fleet
from evac.jobs import Actor, JobState, Order, OrderState
from evac.journal import Journal, Trail
from evac.store import Rows
from tests.unit.housing import house
from tests.unit.playing import PlayedCluster, until
from tests.unit.test_journal import BY, job
from tui.commands.doctor_local import state_directory

DAY = 86_400.0
NOW = 1_700_000_000.0


def written(path: Path, count: int, *, step: float = DAY) -> Path:
    """A journal with `count` records, one each `step` seconds, the newest at NOW."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db, head = store.open_db(path)
    rows = tuple(
        (NOW - (count - at) * step, "call", audit.canonical({"n": at, "vm": "Gerät \x1b[31m"}))
        for at in range(1, count + 1)
    )
    store.write(db, [Rows(audit=rows)], head)
    db.close()
    return path


def rotate(path: Path, before: float) -> None:
    """As the engine does it, in one thread."""
    db, _ = store.open_db(path)
    with closing(db):
        while cut := close_segment(path, before):
            assert store.cut_audit(db, cut)


def live(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM audit").fetchone()[0])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_RECORDS", 20)


@pytest.mark.usefixtures("small")
def test_old_records_move_into_closed_files_and_the_chain_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", 100)
    before = audit_check.verify(path)
    rotate(path, NOW - 55.5 * DAY)
    assert [(it.first, it.last) for it in segments(path)] == [(1, 20), (21, 40)]
    assert live(path) == 60, "four records more are old, too few and too young for a file"
    after = audit_check.verify(path)
    assert after.ok
    assert (after.records, after.head, after.segments) == (100, before.head, 2)
    for segment in segments(path):
        assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(archive.folder(path).stat().st_mode) == 0o700


@pytest.mark.usefixtures("small")
def test_few_records_get_a_file_once_they_are_a_month_too_old(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", 10)
    rotate(path, NOW - 5 * DAY)
    assert segments(path) == []
    rotate(path, NOW + 26 * DAY)
    assert [(it.first, it.last) for it in segments(path)] == [(1, 10)]
    assert audit_check.verify(path).ok, "with nothing left in the journal"
    db, head = store.open_db(path)
    with closing(db):
        store.write(db, [Rows(audit=((NOW, "engine", "{}"),))], head)
    assert audit_check.verify(path).records == 11, "and the next record follows the closed ones"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("what", ["gone", "first gone", "cut", "changed", "base", "foreign"])
def test_a_closed_file_that_was_touched_shows(tmp_path: Path, what: str) -> None:
    path = written(tmp_path / "journal.db", 60)
    rotate(path, NOW - 15 * DAY)
    first, second = segments(path)
    if what == "gone":
        second.path.unlink()
    elif what == "first gone":
        first.path.unlink()
    elif what == "cut":
        first.path.write_bytes(first.path.read_bytes()[:-20])
    elif what == "changed":
        first.path.write_bytes(
            gzip.compress(gzip.decompress(first.path.read_bytes()).replace(b'"n":7', b'"n":8'))
        )
    elif what == "base":
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE meta SET value = '40:' || ? WHERE key = 'audit_base'", ("0" * 64,))
    else:
        other = written(tmp_path / "other" / "journal.db", 60, step=2 * DAY)
        rotate(other, NOW - 30 * DAY)
        shutil.copy(segments(other)[0].path, first.path)
        shutil.copy(segments(other)[1].path, second.path)
    found = audit_check.verify(path)
    assert not found.ok
    assert found.why


class _Killed:
    """`kill -9` at the n-th line of our code that runs."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in (archive.__file__, store.__file__):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os._exit(9)
        return self


@pytest.mark.usefixtures("small")
def test_killed_at_any_line_of_a_rotation_nothing_is_lost(tmp_path: Path) -> None:
    path = written(tmp_path / "pristine" / "journal.db", 30)
    head = audit_check.verify(path).head
    killed = 0
    for at in range(1, 500):
        place = tmp_path / str(at)
        shutil.copytree(path.parent, place)
        child = os.fork()
        if child == 0:
            sys.settrace(_Killed(at))
            rotate(place / "journal.db", NOW - 5 * DAY)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = audit_check.verify(place / "journal.db")
        assert (found.ok, found.records, found.head) == (True, 30, head), f"killed at line {at}: {found.why}"
        rotate(place / "journal.db", NOW - 5 * DAY)
        found = audit_check.verify(place / "journal.db")
        assert (found.ok, found.records, found.segments) == (True, 30, 1), f"killed at line {at}: {found.why}"
        assert live(place / "journal.db") == 10
        shutil.rmtree(place)
        if code == 0:
            break
        killed += 1
    assert killed > 50, "every line of it was met"


@pytest.mark.usefixtures("small")
def test_a_damaged_left_over_is_put_aside_and_written_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", 30)
    assert close_segment(path, NOW - 5 * DAY) is not None
    [segment] = segments(path)
    segment.path.write_bytes(segment.path.read_bytes()[:100])
    rotate(path, NOW - 5 * DAY)
    assert audit_check.verify(path).ok
    assert live(path) == 10
    assert segment.path.with_suffix(".damaged").exists()


async def test_a_rotation_beside_a_writing_engine_keeps_the_chain(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.db", 2000, step=60)
    made = await Journal.open(path)
    try:
        rotating = asyncio.ensure_future(made.rotate(NOW + 40 * DAY))
        for number in range(200):
            made.record("call", {"n": number})
            await asyncio.sleep(0)
        assert await rotating == 1
        await made.save()
        found = await asyncio.to_thread(audit_check.verify, path)
        assert found.ok, found.why
        assert found.records == 2200
    finally:
        await made.close()


async def test_ended_orders_are_forgotten_and_their_numbers_never_given_again(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "journal.db")
    by: Actor = BY
    old = Order(
        id="O1", title="old", by=by, created=NOW - 200 * DAY, ended=NOW - 199 * DAY, state=OrderState.DONE
    )
    still = Order(id="O2", title="unknown", by=by, created=NOW - 200 * DAY)
    half = Order(id="O3", title="ended, it says", by=by, created=1.0, ended=2.0, state=OrderState.INCOMPLETE)
    late = Order(
        id="O4", title="lately", by=by, created=NOW - 200 * DAY, ended=NOW - DAY, state=OrderState.DONE
    )
    last = Order(id="O9", title="old too", by=by, created=1.0, ended=2.0, state=OrderState.DONE)
    try:
        await made.save(
            orders=[(it, f"t{it.id}") for it in (old, still, half, late, last)],
            jobs=[
                (job(1, JobState.DONE, "O1"), Trail()),
                (job(2, JobState.UNKNOWN, "O2"), Trail()),
                (job(3, JobState.UNKNOWN, "O3"), Trail()),
                (job(44, JobState.DONE, "O9"), Trail()),
            ],
        )
        assert await made.forget_orders(NOW - 90 * DAY) == 2
        assert await made.forget_orders(NOW - 90 * DAY) == 0
        saved = await made.load()
        assert [it.id for it in saved.orders] == ["O2", "O3", "O4"]
        assert [it.id for it, _ in saved.jobs] == ["J2", "J3"]
        assert (saved.last_order, saved.last_job) == (9, 44)
    finally:
        await made.close()


async def test_what_is_forgotten_on_disk_is_first_let_go_of_in_memory(tmp_path: Path) -> None:
    """Otherwise a retry could bring back a job without its order."""
    made = await Journal.open(tmp_path / "journal.db")
    try:
        here = board.Board(made, Fleet(), lambda: NOW, lambda: 0.0)
        old = Order(id="O1", title="old", by=BY, created=1.0, ended=2.0, state=OrderState.DONE)
        here.add(old, [(job(1, JobState.DONE), Trail())])
        here.add(Order(id="O2", title="open", by=BY, created=1.0), [(job(2, JobState.QUEUED, "O2"), Trail())])
        here.forget_before(NOW)
        assert list(here.orders) == ["O2"]
        assert list(here.jobs) == ["J2"]
        assert list(here.fleet.table("orders")) == ["O2"]
    finally:
        await made.close()


async def test_an_engine_that_starts_closes_what_is_too_old_and_doctor_says_what_is_on_the_disk(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "s" / "journal.db", 30)
    path.parent.chmod(0o700)
    async with house(tmp_path, PlayedCluster("north")) as here:
        await until(lambda: bool(segments(path)), "a closed file", 10)
        await until(lambda: live(path) < 30, "fewer records in the journal", 10)
        said = {it.check: it.detail for it in state_directory(here.where)}
    assert "1 closed audit file" in said["used"]
    assert "journal " in said["used"]
    assert audit_check.verify(path).ok
