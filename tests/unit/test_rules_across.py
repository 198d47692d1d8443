"""What evac's own rules expect of a move to another cluster. Values in, values out."""

from __future__ import annotations

from typing import Any

import pytest

from evac.across import Destination, Door, Luggage, Net, Reception
from evac.model import (
    VM,
    Affinity,
    AffinityKind,
    Capability,
    ClusterState,
    Datastore,
    Host,
    HostState,
    Outlook,
    VMState,
)
from evac.preflight import outlook_of
from evac.rules import RuleContext
from evac.rules.across import Journey, judge_across

GIB = 1 << 30
CPU = ("avx", "avx2", "sse4.2")


def host(cluster: str, name: str, **more: Any) -> Host:
    known: dict[str, Any] = {
        "state": HostState.UP,
        "memory": 64 * GIB,
        "memory_used": 8 * GIB,
        "vcpus": 32,
        "cpu_vendor": "Intel",
        "cpu_features": CPU,
    }
    return Host(cluster=cluster, id=name, name=name, **{**known, **more})


def vm(cluster: str, name: str, where: str, **more: Any) -> VM:
    known: dict[str, Any] = {
        "memory": 4 * GIB,
        "vcpus": 2,
        "disk": 20 * GIB,
        "state": VMState.RUNNING,
        "macs": (f"52:54:00:00:{len(name):02x}:{ord(name[-1]):02x}",),
        "snapshots": 0,
    }
    return VM(cluster=cluster, id=f"{cluster}-{name}", name=name, host=where, **{**known, **more})


def side(name: str, *things: Any, kind: str = "vsphere", able: bool = True, why: str = "") -> RuleContext:
    hosts = {one.id: one for one in things if isinstance(one, Host)}
    vms = {one.id: one for one in things if isinstance(one, VM)}
    rules = [one for one in things if isinstance(one, Affinity)]
    capability = Capability(action="move_across", able=able, why_not=why)
    return RuleContext(
        cluster=ClusterState(name=name, kind=kind, capabilities=(capability,)),
        hosts=hosts,
        vms=vms,
        where={one.id: one.host for one in vms.values()},
        used={one.id: one.memory_used for one in hosts.values() if one.memory_used is not None},
        vcpus={},
        affinities={one: tuple(rule for rule in rules if one in rule.vms) for one in vms},
        datastores={one.id: one for one in things if isinstance(one, Datastore)},
    )


def store(
    cluster: str, name: str, *hosts: str, free: int | None = 900 * GIB, usable: bool = True
) -> Datastore:
    return Datastore(
        cluster=cluster,
        id=name,
        name=name,
        hosts=hosts,
        capacity=1000 * GIB,
        free=free,
        usable=usable,
        shared=True,
    )


def target(kind: str = "vsphere", doors: tuple[str, ...] = ()) -> Destination:
    held = tuple(Door(host=one, address=one, port=8006) for one in doors)
    return Destination(cluster="far", kind=kind, host="far.example", port=443, doors=held)


def said(
    here: RuleContext, there: RuleContext, guest: VM, destination: Destination | None = None, to: str = "f1"
) -> dict[str, Outlook]:
    """The word on a target by rule, the worst where a rule has several."""
    checks = judge_across(Journey(here, there, guest, destination or target(here.cluster.kind)), [to])
    assert any(check.target == to for check in checks), "each target is spoken of"
    found: dict[str, Outlook] = {}
    order = [Outlook.OK, Outlook.UNKNOWN, Outlook.RISK, Outlook.FAIL]
    for check in checks:
        found[check.rule] = max(found.get(check.rule, Outlook.OK), check.outlook, key=order.index)
    return found


def sides(guest: VM, *far: Any, kind: str = "vsphere", **more: Any) -> tuple[RuleContext, RuleContext]:
    return (
        side("near", host("near", "n1"), guest, kind=kind, **more),
        side(
            "far",
            *(far or (host("far", "f1"), store("far", "san", "f1"), vm("far", "other", "f1"))),
            kind=kind,
        ),
    )


