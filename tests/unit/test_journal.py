"""The journal keeps what it says it keeps, refuses in words when it cannot, and its audit record shows tampering."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac import audit, audit_check, journal, store
from evac.actions import LiveMigrate
from evac.jobs import Actor, Job, JobState, Order
from evac.journal import Journal, JournalError, Trail

BY = Actor(uid=0, user="anna", role="admin")


def order(number: int = 1) -> Order:
    return Order(id=f"O{number}", title="drain a", by=BY, created=1.0, jobs=1)


def job(number: int = 1, state: JobState = JobState.QUEUED, order_id: str = "O1") -> Job:
    action = LiveMigrate(cluster="c", vm=f"v{number}", name=f"vm{number}", host="a")
    return Job(id=f"J{number}", order=order_id, action=action, state=state, by=BY, created=1.0)


async def run_in(made: Journal, work: Callable[[sqlite3.Connection], Any]) -> Any:
    """Do something with the journal's own connection, in its own thread."""
    return await asyncio.get_running_loop().run_in_executor(made._pool, work, made._db)


async def fill(made: Journal) -> None:
    """The disk has no room left: SQLite's own limit gives the very error a full disk gives."""

    def full(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    await run_in(made, full)


async def free(made: Journal) -> None:
    await run_in(made, lambda db: db.execute("PRAGMA max_page_count = 100000").fetchone())


def big(number: int) -> tuple[Job, Trail]:
    """A job that needs a page of its own."""
    return msgspec.structs.replace(job(number), note="x" * 9000), Trail()


# --- keeping -------------------------------------------------------------------------------------


async def test_what_was_saved_is_there_after_a_crash(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    trail = Trail(known=("3", "4"), accepted=True)
    assert not await made.save(orders=[(order(), "token")], jobs=[(job(), Trail())])
    assert not await made.save(jobs=[(job(state=JobState.RUNNING), trail)], meta={"paused": "x"})
    other = await Journal.open(tmp_path / "j.db")  # no close: a crash
    saved = await other.load()
    assert saved.orders == (order(),)
    assert saved.jobs == ((job(state=JobState.RUNNING), trail),)
    assert (saved.meta["paused"], saved.last_order, saved.last_job) == ("x", 1, 1)
    assert await other.find("token") == "O1"
    assert await other.find("nobody's") == ""
    assert await other.order("O1") == (order(), (job(state=JobState.RUNNING),))
    await other.close()
    await made.close()


async def test_every_commit_reaches_the_disk_and_a_reader_never_blocks_the_writer(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    modes = await run_in(
        made,
        lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")],
    )
    assert modes == ["wal", 2]  # 2 is FULL: fsync of the log at each commit
    assert (tmp_path / "j.db").stat().st_mode & 0o077 == 0
    await made.close()


async def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    await run_in(made, lambda db: db.set_trace_callback(count))
    await asyncio.gather(*(made.save(jobs=[(job(n), Trail())], needed=True) for n in range(1, 1001)))
    assert commits <= 3
    await made.close()


async def test_a_state_and_its_audit_record_are_one_transaction(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    await run_in(
        made,
        lambda db: db.execute("CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'no'); END"),
    )
    trouble = await made.save(jobs=[(job(), Trail())], records=[(1.0, "job", {"job": "J1"})])
    assert "no" in trouble
    assert (await made.load()).jobs == ()
    await made.close()


async def test_records_from_other_threads_keep_their_order(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")

    def work(name: int) -> None:
        for number in range(100):
            made.record("call", {"thread": name, "number": number})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
    await made.save()
    seen: dict[int, list[int]] = {}
    for record in await made.audit(limit=1000):
        body = json.loads(bytes(record.body))
        seen.setdefault(body["thread"], []).append(body["number"])
    assert seen == {name: list(range(100)) for name in range(4)}
    assert [record.seq for record in await made.audit(since=390)] == list(range(391, 401))
    assert [record.seq for record in await made.audit(since=-1, limit=3)] == [398, 399, 400]
    assert len(await made.audit(since=-1, limit=5000)) == 400
    await made.close()
    assert audit_check.verify(tmp_path / "j.db").records == 400


async def test_an_entry_that_makes_no_sense_harms_no_other(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    await made.save(orders=[(order(), "same")])
    good, bad = made.save(jobs=[(job(), Trail())]), made.save(orders=[(order(2), "same")], needed=True)
    assert not await good
    assert "did not take it" in await bad
    assert not made.refusing
    await made.close()


# --- opening -------------------------------------------------------------------------------------


async def test_words_that_cannot_be_written_harm_nobody_and_leave_nobody_waiting(tmp_path: Path) -> None:
    """A lone surrogate cannot be written as UTF-8: its own entry fails in words, and the journal goes on."""
    made = await Journal.open(tmp_path / "j.db")
    odd = msgspec.structs.replace(job(2), note="\ud800")
    entries = [
        made.save(orders=[(order(), "t")]),
        made.save(jobs=[(odd, Trail())], needed=True),
        made.save(jobs=[(job(), Trail())], needed=True),
    ]
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*entries)
        assert [bool(answer) for answer in answers] == [False, True, False]
        assert not made.refusing
        assert not await made.save(jobs=[(job(3), Trail())], needed=True)
    assert [one.id for one, _ in (await made.load()).jobs] == ["J1", "J3"]
    await made.close()
    assert audit_check.verify(tmp_path / "j.db").ok


async def test_what_is_on_disk_is_never_called_refused(tmp_path: Path) -> None:
    """The disk fails between two entries that are written singly: an order told "refused" must not run after a restart."""
    made = await Journal.open(tmp_path / "j.db")

    def breaks(db: sqlite3.Connection) -> None:
        db.create_function("broken", 0, lambda: 1 / 0)
        db.execute(
            "CREATE TEMP TRIGGER t BEFORE INSERT ON jobs WHEN new.id = 'J9' BEGIN SELECT broken(); END"
        )

    await run_in(made, breaks)
    answers = await asyncio.gather(
        made.save(orders=[(order(), "t")], records=[(1.0, "order", {})], needed=True),
        made.save(jobs=[(msgspec.structs.replace(job(2), note="\ud800"), Trail())], needed=True),
        made.save(jobs=[(job(9), Trail())], needed=True),
    )
    assert [bool(answer) for answer in answers] == [False, True, True]
    assert [one.id for one in (await made.load()).orders] == ["O1"]
    assert [record.kind for record in await made.audit()].count("order") == 1
    await made.close()


async def test_a_newer_journal_is_not_opened(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    await run_in(made, lambda db: db.execute(f"PRAGMA user_version = {store.SCHEMA + 1}"))
    await made.close()
    with pytest.raises(JournalError) as caught:
        await Journal.open(tmp_path / "j.db")
    assert "newer evac" in caught.value.problem.happened
    assert caught.value.problem.next_step


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at as one" * 90, b"\x00" * 5000]
)
async def test_what_is_no_journal_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j.db").write_bytes(content)
    with pytest.raises(JournalError, match="cannot be opened"):
        await Journal.open(tmp_path / "j.db")


async def test_a_path_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="cannot be opened"):
        await Journal.open(tmp_path / "file" / "j.db")


# --- a full disk ---------------------------------------------------------------------------------


async def test_a_full_disk_is_said_so_and_what_was_needed_is_not_done_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "RETRY", 0.01)
    made = await Journal.open(tmp_path / "j.db")
    await made.save(orders=[(order(), "t")])
    changes: list[str] = []
    recovered = asyncio.Event()

    def changed() -> None:
        changes.append(made.refusing)
        if not made.refusing:
            recovered.set()

    made.watch(changed)
    await fill(made)
    needed, observed = made.save(jobs=[big(1)], needed=True), made.save(jobs=[big(2)])
    assert await needed == await observed == f"disk full: {tmp_path}"
    made.record("call", {"answer": "y" * 9000})
    await free(made)
    await asyncio.wait_for(recovered.wait(), 10)
    await made.save()
    assert [job.id for job, _ in (await made.load()).jobs] == ["J2"]
    assert [record.kind for record in await made.audit()] == ["call"]
    assert changes == [f"disk full: {tmp_path}", ""]
    await made.close()
    assert audit_check.verify(tmp_path / "j.db").ok


async def test_it_recovers_by_itself_when_nothing_waits_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "RETRY", 0.01)
    made = await Journal.open(tmp_path / "j.db")
    recovered = asyncio.Event()
    await run_in(made, lambda db: db.execute("PRAGMA query_only = 1"))
    assert "read-only" in await made.save(orders=[(order(), "t")], needed=True)
    made.watch(recovered.set)
    await run_in(made, lambda db: db.execute("PRAGMA query_only = 0"))
    await asyncio.wait_for(recovered.wait(), 10)
    assert made.refusing == ""
    await made.close()


# --- the audit record ----------------------------------------------------------------------------


async def written(path: Path, records: int = 10) -> None:
    made = await Journal.open(path)
    for number in range(records):
        made.record("job", {"n": number, "text": "wörd", "rate": 0.1 + number})
    await made.close()


def tampered(path: Path, *statements: str) -> audit_check.Verification:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
    return audit_check.verify(path)


async def test_an_honest_record_is_found_whole_while_the_engine_writes(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    assert audit_check.verify(tmp_path / "j.db").ok
    for number in range(50):
        made.record("job", {"n": number})
        if number % 10 == 0:
            await made.save()
            found = await asyncio.get_running_loop().run_in_executor(
                None, audit_check.verify, tmp_path / "j.db"
            )
            assert found.ok, found
    await made.close()
    found = audit_check.verify(tmp_path / "j.db")
    assert (found.ok, found.records, len(found.head)) == (True, 50, 64)


@pytest.mark.parametrize(
    ("statement", "broken_at", "why"),
    [
        ("UPDATE audit SET body = '{\"n\":99}' WHERE seq = 4", 4, "was changed"),
        ("UPDATE audit SET at = at + 1 WHERE seq = 4", 4, "was changed"),
        ("UPDATE audit SET kind = 'call' WHERE seq = 4", 4, "was changed"),
        ("UPDATE audit SET hash = 'x' WHERE seq = 10", 10, "was changed"),
        ("DELETE FROM audit WHERE seq = 4", 4, "is missing"),
        ("DELETE FROM audit WHERE seq = 1", 1, "is missing"),
        ("DELETE FROM audit WHERE seq > 7", 8, "the records end at 7"),
        ("DELETE FROM audit", 1, "the records end at 0"),
        (
            "UPDATE audit SET seq = CASE seq WHEN 4 THEN -5 WHEN 5 THEN 4 ELSE seq END WHERE seq IN (4)",
            1,
            "missing",
        ),
        ("DELETE FROM meta WHERE key = 'audit_head'", None, "note of the newest record is missing"),
    ],
)
async def test_tampering_shows_with_the_first_record_it_touches(
    tmp_path: Path, statement: str, broken_at: int | None, why: str
) -> None:
    await written(tmp_path / "j.db")
    found = tampered(tmp_path / "j.db", statement)
    assert (found.ok, found.broken_at) == (False, broken_at)
    assert why in found.why


async def test_a_cut_off_tail_still_shows_after_the_engine_has_gone_on(tmp_path: Path) -> None:
    await written(tmp_path / "j.db")
    tampered(tmp_path / "j.db", "DELETE FROM audit WHERE seq > 7")
    await written(tmp_path / "j.db", 3)
    found = audit_check.verify(tmp_path / "j.db")
    assert (found.ok, found.broken_at) == (False, 8)


def test_what_is_no_journal_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    assert "no such file" in audit_check.verify(tmp_path / "nothing.db").why
    assert not (tmp_path / "nothing.db").exists()
    (tmp_path / "text").write_text("hello " * 1000)
    assert not audit_check.verify(tmp_path / "text").ok


async def test_any_single_changed_byte_of_a_record_shows(tmp_path: Path) -> None:
    await written(tmp_path / "j.db", 5)
    dice = random.Random(1)
    db = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
    for _ in range(40):
        seq = dice.randint(1, 5)
        body = db.execute("SELECT body FROM audit WHERE seq = ?", (seq,)).fetchone()[0]
        at = dice.randrange(len(body))
        spoilt = body[:at] + chr(ord(body[at]) ^ 1) + body[at + 1 :]
        db.execute("UPDATE audit SET body = ? WHERE seq = ?", (spoilt, seq))
        assert audit_check.verify(tmp_path / "j.db").broken_at == seq
        db.execute("UPDATE audit SET body = ? WHERE seq = ?", (body, seq))
    db.close()
    assert audit_check.verify(tmp_path / "j.db").ok


SECRET = "hunter2-hunter2"


@given(
    st.recursive(
        st.sampled_from([{"password": SECRET}, {"adminPass": SECRET}, {"client_secret": SECRET}]),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.text(max_size=5), inner, max_size=3),
            inner.map(json.dumps),
        ),
        max_leaves=6,
    )
)
def test_a_secret_never_reaches_the_record(value: Any) -> None:
    text = audit.canonical({"body": value})
    if "\\\\" not in text:  # JSON inside JSON inside JSON is not looked through
        assert SECRET not in text


def test_what_is_no_secret_stays() -> None:
    body = {
        "token_life": 3,
        "fenced": "password of the BMC was used",
        "answer": '{"adminPass": "abc", "id": 7}',
    }
    assert json.loads(audit.canonical(body)) == body | {"answer": '{"adminPass": "(hidden)", "id": 7}'}
