"""What evac predicts of a move on vSphere: every rule says OK only of what was told, and says why it does not."""

from __future__ import annotations

from typing import Any

import pytest

from backends.vsphere.rules import RULES, blocked, judged
from backends.vsphere.scene import Place, Scene
from evac.model import Outlook
from tests.unit.vsphere_rows import GUEST, HOST, feature, group, place, refs, row, scene, store, vnics

OK, RISK, FAIL, UNKNOWN = Outlook.OK, Outlook.RISK, Outlook.FAIL, Outlook.UNKNOWN


def said(of: Scene, rule: str) -> tuple[Outlook, str]:
    there = next(iter(of.places.values()))
    (found,) = [one for one in judged(of, there) if one.rule == rule]
    assert found.why or found.outlook is OK
    return found.outlook, found.why


def device(kind: str, inside: str = "") -> str:
    return f"<VirtualDevice xsi:type='{kind}'><deviceInfo><label>{kind[7:]} 1</label></deviceInfo>{inside}</VirtualDevice>"


def backing(kind: str, inside: str = "") -> str:
    return f"<backing xsi:type='{kind}'>{inside}<x/></backing>"


ON = "<connectable><connected>true</connected></connectable>"
OFF = "<connectable><connected>false</connected></connectable>"


def test_a_vm_of_which_all_is_known_and_good_is_ok_in_every_rule() -> None:
    of = scene()
    assert {one.rule: one.outlook for one in judged(of, of.places["host-2"])} == {
        name: OK for name, _ in RULES
    }
    assert blocked(of, of.places["host-2"]) == ""


def test_a_vm_and_a_host_of_which_nothing_is_told_are_ok_in_nothing_that_matters() -> None:
    """An account that may read names only: no rule may take silence for a good answer."""
    nothing = Place(
        row("HostSystem", "host-2", tuple(key.replace("__", ".") for key in HOST), name="esx2"), None
    )
    mute = tuple(key.replace("__", ".") for key in (*GUEST, "snapshot", "runtime.question"))
    of = Scene(
        guest=row("VirtualMachine", "vm-1", mute, runtime__powerState="poweredOn"),
        source=None,
        places={"host-2": nothing},
        stores={},
        nets={},
        api=(8, 0),
    )
    good = {one.rule for one in judged(of, nothing) if one.outlook is OK}
    assert good <= {"nsx"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in GUEST
        if name not in {"name", "runtime__host", "runtime__dasVmProtection__dasProtected"}
    ],
)
def test_no_property_of_a_vm_can_be_left_out_without_a_rule_that_says_so(name: str) -> None:
    gap: dict[str, Any] = {name: ""}
    of = scene((name.replace("__", "."),), **gap)
    assert any(one.outlook is not OK for one in judged(of, of.places["host-2"])), name


@pytest.mark.parametrize("name", [name for name in HOST if name != "runtime__powerState"])
def test_no_property_of_a_target_can_be_left_out_without_a_rule_that_says_so(name: str) -> None:
    gap: dict[str, Any] = {name: ""}
    there = place(2, (name.replace("__", "."),), **gap)
    if name == "parent":
        there = Place(there.row, None)
    elif name == "capability__encryptedVMotionSupported":
        of = scene(target=there, config__migrateEncryption="required")
        assert said(of, "encryption")[0] is UNKNOWN
        return
    elif name in {"hardware__cpuPkg", "summary__hardware"}:
        there = place(2, hardware__cpuPkg="", summary__hardware="")
    of = scene(target=there)
    assert any(one.outlook is not OK for one in judged(of, there)), name


