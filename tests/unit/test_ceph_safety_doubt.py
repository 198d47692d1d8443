"""Cases in which Ceph's own answer is "safe", and stopping the machine would not be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from backends.ceph import shapes
from backends.ceph.crush import Tree
from backends.ceph.groups import Lister
from backends.ceph.safety import judge
from evac.errors import BadAnswer
from evac.storage import Monitor, StopAnswer
from tests.unit.ceph_wire import CALM, Wire
from tests.unit.test_ceph_safety import PLACES, SAFE, dump, found, ok, place, status


def osds(**addresses: str) -> tuple[shapes.OSDState, ...]:
    return tuple(
        shapes.OSDState(osd=int(name[1:]), up=1, public_addr=f"{address}:6800/1")
        for name, address in addresses.items()
    )


def test_a_machine_with_a_second_host_in_the_crush_map_is_not_called_safe() -> None:
    """Trees per device class call one machine node0 and node0-ssd: both stop with it."""
    places = {**PLACES, 12: place(12, host="node0-ssd")}
    shared = osds(o0="192.0.2.7", o4="192.0.2.7", o12="192.0.2.7", o1="192.0.2.8")
    verdict = judge(replace(SAFE, places=places, dump=dump(osds=shared)))
    assert verdict.answer is StopAnswer.UNKNOWN
    line = found(verdict, "machine")
    assert "osd.12 of node0-ssd" in line.detail
    assert line.fix.endswith("ceph osd ok-to-stop 0 4 8 12")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", ""])  # noqa: S104  # what Ceph prints, nothing is bound
def test_an_address_that_tells_no_machine_makes_no_neighbours(address: str) -> None:
    assert judge(replace(SAFE, dump=dump(osds=osds(o0=address, o1=address)))).answer is StopAnswer.SAFE


def test_the_last_address_of_an_osd_that_is_down_says_nothing() -> None:
    gone = shapes.OSDState(osd=1, up=0, public_addr="192.0.2.7:6800/1")
    places = {**PLACES, 1: replace(PLACES[1], status="down", reweight=0.0)}
    look = replace(SAFE, places=places, groups=(), answer=replace(ok(), num_ok_pgs=0))
    assert judge(replace(look, dump=dump(osds=(*osds(o0="192.0.2.7"), gone)))).answer is StopAnswer.SAFE


def test_a_monitor_nobody_can_place_counts_as_lost_also_where_another_is_known_to_run_here() -> None:
    three = tuple(
        Monitor(name=name, host=host, in_quorum=True)
        for name, host in zip("abc", ("node0", "", "m"), strict=True)
    )
    verdict = judge(replace(SAFE, monitors=three, monitors_here=("a",)))
    assert verdict.answer is StopAnswer.UNKNOWN
    assert "monitor b" in found(verdict, "monitors").detail


def test_a_monitor_nobody_can_place_is_no_matter_where_enough_others_stay() -> None:
    five = tuple(
        Monitor(name=name, host="" if name == "b" else f"m{name}", in_quorum=True) for name in "abcde"
    )
    assert judge(replace(SAFE, monitors=five)).answer is StopAnswer.SAFE


@pytest.mark.parametrize(
    "where",
    [
        {"crush_node_flags": {"node0": ("noout",), "default": ("nodown",)}},
        {"device_class_flags": {"hdd": ("nodown",)}},
        {"osds": (shapes.OSDState(osd=4, up=1, state=("exists", "up", "nodown")),)},
        {"flags_set": None, "flags": "sortbitwise,nodown"},
    ],
)
def test_nodown_wherever_it_holds_for_an_osd_of_the_host_is_a_no(where: dict[str, Any]) -> None:
    verdict = judge(replace(SAFE, dump=dump(**where)))
    assert verdict.answer is StopAnswer.NO
    assert "nodown is set" in found(verdict, "flags").detail


def test_noout_of_a_single_osd_elsewhere_means_somebody_is_at_work_there() -> None:
    marked = (shapes.OSDState(osd=5, up=1, state=("exists", "up", "noout")),)
    verdict = judge(replace(SAFE, dump=dump(osds=marked)))
    assert verdict.answer is StopAnswer.NO
    assert "osd.5" in found(verdict, "other hosts").detail


def test_the_way_to_take_back_noout_of_a_rack_is_not_that_of_a_host() -> None:
    """`evac noout` is for hosts: what it is told to do must work."""
    places = {**PLACES, 1: place(1, crush=("default", "rack9", "node1"), rack="rack9")}
    for node, undo in (("rack9", "ceph osd unset-group noout rack9"), ("node1", "evac noout node1 --undo")):
        flags = dump(crush_node_flags={"node0": ("noout",), node: ("noout",)})
        line = found(judge(replace(SAFE, places=places, dump=flags)), "other hosts")
        assert line.fix.endswith(undo)


def test_recovery_held_up_by_a_flag_is_seen_in_the_old_spelling_too() -> None:
    moving = status(
        pgmap=shapes.PGMapStat(num_pgs=8, pgs_by_state=(shapes.StateCount("active+backfilling", 8),))
    )
    verdict = judge(replace(SAFE, status=moving, dump=dump(flags_set=None, flags="sortbitwise,nobackfill")))
    assert verdict.answer is StopAnswer.NO


def test_pools_without_a_single_pg_are_not_all_active_and_clean() -> None:
    assert judge(replace(SAFE, status=status(pgmap=shapes.PGMapStat()))).answer is StopAnswer.UNKNOWN


def test_a_pool_whose_min_size_is_not_told_is_not_passed() -> None:
    pools = (shapes.PoolAnswer(pool=1, pool_name="vms", size=3, pg_num=128),)
    verdict = judge(replace(SAFE, dump=dump(pools=pools)))
    assert verdict.answer is StopAnswer.UNKNOWN
    assert "vms" in found(verdict, "min_size").detail


# --- which OSDs a host has -----------------------------------------------------------------------------------------


def node(number: int, kind: str, *children: int, name: str = "") -> shapes.Node:
    return shapes.Node(id=number, name=name or f"{kind}{number}", type=kind, children=children, status="up")


def test_osds_in_buckets_below_the_host_are_the_hosts() -> None:
    """A site's own bucket type, say one per journal device: those OSDs stop with the host as well."""
    nodes = (
        node(-1, "root", -2),
        node(-2, "host", -3, -4, 2, name="node0"),
        node(-3, "journal", 0),
        node(-4, "journal", 1),
        *(node(number, "osd") for number in range(3)),
    )
    tree = Tree(shapes.OSDTree(nodes=nodes))
    assert tree.hosts["node0"].osds == (0, 1, 2)
    assert {tree.places[osd].host for osd in range(3)} == {"node0"}


