"""The ledger's decisions one by one, without a queue."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evac.actions import (
    Action,
    EnterMaintenance,
    ForceDown,
    LeaveMaintenance,
    SetNoout,
    StartVM,
    StopVM,
    TurnSwitch,
    UnsetNoout,
)
from evac.admission import Ground
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState, Order
from evac.model import VM, Host, Switch, VMState
from evac.window.debts import Stand, debt_of, host_stands, switch_stands, takes_back, undo, vm_stands
from evac.window.ledger import Change, Ledger
from evac.window.nouns import LedgerEntry, LedgerState

BY = Actor(uid=0, user="anna", role="admin")
ENTER = EnterMaintenance(cluster="c", host="h", name="h", uuid="u", reason="kernel")
LEAVE = LeaveMaintenance(cluster="c", host="h", name="h", uuid="u")
CALM = TurnSwitch(cluster="c", switch="drs", name="DRS", was="full", to="manual", sort="balancer")
IN_USE, IN = Host(cluster="c", id="h", name="h"), Host(cluster="c", id="h", name="h", maintenance=True)


class Book:
    """A ledger with its jobs and a clock."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.at = 0.0
        self.ledger = Ledger(Fleet(), self.jobs, wall=lambda: 1000.0 + self.at, now=lambda: self.at)

    def order(self, *actions: Action, window: str = "") -> list[Job]:
        jobs = [
            Job(id=f"J{len(self.jobs) + place}", order="O1", action=action, by=BY, created=0.0)
            for place, action in enumerate(actions, 1)
        ]
        order = Order(id="O1", title="test", by=BY, created=0.0, window=window)
        self.ledger.put(self.ledger.taken(order, jobs))
        self.jobs |= {job.id: job for job in jobs}
        return jobs

    def call(self, job: str, ground: Ground) -> None:
        self.ledger.put(self.ledger.before_call(self.jobs[job], ground, ""))
        self.to(job, JobState.SUBMITTING)

    def to(self, job: str, *states: JobState) -> None:
        for state in states:
            old, self.jobs[job] = self.jobs[job], replace(self.jobs[job], state=state)
            self.ledger.put(self.ledger.followed(old, self.jobs[job]))

    def look(self, entry: str, stand: Stand) -> None:
        self.at += 10.0
        found = self.ledger.get(entry)
        assert found is not None
        self.ledger.put(self.ledger.look(found, stand, self.at))

    @property
    def states(self) -> dict[str, LedgerState]:
        entries = (self.ledger.get(f"L{number}") for number in range(1, 9))
        return {entry.id: entry.state for entry in entries if entry is not None}


def done(book: Book, job: str) -> None:
    book.to(job, JobState.ACCEPTED, JobState.VERIFYING, JobState.DONE)


# --- which actions owe what ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "back"),
    [
        (ENTER, LEAVE),
        (SetNoout(cluster="c", host="h", name="h"), UnsetNoout(cluster="c", host="h", name="h")),
        (
            ForceDown(cluster="c", host="h", name="h", fenced="off"),
            ForceDown(cluster="c", host="h", name="h", down=False),
        ),
        (
            CALM,
            TurnSwitch(
                cluster="c",
                switch="drs",
                name="DRS",
                was="manual",
                to="full",
                sort="balancer",
                back=True,
            ),
        ),
        (
            StopVM(cluster="c", vm="1", name="vm", host="h"),
            StartVM(cluster="c", vm="1", name="vm", host="h2"),
        ),
    ],
)
def test_each_debt_has_its_undoing_and_that_owes_nothing(action: Action, back: Action) -> None:
    book = Book()
    book.order(action, window="W1")
    entry = book.ledger.get("L1")
    assert entry is not None
    now = VM(cluster="c", id="1", name="vm", host="h2", state=VMState.STOPPED)
    assert undo(entry, now) == back
    assert takes_back(back, entry)
    assert not takes_back(action, entry)
    assert debt_of(back, "W1") is None


def test_a_stopped_vm_that_is_gone_cannot_be_started() -> None:
    book = Book()
    book.order(StopVM(cluster="c", vm="1", name="vm", host="h"), window="W1")
    entry = book.ledger.get("L1")
    assert entry is not None
    assert undo(entry, None) is None