def test_what_nothing_stands_against_is_unknown_for_what_nobody_tells_beforehand() -> None:
    guest = vm("near", "web", "n1")
    here, there = sides(guest)
    told = said(here, there, guest)
    assert told == {"network": Outlook.UNKNOWN, "rules": Outlook.OK}
    checks = judge_across(Journey(here, there, guest, target()), ["f1"])
    assert outlook_of(checks, "f1") is Outlook.UNKNOWN
    assert all(check.fix for check in checks if check.outlook is Outlook.UNKNOWN)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"state": VMState.SUSPENDED}, "state"),
        ({"locked": True}, "locked"),
        ({"task": "backup"}, "busy"),
        ({"devices": ("vGPU grid_v100",)}, "device"),
        ({"uuid": "u-1"}, "identity"),
    ],
)
def test_what_stands_against_the_vm_itself_will_fail(more: dict[str, Any], rule: str) -> None:
    guest = vm("near", "web", "n1", **more)
    here, there = sides(guest, host("far", "f1"), store("far", "san", "f1"), vm("far", "x", "f1", uuid="u-1"))
    assert said(here, there, guest)[rule] is Outlook.FAIL


@pytest.mark.parametrize(
    ("machine", "rule"),
    [
        ({"state": HostState.DOWN}, "host"),
        ({"maintenance": True}, "host"),
        ({"cpu_vendor": "AMD"}, "cpu"),
        ({"memory_used": 63 * GIB}, "memory"),
    ],
)
def test_what_stands_against_the_host_will_fail(machine: dict[str, Any], rule: str) -> None:
    guest = vm("near", "web", "n1")
    here, there = sides(guest, host("far", "f1", **machine), store("far", "san", "f1"))
    assert said(here, there, guest)[rule] is Outlook.FAIL


def test_a_vm_that_is_off_starts_on_another_makers_cpu() -> None:
    guest = vm("near", "web", "n1", state=VMState.STOPPED)
    here, there = sides(guest, host("far", "f1", cpu_vendor="AMD"), store("far", "san", "f1"))
    assert said(here, there, guest)["cpu"] is Outlook.RISK


@pytest.mark.parametrize(
    ("stores", "outlook"),
    [
        ((), Outlook.FAIL),
        ((store("far", "full", "f1", free=10 * GIB),), Outlook.FAIL),
        ((store("far", "other", "f2"),), Outlook.FAIL),
        ((store("far", "broken", "f1", usable=False),), Outlook.FAIL),
        ((store("far", "mute", "f1", free=None),), Outlook.UNKNOWN),
    ],
)
def test_its_disks_need_room_on_a_datastore_that_the_host_sees(
    stores: tuple[Datastore, ...], outlook: Outlook
) -> None:
    guest = vm("near", "web", "n1")
    here, there = sides(guest, host("far", "f1"), *stores)
    assert said(here, there, guest)["storage"] is outlook


def test_a_mac_address_that_is_there_already_will_fail_and_one_that_is_not_told_is_unknown() -> None:
    guest = vm("near", "web", "n1", macs=("52:54:00:00:00:01",))
    base = (host("far", "f1"), store("far", "san", "f1"))
    clash = sides(guest, *base, vm("far", "other", "f1", macs=("52:54:00:00:00:01",)))
    assert said(*clash, guest)["mac"] is Outlook.FAIL
    mute = sides(guest, *base, vm("far", "other", "f1", macs=()))
    assert said(*mute, guest)["mac"] is Outlook.UNKNOWN


def test_proxmox_moves_no_container_no_ha_resource_and_only_onto_a_node_that_evac_knows() -> None:
    for more in ({"container": True}, {"ha": "started"}):
        guest = vm("near", "web", "n1", **more)
        assert said(*sides(guest, kind="proxmox"), guest)["guest"] is Outlook.FAIL
    guest = vm("near", "web", "n1")
    both = sides(guest, kind="proxmox")
    assert said(*both, guest, target("proxmox", doors=("f2",)))["door"] is Outlook.FAIL
    assert "door" not in said(*both, guest, target("proxmox", doors=("f1",)))


def test_another_kind_of_platform_and_one_that_moves_nothing_across_will_fail() -> None:
    guest = vm("near", "web", "n1")
    here, _ = sides(guest)
    other = side("far", host("far", "f1"), store("far", "san", "f1"), kind="proxmox")
    assert said(here, other, guest)["kind"] is Outlook.FAIL
    unable = sides(guest, able=False, why="an ESXi host that stands alone moves nothing")
    assert said(*unable, guest)["ability"] is Outlook.FAIL


