"""Windows, plans and the ledger are on disk as they were written; a journal from before there were any goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
from msgspec.structs import replace

from evac import audit_check, store, store_window
from evac.jobs import Actor, Order
from evac.journal import Journal, Trail
from evac.window.nouns import (
    Approval,
    HostRun,
    KnownPlan,
    LedgerEntry,
    LedgerState,
    Step,
    StepKind,
    Window,
    WindowState,
)
from evac.window.plan import PlannedHost, WindowPlan
from tests.unit.test_journal import job, order

BY = Actor(uid=0, user="anna", role="admin")
PLAN = WindowPlan(title="patch", hosts=(PlannedHost(cluster="c", host="a", name="a"),))
KNOWN = KnownPlan(hash="ab" * 32, title="patch", by=BY, at=1.0, hosts=1)


def window(number: int = 1, state: WindowState = WindowState.RUNNING) -> Window:
    host = HostRun(cluster="c", host="a", name="a", steps=(Step(kind=StepKind.PREFLIGHT),))
    return Window(
        id=f"W{number}", plan=KNOWN.hash, title="patch", state=state, by=BY, created=1.0, hosts=(host,)
    )


def entry(number: int = 1, state: LedgerState = LedgerState.INTENDED, of: str = "W1") -> LedgerEntry:
    return LedgerEntry(
        id=f"L{number}",
        cluster="c",
        subject="c/host/a",
        name="a",
        what="noout",
        state=state,
        by=BY,
        window=of,
        at=1.0,
    )


async def test_a_window_its_plan_and_its_ledger_are_there_after_a_crash(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    assert not await made.save(
        windows=[(window(), "t")], plans=[(KNOWN, PLAN)], ledger=[entry()], needed=True
    )
    approved = replace(KNOWN, approvals=(Approval(by=replace(BY, uid=7), at=2.0),))
    stopped = replace(window(), state=WindowState.STOPPED)
    assert not await made.save(windows=[(stopped, "")], plans=[(approved, None)])
    assert not await made.save(ledger=[entry(state=LedgerState.SWITCHED)])
    other = await Journal.open(tmp_path / "j.db")  # no close: a crash
    saved = (await other.load()).of_windows
    assert (saved.windows, saved.plans, saved.last_window, saved.last_ledger) == (
        (stopped,),
        (approved,),
        1,
        1,
    )
    assert saved.ledger == (entry(state=LedgerState.SWITCHED),)
    assert await other.plan(KNOWN.hash) == (approved, PLAN)
    assert await other.plan("none") is None
    assert (await other.find_window("t"), await other.find_window("no")) == ("W1", "")
    assert await other.window("W1") == stopped
    assert await other.ledger("W1") == saved.ledger
    await other.close()
    await made.close()


async def test_what_is_open_or_owed_comes_back_however_old(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    many = store_window.WINDOWS_LOADED + 5
    over = [(window(number, WindowState.DONE), f"t{number}") for number in range(2, many)]
    await made.save(windows=[(window(1), "t1"), *over], ledger=[entry(1), entry(2, LedgerState.RESTORED)])
    saved = (await made.load()).of_windows
    assert saved.windows[0].id == "W1"
    assert len(saved.windows) == store_window.WINDOWS_LOADED + 1
    assert (await made.window("W2")) == window(2, WindowState.DONE)
    await made.close()


async def test_one_token_makes_one_window(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    assert not await made.save(windows=[(window(1), "t")], needed=True)
    assert await made.save(windows=[(window(2), "t")], needed=True)
    assert [one.id for one in (await made.load()).of_windows.windows] == ["W1"]
    await made.close()


async def test_a_switch_and_the_order_that_turns_it_are_one_transaction(tmp_path: Path) -> None:
    made = await Journal.open(tmp_path / "j.db")
    assert not await made.save(orders=[(order(), "t")], needed=True)
    again = await made.save(orders=[(order(2), "t")], ledger=[entry()], needed=True)
    assert again
    assert not (await made.load()).of_windows.ledger
    await made.close()


async def test_a_journal_from_before_windows_goes_on_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    _old(path)
    made = await Journal.open(path)
    saved = await made.load()
    assert (saved.orders, saved.jobs[0][0]) == ((order(),), job())
    assert saved.of_windows == store_window.SavedWindows()
    assert not await made.save(
        windows=[(window(), "t")], plans=[(KNOWN, PLAN)], ledger=[entry()], needed=True
    )
    await made.close()
    again = await Journal.open(path)
    assert (await again.load()).of_windows.windows == (window(),)
    await again.close()
    assert audit_check.verify(path).ok


def _old(path: Path) -> None:
    """As the first release wrote it: the tables of schema 1 and nothing else."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(f"{store._TABLES} PRAGMA user_version = 1;")
    store_rows = (1, "O1", "t0", "open", msgspec.json.encode(_without_window(order())))
    db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", store_rows)
    row = (1, "J1", "O1", "queued", "c", "c/vm/v1", msgspec.json.encode(job()), msgspec.json.encode(Trail()))
    db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    assert not db.execute("SELECT name FROM sqlite_master WHERE name = 'windows'").fetchall()
    db.close()


def _without_window(made: Order) -> dict[str, object]:
    body: dict[str, object] = msgspec.to_builtins(made)
    body.pop("window", None)
    return body