def test_an_undoing_of_another_thing_takes_nothing_back() -> None:
    book = Book()
    book.order(ENTER)
    entry = book.ledger.get("L1")
    assert entry is not None
    for action in (
        LeaveMaintenance(cluster="c", host="h2", name="h2"),
        LeaveMaintenance(cluster="d", host="h", name="h"),
        UnsetNoout(cluster="c", host="h", name="h"),
        ForceDown(cluster="c", host="h", name="h", down=False),
    ):
        assert not takes_back(action, entry), action


def test_how_things_stand() -> None:
    flagged = Host(cluster="c", id="h", name="h", flags=("noout",), forced_down=True)
    assert [host_stands(what, IN_USE) for what in ("maintenance", "noout", "forced down")] == [Stand.WAS] * 3
    assert [host_stands(what, flagged) for what in ("noout", "forced down")] == [Stand.NOW] * 2
    assert host_stands("maintenance", IN) is Stand.NOW
    assert host_stands("maintenance", None) is vm_stands(None) is Stand.GONE
    vm = VM(cluster="c", id="1", name="vm", state=VMState.RUNNING)
    assert vm_stands(vm) is Stand.WAS
    assert vm_stands(replace(vm, state=VMState.STOPPED)) is Stand.NOW
    assert vm_stands(replace(vm, state=VMState.PAUSED)) is Stand.OTHER
    assert vm_stands(replace(vm, task="powering-off")) is Stand.OTHER
    entry = LedgerEntry(
        id="L1", cluster="c", subject="", name="DRS", what="balancer", was="full", now="manual", by=BY, at=0.0
    )
    values = {"full": Stand.WAS, "manual": Stand.NOW, "partly": Stand.OTHER}
    for value, stand in values.items():
        switch = Switch(cluster="c", id="drs", name="DRS", kind="balancer", value=value, calm="manual")
        assert switch_stands(entry, switch) is stand


# --- calls that may have been made ---------------------------------------------------------------


def test_a_call_that_may_have_been_made_is_owed_though_its_job_was_queued_anew_and_cancelled() -> None:
    book = Book()
    book.order(ENTER)
    book.call("J1", Ground(host=IN_USE))
    book.to("J1", JobState.UNKNOWN, JobState.QUEUED, JobState.CANCELLED)
    assert book.states == {"L1": LedgerState.INTENDED}


def test_a_second_call_that_is_refused_does_not_take_back_the_first() -> None:
    book = Book()
    book.order(ENTER)
    book.call("J1", Ground(host=IN_USE))
    book.to("J1", JobState.UNKNOWN, JobState.QUEUED, JobState.CHECKING)
    book.call("J1", Ground(host=IN_USE))
    book.to("J1", JobState.FAILED)
    assert book.states == {"L1": LedgerState.INTENDED}


def test_what_is_so_at_a_second_call_may_be_the_work_of_the_first() -> None:
    book = Book()
    book.order(ENTER)
    book.call("J1", Ground(host=IN_USE))
    book.to("J1", JobState.UNKNOWN, JobState.QUEUED, JobState.CHECKING)
    book.call("J1", Ground(host=IN))
    assert book.states == {"L1": LedgerState.INTENDED}


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        (IN_USE, {"L1": LedgerState.RESTORED, "L2": LedgerState.INTENDED}),
        (IN, {"L1": LedgerState.SWITCHED, "L2": LedgerState.INTENDED}),
    ],
)
def test_a_newer_debt_takes_an_older_one_over_only_where_that_was_seen_put_back(
    seen: Host, states: dict[str, LedgerState]
) -> None:
    book = Book()
    book.ledger.resume([kept(did=ENTER, job="J0", was="in use")], 1)
    book.order(ENTER)
    entry = book.ledger.get("L2")
    assert entry is not None
    book.ledger.put(Change(rows=(replace(entry, calls=1),)))
    book.call("J1", Ground(host=seen))
    assert book.states == states


# --- restoring -----------------------------------------------------------------------------------


def switched() -> Book:
    book = Book()
    book.order(ENTER)
    book.call("J1", Ground(host=IN_USE))
    done(book, "J1")
    assert book.states == {"L1": LedgerState.SWITCHED}
    return book


