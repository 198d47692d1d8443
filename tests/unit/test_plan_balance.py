"""Spreading, putting together and bringing back: what a person sees of it. The promises are in test_plan_properties."""

from __future__ import annotations

from typing import Any

import pytest

from evac.actions import ColdMigrate, LiveMigrate
from evac.api import Balance, DrainPlan, Placement, RebalanceRequest, RestoreRequest
from evac.finding import PlanRefused
from evac.fleet import Fleet
from evac.model import ClusterState
from evac.planning import plan_rebalance, plan_restore
from tests.unit.planning_rig import fleet, host, vm


def rebalance(there: Fleet, balance: Balance) -> DrainPlan:
    return plan_rebalance(there, RebalanceRequest(cluster="c", balance=balance), now=101.0)


def restore(there: Fleet, **wanted: str) -> DrainPlan:
    placements = tuple(Placement(cluster="c", vm=f"id-{name}", host=to) for name, to in wanted.items())
    return plan_restore(there, RestoreRequest(placements=placements), now=101.0)


def moves(made: DrainPlan) -> dict[str, str]:
    return {one.name: one.to for one in made.actions if isinstance(one, LiveMigrate | ColdMigrate)}


def reasons(made: DrainPlan) -> dict[str, str]:
    return {stay.name: stay.why for stay in made.stays}


def test_spreading_levels_the_fullest_with_the_emptiest_and_then_stops() -> None:
    guests = [vm(f"v{n}", gib=10) for n in range(4)]
    made = rebalance(fleet(host("a", used=40), host("b"), *guests), Balance.SPREAD)
    assert list(moves(made).values()) == ["b", "b"]
    assert made.title == "spread c"
    even = fleet(host("a", used=20), host("b", used=20), vm("x", gib=20), vm("y", on="b", gib=20))
    made = rebalance(even, Balance.SPREAD)
    assert (made.actions, made.warnings[-1]) == ((), "nothing needs to be moved")


def test_putting_together_empties_whole_hosts_or_leaves_them() -> None:
    there = fleet(
        host("a", used=4), host("b", used=30), host("d", used=30),
        vm("x", gib=4), vm("y", on="b", gib=30), vm("z", on="d", gib=30),
    )  # fmt: skip
    made = rebalance(there, Balance.CONSOLIDATE)
    assert set(moves(made)) == {"x"}
    assert "1 host will be empty: a" in made.warnings
    stuck = fleet(
        host("a", used=4),
        host("b"),
        vm("x", gib=2),
        vm("l", gib=2, locked=True),
        vm("y", on="b", gib=9, locked=True),
    )
    assert "no host can be emptied" in rebalance(stuck, Balance.CONSOLIDATE).warnings[0]


def test_a_container_is_not_restarted_for_tidiness() -> None:
    there = fleet(host("a", used=30), host("b"), vm("box", gib=30, container=True))
    assert moves(rebalance(there, Balance.SPREAD)) == {}


def test_what_cannot_go_back_is_told_with_its_reason() -> None:
    there = fleet(
        host("a", gib=8), host("b"), host("d", maintenance=True),
        vm("home"), vm("back", on="b"), vm("big", on="b", gib=9), vm("shut", on="b"), vm("locked", on="b", locked=True),
    )  # fmt: skip
    made = restore(there, home="a", back="a", big="a", shut="d", locked="a", gone="a")
    assert moves(made) == {"back": "a"}
    told = reasons(made)
    assert "a has 8 GiB left for it" in told["big"]
    assert told["shut"] == "back to d: it is in maintenance"
    assert "locked" in told["locked"]
    assert told["id-gone"] == "exists no more"


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (restore, "names no VM"),
        (
            lambda f: plan_rebalance(f, RebalanceRequest(cluster="z", balance=Balance.SPREAD), now=0.0),
            "no cluster z",
        ),
        (
            lambda f: plan_restore(
                f,
                RestoreRequest(placements=tuple(Placement(cluster=one, vm="1", host="a") for one in "cd")),
                now=0.0,
            ),
            "is of 2 clusters",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(ask: Any, word: str) -> None:
    with pytest.raises(PlanRefused, match=word):
        ask(fleet(host("a")))


def test_a_cluster_that_was_never_read_is_not_rebalanced() -> None:
    with pytest.raises(PlanRefused, match="has not answered"):
        rebalance(fleet(state=ClusterState(name="c", kind="sim")), Balance.SPREAD)
