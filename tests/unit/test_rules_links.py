"""What is expected of a move by what was seen of the way between the two hosts. Values in, values out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from backends.simulation.clocks import fast
from backends.simulation.things import SimMove
from backends.simulation.wires import WINDOW, Wire
from backends.simulation.world import World
from evac.links import KEPT, LinkLook, of_cluster
from evac.model import MoveCheck, Outlook
from evac.preflight import outlook_of
from evac.rules import RuleContext, judge
from evac.window.plan import Way
from tests.unit.test_rules import host, vm, world


def look(mtu: int | None = 9000, **more: Any) -> LinkLook:
    known: dict[str, Any] = {"answered": True, "passed": mtu and True, "rtt": 0.0002}
    return LinkLook(address="10.1.0.9", link="vmbr1", mtu=mtu, size=mtu, **{**known, **more})


def checks(
    out: LinkLook | None, back: LinkLook | None, *, kind: str = "proxmox", way: Way = Way.LIVE, **more: Any
) -> list[MoveCheck]:
    pairs = {("a", "b"): out, ("b", "a"): back}
    links = {pair: one for pair, one in pairs.items() if one is not None}
    seen: RuleContext = world([host("a"), host("b")], [vm()], kind=kind, links=links, **more)
    return judge(seen, seen.vms["v0"], "b", way)


def said(out: LinkLook | None, back: LinkLook | None, **more: Any) -> dict[str, Outlook]:
    found = checks(out, back, **more)
    return {one.rule: one.outlook for one in found if one.rule in {"mtu", "path", "latency"}}


LOST = look(passed=False)


def test_a_way_that_was_not_looked_at_or_is_fine_is_no_reason() -> None:
    for out, back in ((None, None), (look(), look()), (look(), None), (LinkLook(why="x"), LinkLook(why="x"))):
        assert outlook_of(checks(out, back), "b") is Outlook.OK


def test_mtus_that_differ_are_a_risk_and_the_larger_end_s_lost_packets_are_no_second_one() -> None:
    """TCP never sends more than the smaller end takes."""
    assert said(LOST, look(1500)) == {"mtu": Outlook.RISK}
    assert said(look(1500), LOST) == {"mtu": Outlook.RISK}
    (found,) = [one for one in checks(LOST, look(1500)) if one.rule == "mtu"]
    assert "9000 on vmbr1 of a" in found.why
    assert "1500 on vmbr1 of b" in found.why
    assert found.fix.startswith("On b: ip link set dev vmbr1 mtu 9000")


def test_full_packets_that_vanish_between_two_ends_that_take_them_will_fail() -> None:
    assert said(LOST, LOST) == said(LOST, look()) == said(look(), LOST) == {"path": Outlook.FAIL}
    assert said(replace(LOST, mtu=1500), replace(LOST, mtu=9000)) == {
        "mtu": Outlook.RISK,
        "path": Outlook.FAIL,
    }


def test_what_tcp_gets_over_is_a_risk() -> None:
    told, adapts = replace(LOST, told=1500), replace(LOST, adapts=True)
    assert said(told, told) == said(adapts, adapts) == {"path": Outlook.RISK}
    assert said(LOST, None) == {"path": Outlook.RISK}, "the other end may take less, and TCP would know"
    assert said(LOST, LOST, way=Way.COLD) == {"path": Outlook.RISK}, "a VM that is off sends next to nothing"


def test_no_way_at_all_will_fail_and_silence_is_a_risk() -> None:
    silent = look(answered=False, passed=False, rtt=None)
    assert said(silent, look()) == said(look(), silent) == {"path": Outlook.RISK}
    assert said(replace(silent, refused=True), None) == {"path": Outlook.FAIL}


@pytest.mark.parametrize(
    ("kind", "ms", "bad"),
    [("proxmox", 4.9, False), ("proxmox", 5.1, True), ("openstack", 9.9, False), ("libvirt", 10.1, True)],
)
def test_a_round_trip_over_the_platform_s_is_a_risk(kind: str, ms: float, bad: bool) -> None:
    far = look(rtt=ms / 1000)
    assert said(far, far, kind=kind) == ({"latency": Outlook.RISK} if bad else {})
    assert said(far, look(), kind=kind) == {}, (
        "the shorter one of two looks at the same way is nearer to the truth"
    )


def test_a_rebuild_from_a_dead_host_sends_nothing_over_that_way() -> None:
    assert said(LOST, LOST, fenced="powered off", way=Way.COLD) == {}


def test_a_look_that_is_old_counts_no_more_and_other_clusters_looks_never() -> None:
    looks = {
        ("c", "a", "b"): look(at=100.0),
        ("c", "b", "a"): look(at=100.0 + KEPT),
        ("d", "a", "b"): look(at=100.0 + KEPT),
    }
    assert set(of_cluster(looks, "c", now=100.0 + KEPT)) == {("a", "b"), ("b", "a")}
    assert set(of_cluster(looks, "c", now=101.0 + KEPT)) == {("b", "a")}


# --- the simulated world does what the rules say -------------------------------------------------


def moved(wire: Wire, *, ends: tuple[int, int] = (9000, 9000), seconds: float = 60.0) -> SimMove:
    """A live migration over that wire, some time later."""
    clock = [0.0]
    there = World(seed=1, now=lambda: clock[0])
    for name, mtu in zip("ab", ends, strict=True):
        there.add_host(name).machine.mtus["vmbr0"] = mtu
    guest = there.add_vm("v", "a")
    there.wires.lay("a", "b", wire)
    there.live.migrate(guest.id, "b")
    for _ in range(20):
        clock[0] += seconds / 20
        there.advance()
    return next(iter(there.moves.values()))


def test_in_the_world_a_stream_hangs_at_its_first_full_packet_and_goes_on_once_the_switch_takes_it() -> None:
    stuck = moved(Wire(mtu=1500))
    assert (stuck.status, stuck.memory_sent) == ("running", 0)
    assert moved(Wire(mtu=1500, tells=True)).status == "completed"
    assert moved(Wire(mtu=1500), ends=(9000, 1500)).status == "completed", "TCP sends no more than b takes"
    assert moved(Wire(cut=True)).memory_sent == 0


def test_in_the_world_distance_costs_what_tcp_s_window_costs() -> None:
    far = moved(Wire(rtt=0.1), seconds=20.0)
    assert 0 < far.memory_sent <= 20.0 * WINDOW / 0.1 * 1.01


def test_mending_the_wire_lets_a_stream_that_hangs_go_on() -> None:
    there = World(seed=1, now=fast(600.0))
    for name in "ab":
        there.add_host(name).machine.mtus["vmbr0"] = 9000
    guest = there.add_vm("v", "a")
    there.wires.lay("a", "b", Wire(mtu=1500))
    there.live.migrate(guest.id, "b")
    while (move := next(iter(there.moves.values()))).status != "running":
        there.advance()
    there.wires.lay("a", "b", Wire())
    while not move.over:
        there.advance()
    assert (move.status, guest.host) == ("completed", "b")
