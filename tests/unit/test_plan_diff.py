"""A plan that was made yesterday is compared with what is there now, each time before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from evac.fleet import Fleet
from evac.model import AffinityKind, ClusterState, HostState, VMState
from evac.planning import diff_plan, plan_hash
from evac.window.plan import DifferenceKind, Fate, PlanDiff, Policy, Refill, WindowPlan
from tests.unit.planning_rig import NOW, fleet, host, plan, rule, vm

Kind = DifferenceKind


def site() -> Fleet:
    return fleet(host("a"), host("b"), host("d"), vm("x", gib=8), vm("y", gib=4), vm("z", on="b"))


def after(change: Callable[[Fleet], Any], made: WindowPlan | None = None) -> PlanDiff:
    there = site()
    made = made or plan(there, "a")
    change(there)
    return diff_plan(made, there, now=NOW)


def kinds(found: PlanDiff) -> list[tuple[str, str]]:
    return [(one.kind.value, one.name) for one in found.differences]


def test_a_plan_that_still_holds_says_so() -> None:
    found = after(lambda _: None)
    assert (found.summary, found.differences, found.blocked, found.at) == ("as planned", (), False, NOW)


def test_guests_that_came_went_and_moved_are_counted_and_named() -> None:
    def change(there: Fleet) -> None:
        there.publish(
            vms=[*(vm(f"n{n}") for n in range(3)), vm("x", on="b", gib=8)], gone={"vms": ["c/id-y"]}
        )

    found = after(change)
    assert found.summary == "3 guests new, 1 gone, 1 moved since the plan"
    assert sorted(kinds(found)) == [
        ("gone", "y"),
        ("moved", "x"),
        ("new", "n0"),
        ("new", "n1"),
        ("new", "n2"),
    ]
    assert not found.blocked


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (lambda f: f.publish(vms=[replace(vm("x", gib=8), name="w")]), Kind.CHANGED, "is called w now"),
        (lambda f: f.publish(vms=[vm("x", gib=8, state=VMState.STOPPED)]), Kind.CHANGED, "would go cold now"),
        (lambda f: f.publish(vms=[vm("x", gib=8, locked=True)]), Kind.STUCK, "locked"),
        (lambda f: f.publish(gone={"hosts": ["c/a"]}), Kind.HOST, "no host of c any more"),
        (lambda f: f.publish(hosts=[replace(host("a"), name="a2")]), Kind.HOST, "is called a2 now"),
        (lambda f: f.publish(hosts=[host("a", state=HostState.DOWN)]), Kind.HOST, "is down"),
        (lambda f: f.publish(clusters=[ClusterState(name="c", kind="sim")]), Kind.UNREAD, "has not answered yet"),
        (lambda f: f.publish(gone={"clusters": ["c"]}), Kind.UNREAD, "is not configured"),
    ],
)  # fmt: skip
def test_each_change_has_its_name(change: Callable[[Fleet], Any], kind: Kind, word: str) -> None:
    found = after(change)
    (one,) = found.differences
    assert one.kind is kind
    assert word in one.what


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: f.publish(gone={"hosts": ["c/b", "c/d"]}), "no such host any more"),
        (lambda f: f.publish(hosts=[host("b", maintenance=True), host("d", maintenance=True)]), "in maintenance"),
        (lambda f: f.publish(hosts=[host("b", forced_down=True), host("d", forced_down=True)]), "forced down"),
        (lambda f: f.publish(hosts=[host("b", used=52), host("d", used=52)]), "has 5.6 GiB left for it"),
        (lambda f: f.publish(affinities=[rule(AffinityKind.PINNED, "x", hosts=("a",))]), 'the rule "pinned x a"'),
    ],
)  # fmt: skip
def test_a_target_that_is_lost_blocks(change: Callable[[Fleet], Any], word: str) -> None:
    found = after(change)
    assert found.blocked
    assert found.differences[0].kind is Kind.TARGET
    assert found.differences[0].name == "x"
    assert word in found.differences[0].what


def test_another_machine_under_the_same_name_is_told() -> None:
    there = fleet(host("a", uuid="u1"), host("b"))
    made = plan(there, "a")
    there.publish(hosts=[host("a", uuid="u2")])
    (one,) = diff_plan(made, there).differences
    assert "another machine" in one.what
    assert one.blocks


def test_what_nobody_has_decided_blocks_until_somebody_has() -> None:
    there = fleet(host("a"), host("b"), vm("x", locked=True), vm("t", stays="a template"))
    made = plan(there, "a")
    assert kinds(diff_plan(made, there)) == [("undecided", "x")]
    assert diff_plan(made, there).summary == "1 decision is missing"
    assert not diff_plan(replace(made, policy=Policy(fates=Fate.LEAVE)), there).differences
    (one,) = made.hosts
    decided = replace(one, stays=tuple(replace(stay, fate=Fate.STOP) for stay in one.stays))
    assert not diff_plan(replace(made, hosts=(decided,)), there).differences


def test_a_vm_that_a_plan_moves_twice_is_looked_for_where_it_begins() -> None:
    there = fleet(host("a"), host("b"), vm("x", gib=8))
    made = plan(there, "a", "b", refill=Refill.LEAVE)
    assert diff_plan(made, there).summary == "as planned"


def test_the_difference_says_of_which_plan_it_is() -> None:
    there = site()
    made = plan(there, "a")
    assert diff_plan(made, there).hash == plan_hash(made)
