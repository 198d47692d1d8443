"""A VM is called stuck when the cluster has long been busy with it and nothing is at work on it; otherwise never."""

from __future__ import annotations

from typing import Any

import pytest

from evac.actions import ResetState
from evac.jobs import Actor, Job
from evac.model import VM, Migration, Phase, VMState
from evac.stuck import MOVE, OTHER, busy, stuck

NOW = 1_000_000.0


def vm(*, idle: float = MOVE + 1, **more: Any) -> VM:
    fields: dict[str, Any] = {"state": VMState.MIGRATING, "task": "migrating", "host": "cmp-01"}
    return VM(cluster="c", id="v", name="web-01", updated=NOW - idle, **(fields | more))


def test_migrating_for_long_without_a_record_is_stuck_and_says_what_to_do() -> None:
    late = stuck(vm(), None, None, now=NOW)
    assert late is not None
    assert (late.word, late.since) == ("migrating", NOW - MOVE - 1)
    assert 'web-01 is stuck: "migrating"' in late.problem.happened
    assert "cmp-01" in late.problem.next_step
    assert "to active if it runs there, to error if it does not" in late.problem.next_step


@pytest.mark.parametrize(
    "one",
    [
        vm(idle=MOVE - 1),
        vm(state=VMState.RUNNING, task=""),
        vm(state=VMState.RUNNING, task="image_uploading"),
        vm(state=VMState.BUILDING, task="spawning"),
        vm(state=VMState.DELETED, task="deleting", idle=OTHER + 1),
        VM(cluster="c", id="v", name="web-01", state=VMState.MIGRATING),
    ],
    ids=["not yet", "idle", "a long snapshot", "a long build", "going anyway", "since when is not told"],
)
def test_what_is_not_stuck(one: VM) -> None:
    assert stuck(one, None, None, now=NOW) is None


@pytest.mark.parametrize(
    ("state", "task"),
    [(VMState.RUNNING, "image_uploading"), (VMState.BUILDING, ""), (VMState.STOPPED, "powering-on")],
)
def test_another_task_is_given_an_hour(state: VMState, task: str) -> None:
    assert stuck(vm(state=state, task=task, idle=OTHER - 1), None, None, now=NOW) is None
    assert stuck(vm(state=state, task=task, idle=OTHER + 1), None, None, now=NOW) is not None


def test_what_somebody_is_at_work_on_is_not_stuck_however_long_it_takes() -> None:
    move = Migration(cluster="c", id="1", vm="v", phase=Phase.RUNNING)
    job = Job(
        id="J1",
        order="O1",
        action=ResetState(cluster="c", vm="v", name="web-01", host="cmp-01"),
        by=Actor(uid=1, user="ada", role="admin"),
        created=1.0,
    )
    assert stuck(vm(idle=1e6), None, move, now=NOW) is None
    assert stuck(vm(idle=1e6), job, None, now=NOW) is None


def test_only_a_busy_vm_needs_to_be_asked_about() -> None:
    assert busy(vm())
    assert busy(vm(state=VMState.RUNNING, task="rebooting"))
    assert not busy(vm(state=VMState.RUNNING, task=""))
