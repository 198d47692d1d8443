"""A plan says what goes, in which order, what stays and why, and what may go wrong; it never does anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from evac.actions import ColdMigrate, EnterMaintenance, Evacuate, LiveMigrate, VMAction
from evac.api import DrainPlan, EvacuatePlanRequest, PlanRequest
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState, Order
from evac.model import (
    VM,
    Affinity,
    AffinityKind,
    Capability,
    ClusterState,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Phase,
    Question,
    VMState,
)
from evac.planner import PlanRefused, plan_drain, plan_evacuate

GIB = 1 << 30


def host(name: str, **more: Any) -> Host:
    fields: dict[str, Any] = {
        "state": HostState.UP,
        "memory": 64 * GIB,
        "memory_used": 0,
        "uuid": f"u-{name}",
    }
    return Host(cluster="c", id=name, name=name, **(fields | more))


def vm(name: str, on: str = "a", gib: int = 1, **more: Any) -> VM:
    fields: dict[str, Any] = {"state": VMState.RUNNING, "memory": gib * GIB}
    return VM(cluster="c", id=f"id-{name}", name=name, host=on, **(fields | more))


def fleet(*things: Host | VM | Migration, state: ClusterState | None = None) -> Fleet:
    made = Fleet()
    made.publish(
        clusters=(state or ClusterState(name="c", kind="sim", fresh_stamp=100.0),),
        hosts=[thing for thing in things if isinstance(thing, Host)],
        vms=[thing for thing in things if isinstance(thing, VM)],
        migrations=[thing for thing in things if isinstance(thing, Migration)],
    )
    return made


def drain(of: Fleet, *, to: str = "", now: float = 101.0) -> DrainPlan:
    return plan_drain(of, PlanRequest(cluster="c", host="a", to=to, reason="kernel"), now=now)


def evacuate(of: Fleet, *, fenced: str = "off by IPMI", now: float = 101.0) -> DrainPlan:
    return plan_evacuate(of, EvacuatePlanRequest(cluster="c", host="a", fenced=fenced), now=now)


def test_maintenance_comes_first_then_the_largest_guests() -> None:
    plan = drain(fleet(host("a"), host("b"), vm("s", gib=1), vm("l", gib=16), vm("m", gib=4)))
    assert isinstance(plan.actions[0], EnterMaintenance)
    assert (plan.actions[0].uuid, plan.actions[0].reason) == ("u-a", "kernel")
    assert [action.name for action in plan.actions[1:]] == ["l", "m", "s"]
    assert all(isinstance(action, LiveMigrate) and action.host == "a" for action in plan.actions[1:])
    assert (plan.memory, plan.empties, plan.title, plan.age) == (21 * GIB, "c/a", "drain a", 1.0)
    assert plan.warnings == ()


def test_a_disk_on_the_host_counts_as_what_must_be_copied() -> None:
    plan = drain(fleet(host("a"), host("b"), vm("m", gib=8), vm("d", gib=1, disk=50 * GIB, local_disk=True)))
    assert [action.name for action in plan.actions[1:]] == ["d", "m"]


def test_a_host_already_in_maintenance_is_not_put_there_again() -> None:
    plan = drain(fleet(host("a", maintenance=True), host("b"), vm("x")))
    assert not any(isinstance(action, EnterMaintenance) for action in plan.actions)


def test_a_stopped_vm_goes_cold_and_the_admin_is_told_what_that_means() -> None:
    plan = drain(fleet(host("a"), host("b"), vm("off", state=VMState.STOPPED), vm("on")))
    assert isinstance(plan.actions[1], LiveMigrate)
    assert isinstance(plan.actions[2], ColdMigrate)
    assert "1 stopped VM is cold-migrated" in plan.warnings[0]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"state": VMState.ERROR, "fault": "no disk"}, "in error: no disk"),
        ({"state": VMState.BUILDING}, "still being built"),
        ({"state": VMState.AWAITING_CONFIRM}, "confirmed"),
        ({"state": VMState.SUSPENDED}, "suspended"),
        ({"state": VMState.MIGRATING}, "already being migrated"),
        ({"state": VMState.UNKNOWN, "native": "SHELVED"}, "SHELVED"),
        ({"task": "image_snapshot"}, "image_snapshot"),
        ({"locked": True}, "locked"),
    ],
)
def test_what_cannot_move_stays_with_the_reason_and_a_remedy(more: dict[str, Any], why: str) -> None:
    plan = drain(fleet(host("a"), host("b"), vm("x", **more)))
    (stay,) = plan.stays
    assert why in stay.why
    assert stay.fix
    assert len(plan.actions) == 1


def test_a_vm_on_its_way_stays_with_where_it_goes() -> None:
    move = Migration(cluster="c", id="7", vm="id-x", kind=MigrationKind.LIVE, phase=Phase.RUNNING, target="b")
    plan = drain(fleet(host("a"), host("b"), vm("x"), move))
    assert "already being moved to b" in plan.stays[0].why


def test_what_is_no_guest_stays_whatever_its_state() -> None:
    agent = vm("vCLS-1", stays="an agent of vCenter's own")
    plan = drain(fleet(host("a"), host("b"), agent, vm("web")))
    assert [action.name for action in plan.actions[1:]] == ["web"]
    assert [(stay.name, stay.why) for stay in plan.stays] == [("vCLS-1", "an agent of vCenter's own")]


def test_a_paused_vm_is_live_migrated() -> None:
    plan = drain(fleet(host("a"), host("b"), vm("x", state=VMState.PAUSED)))
    assert isinstance(plan.actions[1], LiveMigrate)


def test_a_dead_host_is_not_drained_but_evacuated() -> None:
    for dead in (host("a", state=HostState.DOWN), host("a", forced_down=True)):
        with pytest.raises(PlanRefused, match="down") as caught:
            drain(fleet(dead, host("b")))
        assert "evacuate" in caught.value.problem.next_step


@pytest.mark.parametrize(
    ("others", "to", "why"),
    [
        ([host("b", maintenance=True)], "", "nothing can go anywhere"),
        ([host("b"), host("d", maintenance=True)], "", "in maintenance, so no target: d"),
        ([host("b", memory=4 * GIB)], "", "memory is short: 8 GiB to place, 4 GiB free on 1 host(s)"),
        (
            [host(f"b{n}", memory=6 * GIB) for n in range(3)],
            "",
            "no host has 8 GiB free for x; the most is 6 GiB",
        ),
        ([host("b", maintenance=True)], "b", "target b is in maintenance"),
        ([host("b", state=HostState.DOWN)], "b", "target b is down"),
    ],
)
def test_targets_that_will_not_do_are_warned_of(others: list[Host], to: str, why: str) -> None:
    words = drain(fleet(host("a"), *others, vm("x", gib=8)), to=to).warnings
    assert any(why in word for word in words), words


def test_no_room_is_invented_where_a_host_does_not_tell() -> None:
    assert drain(fleet(host("a"), host("b", memory=None), vm("x", gib=800))).warnings == ()


def test_old_figures_read_only_and_missing_rights_are_warned_of() -> None:
    state = ClusterState(
        name="c",
        kind="sim",
        fresh_stamp=100.0,
        read_only=True,
        capabilities=(Capability(action="live_migrate", able=False, why_not="policy"),),
    )
    words = drain(fleet(host("a"), host("b"), vm("x"), state=state), now=148.0).warnings
    assert "48 s old" in words[0]
    assert "read-only" in words[1]
    assert words[2] == "c cannot live-migrate: policy"


def test_unknown_names_are_refused_in_words() -> None:
    empty = fleet(host("a"))
    with pytest.raises(PlanRefused, match="no cluster z"):
        plan_drain(empty, PlanRequest(cluster="z", host="a"), now=0)
    with pytest.raises(PlanRefused, match="no host z"):
        plan_drain(empty, PlanRequest(cluster="c", host="z"), now=0)
    for to in ("a", "nowhere"):
        with pytest.raises(PlanRefused, match=to):
            drain(empty, to=to)


def test_evacuation_takes_what_can_be_rebuilt_and_carries_the_statement() -> None:
    stuck = Migration(cluster="c", id="7", vm="id-m", kind=MigrationKind.LIVE, phase=Phase.RUNNING)
    plan = evacuate(
        fleet(
            host("a", state=HostState.DOWN),
            host("b"),
            vm("x", task="powering-off"),
            vm("e", state=VMState.ERROR),
            vm("m", state=VMState.MIGRATING),
            vm("p", state=VMState.PAUSED),
            vm("l", local_disk=True),
            stuck,
        )
    )
    assert {action.name for action in plan.actions if isinstance(action, Evacuate)} == {"x", "e", "m", "l"}
    assert {action.fenced for action in plan.actions if isinstance(action, Evacuate)} == {"off by IPMI"}
    assert [stay.name for stay in plan.stays] == ["p"]
    assert any("data is lost: l" in words for words in plan.warnings)


def test_evacuation_of_a_living_or_unfenced_host_is_refused() -> None:
    with pytest.raises(PlanRefused, match="twice"):
        evacuate(fleet(host("a"), host("b")))
    with pytest.raises(PlanRefused, match="fenced"):
        evacuate(fleet(host("a", state=HostState.DOWN)), fenced="  ")


def ordered(of: Fleet, order: str, *vms: VM, empties: str = "") -> None:
    """An order that moves these VMs and has not ended."""
    by = Actor(uid=1, user="ada", role="admin")
    of.publish(
        orders=[
            Order(id=order, title=f"title of {order}", by=by, created=1.0, jobs=len(vms), empties=empties)
        ],
        jobs=[
            Job(
                id=f"J-{order}-{one.name}",
                order=order,
                action=LiveMigrate(cluster="c", vm=one.id, name=one.name, host="a"),
                by=by,
                created=1.0,
            )
            for one in vms
        ],
    )


@pytest.mark.parametrize("plan", [drain, evacuate])
def test_what_another_order_is_moving_is_left_out_and_said(plan: Callable[[Fleet], DrainPlan]) -> None:
    up = HostState.DOWN if plan is evacuate else HostState.UP
    one, two, three = vm("one"), vm("two"), vm("three")
    of = fleet(host("a", state=up), host("b"), one, two, three)
    ordered(of, "O7", one, two)
    made = plan(of)
    assert [action.name for action in made.actions if isinstance(action, VMAction)] == ["three"]
    assert "2 VMs are already being moved by order O7 (title of O7); left out here" in made.warnings
    assert made.stays == ()
    assert made.memory == GIB
    assert made.empties == "c/a", "O7 was not asked to empty the host, so this order answers for it"


def test_only_one_order_at_a_time_answers_for_an_empty_host() -> None:
    of = fleet(host("a"), host("b"), vm("one"), vm("two"))
    ordered(of, "O7", vm("one"), empties="c/a")
    assert drain(of).empties == ""


def test_an_order_that_has_ended_claims_nothing() -> None:
    of = fleet(host("a"), host("b"), vm("one"))
    ordered(of, "O7", vm("one"), empties="c/a")
    job = of.table("jobs")["J-O7-one"]
    of.publish(jobs=[msgspec.structs.replace(job, state=JobState.FAILED)])
    made = drain(of)
    assert [action.name for action in made.actions[1:]] == ["one"]
    assert (made.warnings, made.empties) == ((), "c/a")


# --- what a platform cannot do -------------------------------------------------------------------


def can(*kinds: str, **refused: str) -> ClusterState:
    """A cluster that names these kinds, and those that it refuses with the reason."""
    able = tuple(Capability(action=kind, able=True) for kind in kinds)
    unable = tuple(Capability(action=kind, able=False, why_not=why) for kind, why in refused.items())
    return ClusterState(name="c", kind="sim", fresh_stamp=100.0, capabilities=able + unable)


def test_a_platform_without_maintenance_is_drained_without_it_and_that_is_said() -> None:
    for state in (can("live_migrate"), can("live_migrate", enter_maintenance="needs SSH")):
        plan = drain(fleet(host("a"), host("b"), vm("x"), state=state))
        assert [type(action) for action in plan.actions] == [LiveMigrate]
        assert "cannot be put into maintenance" in plan.warnings[0]
        assert plan.empties == "c/a"
    assert "needs SSH" in plan.warnings[0]


def test_what_the_platform_cannot_move_stays_with_the_reason() -> None:
    state = can("enter_maintenance", live_migrate="no vMotion network", cold_migrate="")
    plan = drain(fleet(host("a"), host("b"), vm("x"), vm("off", state=VMState.STOPPED), state=state))
    assert [type(action) for action in plan.actions] == [EnterMaintenance]
    stays = {stay.name: stay for stay in plan.stays}
    assert "cannot live-migrate: no vMotion network" in stays["x"].why
    assert "Shut it down" in stays["x"].fix
    assert "cannot cold-migrate" in stays["off"].why
    knows_cold = can("cold_migrate", "enter_maintenance")
    (stay,) = drain(fleet(host("a"), host("b"), vm("x"), state=knows_cold)).stays
    assert stay.fix == "Cold-migrate it, which shuts it down.", "it is never shut down unasked"


def test_a_running_container_is_planned_as_a_restart_and_counted_as_such() -> None:
    state = can("live_migrate", "cold_migrate", "enter_maintenance")
    ct, off = vm("ct", container=True), vm("ct-off", container=True, state=VMState.STOPPED)
    plan = drain(fleet(host("a"), host("b"), ct, off, vm("x"), state=state))
    assert {action.name: type(action) for action in plan.actions[1:]} == {
        "x": LiveMigrate, "ct": ColdMigrate, "ct-off": ColdMigrate,
    }  # fmt: skip
    assert plan.restarts == (ct.id,)
    assert any("1 running container RESTARTS" in words and "ct" in words for words in plan.warnings)
    assert "1 stopped VM is cold-migrated" in plan.warnings, "and no confirm is spoken of where there is none"


def test_a_vm_that_asks_something_stays_until_it_is_answered() -> None:
    asking = vm("x", task="powering-on", question=Question(id="1", text="Moved or copied?"))
    (stay,) = drain(fleet(host("a"), host("b"), asking)).stays
    assert "Moved or copied?" in stay.why
    assert "evac answer x" in stay.fix


def test_guests_of_the_platforms_high_availability_are_named() -> None:
    plan = drain(fleet(host("a"), host("b"), vm("x", ha="started"), vm("y"), vm("z", ha="protected")))
    (words,) = (words for words in plan.warnings if "high availability" in words)
    assert words.startswith("1 under")
    assert "x (started)" in words, "and none that it never moves by itself"


def test_a_broken_vm_is_not_told_to_be_reset_where_that_does_not_exist() -> None:
    (stay,) = drain(
        fleet(host("a"), host("b"), vm("x", state=VMState.ERROR), state=can("live_migrate"))
    ).stays
    assert "reset" not in stay.fix


def test_a_vm_that_finds_no_place_is_named_with_its_reason() -> None:
    apart = Affinity(cluster="c", id="r", name="pair", kind=AffinityKind.APART, vms=("id-x", "id-y"))
    made = fleet(host("a"), host("b"), vm("x"), vm("y", on="b"))
    made.publish(affinities=[apart])
    assert any(
        'x finds no place: every other open host would break the rule "pair"' in text
        for text in drain(made).warnings
    )