def test_of_two_orders_that_put_it_back_the_first_counts() -> None:
    book = switched()
    book.order(LEAVE)
    book.order(LEAVE)
    assert book.states == {"L1": LedgerState.RESTORING}
    book.to("J2", JobState.CHECKING, JobState.SUBMITTING)
    done(book, "J2")
    assert book.states == {"L1": LedgerState.RESTORED}
    book.to("J3", JobState.CHECKING, JobState.FAILED)
    assert book.states == {"L1": LedgerState.RESTORED}


def test_an_undoing_that_comes_before_the_switching_proves_nothing() -> None:
    book = Book()
    book.order(ENTER)
    book.order(LEAVE)
    book.to("J2", JobState.CHECKING, JobState.SUBMITTING)
    done(book, "J2")
    book.call("J1", Ground(host=IN_USE))
    done(book, "J1")
    assert book.states == {"L1": LedgerState.SWITCHED}


def test_a_retried_restore_is_on_its_way_again() -> None:
    book = switched()
    book.order(LEAVE)
    book.to("J2", JobState.CHECKING, JobState.FAILED)
    assert book.states == {"L1": LedgerState.SWITCHED}
    book.to("J2", JobState.QUEUED)
    assert book.states == {"L1": LedgerState.RESTORING}


# --- looking -------------------------------------------------------------------------------------


def test_two_looks_in_a_row_that_began_after_evac_was_done_end_it() -> None:
    book = switched()
    for stand in (Stand.WAS, Stand.NOW, Stand.WAS, Stand.OTHER, Stand.WAS):
        book.look("L1", stand)
        assert book.states == {"L1": LedgerState.SWITCHED}
    book.look("L1", Stand.WAS)
    assert book.states == {"L1": LedgerState.RESTORED}


def test_the_same_look_told_twice_is_one_look() -> None:
    book = switched()
    book.look("L1", Stand.WAS)
    entry = book.ledger.get("L1")
    assert entry is not None
    assert not book.ledger.look(entry, Stand.WAS, book.at)
    assert not book.ledger.look(entry, Stand.WAS, book.at - 5.0)


def test_a_look_that_began_before_a_job_of_evac_had_ended_proves_nothing() -> None:
    book = switched()
    book.at = 50.0
    book.order(LEAVE)
    book.to("J2", JobState.CHECKING, JobState.FAILED)
    entry = book.ledger.get("L1")
    assert entry is not None
    for began in (30.0, 40.0, 50.0):
        assert not book.ledger.look(entry, Stand.WAS, began)


def test_nothing_is_judged_while_evac_is_at_it() -> None:
    book = switched()
    book.order(LEAVE)
    for _ in range(3):
        book.look("L1", Stand.WAS)
    assert book.states == {"L1": LedgerState.RESTORING}


def kept(**more: Any) -> LedgerEntry:
    fields: dict[str, Any] = {"id": "L1", "what": "maintenance", "state": LedgerState.SWITCHED, "calls": 1}
    return LedgerEntry(
        **{"cluster": "c", "subject": "c/host/h", "name": "h", "by": BY, "at": 0.0, **fields, **more}
    )


def test_after_a_restart_only_looks_of_this_engine_count() -> None:
    book = Book()
    book.at = 100.0
    book.ledger.resume([kept(did=ENTER, job="J1")], 7)
    entry = book.ledger.get("L1")
    assert entry is not None
    for began in (80.0, 90.0, 100.0):
        assert not book.ledger.look(entry, Stand.WAS, began)
    book.look("L1", Stand.WAS)
    book.look("L1", Stand.WAS)
    assert book.states == {"L1": LedgerState.RESTORED}
    book.order(CALM)
    assert [entry.id for entry in book.ledger.owed()] == ["L8"]


def test_what_is_owed_can_be_asked_for_by_cluster_and_window() -> None:
    book = Book()
    book.ledger.resume([kept(window="W1"), kept(id="L2", cluster="d", subject="d/host/h")], 2)
    assert [entry.id for entry in book.ledger.owed(window="W1")] == ["L1"]
    assert [entry.id for entry in book.ledger.owed("d")] == ["L2"]
    assert [entry.id for entry in book.ledger.owed()] == ["L1", "L2"]


def test_a_look_from_before_a_job_of_evac_is_not_the_first_of_two() -> None:
    book = switched()
    book.look("L1", Stand.WAS)
    book.order(LEAVE)
    book.to("J2", JobState.CHECKING, JobState.FAILED)
    book.look("L1", Stand.WAS)
    assert book.states == {"L1": LedgerState.SWITCHED}