def test_a_target_that_does_not_tell_where_it_takes_vms_in_is_unknown() -> None:
    guest = vm("near", "web", "n1")
    checks = judge_across(Journey(*sides(guest), guest, None), ["f1"])
    assert {check.rule: check.outlook for check in checks}["ability"] is Outlook.UNKNOWN


def test_affinity_rules_that_stay_behind_are_a_risk() -> None:
    guest = vm("near", "web", "n1")
    rule = Affinity(cluster="near", id="r1", name="apart", kind=AffinityKind.APART, vms=(guest.id,))
    here = side("near", host("near", "n1"), guest, rule)
    _, there = sides(guest)
    assert said(here, there, guest)["affinity"] is Outlook.RISK


def net(name: str) -> Net:
    return Net(id=f"net-{name}", name=name)


def told_of(luggage: Luggage, reception: Reception, **how: Any) -> dict[str, tuple[Outlook, str]]:
    """The word of the rules about networks and hardware; both ends have told something."""
    guest = vm("near", "web", "n1")
    journey = Journey(
        *sides(guest), guest, target(), luggage=luggage, receptions={reception.host: reception}, **how
    )
    return {
        check.rule: (check.outlook, check.why)
        for check in judge_across(journey, ["f1"])
        if check.rule in {"network", "hardware"}
    }


FITS = Reception(host="f1", networks=(net("prod"), net("VLAN 7")), hardware=("vmx-17", "vmx-19"))


def test_networks_of_the_same_name_and_hardware_that_the_host_runs_leave_nothing_unknown() -> None:
    guest = vm("near", "web", "n1")
    luggage = Luggage(networks=(net("prod"),), hardware="vmx-19")
    journey = Journey(*sides(guest), guest, target(), luggage=luggage, receptions={"f1": FITS})
    checks = judge_across(journey, ["f1"])
    assert outlook_of(checks, "f1") is Outlook.OK, checks


@pytest.mark.parametrize(
    ("pairs", "outlook", "words"),
    [
        ((), Outlook.FAIL, "f1 has no network dmz"),
        ((("dmz", "nowhere"),), Outlook.FAIL, "f1 has no network nowhere (for dmz)"),
        ((("dmz", "VLAN 7"),), Outlook.RISK, "its networks change: dmz → VLAN 7"),
        ((("net-dmz", "net-prod"),), Outlook.RISK, "its networks change: dmz → net-prod"),
    ],
)
def test_a_network_that_the_host_lacks_will_fail_until_one_is_named_for_it(
    pairs: tuple[tuple[str, str], ...], outlook: Outlook, words: str
) -> None:
    luggage = Luggage(networks=(net("prod"), net("dmz")), hardware="vmx-17")
    found = told_of(luggage, FITS, networks=pairs)
    assert found == {"network": (outlook, words)}


def test_a_host_runs_no_virtual_hardware_that_is_newer_than_it_knows() -> None:
    found = told_of(Luggage(networks=(net("prod"),), hardware="vmx-21"), FITS)
    assert found == {"hardware": (Outlook.FAIL, "its virtual hardware is vmx-21, and f1 runs vmx-19 at most")}


@pytest.mark.parametrize(
    ("luggage", "reception", "unknown"),
    [
        (Luggage(networks=None, hardware="vmx-19"), FITS, {"network"}),
        (Luggage(networks=(), hardware=""), FITS, {"hardware"}),
        (Luggage(networks=(), hardware="vmx-19"), Reception(host="f1"), {"network", "hardware"}),
        (Luggage(networks=(), hardware="vmx-19"), Reception(host="f2"), {"network", "hardware"}),
    ],
)
def test_what_one_end_does_not_tell_is_unknown_and_never_ok(
    luggage: Luggage, reception: Reception, unknown: set[str]
) -> None:
    found = told_of(luggage, reception)
    assert {rule for rule, (outlook, _) in found.items() if outlook is Outlook.UNKNOWN} == unknown
    assert found.keys() == unknown
