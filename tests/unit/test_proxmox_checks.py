"""What stands against a move: the platform's own word first, and what it does not look at. What is unknown is never OK."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from backends.proxmox.checks import Case, checks
from backends.proxmox.config import GuestConfig, read
from backends.proxmox.nodes import Details
from backends.proxmox.payload import Blocking, LocalDisk, NodeStatus, NotAllowed, Precondition, Resource
from evac.model import MoveCheck, Outlook

OLD = "fpu sse4_1 sse4_2 ssse3 popcnt aes"
NEW = f"{OLD} avx avx2"
GIB = 1 << 30


def node(name: str, **more: Any) -> Resource:
    return Resource(
        **{"type": "node", "node": name, "status": "online", "maxmem": 64 * GIB, "mem": GIB, **more}
    )


def details(model: str = "Xeon 1", flags: str = NEW, version: str = "9.1.3") -> Details:
    told = {"cpuinfo": {"model": model, "flags": flags}, "pveversion": f"pve-manager/{version}/abc"}
    return Details(status=msgspec.convert(told, NodeStatus))


CASE = Case(
    row=Resource(type="qemu", node="a", vmid=100, status="running", maxmem=4 * GIB),
    ready=Precondition(running=1, allowed_nodes=["b"]),
    config=read({"scsi0": "ceph:vm-100-disk-0,size=8G", "cpu": "x86-64-v2-AES"}),
    nodes={name: node(name) for name in ("a", "b", "c")},
    details={name: details() for name in ("a", "b")},
    maintenance={},
    copies=True,
    target_storage=False,
)


def found(case: Case, rule: str, target: str = "b") -> list[MoveCheck]:
    return [one for one in checks(case, [target]) if one.rule == rule]


def outlook(case: Case, rule: str, target: str = "b") -> Outlook | None:
    """The worst of a rule; None when it says nothing."""
    order = [Outlook.OK, Outlook.UNKNOWN, Outlook.RISK, Outlook.FAIL]
    told = [one.outlook for one in found(case, rule, target)]
    return max(told, key=order.index) if told else None


def with_config(**lines: str) -> Case:
    return replace(CASE, config=read({"scsi0": "ceph:vm-100-disk-0", **lines}))


def with_ready(**more: Any) -> Case:
    return replace(CASE, ready=Precondition(**{"running": 1, "allowed_nodes": ["b"], **more}))


def test_a_move_that_nothing_stands_against_is_ok_in_every_rule() -> None:
    told = checks(CASE, ["b"])
    assert {one.outlook for one in told} == {Outlook.OK}
    assert {one.target for one in told} == {"b"}
    assert [one.by for one in told if one.rule == "platform"] == ["Proxmox VE"]


@pytest.mark.parametrize(
    ("target", "rule", "expected"),
    [("a", "place", Outlook.FAIL), ("x", "node", Outlook.FAIL), ("c", "platform", Outlook.FAIL)],
)
def test_a_target_that_cannot_be_one_is_told(target: str, rule: str, expected: Outlook) -> None:
    assert outlook(CASE, rule, target) is expected


def test_a_node_that_is_down_or_in_maintenance_is_told() -> None:
    assert outlook(replace(CASE, nodes={"b": node("b", status="offline")}), "node") is Outlook.FAIL
    assert outlook(replace(CASE, nodes={"b": node("b", status="unknown")}), "node") is Outlook.UNKNOWN
    left = replace(CASE, maintenance={"b": "DIMM"})
    assert "DIMM" in found(left, "maintenance")[0].why
    assert outlook(left, "maintenance") is Outlook.RISK
    assert outlook(replace(left, row=replace(CASE.row, hastate="started")), "maintenance") is Outlook.FAIL


def test_the_platforms_reasons_are_kept_in_its_own_names() -> None:
    why_not = NotAllowed(
        unavailable_storages=["local-zfs"],
        unavailable_resources=["gpu"],
        blocking_ha=[Blocking(sid="vm:101", cause="resource-affinity")],
    )
    case = with_ready(allowed_nodes=[], not_allowed_nodes={"b": why_not, "c": NotAllowed()})
    assert "local-zfs" in found(case, "storage")[0].why
    assert "gpu" in found(case, "device")[0].why
    assert "vm:101" in found(case, "ha")[0].why
    assert "no reason" in found(case, "platform", "c")[0].why
    assert all(
        one.outlook is Outlook.FAIL for rule in ("storage", "device", "ha") for one in found(case, rule)
    )
    assert outlook(replace(case, target_storage=True), "storage") is Outlook.UNKNOWN, "a map may help"


def test_a_platform_that_did_not_say_is_unknown() -> None:
    assert outlook(with_ready(allowed_nodes=None), "platform") is Outlook.UNKNOWN
    silent = replace(CASE, ready=None, refusal="VM.Migrate is missing")
    assert {one.target for one in found(silent, "platform")} == {"", "b"}
    assert outlook(silent, "platform") is Outlook.UNKNOWN


def test_a_lock_fails_every_target_at_once() -> None:
    case = replace(CASE, row=replace(CASE.row, lock="backup"))
    assert [(one.target, one.outlook) for one in found(case, "locked")] == [("", Outlook.FAIL)]


@pytest.mark.parametrize(
    ("kind", "here", "there", "expected"),
    [
        ("host", ("Xeon 1", NEW), ("Xeon 1", NEW), Outlook.OK),
        ("host", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.FAIL),
        ("host", ("Xeon 0", OLD), ("Xeon 1", NEW), Outlook.RISK),
        ("host", ("Xeon 1", NEW), ("Xeon 1", ""), Outlook.UNKNOWN),
        ("max", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.FAIL),
        ("x86-64-v2-AES", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.OK),
        ("x86-64-v2-AES", ("Xeon 1", NEW), ("Xeon 0", "fpu sse4_1 sse4_2 ssse3 popcnt"), Outlook.FAIL),
        ("x86-64-v3", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.FAIL),
        ("", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.OK),
        ("Skylake-Server", ("Xeon 1", NEW), ("Xeon 0", OLD), Outlook.UNKNOWN),
        ("Skylake-Server", ("Xeon 0", OLD), ("Xeon 1", NEW), Outlook.OK),
    ],
)
def test_cpus_are_compared_which_proxmox_ve_does_not(
    kind: str, here: tuple[str, str], there: tuple[str, str], expected: Outlook
) -> None:
    case = replace(with_config(cpu=kind), details={"a": details(*here), "b": details(*there)})
    assert outlook(case, "cpu") is expected
    stopped = replace(case, row=replace(case.row, status="stopped"))
    assert outlook(stopped, "cpu") is Outlook.OK, "it starts anew there"


def test_without_the_nodes_details_or_the_config_the_cpu_is_unknown() -> None:
    assert outlook(replace(CASE, details={}), "cpu") is Outlook.UNKNOWN
    assert outlook(replace(CASE, config=None), "cpu") is Outlook.UNKNOWN


def test_local_disks_are_copied_or_forbid_the_move() -> None:
    disk = LocalDisk(volid="local-lvm:vm-100-disk-0", size=8 * GIB)
    case = with_ready(local_disks=[disk])
    assert outlook(case, "local disk") is Outlook.RISK
    assert "8.0 GiB" in found(case, "local disk")[0].why
    assert outlook(replace(case, copies=False), "local disk") is Outlook.FAIL
    snapped = replace(case, config=read({"scsi0": "local-lvm:vm-100-disk-0", "parent": "before"}))
    assert outlook(snapped, "snapshot") is Outlook.FAIL


def test_devices_and_cds_tie_a_running_guest_to_its_node() -> None:
    assert outlook(with_ready(local_resources=["hostpci0"]), "device") is Outlook.FAIL
    cd = LocalDisk(volid="local:iso/debian.iso", cdrom=1)
    assert outlook(with_ready(local_disks=[cd]), "cdrom") is Outlook.FAIL
    assert outlook(with_config(ide2="cdrom,media=cdrom"), "cdrom") is Outlook.FAIL
    fixed = {"gpu": msgspec.Raw(b'{"name":"gpu"}')}
    moves = {"gpu": msgspec.Raw(b'{"is-marked-as-live-migratable":1}')}
    assert outlook(with_ready(mapped=fixed), "device") is Outlook.FAIL
    assert outlook(with_ready(mapped=moves), "device") is None


def test_memory_versions_ha_and_restarts_are_told_as_risks() -> None:
    full = replace(CASE, nodes={"b": node("b", mem=63 * GIB)})
    assert outlook(full, "memory") is Outlook.RISK
    assert outlook(replace(CASE, nodes={"b": node("b", mem=None)}), "memory") is Outlook.UNKNOWN
    older = replace(CASE, details={"a": details(version="9.1.3"), "b": details(version="8.4.9")})
    assert outlook(older, "version") is Outlook.RISK
    assert outlook(with_ready(dependent=["vm:101"]), "ha") is Outlook.RISK
    container = replace(CASE, row=replace(CASE.row, type="lxc"))
    assert outlook(container, "restart") is Outlook.RISK
    assert outlook(container, "cpu") is None


def test_a_config_is_read_for_what_a_move_depends_on() -> None:
    assert read(
        {
            "scsi0": "ceph:vm-100-disk-0,size=8G,iothread=1",
            "efidisk0": "file=local-lvm:vm-100-disk-1,size=4M",
            "ide2": "local:iso/debian.iso,media=cdrom",
            "ide3": "none,media=cdrom",
            "unused0": "old:vm-100-disk-9",
            "scsihw": "virtio-scsi-single",
            "cpu": "cputype=host,flags=+aes",
            "agent": "enabled=1,fstrim_cloned_disks=1",
            "hostpci0": "0000:01:00",
            "usb0": "spice",
            "memory": 4096,
        }
    ) == GuestConfig(
        disks={"scsi0": "ceph", "efidisk0": "local-lvm"},
        cdroms={"ide2": "local:iso/debian.iso"},
        cpu="host",
        agent=True,
        devices=("hostpci0",),
    )
    assert read({"rootfs": "ceph:vm-200-disk-0,size=8G", "mp0": "/srv,mp=/srv"}).disks == {"rootfs": "ceph"}