GUESTS: list[tuple[str, Outlook, dict[str, Any], str]] = [
    ("state", FAIL, {"runtime__connectionState": "orphaned"}, "no longer on its host"),
    ("state", FAIL, {"runtime__question": "<id>5</id><text>?</text><choice/>"}, "asks a question"),
    ("state", FAIL, {"config__ftInfo": "<role>1</role>"}, "Fault Tolerance"),
    ("state", FAIL, {"config__cpuAffinity": "<affinitySet>2</affinitySet>"}, "pinned to CPUs 2"),
    ("state", RISK, {"runtime__powerState": "suspended"}, "suspended"),
    ("memory", RISK, {"summary__config__memorySizeMB": str(100 * 1024)}, "63 GiB free, the VM has 100 GiB"),
    ("cpu", FAIL, {"runtime__featureRequirement": feature("cpuid.avx512f", "Bool:Min:1")}, "cpuid.avx512f"),
    ("cpu", FAIL, {"runtime__featureRequirement": feature("cpuid.avx2", "Num:Min:3")}, "cpuid.avx2"),
    ("cpu", UNKNOWN, {"runtime__featureRequirement": ""}, "a mode that is not set"),
    ("storage", FAIL, {"of_stores": {"ds-1": store("host-1")}}, "does not see fast"),
    (
        "storage",
        FAIL,
        {"of_stores": {"ds-1": store("host-1", "host-2", accessible="false")}},
        "not accessible",
    ),
    ("storage", UNKNOWN, {"of_stores": {}}, "not told"),
    (
        "snapshots",
        RISK,
        {
            "snapshot": "<rootSnapshotList><n>1</n>"
            + "<childSnapshotList><n>1</n>" * 2
            + "</childSnapshotList>" * 2
            + "</rootSnapshotList>"
        },
        "3 snapshots",
    ),
    (
        "rdm",
        UNKNOWN,
        {
            "config__hardware__device": device(
                "VirtualDisk", backing("VirtualDiskRawDiskMappingVer1BackingInfo", "<lunUuid>L1</lunUuid>")
            )
        },
        "raw devices",
    ),
    (
        "rdm",
        RISK,
        {
            "config__hardware__device": device(
                "VirtualLsiLogicController", "<sharedBus>physicalSharing</sharedBus>"
            )
        },
        "shared with other VMs",
    ),
    ("network", FAIL, {"network": refs("net-2")}, "no network prod-2"),
    ("network", RISK, {"network": refs("net-2"), "of_mapped": {"prod-2": "prod"}}, "prod-2 → prod"),
    ("network", FAIL, {"network": refs("net-2"), "of_mapped": {"prod-2": "elsewhere"}}, "no network prod-2"),
    (
        "nsx",
        RISK,
        {"network": refs("net-2"), "of_nets": {"net-2": row("OpaqueNetwork", "net-2", name="seg")}},
        "SpoofGuard",
    ),
    (
        "passthrough",
        FAIL,
        {
            "config__hardware__device": device(
                "VirtualPCIPassthrough", backing("VirtualPCIPassthroughDeviceBackingInfo")
            )
        },
        "passed through",
    ),
    ("passthrough", FAIL, {"config__hardware__device": device("VirtualSriovEthernetCard")}, "passed through"),
    (
        "passthrough",
        RISK,
        {
            "config__hardware__device": device(
                "VirtualPCIPassthrough", backing("VirtualPCIPassthroughVmiopBackingInfo")
            )
        },
        "vGPU",
    ),
    (
        "attached",
        FAIL,
        {"config__hardware__device": device("VirtualCdrom", backing("VirtualCdromAtapiBackingInfo") + ON)},
        "connected to a device",
    ),
    (
        "attached",
        OK,
        {"config__hardware__device": device("VirtualCdrom", backing("VirtualCdromAtapiBackingInfo") + OFF)},
        "",
    ),
    (
        "attached",
        FAIL,
        {
            "config__hardware__device": device(
                "VirtualCdrom",
                backing("VirtualCdromIsoBackingInfo", "<datastore type='Datastore'>ds-9</datastore>") + ON,
            )
        },
        "image",
    ),
    (
        "attached",
        FAIL,
        {"config__hardware__device": device("VirtualUSB", "<connected>true</connected>")},
        "connected to a device",
    ),
    ("distance", FAIL, {"of_round_trip_ms": 151.0}, "151 ms"),
    ("distance", OK, {"of_round_trip_ms": 150.0}, "150 ms"),
    ("distance", FAIL, {"of_round_trip_ms": 11.0, "of_api": (5, 5)}, "10 ms"),
    ("encryption", UNKNOWN, {"config__migrateEncryption": ""}, "not tell"),
]


@pytest.mark.parametrize(
    ("rule", "outlook", "more", "words"),
    GUESTS,
    ids=[f"{one[0]}-{number}" for number, one in enumerate(GUESTS)],
)
def test_what_a_vm_is_or_has_decides(rule: str, outlook: Outlook, more: dict[str, Any], words: str) -> None:
    found, why = said(scene(**more), rule)
    assert (found, words in why) == (outlook, True), why


