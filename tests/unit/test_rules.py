"""What evac's own rules expect of a move. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evac.model import VM, Affinity, AffinityKind, ClusterState, Host, HostState, Outlook
from evac.preflight import outlook_of
from evac.rules import RuleContext, judge, judge_evacuation
from evac.window.plan import Way

GIB = 1 << 30


def host(name: str, **more: Any) -> Host:
    known: dict[str, Any] = {"state": HostState.UP, "memory": 64 * GIB, "memory_used": 16 * GIB, "vcpus": 32}
    return Host(cluster="c", id=name, name=name, **{**known, **more})


def vm(name: str = "v0", where: str = "a", **more: Any) -> VM:
    known: dict[str, Any] = {"memory": 4 * GIB, "vcpus": 2}
    return VM(cluster="c", id=name, name=name, host=where, **{**known, **more})


def world(hosts: Iterable[Host], vms: Iterable[VM], *rules: Affinity, **more: Any) -> RuleContext:
    there, guests = {one.id: one for one in hosts}, {one.id: one for one in vms}
    named = {one: tuple(rule for rule in rules if one in rule.vms) for one in guests}
    return RuleContext(
        cluster=ClusterState(name="c", kind="direct"),
        hosts=there,
        vms=guests,
        where={one.id: one.host for one in guests.values()},
        used={one.id: one.memory_used for one in there.values() if one.memory_used is not None},
        vcpus={},
        affinities=named,
        **more,
    )


def verdict(seen: RuleContext, target: str, one: str = "v0", way: Way = Way.LIVE) -> Outlook:
    return outlook_of(judge(seen, seen.vms[one], target, way), target)


def test_a_target_that_is_up_and_has_room_is_fine() -> None:
    assert verdict(world([host("a"), host("b")], [vm()]), "b") is Outlook.OK


def test_both_hosts_must_be_up_for_a_move_and_the_source_dead_and_fenced_for_a_rebuild() -> None:
    down = world([host("a", state=HostState.DOWN), host("b")], [vm()])
    up = world([host("a"), host("b", state=HostState.DOWN)], [vm()])
    assert verdict(down, "b") is verdict(up, "b") is Outlook.FAIL

    def rebuilt(seen: RuleContext, fenced: str) -> Outlook:
        return outlook_of(judge_evacuation(seen, seen.vms["v0"], "b", fenced), "b")

    assert rebuilt(down, "powered off by IPMI") is Outlook.OK
    assert rebuilt(down, " ") is Outlook.FAIL
    assert rebuilt(world([host("a"), host("b")], [vm()]), "powered off") is Outlook.FAIL


def test_guests_that_a_rule_keeps_apart_do_not_meet() -> None:
    rule = Affinity(cluster="c", id="1", name="db", kind=AffinityKind.APART, vms=("v0", "v1"))
    seen = world([host("a"), host("b"), host("d")], [vm(), vm("v1", "b")], rule)
    assert verdict(seen, "b") is Outlook.FAIL
    assert verdict(seen, "d") is Outlook.OK
