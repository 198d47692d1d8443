"""A window's plan says where each VM goes, host by host, and names each that cannot go."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace

from evac.links import LinkLook
from evac.model import VM, AffinityKind, ClusterState, Host, HostState, Outlook, VMState
from evac.planner import PlanRefused
from evac.planning import diff_plan, plan_hash
from evac.planning.floor import _TARGET_RULES, LOOKED_AT, floor_of
from evac.rules.context import Case
from evac.storage import OSD
from evac.window.plan import Policy, Refill, StorageHost, Way
from tests.unit.planning_rig import GIB, NOW, asked, fleet, goes, host, plan, rule, stays, vm


def test_vms_are_spread_over_the_hosts_by_the_room_they_leave() -> None:
    made = plan(fleet(host("a"), host("b"), host("d", used=20), *(vm(f"v{n}", gib=8) for n in range(4))), "a")
    assert sorted(goes(made).values()) == ["b", "b", "b", "d"]
    assert [move.memory for move in made.hosts[0].moves] == [8 * GIB] * 4


def test_the_largest_begins() -> None:
    made = plan(fleet(host("a"), host("b"), vm("s", gib=1), vm("l", gib=16), vm("m", gib=4)), "a")
    assert [move.name for move in made.hosts[0].moves] == ["l", "m", "s"]


def test_no_host_is_filled_beyond_what_must_stay_free() -> None:
    there = fleet(host("a"), host("b", gib=10), vm("v1", gib=5), vm("v2", gib=5))
    made = plan(there, "a", keep_free=0.1)
    assert goes(made) == {"v1": "b"}
    assert "it needs 5 GiB; the most that is left is 4 GiB on b" in stays(made)["v2"]
    assert goes(plan(there, "a", keep_free=0.0)) == {"v1": "b", "v2": "b"}


def test_where_spreading_leaves_one_without_a_place_they_are_packed() -> None:
    """Spread, 4 and 3 go on one host each, and 7 fits on neither: but all fit."""
    there = fleet(
        host("a"), host("b", gib=8), host("d", gib=7), vm("big", gib=7), vm("x", gib=5), vm("y", gib=3)
    )
    made = plan(there, "a", keep_free=0.0)
    assert goes(made) == {"big": "d", "x": "b", "y": "b"}


@pytest.mark.parametrize(
    "shut",
    [{"state": HostState.DOWN}, {"state": HostState.UNKNOWN}, {"maintenance": True}, {"forced_down": True}],
)
def test_a_host_that_is_not_open_is_no_target(shut: dict[str, Any]) -> None:
    made = plan(fleet(host("a"), host("b", **shut), host("d", gib=2), vm("x")), "a")
    assert goes(made) == {"x": "d"}


def test_a_host_whose_turn_comes_later_is_taken_only_when_there_is_no_other() -> None:
    there = fleet(host("a"), host("b", gib=256), host("d", gib=4), vm("x", gib=2), vm("y", gib=3))
    made = plan(there, "a", "b")
    assert goes(made) == {"x": "b", "y": "d"} or goes(made) == {"x": "d", "y": "b"}
    assert goes(plan(fleet(host("a"), host("b", gib=256), host("d", gib=4), vm("x")), "a", "b")) == {"x": "d"}


def test_hosts_that_may_be_out_together_never_take_each_others_vms() -> None:
    there = fleet(host("a"), host("b"), host("d", gib=4), vm("x", gib=2), vm("y", on="b", gib=3))
    made = plan(there, "a", "b", max_unavailable=2)
    assert (goes(made, 0), goes(made, 1)) == ({"x": "d"}, {})
    assert "the most that is left is 1.6 GiB on d" in stays(made, 1)["y"]


def test_with_refill_each_host_is_planned_on_the_cluster_as_it_was() -> None:
    """The VMs of the first are back on it when the second begins, so there is the same room again."""
    there = fleet(host("a"), host("b"), host("d", gib=4), vm("x", gib=3), vm("y", on="b", gib=3))
    made = plan(there, "a", "b")
    assert goes(made, 0) == {"x": "d"}
    assert goes(made, 1)["y"] in {"a", "d"}


def test_without_refill_the_first_host_is_empty_and_open_for_the_second() -> None:
    there = fleet(host("a"), host("b", used=8), host("d", gib=9), vm("x", gib=8), vm("y", on="b", gib=8))
    made = plan(there, "a", "b", refill=Refill.LEAVE)
    assert goes(made, 0) == {"x": "d"}
    assert goes(made, 1) == {"y": "a"}


def test_a_vm_that_went_to_a_later_host_is_moved_again_with_it() -> None:
    there = fleet(host("a"), host("b"), vm("x", gib=8))
    made = plan(there, "a", "b", refill=Refill.LEAVE)
    assert (goes(made, 0), goes(made, 1)) == ({"x": "b"}, {"x": "a"})


def test_vms_that_must_be_apart_are() -> None:
    there = fleet(
        host("a"), host("b"), host("d", gib=8), vm("x"), vm("y"), rule(AffinityKind.APART, "x", "y")
    )
    assert set(goes(plan(there, "a")).values()) == {"b", "d"}


def test_vms_that_must_be_together_go_to_one_host_or_not_at_all() -> None:
    together = rule(AffinityKind.TOGETHER, "x", "y")
    made = plan(
        fleet(host("a"), host("b", gib=9), host("d", gib=20), vm("x", gib=8), vm("y", gib=8), together), "a"
    )
    assert goes(made) == {"x": "d", "y": "d"}
    made = plan(
        fleet(host("a"), host("b", gib=9), host("d", gib=9), vm("x", gib=8), vm("y", gib=8), together), "a"
    )
    assert goes(made) == {}
    assert "16 GiB together with 1 more" in stays(made)["x"]


def test_one_that_must_stay_with_a_vm_that_cannot_go_stays_too() -> None:
    locked = vm("y", locked=True)
    made = plan(fleet(host("a"), host("b"), vm("x"), locked, rule(AffinityKind.TOGETHER, "x", "y")), "a")
    assert goes(made) == {}
    assert "break the rule" in stays(made)["x"]


def test_a_pinned_vm_goes_where_it_may_or_stays_with_the_rules_name() -> None:
    there: list[Host | VM] = [host("a"), host("b", gib=256), host("d"), vm("x")]
    assert goes(plan(fleet(*there, rule(AffinityKind.PINNED, "x", hosts=("a", "d"))), "a")) == {"x": "d"}
    made = plan(fleet(*there, rule(AffinityKind.PINNED, "x", hosts=("a",))), "a")
    assert "pinned x a" in stays(made)["x"]
    assert goes(plan(fleet(*there, rule(AffinityKind.KEPT_OFF, "x", hosts=("b",))), "a")) == {"x": "d"}


def test_a_soft_rule_is_kept_where_there_is_a_choice_and_broken_where_there_is_none() -> None:
    soft = rule(AffinityKind.APART, "x", "y", strict=False)
    assert set(
        goes(
            plan(fleet(host("a"), host("b", gib=256), host("d", gib=4), vm("x"), vm("y"), soft), "a")
        ).values()
    ) == {"b", "d"}
    assert goes(plan(fleet(host("a"), host("b"), vm("x"), vm("y"), soft), "a")) == {"x": "b", "y": "b"}


def test_a_vm_stays_within_its_zone() -> None:
    there = fleet(host("a", zone="z1"), host("b", gib=256, zone="z2"), vm("x", zone="z1"))
    assert "zone z1" in stays(plan(there, "a"))["x"]


def test_what_cannot_be_moved_is_listed_with_why_and_no_decision_is_made_for_it() -> None:
    made = plan(fleet(host("a"), host("b"), vm("x", locked=True), vm("t", stays="a template")), "a")
    by_name = {stay.name: stay for stay in made.hosts[0].stays}
    assert "locked" in by_name["x"].why
    assert by_name["x"].fix
    assert not by_name["x"].fate
    assert by_name["t"].harmless
    assert not by_name["x"].harmless


def test_the_way_is_told() -> None:
    made = plan(
        fleet(host("a"), host("b"), vm("on"), vm("off", state=VMState.STOPPED), vm("box", container=True)),
        "a",
    )
    assert {move.name: move.way for move in made.hosts[0].moves} == {
        "on": Way.LIVE, "off": Way.COLD, "box": Way.RESTART
    }  # fmt: skip


def test_the_same_machine_in_a_storage_cluster_is_told() -> None:
    osds = [OSD(cluster="ceph", id=n, name=f"osd.{n}", host="a.example") for n in (3, 1)]
    made = plan(fleet(host("a"), host("b"), *osds), "a")
    assert made.hosts[0].storage == (StorageHost(cluster="ceph", host="a.example", osds=(1, 3)),)


@pytest.mark.parametrize(
    ("hosts", "more", "word"),
    [
        ([host("a")], {}, "no host z"),
        ([host("a"), host("z", state=HostState.DOWN)], {}, "z is down"),
        ([host("a"), host("z")], {"starts": NOW, "ends": NOW}, "end before it starts"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(
    hosts: list[Host], more: dict[str, Any], word: str
) -> None:
    with pytest.raises(PlanRefused, match=word):
        plan(fleet(*hosts), "a", "z", **more)


def test_a_host_named_twice_is_refused() -> None:
    with pytest.raises(PlanRefused, match="named twice"):
        plan(fleet(host("a"), host("b")), "a", "a")


def test_the_hash_tells_decisions_apart_and_nothing_else() -> None:
    there = fleet(host("a"), host("b"), vm("x", gib=2), vm("y"))
    made = plan(there, "a", title="t")
    assert plan_hash(made) == plan_hash(plan(there, "a", title="t"))
    assert plan_hash(replace(made, made=1.0, by="mallory")) == plan_hash(made)
    (one,) = made.hosts
    slower = replace(
        one, p50=9.0, p90=99.0, moves=tuple(replace(move, p50=3.0, memory=1) for move in one.moves)
    )
    assert plan_hash(replace(made, hosts=(slower,))) == plan_hash(made)
    for other in (
        replace(made, title="u"),
        replace(made, ends=5.0),
        replace(made, policy=Policy(kernel="new")),
        replace(made, hosts=(replace(one, moves=one.moves[::-1]),)),
        replace(made, hosts=(replace(one, moves=(replace(one.moves[0], why="CPU"), *one.moves[1:])),)),
    ):
        assert plan_hash(other) != plan_hash(made)


def test_a_whole_number_is_the_same_as_its_float() -> None:
    made = plan(fleet(host("a"), host("b")), "a", starts=1.0)
    assert plan_hash(replace(made, starts=1)) == plan_hash(made)
    assert asked("a").title == ""


def test_what_the_rules_forbid_everywhere_stays_and_what_they_doubt_is_told() -> None:
    state = ClusterState(name="c", kind="openstack", fresh_stamp=100.0)
    gpu, twin = vm("gpu", devices=("0000:3b:00.0",)), vm("twin", machine_id="abc")
    made = plan(
        fleet(host("a"), host("b"), gpu, twin, vm("other", on="b", machine_id="abc"), state=state), "a"
    )
    assert "devices of its host are handed to it" in stays(made)["gpu"]
    (move,) = made.hosts[0].moves
    assert move.outlook is not Outlook.OK
    assert move.why


def test_a_host_that_the_rules_doubt_is_taken_only_when_there_is_no_better_one() -> None:
    intel: dict[str, Any] = {"cpu_vendor": "Intel", "cpu_model": "Haswell"}
    amd: dict[str, Any] = {"cpu_vendor": "AMD", "cpu_model": "EPYC"}
    there: list[Host | VM] = [host("a", **intel), host("b", gib=512, **amd), vm("x", cpu="Haswell")]
    made = plan(fleet(*there, host("d", gib=8, **intel)), "a")
    assert goes(made) == {"x": "d"}
    made = plan(fleet(*there), "a")
    assert "no other open host will do; of b: it runs on Intel" in stays(made)["x"]


def test_nova_lets_no_member_of_a_group_go_alone_so_all_are_listed() -> None:
    state = ClusterState(name="c", kind="openstack", fresh_stamp=100.0)
    group = rule(AffinityKind.TOGETHER, "x", "y")
    made = plan(fleet(host("a"), host("b"), vm("x"), vm("y"), group, state=state), "a")
    assert goes(made) == {}
    assert "Nova moves no member of such a group" in stays(made)["x"]


def test_vms_that_are_alike_to_the_rules_are_judged_alike() -> None:
    """The planner judges one VM for all that look the same to the rules; a rule that looks at more must be in its list."""
    world = floor_of(fleet(host("a"), host("b")), ClusterState(name="c", kind="proxmox"), keep_free=0.1).world
    looked_at: set[str] = set()

    class Watched:
        def __getattribute__(self, name: str) -> Any:
            looked_at.add(name)
            return getattr(vm("x"), name)

    watched: Any = Watched()
    for _, check in _TARGET_RULES:
        for way in Way:
            list(check(Case(world, watched, world.hosts["a"], way), world.hosts["b"]))
    # The source is in the key by its id; the VM's own zone only stands in for it where there is none.
    assert looked_at <= {*LOOKED_AT, "host", "state", "id", "zone"}


def test_a_vm_that_is_being_backed_up_when_the_plan_is_made_is_planned_all_the_same() -> None:
    cpu: dict[str, Any] = {"cpu_vendor": "Intel", "cpu_model": "Haswell"}
    x = vm("x", task="backup", cpu="Haswell", volumes=("v",))
    there = fleet(host("a", **cpu), host("b", **cpu), x)
    made = plan(there, "a")
    (move,) = made.hosts[0].moves
    assert move.outlook is Outlook.RISK
    assert "busy with it now (backup)" in move.why
    assert not diff_plan(made, there).differences


def test_a_host_that_lets_a_vm_in_but_not_back_is_the_second_choice_where_vms_come_back() -> None:
    old: dict[str, Any] = {"cpu_vendor": "Intel", "cpu_model": "Haswell"}
    new: dict[str, Any] = {"cpu_vendor": "Intel", "cpu_model": "Skylake-Server"}
    x = vm("x", cpu="host-model", volumes=("v",))
    there = fleet(host("a", **old), host("b", gib=512, **new), host("d", gib=8, **old), x)
    assert goes(plan(there, "a", refill=Refill.LEAVE)) == {"x": "b"}
    assert goes(plan(there, "a")) == {"x": "d"}
    (only,) = plan(fleet(host("a", **old), host("b", **new), x), "a").hosts[0].moves
    assert (only.to, only.outlook) == ("b", Outlook.RISK)
    assert only.why.startswith("on its way back: ")


def test_a_host_to_which_a_link_is_bad_is_no_target_and_the_plan_says_why() -> None:
    good = LinkLook(link="vmbr1", mtu=9000, size=9000, answered=True, passed=True, at=time.time())
    of = fleet(host("a"), host("b"), host("d", used=40), vm("v"), vm("w"))
    of.links = {("c", "a", "b"): replace(good, passed=False), ("c", "b", "a"): good}
    of.links |= {("c", "a", "d"): good, ("c", "d", "a"): good}
    made = plan(of, "a")
    assert goes(made) == {"v": "d", "w": "d"}
    (words,) = [one for one in made.hosts[0].warnings if one.startswith("link to b: ")]
    assert "hangs at its first full packet" in words
    old = {key: replace(look, at=look.at - 3600) for key, look in of.links.items()}
    of.links = old
    assert set(goes(plan(of, "a")).values()) == {"b"}, "an old look is none"