TARGETS: list[tuple[str, Outlook, Place, str]] = [
    ("host", FAIL, place(2, runtime__connectionState="notResponding"), "not responding"),
    ("host", FAIL, place(2, runtime__inMaintenanceMode="true"), "in maintenance"),
    ("host", FAIL, place(2, runtime__powerState="standBy"), "standby"),
    ("host", RISK, place(2, runtime__inQuarantineMode="true"), "quarantine"),
    (
        "cpu",
        FAIL,
        place(2, hardware__cpuPkg="<HostCpuPackage><vendor>amd</vendor></HostCpuPackage>"),
        "by amd",
    ),
    (
        "vmotion network",
        FAIL,
        place(2, config__virtualNicManagerInfo__netConfig=vnics(("management", "vmk0"))),
        "no VMkernel",
    ),
    (
        "vmotion network",
        RISK,
        place(2, config__virtualNicManagerInfo__netConfig=vnics(("management", "vmk0"), ("vmotion", "vmk0"))),
        "management adapter",
    ),
    ("vmotion network", FAIL, place(2, capability__vmotionSupported="false"), "cannot vMotion"),
    ("distance", UNKNOWN, place(2, inside=group("domain-c2")), "not told by any API"),
    (
        "ha",
        RISK,
        place(2, inside=group(config="<dasConfig><enabled>false</enabled></dasConfig>")),
        "HA protects it",
    ),
    ("ha", RISK, place(2, inside=group("domain-c2")), "admission control"),
    ("ha", UNKNOWN, Place(place(2).row, None), "not told"),
]


@pytest.mark.parametrize(
    ("rule", "outlook", "there", "words"),
    TARGETS,
    ids=[f"{one[0]}-{number}" for number, one in enumerate(TARGETS)],
)
def test_what_a_target_is_or_lacks_decides(rule: str, outlook: Outlook, there: Place, words: str) -> None:
    found, why = said(scene(target=there), rule)
    assert (found, words in why) == (outlook, True), why


def affine(mandatory: str, *hosts: str) -> str:
    members = "".join(f"<host type='HostSystem'>{one}</host>" for one in hosts)
    return (
        "<group xsi:type='ClusterVmGroup'><name>dbs</name><vm type='VirtualMachine'>vm-1</vm></group>"
        f"<group xsi:type='ClusterHostGroup'><name>licensed</name>{members}</group>"
        f"<rule xsi:type='ClusterVmHostRuleInfo'><name>licence</name><enabled>true</enabled><mandatory>{mandatory}</mandatory>"
        "<vmGroupName>dbs</vmGroupName><affineHostGroupName>licensed</affineHostGroupName></rule>"
    )


@pytest.mark.parametrize(
    ("mandatory", "hosts", "outlook"),
    [("true", ("host-1",), FAIL), ("false", ("host-1",), RISK), ("true", ("host-1", "host-2"), OK)],
)
def test_a_mandatory_rule_forbids_another_only_prefers(
    mandatory: str, hosts: tuple[str, ...], outlook: Outlook
) -> None:
    there = place(2, inside=group(config=affine(mandatory, *hosts)))
    found, why = said(scene(target=there), "affinity")
    assert found is outlook
    assert outlook is OK or "licence" in why


def test_evc_modes_are_compared_for_equality_never_by_their_names() -> None:
    """ "intel-broadwell" sorts before "intel-merom" and is newer; a mode nobody set says nothing."""
    bare: dict[str, Any] = {"config__featureCapability": "", "runtime__featureRequirement": ""}

    def modes(needs: str, current: str, best: str) -> Outlook:
        there = place(
            2, config__featureCapability="", summary__currentEVCModeKey=current, summary__maxEVCModeKey=best
        )
        more: dict[str, Any] = {"runtime__minRequiredEVCModeKey": needs} if needs else {}
        return said(scene(target=there, **(bare | more)), "cpu")[0]

    assert modes("intel-merom", "intel-merom", "intel-broadwell") is OK
    assert modes("intel-broadwell", "intel-merom", "intel-broadwell") is OK
    assert modes("intel-merom", "intel-broadwell", "intel-skylake") is UNKNOWN
    assert modes("", "", "intel-broadwell") is UNKNOWN


def test_a_vm_that_is_off_needs_no_vmotion_and_no_cpu_features() -> None:
    there = place(2, config__virtualNicManagerInfo__netConfig=vnics(), config__featureCapability="")
    of = scene(target=there, runtime__powerState="poweredOff")
    assert {said(of, rule)[0] for rule in ("vmotion network", "cpu", "encryption", "distance")} == {OK}
