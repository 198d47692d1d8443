"""What evac's own rules expect of a move. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac.model import (
    VM,
    Affinity,
    AffinityKind,
    ClusterState,
    Datastore,
    Host,
    HostState,
    MoveCheck,
    Outlook,
    VMState,
)
from evac.preflight import outlook_of, rank
from evac.rules import RuleContext, capacity, cpus, judge
from evac.rules.identity import twins
from evac.window.plan import Way

GIB = 1 << 30


def host(name: str, **more: Any) -> Host:
    known: dict[str, Any] = {
        "state": HostState.UP,
        "memory": 64 * GIB,
        "memory_used": 16 * GIB,
        "vcpus": 32,
        "cpu_model": "Cascadelake-Server",
        "cpu_vendor": "Intel",
    }
    return Host(cluster="c", id=name, name=name, **{**known, **more})


def vm(name: str = "v0", where: str = "a", **more: Any) -> VM:
    known: dict[str, Any] = {"memory": 4 * GIB, "vcpus": 2, "local_disk": False, "state": VMState.RUNNING}
    return VM(cluster="c", id=name, name=name, host=where, **{**known, **more})


def world(
    hosts: Iterable[Host], vms: Iterable[VM], *rules: Affinity, kind: str = "direct", **more: Any
) -> RuleContext:
    there, guests = {one.id: one for one in hosts}, {one.id: one for one in vms}
    named = {one: tuple(rule for rule in rules if one in rule.vms) for one in guests}
    return RuleContext(
        cluster=ClusterState(name="c", kind=kind),
        hosts=there,
        vms=guests,
        where={one.id: one.host for one in guests.values()},
        used={one.id: one.memory_used for one in there.values() if one.memory_used is not None},
        vcpus={},
        affinities=named,
        **more,
    )


def said(seen: RuleContext, target: str, *, one: str = "v0", way: Way = Way.LIVE) -> dict[str, Outlook]:
    """What is said, by rule."""
    return {check.rule: check.outlook for check in judge(seen, seen.vms[one], target, way)}


def verdict(seen: RuleContext, target: str, one: str = "v0", way: Way = Way.LIVE) -> Outlook:
    return outlook_of(judge(seen, seen.vms[one], target, way), target)


def test_a_target_that_is_up_and_has_room_is_fine() -> None:
    assert verdict(world([host("a"), host("b")], [vm()]), "b") is Outlook.OK


def test_both_hosts_must_be_up_for_a_move_and_the_source_dead_and_fenced_for_a_rebuild() -> None:
    down = world([host("a", state=HostState.DOWN), host("b")], [vm()])
    up = world([host("a"), host("b", state=HostState.DOWN)], [vm()])
    assert verdict(down, "b") is verdict(up, "b") is Outlook.FAIL

    def rebuilt(seen: RuleContext, fenced: str) -> Outlook:
        return verdict(replace(seen, fenced=fenced), "b", way=Way.COLD)

    assert rebuilt(down, "powered off by IPMI") is Outlook.OK
    assert rebuilt(down, " ") is Outlook.FAIL
    assert rebuilt(world([host("a"), host("b")], [vm()]), "powered off") is Outlook.FAIL


def test_what_was_paused_or_had_its_disk_on_a_dead_host_has_lost_something() -> None:
    lost = [vm(state=VMState.PAUSED), vm("v1", local_disk=True), vm("v2", state=VMState.BUILDING)]
    seen = replace(world([host("a", state=HostState.DOWN), host("b")], lost), fenced="powered off")
    found = {one.id: verdict(seen, "b", one.id, Way.COLD) for one in lost}
    assert found == {"v0": Outlook.FAIL, "v1": Outlook.RISK, "v2": Outlook.FAIL}


def test_guests_that_a_rule_keeps_apart_do_not_meet() -> None:
    rule = Affinity(cluster="c", id="1", name="db", kind=AffinityKind.APART, vms=("v0", "v1"))
    seen = world([host("a"), host("b"), host("d")], [vm(), vm("v1", "b")], rule)
    assert verdict(seen, "b") is Outlook.FAIL
    assert verdict(seen, "d") is Outlook.OK


# --- CPU -----------------------------------------------------------------------------------------


def cpu(
    source: str, target: str, *, guest: str = "", kind: str = "openstack", way: Way = Way.LIVE, **more: Any
) -> Outlook:
    """What the CPU rule says of a move between two models."""
    makers = {"E": "AMD", "A": "AMD"}
    hosts = [
        host(name, cpu_model=model, cpu_vendor=makers.get(model[:1], "Intel"), **more)
        for name, model in (("a", source), ("b", target))
    ]
    return said(world(hosts, [vm(cpu=guest)], kind=kind), "b", way=way).get("cpu", Outlook.OK)


@pytest.mark.parametrize(
    ("source", "target", "guest", "outlook"),
    [
        # To the same and to newer ones; the other way round it depends on what the guest was given.
        ("Broadwell", "Skylake-Server", "", Outlook.OK),
        ("Skylake-Server", "Broadwell", "", Outlook.RISK),
        ("Skylake-Server", "Broadwell", "host-model", Outlook.FAIL),
        ("Skylake-Server", "Broadwell", "Haswell-noTSX", Outlook.OK),
        ("Skylake-Server", "Broadwell", "Skylake-Server-noTSX-IBRS", Outlook.FAIL),
        ("Cascadelake-Server", "Icelake-Server", "host-model", Outlook.OK),
        # A newer CPU whose microcode switched TSX off lacks what an older one has.
        ("Broadwell", "Skylake-Server-noTSX-IBRS", "Broadwell", Outlook.FAIL),
        ("Broadwell", "Skylake-Server-noTSX-IBRS", "Broadwell-noTSX", Outlook.OK),
        # The host's very own CPU: the same one is fine, a newer one a risk, an older one fails.
        ("EPYC-Rome", "EPYC-Rome", "host-passthrough", Outlook.OK),
        ("EPYC-Rome", "EPYC-Milan", "host-passthrough", Outlook.RISK),
        ("EPYC-Milan", "EPYC-Rome", "host-passthrough", Outlook.FAIL),
        # Makers do not mix, except for models that are no maker's.
        ("EPYC-Rome", "Icelake-Server", "", Outlook.FAIL),
        ("Icelake-Server", "EPYC-Genoa", "Haswell", Outlook.FAIL),
        ("Icelake-Server", "EPYC-Genoa", "x86-64-v2-AES", Outlook.RISK),
        ("SandyBridge", "Westmere", "x86-64-v3", Outlook.FAIL),
        # As printed on the box.
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "", Outlook.OK),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "", Outlook.RISK),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7502 32-Core Processor", "host", Outlook.FAIL),
        # What evac's table does not know is not known.
        ("Pentium of 2041", "Pentium of 2042", "", Outlook.UNKNOWN),
    ],
)  # fmt: skip
def test_a_running_guest_finds_its_cpu_features_in_one_direction_only(
    source: str, target: str, guest: str, outlook: Outlook
) -> None:
    assert cpu(source, target, guest=guest) is outlook


def test_features_that_hosts_tell_count_more_than_the_names_of_their_cpus() -> None:
    every = ("sse2", "sse4.1", "sse4.2", "avx", "avx2")
    hosts = [
        host("a", cpu_features=(*every, "avx512f"), cpu_model="?"),
        host("b", cpu_features=every, cpu_model="?"),
    ]
    seen = world(hosts, [vm(cpu="host-model"), vm("v1", "b", cpu="host-model")])
    assert said(seen, "b")["cpu"] is Outlook.FAIL
    assert "cpu" not in said(seen, "a", one="v1")


def test_a_whole_list_of_features_says_what_is_switched_off_and_need_not_name_what_cannot_be() -> None:
    assert "avx512f" not in cpus.told("Skylake-Server", ("sse2", "avx", "avx2"))
    assert {"lahflm", "popcnt"} <= cpus.told("Skylake-Server", ("sse2", "avx", "avx2"))
    assert "avx512f" in cpus.told("Skylake-Server", ("md-clear",)), (
        "libvirt names what is there beyond the model"
    )
    assert cpus.told("Pentium of 2041", ("SSE4.1", "made-up")) == {"sse41"}


def test_a_baseline_of_the_cluster_lets_guests_go_back_to_older_hosts() -> None:
    held = world(
        [
            host("a", cpu_model="Icelake-Server", cpu_baseline="intel-broadwell"),
            host("b", cpu_model="Broadwell-noTSX"),
        ],
        [vm(cpu="host-model")],
        kind="vsphere",
    )
    assert "cpu" not in said(held, "b")
    assert cpu("Icelake-Server", "Broadwell", guest="intel-icelake", kind="vsphere") is Outlook.FAIL
    assert cpu("Icelake-Server", "Broadwell", guest="intel-haswell", kind="vsphere") is Outlook.OK


def test_a_guest_that_moves_with_a_stop_takes_the_cpu_it_finds() -> None:
    assert cpu("Skylake-Server", "Broadwell", way=Way.COLD) is Outlook.OK
    assert cpu("Skylake-Server", "EPYC-Rome", way=Way.COLD) is Outlook.RISK
    assert cpu("Skylake-Server", "Broadwell", guest="Skylake-Server", way=Way.RESTART) is Outlook.RISK


@pytest.mark.parametrize(
    ("kind", "old", "new", "outlook"),
    [
        ("openstack", "QEMU 8.2.2", "QEMU 9.1.0", Outlook.FAIL),
        ("proxmox", "Proxmox VE 8.1.4", "Proxmox VE 9.0.3", Outlook.RISK),
        ("vsphere", "VMware ESXi 7.0.3", "VMware ESXi 8.0.2", None),
        ("libvirt", "QEMU 8.2.2", "Xen 4.17", None),
    ],
)
def test_a_running_guest_goes_to_no_older_hypervisor_where_the_platform_minds(
    kind: str, old: str, new: str, outlook: Outlook | None
) -> None:
    seen = world([host("a", hypervisor=new), host("b", hypervisor=old)], [vm(), vm("v1", "b")], kind=kind)
    assert said(seen, "b").get("version") is outlook
    assert "version" not in said(seen, "a", one="v1")
    assert "version" not in said(seen, "b", way=Way.COLD)


@pytest.mark.parametrize("name", sorted(cpus.GENERATIONS))
def test_every_generation_is_found_by_the_names_that_platforms_use(name: str) -> None:
    known = [alias for alias, held in cpus._BY_NAME.items() if held == name]
    assert known
    assert {cpus.generation(alias.upper()) is not None for alias in known} == {True}


# --- room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "memory", "outlook"),
    [(48, 8, Outlook.OK), (52, 8, Outlook.RISK), (58, 8, Outlook.FAIL), (66, 1, Outlook.RISK), (None, 8, Outlook.UNKNOWN)],
)  # fmt: skip
def test_a_target_is_not_filled_to_the_brim(used: int | None, memory: int, outlook: Outlook) -> None:
    there = host("b", memory_used=None if used is None else used * GIB)
    seen = world([host("a"), there], [vm(memory=memory * GIB)])
    assert verdict(seen, "b") is outlook
    assert capacity.fits(seen, seen.vms["v0"], there) is (outlook is Outlook.OK)


def test_a_stopped_guest_needs_room_where_the_platform_counts_it() -> None:
    full = [host("a"), host("b", memory_used=62 * GIB)]
    assert said(world(full, [vm()], kind="proxmox"), "b", way=Way.COLD)["memory"] is Outlook.RISK
    assert said(world(full, [vm()], kind="openstack"), "b", way=Way.COLD)["memory"] is Outlook.FAIL


def test_many_virtual_cpus_per_core_are_a_risk_and_more_than_there_are_cores_fail() -> None:
    seen = world([host("a"), host("b", vcpus=4)], [vm(vcpus=2), vm("v1", vcpus=8)])
    assert "vcpus" not in said(seen, "b")
    assert said(seen, "b", one="v1")["vcpus"] is Outlook.FAIL
    crowded = replace(seen, vcpus={"b": 15})
    assert said(crowded, "b")["vcpus"] is Outlook.RISK


# --- places --------------------------------------------------------------------------------------


def rule(kind: AffinityKind, *vms: str, hosts: tuple[str, ...] = (), strict: bool = True) -> Affinity:
    return Affinity(cluster="c", id="1", name="db", kind=kind, vms=vms, hosts=hosts, strict=strict)


def test_a_soft_rule_is_a_risk_and_a_strict_one_fails() -> None:
    for strict, outlook in ((True, Outlook.FAIL), (False, Outlook.RISK)):
        apart = rule(AffinityKind.APART, "v0", "v1", strict=strict)
        assert verdict(world([host("a"), host("b")], [vm(), vm("v1", "b")], apart), "b") is outlook


def test_a_soft_rule_that_is_broken_already_says_nothing_of_a_move_that_breaks_it_no_more() -> None:
    hosts = [host("a"), host("b"), host("d")]
    for kind, more in ((AffinityKind.TOGETHER, ()), (AffinityKind.PINNED, ("d",))):
        soft = rule(kind, "v0", "v1", hosts=more, strict=False)
        assert verdict(world(hosts, [vm(), vm("v1", "d")], soft), "b") is Outlook.OK
        strict = replace(soft, strict=True)
        assert verdict(world(hosts, [vm(), vm("v1", "d")], strict), "b") is Outlook.FAIL


def test_pins_and_bans_name_hosts() -> None:
    hosts = [host("a"), host("b"), host("d")]
    pinned = world(hosts, [vm()], rule(AffinityKind.PINNED, "v0", hosts=("a", "b")))
    banned = world(hosts, [vm()], rule(AffinityKind.KEPT_OFF, "v0", hosts=("b",)))
    assert (verdict(pinned, "b"), verdict(pinned, "d")) == (Outlook.OK, Outlook.FAIL)
    assert (verdict(banned, "b"), verdict(banned, "d")) == (Outlook.FAIL, Outlook.OK)


def test_one_of_a_group_that_stays_together_goes_where_the_others_are() -> None:
    together = rule(AffinityKind.TOGETHER, "v0", "v1")
    hosts = [host("a"), host("b"), host("d")]
    apart = world(hosts, [vm(), vm("v1", "b")], together)
    assert (verdict(apart, "b"), verdict(apart, "d")) == (Outlook.OK, Outlook.FAIL)
    for kind, outlook in (("openstack", Outlook.FAIL), ("proxmox", Outlook.RISK)):
        assert said(world(hosts, [vm(), vm("v1")], together, kind=kind), "b")["affinity"] is outlook


def test_zones_and_aggregates_count_where_the_platform_binds_guests_to_them() -> None:
    hosts = [
        host("a", zone="z1", aggregates=("ssd", "r1")),
        host("b", zone="z1", aggregates=("ssd", "r2")),
        host("d", zone="z2", aggregates=("r3",)),
    ]
    nova = world(hosts, [vm()], kind="openstack")
    assert verdict(nova, "b") is Outlook.OK
    assert said(nova, "d") == {"zone": Outlook.RISK, "aggregate": Outlook.RISK}
    assert verdict(world(hosts, [vm()], kind="proxmox"), "d") is Outlook.OK


# --- what it has with it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "kind", "way", "found"),
    [
        ({"devices": ("0000:3b:00.0",)}, "openstack", Way.LIVE, {"device": Outlook.FAIL}),
        ({"devices": ("0000:3b:00.0",)}, "openstack", Way.COLD, {"device": Outlook.RISK}),
        ({"local_disk": True, "disk": 20 * GIB}, "proxmox", Way.LIVE, {"local disk": Outlook.RISK}),
        ({"local_disk": True, "disk": 20 * GIB}, "openstack", Way.LIVE, {}),
        ({"local_disk": None}, "openstack", Way.LIVE, {}),
        ({"local_disk": None}, "proxmox", Way.LIVE, {"local disk": Outlook.UNKNOWN}),
        ({"snapshots": 2}, "libvirt", Way.LIVE, {"snapshot": Outlook.FAIL}),
        ({"snapshots": 1}, "vsphere", Way.LIVE, {"snapshot": Outlook.RISK}),
        ({"snapshots": 1}, "libvirt", Way.COLD, {}),
        ({"media": ("local:iso/debian.iso",)}, "proxmox", Way.LIVE, {"cdrom": Outlook.RISK}),
        ({"media": ("nfs:iso/debian.iso",)}, "proxmox", Way.LIVE, {}),
        ({"media": ("[nfs] debian.iso",)}, "vsphere", Way.LIVE, {}),
        ({"datastores": ("d1",)}, "vsphere", Way.LIVE, {}),
        ({"datastores": ("d2",)}, "vsphere", Way.LIVE, {"storage": Outlook.FAIL}),
        ({"ha": "recovery"}, "proxmox", Way.LIVE, {"ha": Outlook.RISK}),
        ({"ha": "started"}, "proxmox", Way.LIVE, {}),
        ({"locked": True}, "openstack", Way.LIVE, {"locked": Outlook.FAIL}),
        ({"task": "backup", "locked": True}, "proxmox", Way.LIVE, {"busy": Outlook.FAIL}),
    ],
)
def test_what_a_guest_has_with_it(
    more: dict[str, Any], kind: str, way: Way, found: dict[str, Outlook]
) -> None:
    stores = {
        "d1": Datastore(cluster="c", id="d1", name="nfs", shared=True, hosts=("a", "b")),
        "d2": Datastore(cluster="c", id="d2", name="san", shared=True, hosts=("a",)),
    }
    seen = world([host("a"), host("b")], [vm(**more)], kind=kind, datastores=stores)
    assert {name: one for name, one in said(seen, "b", way=way).items() if name != "rules"} == found


def test_clones_that_share_an_identity_are_found_over_the_whole_fleet() -> None:
    one = VM(
        cluster="c", id="1", name="db", machine_id="u1", macs=("52:54:00:00:00:01",), addresses=("10.0.0.5",)
    )
    other = VM(cluster="d", id="1", name="db-copy", machine_id="u1", addresses=("10.0.0.5",))
    third = VM(
        cluster="c", id="2", name="web", macs=("52:54:00:00:00:01",), addresses=("10.0.0.5",), tenant="t"
    )
    template = VM(cluster="c", id="3", name="golden", machine_id="u1", stays="a template")
    found = twins([one, other, third, template])
    assert set(found) == {"c/1", "d/1", "c/2"}
    assert found["c/1"] == (
        "its machine id u1 is also that of db-copy (d)",
        "its MAC 52:54:00:00:00:01 is also that of web",
    )
    assert "db (c)" in found["d/1"][0]


# --- all of them ---------------------------------------------------------------------------------

MODELS = (
    "Westmere",
    "Broadwell-noTSX",
    "Skylake-Server-noTSX-IBRS",
    "Icelake-Server-noTSX",
    "SapphireRapids",
)


@given(
    source=st.integers(0, 4),
    target=st.integers(0, 4),
    guest=st.sampled_from(("", "host-model", *MODELS)),
    used=st.integers(0, 70),
    memory=st.integers(0, 16),
    kind=st.sampled_from(("openstack", "proxmox", "libvirt", "vsphere", "")),
    way=st.sampled_from(Way),
)
def test_a_stronger_target_never_makes_the_verdict_worse(
    *, source: int, target: int, guest: str, used: int, memory: int, kind: str, way: Way
) -> None:
    def outlook(model: int, taken: int, version: int) -> Outlook:
        hosts = [
            host("a", cpu_model=MODELS[source], hypervisor="QEMU 8.0"),
            host("b", cpu_model=MODELS[model], memory_used=taken * GIB, hypervisor=f"QEMU {version}.0"),
        ]
        return verdict(world(hosts, [vm(cpu=guest, memory=memory * GIB)], kind=kind), "b", way=way)

    weak = rank(outlook(target, used, 7))
    assert rank(outlook(min(4, target + 1), used, 7)) <= weak
    assert rank(outlook(target, used, 8)) <= weak
    if used <= 64:  # above that a host proves that its platform overcommits
        assert rank(outlook(target, max(0, used - 8), 7)) <= weak


@given(
    held=st.lists(st.sampled_from(Outlook), max_size=6),
    more=st.sampled_from(Outlook),
    everywhere=st.booleans(),
)
def test_one_more_rule_never_improves_a_verdict(
    held: list[Outlook], more: Outlook, *, everywhere: bool
) -> None:
    checks = [
        MoveCheck(vm="v", target="b", outlook=one, rule=f"r{n}") for n, one in enumerate([Outlook.OK, *held])
    ]
    added = MoveCheck(vm="v", target="" if everywhere else "b", outlook=more, rule="new")
    assert rank(outlook_of([*checks, added], "b")) >= rank(outlook_of(checks, "b"))
