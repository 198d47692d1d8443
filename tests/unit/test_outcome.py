"""What became of an action is read from the cluster; each rule of judging and of admitting, one by one. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.actions import (
    Abort,
    Action,
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    LeaveMaintenance,
    LiveMigrate,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
    VMAction,
)
from evac.jobs import Actor, Job, JobState
from evac.model import VM, Host, HostState, Migration, MigrationKind, Phase, TaskRecord, VMState
from evac.outcome import judge
from evac.store import Trail
from evac.verdict import GRACE, TRACELESS, Look, Verdict, own_record

LONG = 10_000.0


def on(kind: type[VMAction], **more: Any) -> Action:
    fields = {"cluster": "c", "vm": "v", "name": "db", "host": "a"} | more
    made: Action = kind(**fields)  # type: ignore[assignment]
    return made


LIVE, COLD = on(LiveMigrate), on(ColdMigrate)
DEAD = on(Evacuate, fenced="off")


def vm(**more: Any) -> VM:
    fields: dict[str, Any] = {"host": "a", "state": VMState.RUNNING}
    return VM(cluster="c", id="v", name=more.pop("name", "db"), **(fields | more))


def move(phase: Phase, kind: MigrationKind = MigrationKind.LIVE, **more: Any) -> Migration:
    fields: dict[str, Any] = {"id": "9", "source": "a", "target": "b", "native": phase.value}
    return Migration(cluster="c", vm="v", kind=kind, phase=phase, **(fields | more))


def host(**more: Any) -> Host:
    return Host(cluster="c", id="a", name="a", **({"state": HostState.UP} | more))


def job(action: Action = LIVE, **more: Any) -> Job:
    fields: dict[str, Any] = {"state": JobState.ACCEPTED, "by": Actor(uid=0, user="anna", role="admin")}
    return Job(id="J1", order="O1", action=action, created=0.0, **(fields | more))


def see(
    action: Action,
    seen: VM | None,
    *moves: Migration,
    odd_for: float = 0.0,
    tasks: tuple[TaskRecord, ...] = (),
    **more: Any,
) -> Verdict:
    look = Look(vm=seen, migrations=moves, tasks=tasks)
    return judge(job(action, **more), Trail(accepted=True), look, odd_for=odd_for)


# --- moves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (LIVE, MigrationKind.LIVE),
        (DEAD, MigrationKind.EVACUATION),
        (on(LiveMigrate, to="b"), MigrationKind.LIVE),
    ],
)
def test_done_is_on_the_target_with_no_task_and_the_record_over(action: Action, kind: MigrationKind) -> None:
    there, over = vm(host="b"), move(Phase.COMPLETED, kind)
    verdict = see(action, there, over)
    assert (verdict.state, verdict.met, verdict.target, verdict.migration) == (JobState.DONE, True, "b", "9")
    assert not see(action, vm(), over).met, "on the source"
    assert not see(action, vm(host="c"), over).met, "on another host than the record names"
    assert not see(action, vm(host=""), over).met, "on no host"
    assert not see(action, vm(host="b", task="migrating"), over).met, "with a task"
    assert not see(action, vm(host="b", state=VMState.ERROR), over).met, "in error"
    assert not see(action, there, move(Phase.RUNNING, kind)).met, "the record is not over"
    assert not see(action, None, over).met, "gone"


def test_a_cold_migration_is_done_when_it_waits_for_confirm_on_the_target() -> None:
    record = move(Phase.AWAITING_CONFIRM, MigrationKind.COLD)
    verdict = see(COLD, vm(host="b", state=VMState.AWAITING_CONFIRM), record)
    assert verdict.met
    assert "confirm" in verdict.reason
    assert see(COLD, vm(host="b", state=VMState.STOPPED), move(Phase.COMPLETED, MigrationKind.RESIZE)).met


def test_without_a_record_the_place_of_the_vm_decides() -> None:
    assert see(LIVE, vm(host="b")).met
    assert see(on(LiveMigrate, to="b"), vm(host="b")).met
    assert not see(on(LiveMigrate, to="b"), vm(host="c")).met


@pytest.mark.parametrize(
    ("seen", "moves", "state", "words"),
    [
        (vm(), (move(Phase.COMPLETED),), JobState.FAILED, "calls the move completed, but db is still on a"),
        (vm(host="x"), (move(Phase.COMPLETED),), JobState.FAILED, "on x, not on b"),
        (vm(host=""), (move(Phase.COMPLETED),), JobState.UNKNOWN, "on no host"),
        (vm(), (move(Phase.RUNNING),), JobState.UNKNOWN, "nothing is being done to db"),
        (vm(), (), JobState.UNKNOWN, "shows nothing of it"),
        (vm(host=""), (), JobState.UNKNOWN, "on no host"),
    ],
)
def test_a_contradiction_gets_its_time_and_is_then_said(
    seen: VM, moves: tuple[Migration, ...], state: JobState, words: str
) -> None:
    early = see(LIVE, seen, *moves)
    assert early.odd
    assert not early.state.ended
    late = see(LIVE, seen, *moves, odd_for=max(GRACE, TRACELESS))
    assert late.state is state
    assert words in late.reason
    assert late.next_step


@pytest.mark.parametrize(
    ("seen", "moves", "state", "words"),
    [
        (vm(task="migrating"), (move(Phase.QUEUED),), JobState.RUNNING, "queued by the cluster"),
        (vm(state=VMState.MIGRATING), (), JobState.RUNNING, "without a record"),
        (vm(task="x"), (move(Phase.UNKNOWN, native="frobbing"),), JobState.RUNNING, "calls it frobbing"),
        (
            vm(host="b", task="migrating"),
            (move(Phase.COMPLETED),),
            JobState.VERIFYING,
            "still shows db as migrating",
        ),
        (
            vm(host="b", state=VMState.ERROR, fault="no disk"),
            (move(Phase.COMPLETED),),
            JobState.FAILED,
            "no disk",
        ),
        (vm(host="b", state=VMState.ERROR), (), JobState.FAILED, "in error on b"),
        (vm(), (move(Phase.FAILED),), JobState.FAILED, "db stays on a, the cluster gives no reason"),
        (vm(state=VMState.ERROR), (move(Phase.FAILED),), JobState.FAILED, "left db in error on a"),
        (
            vm(host="b"),
            (move(Phase.FAILED),),
            JobState.FAILED,
            "calls the move failed, yet db is running on b",
        ),
        (vm(task="migrating"), (move(Phase.FAILED),), JobState.RUNNING, "still clearing up"),
        (vm(), (move(Phase.CANCELLED),), JobState.CANCELLED, "on the cluster (nobody cancelled this job)"),
        (None, (), JobState.FAILED, "no longer exists"),
    ],
)
def test_every_case_has_its_words(
    seen: VM | None, moves: tuple[Migration, ...], state: JobState, words: str
) -> None:
    verdict = see(LIVE, seen, *moves)
    assert verdict.state is state
    assert words in verdict.reason


def test_a_failure_is_explained_by_the_clusters_log() -> None:
    tasks = (
        TaskRecord(
            id="r", vm="v", action="live-migration", started=1.0, failed=True, message="No valid host"
        ),
    )
    assert "No valid host" in see(LIVE, vm(), move(Phase.FAILED), tasks=tasks, task="r").reason
    gave_up = see(LIVE, vm(), tasks=tasks, task="r")
    assert gave_up.state is JobState.FAILED
    assert "before it moved db: No valid host" in gave_up.reason


def test_a_place_is_freed_only_when_the_cluster_says_the_move_is_over() -> None:
    assert not see(LIVE, vm(task="migrating"), move(Phase.RUNNING)).over
    assert see(LIVE, vm(host="b"), move(Phase.COMPLETED)).over
    assert see(LIVE, vm(), move(Phase.COMPLETED)).over


def test_our_record_is_the_first_that_was_not_there_before() -> None:
    older, ours, later = (move(Phase.COMPLETED, id=number) for number in ("1", "2", "3"))
    trail = Trail(known=("1",))
    assert own_record(job(), trail, (later, ours, older)) == ours
    assert own_record(job(), trail, (older,)) is None
    assert own_record(job(migration="3"), trail, (later, ours, older)) == later
    assert own_record(job(on(LiveMigrate, to="z")), trail, (ours,)) is None, "it goes elsewhere"
    assert own_record(job(COLD), trail, (ours,)) is None, "it is of another kind"


@given(
    st.builds(
        vm,
        host=st.sampled_from(["", "a", "b", "c"]),
        state=st.sampled_from(VMState),
        task=st.sampled_from(["", "x"]),
    ),
    st.lists(st.builds(move, st.sampled_from(Phase), st.sampled_from(MigrationKind)), max_size=2),
    st.sampled_from(
        [LIVE, COLD, DEAD, on(LiveMigrate, to="b"), on(ColdMigrate, to="b"), on(Evacuate, to="b", fenced="x")]
    ),
    st.sampled_from([0.0, GRACE, LONG]),
)
def test_done_is_never_said_of_a_vm_that_is_not_at_its_target(
    seen: VM, moves: list[Migration], action: Action, odd_for: float
) -> None:
    verdict = see(action, seen, *moves, odd_for=odd_for)
    assert (verdict.state is JobState.DONE) is verdict.met
    if verdict.met:
        assert seen.host not in {"", "a"}
        assert seen.host == (getattr(action, "to", "") or seen.host)
        assert not seen.task
        assert seen.state not in {VMState.ERROR, VMState.MIGRATING, VMState.DELETED}
    if verdict.state.ended and verdict.state is not JobState.DONE:
        assert verdict.reason


# --- everything else -----------------------------------------------------------------------------

ABORT, FORCE = on(Abort, migration="9"), on(ForceComplete, migration="9")


@pytest.mark.parametrize(
    ("action", "seen", "moves", "state", "words"),
    [
        (ABORT, vm(task="migrating"), (move(Phase.RUNNING),), JobState.RUNNING, "still running"),
        (ABORT, vm(), (move(Phase.CANCELLED),), JobState.DONE, "db stays on a"),
        (ABORT, vm(), (), JobState.DONE, "db stays on a"),
        (ABORT, vm(host="b"), (move(Phase.COMPLETED),), JobState.FAILED, "too late"),
        (FORCE, vm(host="b"), (move(Phase.COMPLETED),), JobState.DONE, "db is on b"),
        (FORCE, vm(), (move(Phase.FAILED),), JobState.FAILED, "still on a"),
        (on(StartVM), vm(), (), JobState.DONE, "running"),
        (on(StartVM), vm(state=VMState.STOPPED, task="powering-on"), (), JobState.RUNNING, "powering-on"),
        (on(StopVM), vm(state=VMState.STOPPED), (), JobState.DONE, "stopped"),
        (on(StopVM), vm(task="powering-off"), (), JobState.RUNNING, "powering-off"),
        (on(ResetState), vm(), (), JobState.DONE, "running"),
        (on(ResetState, to="error"), vm(state=VMState.ERROR), (), JobState.DONE, "error"),
        (on(ConfirmMove, host="b"), vm(host="b"), (), JobState.DONE, "running on b"),
        (on(ConfirmMove), vm(state=VMState.AWAITING_CONFIRM), (), JobState.RUNNING, "nothing to be seen yet"),
        (on(RevertMove, host="b"), vm(host="a"), (), JobState.DONE, "on a again"),
    ],
)
def test_other_actions_end_where_they_should(
    action: Action, seen: VM, moves: tuple[Migration, ...], state: JobState, words: str
) -> None:
    verdict = see(action, seen, *moves)
    assert verdict.state is state
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("action", "seen", "words"),
    [
        (on(StartVM), vm(state=VMState.ERROR, fault="no memory"), "no memory"),
        (on(StopVM), vm(), "db is running"),
        (on(ResetState), vm(state=VMState.ERROR), "db is error"),
        (on(ResetState), vm(task="migrating"), "db is running"),
        (on(RevertMove), vm(), "db is running on a"),
    ],
)
def test_a_call_without_effect_is_a_failure_after_its_grace(action: Action, seen: VM, words: str) -> None:
    assert not see(action, seen).state.ended
    verdict = see(action, seen, odd_for=GRACE)
    assert verdict.state is JobState.FAILED
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("action", "met", "unmet"),
    [
        (EnterMaintenance(cluster="c", host="a", name="a", reason="x"), host(maintenance=True), host()),
        (LeaveMaintenance(cluster="c", host="a", name="a"), host(), host(maintenance=True)),
        (ForceDown(cluster="c", host="a", name="a", fenced="off"), host(forced_down=True), host()),
        (ForceDown(cluster="c", host="a", name="a", down=False), host(), host(forced_down=True)),
    ],
)
def test_host_actions_are_judged_by_the_host(action: Action, met: Host, unmet: Host) -> None:
    assert judge(job(action), Trail(), Look(host=met)).met
    assert judge(job(action), Trail(), Look(host=unmet)).state is JobState.RUNNING
    assert judge(job(action), Trail(), Look(host=unmet), odd_for=GRACE).state is JobState.FAILED
    assert "no longer knows" in judge(job(action), Trail(), Look()).reason


def test_a_host_that_the_scheduler_still_bars_is_not_out_of_maintenance() -> None:
    leave = job(LeaveMaintenance(cluster="c", host="a", name="a"))
    verdict = judge(leave, Trail(), Look(host=host(settling="not heard of yet")), odd_for=GRACE)
    assert (verdict.state, verdict.reason, verdict.met) == (JobState.RUNNING, "not heard of yet", False)
    enter = job(EnterMaintenance(cluster="c", host="a", name="a", reason="x"))
    assert judge(enter, Trail(), Look(host=host(maintenance=True, settling="not heard of yet"))).met


# --- a state that held a VM ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "seen", "done"),
    [
        (Trail(accepted=True, busy="migrate", locked=True), vm(state=VMState.STOPPED), True),
        (Trail(accepted=True, busy="migrate", locked=True), vm(), True),
        (Trail(accepted=True, locked=True), vm(state=VMState.STOPPED), True),
        (Trail(accepted=True, busy="powering-on"), vm(state=VMState.STOPPED), True),
        (Trail(accepted=True, locked=True), vm(state=VMState.STOPPED, locked=True), False),
        (Trail(accepted=True, busy="migrate", locked=True), vm(state=VMState.STOPPED, task="backup"), False),
        (Trail(accepted=True, busy="migrate", locked=True), vm(state=VMState.ERROR), False),
        (Trail(accepted=True), vm(state=VMState.STOPPED), False),
    ],
)
def test_a_vm_is_freed_when_what_held_it_is_gone_whether_it_runs_or_is_off(
    before: Trail, seen: VM, done: bool
) -> None:
    verdict = judge(job(on(ResetState)), before, Look(vm=seen), odd_for=LONG)
    assert verdict.state is (JobState.DONE if done else JobState.FAILED)
    assert verdict.met is done
    wanted = judge(job(on(ResetState, to="error")), before, Look(vm=seen), odd_for=LONG)
    assert wanted.met is (seen.state is VMState.ERROR), "error is a state, and nothing else will do"
