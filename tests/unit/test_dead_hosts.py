"""Hosts that do not answer with VMs on them are problems, in words; those that are meant to be down are no alarm."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evac import clock
from evac.actions import Evacuate
from evac.ailing import known
from evac.dead_hosts import DeadHost, Scene, dead_host
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState, Order
from evac.model import (
    VM,
    Capability,
    ClusterState,
    Host,
    HostState,
    Inventory,
    Migration,
    Phase,
    VMState,
)
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState

ADA = Actor(uid=1000, user="ada", role="admin", via="console")
NOON = 1_764_417_600.0  # 2025-11-29 12:00 UTC
ABLE = ClusterState(name="prod", kind="openstack", capabilities=(Capability(action="evacuate", able=True),))
UNABLE = ClusterState(
    name="prod",
    kind="proxmox",
    capabilities=(Capability(action="evacuate", able=False, why_not="HA does it"),),
)


def host(**facts: object) -> Host:
    return Host(**{"cluster": "prod", "id": "h1", "name": "cmp-01", "state": HostState.DOWN, **facts})  # type: ignore[arg-type]


def some(count: int, state: VMState = VMState.RUNNING, **facts: object) -> tuple[VM, ...]:
    return tuple(
        VM(cluster="prod", id=f"v{n}", name=f"vm-{n}", host="h1", state=state, **facts)  # type: ignore[arg-type]
        for n in range(count)
    )


def scene(vms: tuple[VM, ...] = some(3), *, state: ClusterState = ABLE, **around: object) -> Scene:
    return Scene(state=state, vms=vms, now=NOON, **around)  # type: ignore[arg-type]


def window(
    kind: StepKind, *, state: WindowState = WindowState.RUNNING, at: StepState = StepState.RUNNING
) -> Window:
    step = Step(kind=kind, state=at, next_step="Type done." if at is StepState.NEEDS_YOU else "")
    run = HostRun(cluster="prod", host="h1", name="cmp-01", steps=(step,))
    return Window(id="W3", plan="x", title="night", by=ADA, created=NOON, state=state, hosts=(run,))


def told(one: Host, around: Scene) -> DeadHost:
    found = dead_host(one, around)
    assert found is not None
    return found


def test_a_dead_host_is_told_with_since_when_how_many_what_is_unaffected_and_what_to_do() -> None:
    found = told(host(seen=NOON - 61), scene())
    assert found.problem.severity == "error"
    assert found.problem.happened == "cmp-01 is down with 3 VMs on it, last heard of at 11:58:59 UTC."
    assert found.problem.unaffected.startswith("Other hosts. Whether its VMs still run")
    assert "power it off for good (fence it)" in found.problem.next_step
    assert "evac evacuate cmp-01 --fenced" in found.problem.next_step


def test_the_earlier_of_the_agents_word_and_what_evac_saw_counts_and_another_day_has_its_date() -> None:
    late = told(host(seen=NOON - 1, silent_since=NOON - 86_400), scene())
    assert "seen so since 2025-11-28 12:00 UTC" in late.problem.happened
    assert "seen so since 11:59:00 UTC" in told(host(silent_since=NOON - 60), scene()).problem.happened


@pytest.mark.parametrize("up", [host(state=HostState.UP), host(state=HostState.UP, maintenance=True)])
def test_a_host_that_answers_is_no_problem(up: Host) -> None:
    assert dead_host(up, scene()) is None


def test_a_host_without_vms_is_nobodys_trouble() -> None:
    assert dead_host(host(), scene(())) is None


def test_a_host_that_is_forced_down_is_told_whatever_its_agent_says() -> None:
    found = told(host(state=HostState.UP, forced_down=True), scene())
    assert "It is forced down. Once it is surely off: e in Hosts" in found.problem.next_step


def test_a_host_whose_state_is_not_known_is_a_warning_and_nobody_is_sent_to_fence_it() -> None:
    found = told(host(state=HostState.UNKNOWN, reason="disconnected from vCenter"), scene())
    assert found.problem.severity == "warning"
    assert "not known (disconnected from vCenter)" in found.problem.happened
    assert "evacuate" not in found.problem.next_step


def test_where_evac_cannot_rebuild_it_says_why_and_how_many_ha_has() -> None:
    vms = (*some(2), replace(some(3)[2], ha="started"))
    found = told(host(), scene(vms, state=UNABLE))
    assert "HA does it. HA manages 1 of its 3 VMs." in found.problem.next_step
    assert "evac evacuate" not in found.problem.next_step


def test_on_a_read_only_cluster_nobody_is_told_to_evacuate() -> None:
    found = told(host(), scene(state=replace(ABLE, read_only=True, read_only_why="read_only = true")))
    assert "evac changes nothing here: read_only = true." in found.problem.next_step
    assert "evac evacuate" not in found.problem.next_step


def test_while_its_vms_are_being_rebuilt_the_queue_is_the_next_step() -> None:
    action = Evacuate(cluster="prod", vm="v1", name="vm-1", host="h1", fenced="off")
    job = Job(id="J1", order="O1", action=action, state=JobState.RUNNING, created=NOON, by=ADA)
    assert (
        told(host(), scene(jobs=[job])).problem.next_step == "Being rebuilt elsewhere: 1 VM. See the queue."
    )
    over = replace(job, state=JobState.DONE)
    assert "evac evacuate" in told(host(), scene(jobs=[over])).problem.next_step


@pytest.mark.parametrize("kind", [StepKind.SAFE, StepKind.HOOK, StepKind.BACK, StepKind.READY])
@pytest.mark.parametrize("vms", [(), some(1, VMState.STOPPED)])
def test_a_host_that_a_window_restarts_is_expected_with_and_without_vms(
    kind: StepKind, vms: tuple[VM, ...]
) -> None:
    found = told(host(maintenance=True), scene(vms, windows=[window(kind)]))
    assert found.expected
    assert f"as expected: window W3 restarts it (step {kind.value})" in found.problem.happened


def test_what_a_window_waits_for_is_the_next_step_of_its_host() -> None:
    found = told(host(), scene((), windows=[window(StepKind.HOOK, at=StepState.NEEDS_YOU)]))
    assert found.problem.next_step == "Type done."


@pytest.mark.parametrize("kind", [StepKind.FENCE, StepKind.DRAIN, StepKind.EMPTY, StepKind.REFILL])
def test_a_host_that_dies_while_a_window_empties_or_refills_it_is_an_alarm(kind: StepKind) -> None:
    vms = some(2, VMState.UNKNOWN)
    assert told(host(maintenance=True), scene(vms, windows=[window(kind)])).problem.severity == "error"


def test_a_window_that_has_ended_excuses_nothing() -> None:
    over = window(StepKind.HOOK, state=WindowState.ENDED)
    assert told(host(), scene(windows=[over])).problem.severity == "error"


def test_a_vm_that_ran_on_a_host_which_a_window_restarts_is_a_warning() -> None:
    found = told(host(), scene(windows=[window(StepKind.HOOK)]))
    assert found.problem.severity == "warning"
    assert "3 VMs stayed on it, 3 running." in found.problem.unaffected


def test_a_host_that_rests_in_maintenance_is_expected_and_one_that_ran_vms_is_not() -> None:
    resting = host(maintenance=True, reason="new fans")
    found = told(resting, scene(some(2, VMState.STOPPED)))
    assert found.expected
    assert "it is in maintenance (new fans), with 2 VMs on it" in found.problem.happened
    ran = told(resting, scene(some(2)))
    assert ran.problem.severity == "error"
    assert "it is in maintenance, but not empty" in ran.problem.happened


def test_maintenance_that_is_a_drains_fence_excuses_nothing() -> None:
    order = Order(id="O1", title="drain cmp-01", by=ADA, created=NOON, empties="prod/h1")
    vms = some(2, VMState.UNKNOWN)
    assert told(host(maintenance=True), scene(vms, orders=[order])).problem.severity == "error"
    assert told(host(maintenance=True), scene(vms)).expected


def test_since_when_a_host_is_silent_lasts_over_polls_and_ends_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, now = Fleet(), [NOON]
    monkeypatch.setattr(clock, "wall", lambda: now[0])

    def poll(state: HostState) -> Host:
        fleet.absorb(ABLE, Inventory(hosts=(host(state=state),), vms=some(3)), began=0.0)
        seen = fleet.host("prod", "h1")
        assert seen is not None
        return seen

    assert poll(HostState.UP).silent_since is None
    assert poll(HostState.DOWN).silent_since == NOON
    now[0], rev = NOON + 60, fleet.rev
    assert poll(HostState.DOWN).silent_since == NOON
    assert fleet.rev == rev, "a host that is still down is no news"
    assert [one.problem.happened for one in known(fleet, (), NOON)] == [
        "cmp-01 is down with 3 VMs on it, seen so since 12:00:00 UTC."
    ]
    assert poll(HostState.UP).silent_since is None
    assert known(fleet, (), NOON) == []
    assert poll(HostState.DOWN).silent_since == NOON + 60


def test_a_vm_that_is_stuck_is_a_problem_for_the_api_too_until_something_is_at_work_on_it() -> None:
    fleet = Fleet()
    left = VM(cluster="prod", id="v1", name="db", host="h2", state=VMState.MIGRATING, updated=NOON - 7200)
    fleet.publish(clusters=[ABLE], vms=[left])
    (one,) = known(fleet, (), NOON)
    assert "db is stuck" in one.problem.happened
    fleet.publish(migrations=[Migration(cluster="prod", id="m1", vm="v1", phase=Phase.RUNNING)])
    assert known(fleet, (), NOON) == []