def test_an_osd_the_tree_names_and_does_not_describe_makes_the_host_unknown() -> None:
    nodes = (node(-1, "root", -2), node(-2, "host", 0, 1, name="node0"), node(0, "osd"))
    tree = Tree(shapes.OSDTree(nodes=nodes))
    own = tree.hosts["node0"].osds
    assert own == (0, 1)
    assert judge(replace(SAFE, places=tree.places, osds=own)).answer is StopAnswer.UNKNOWN


def test_a_tree_that_goes_round_in_circles_is_read_at_once() -> None:
    """Every bucket holds every other: walked along each way, that would take for ever and hold up all clusters."""
    many = range(-12, 0)
    loop = tuple(node(own, "host", *(one for one in many if one != own), -own) for own in many)
    leaves = tuple(node(-own, "osd") for own in many)
    tree = Tree(shapes.OSDTree(nodes=(node(-99, "root", -1), *loop, *leaves)))
    assert len(tree.hosts) == 12
    assert set(tree.places) == {-own for own in many}


async def test_a_manager_that_has_just_started_is_not_taken_for_an_osd_without_pgs() -> None:
    wire = Wire(CALM)
    wire.say("pg ls-by-osd", {"pg_ready": False, "pg_stats": []})
    with pytest.raises(BadAnswer, match="just started"):
        await Lister(wire).groups(0)
