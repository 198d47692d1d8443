"""Only what was confirmed and can be done is admitted; a lost call is found by any trace. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from evac.actions import (
    Abort,
    Action,
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    LiveMigrate,
    ResetState,
    StartVM,
    StopVM,
    VMAction,
)
from evac.admission import Ground, admit, has_left
from evac.adopt import trace
from evac.jobs import Actor, Job, JobState
from evac.model import VM, Host, HostState, Migration, MigrationKind, Phase, TaskRecord, VMState
from evac.store import Trail
from evac.verdict import Look

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


ABORT, FORCE = on(Abort, migration="9"), on(ForceComplete, migration="9")

# --- admitting ---

UP = Host(cluster="c", id="b", name="b", state=HostState.UP)
DOWN = host(state=HostState.DOWN)


def ask(action: Action, seen: VM | None, *moves: Migration, **more: Any) -> tuple[str, bool]:
    obstacle = admit(action, Ground(vm=seen, migrations=moves, **more))
    return ("", False) if obstacle is None else (obstacle.reason, obstacle.passing)


@pytest.mark.parametrize(
    ("action", "seen", "moves", "more", "words", "passing"),
    [
        (LIVE, vm(), (), {}, "", False),
        (LIVE, vm(state=VMState.PAUSED), (), {}, "", False),
        (LIVE, vm(), (move(Phase.COMPLETED),), {}, "", False),
        (on(LiveMigrate, to="b"), vm(), (), {"target": UP}, "", False),
        (COLD, vm(state=VMState.STOPPED), (), {}, "", False),
        (DEAD, vm(), (move(Phase.RUNNING),), {"source": DOWN}, "", False),
        (DEAD, vm(state=VMState.ERROR, task="x"), (), {"source": host(forced_down=True)}, "", False),
        (ABORT, vm(task="migrating"), (move(Phase.RUNNING),), {}, "", False),
        (on(ResetState), vm(task="stuck", state=VMState.ERROR), (), {}, "", False),
        (LIVE, None, (), {}, "no longer exists", False),
        (LIVE, vm(name="other"), (), {}, "is now called other, confirmed was db", False),
        (LIVE, vm(host="b"), (), {}, "is on b, confirmed was a", False),
        (LIVE, vm(host=""), (), {}, "is on no host", False),
        (LIVE, vm(state=VMState.STOPPED), (), {}, "is stopped", False),
        (LIVE, vm(state=VMState.UNKNOWN, native="SHELVED"), (), {}, "SHELVED", False),
        (LIVE, vm(task="image_snapshot"), (), {}, "busy with it (image_snapshot)", True),
        (LIVE, vm(), (move(Phase.QUEUED),), {}, "already being moved (migration 9)", True),
        (LIVE, vm(), (), {"source": DOWN}, "a is down", True),
        (on(LiveMigrate, to="b"), vm(), (), {}, "knows no host b", False),
        (
            on(LiveMigrate, to="b"),
            vm(),
            (),
            {"target": Host(cluster="c", id="b", name="b", state=HostState.UP, maintenance=True)},
            "in maintenance",
            True,
        ),
        (
            on(LiveMigrate, to="b"),
            vm(),
            (),
            {"target": Host(cluster="c", id="b", name="b", state=HostState.DOWN)},
            "target b is down",
            True,
        ),
        (on(LiveMigrate, to="a"), vm(), (), {"target": host()}, "on a already", False),
        (COLD, vm(state=VMState.PAUSED), (), {}, "is paused", False),
        (DEAD, vm(), (), {"source": host()}, "would run db twice", False),
        (DEAD, vm(), (), {}, "could not be read", True),
        (on(Evacuate, fenced="  "), vm(), (), {"source": DOWN}, "nobody stated", False),
        (
            DEAD,
            vm(),
            (move(Phase.RUNNING, MigrationKind.EVACUATION),),
            {"source": DOWN},
            "already being moved",
            True,
        ),
        (DEAD, vm(state=VMState.BUILDING), (), {"source": DOWN}, "is building", False),
        (ABORT, vm(), (), {}, "is over already", False),
        (FORCE, vm(), (move(Phase.COMPLETED),), {}, "completed already", False),
        (on(ConfirmMove), vm(), (), {}, "is running", False),
        (on(StartVM), vm(), (), {}, "is running", False),
    ],
)
def test_only_what_was_confirmed_and_can_be_done_is_admitted(  # noqa: PLR0917  # one row of the table each
    action: Action,
    seen: VM | None,
    moves: tuple[Migration, ...],
    more: dict[str, Any],
    words: str,
    passing: bool,
) -> None:
    reason, will_pass = ask(action, seen, *moves, **more)
    assert (words in reason) if words else not reason
    assert will_pass is passing


def test_a_host_must_be_the_machine_that_was_confirmed() -> None:
    down = ForceDown(cluster="c", host="a", name="a", uuid="u1", fenced="off")
    for seen, words in (
        (None, "no longer knows"),
        (Host(cluster="c", id="a", name="z"), "now called z"),
        (host(uuid="u2"), "not the machine"),
    ):
        obstacle = admit(down, Ground(host=seen))
        assert obstacle is not None
        assert words in obstacle.reason
    assert admit(down, Ground(host=host(uuid="u1"))) is None
    unfenced = ForceDown(cluster="c", host="a", name="a")
    assert admit(unfenced, Ground(host=host())) is not None
    assert admit(ForceDown(cluster="c", host="a", name="a", down=False), Ground(host=host())) is None


# --- finding a lost call -------------------------------------------------------------------------

UNSURE = {"state": JobState.UNKNOWN}
LOGGED = (TaskRecord(id="r7", vm="v", action="live-migration", started=1.0),)
CANCEL = (TaskRecord(id="r8", vm="v", action="live_migration_cancel", started=1.0),)
FORCED = (TaskRecord(id="r9", vm="v", action="live_migration_force_complete", started=1.0),)
POSTED = move(Phase.RUNNING, native="running (post-copy)")


@pytest.mark.parametrize(
    ("action", "look", "found", "clean"),
    [
        (LIVE, Look(vm=vm()), "", True),
        (LIVE, Look(vm=vm(), migrations=(move(Phase.QUEUED, id="10"),)), "migration 10", False),
        (LIVE, Look(vm=vm(), migrations=(move(Phase.COMPLETED, id="1"),)), "", True),
        (LIVE, Look(vm=vm(), tasks=LOGGED), "the cluster's log, r7", False),
        (COLD, Look(vm=vm(), tasks=LOGGED), "", True),
        (LIVE, Look(vm=vm(host="b")), "db is running on b", False),
        (LIVE, Look(vm=vm(task="migrating")), "", False),
        (LIVE, Look(vm=vm(name="z")), "", False),
        (LIVE, Look(), "db is gone", False),
        (on(StopVM), Look(vm=vm(state=VMState.STOPPED)), "db is stopped on a", False),
        (on(StopVM), Look(vm=vm()), "", True),
        (ABORT, Look(vm=vm(task="migrating"), migrations=(move(Phase.RUNNING),)), "", True),
        (FORCE, Look(vm=vm(task="migrating"), migrations=(move(Phase.RUNNING),)), "", True),
        (ABORT, Look(vm=vm(name="z"), migrations=(move(Phase.RUNNING),)), "", False),
        (ABORT, Look(vm=vm(), migrations=(move(Phase.CANCELLED),)), "migration 9 is cancelled", False),
        (
            FORCE,
            Look(vm=vm(host="b"), migrations=(move(Phase.COMPLETED),)),
            "migration 9 is completed",
            False,
        ),
        (FORCE, Look(vm=vm()), "migration 9 is over", False),
        (FORCE, Look(), "db is gone", False),
        (FORCE, Look(vm=vm(), migrations=(POSTED,)), "migration 9 is in post-copy", False),
        (ABORT, Look(vm=vm(), migrations=(POSTED,)), "", True),
        (
            ABORT,
            Look(vm=vm(), migrations=(move(Phase.RUNNING),), tasks=CANCEL),
            "the cluster's log, r8",
            False,
        ),
        (FORCE, Look(vm=vm(), migrations=(move(Phase.RUNNING),), tasks=CANCEL), "", True),
        (
            FORCE,
            Look(vm=vm(), migrations=(move(Phase.RUNNING),), tasks=FORCED),
            "the cluster's log, r9",
            False,
        ),
        (ABORT, Look(vm=vm(), migrations=(move(Phase.RUNNING),), tasks=(*FORCED, *LOGGED)), "", True),
        (EnterMaintenance(cluster="c", host="a", name="a", reason="x"), Look(host=host()), "", True),
        (
            EnterMaintenance(cluster="c", host="a", name="a", reason="x"),
            Look(host=host(maintenance=True)),
            "a is as wanted",
            False,
        ),
    ],
)
def test_a_lost_call_is_found_by_any_trace_and_its_absence_only_by_none(
    action: Action, look: Look, found: str, clean: bool
) -> None:
    seen = trace(job(action, **UNSURE), Trail(known=("1",)), look)
    assert (seen.found, seen.clean) == (found, clean)
    assert bool(seen.why) is not (bool(seen.found) or seen.clean)


@pytest.mark.parametrize(
    ("action", "seen", "empties", "left"),
    [
        (LIVE, vm(host="b"), "c/a", True),
        (COLD, vm(host="b", state=VMState.STOPPED), "c/a", True),
        (LIVE, vm(host="b"), "", False),
        (LIVE, vm(host="b"), "c/other", False),
        (on(LiveMigrate, to="x"), vm(host="b"), "c/a", False),
        (LIVE, vm(), "c/a", False),
        (LIVE, vm(host="b", task="migrating"), "c/a", False),
        (LIVE, vm(host="b", state=VMState.MIGRATING), "c/a", False),
        (LIVE, vm(host="b", state=VMState.ERROR), "c/a", False),
        (LIVE, vm(host="b", name="another"), "c/a", False),
        (LIVE, vm(host=""), "c/a", False),
        (LIVE, None, "c/a", False),
        (on(StopVM), vm(host="b"), "c/a", False),
    ],
)
def test_a_drain_takes_a_vm_that_left_the_host_by_itself_for_done(
    action: Action, seen: VM | None, empties: str, left: bool
) -> None:
    assert bool(has_left(action, Ground(vm=seen), empties)) is left
