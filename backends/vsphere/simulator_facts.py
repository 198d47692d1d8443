"""What a simulated vCenter is told of its inventory, and what is known of CPUs: plain values, no world."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from backends.simulation.things import SimVM
from evac.model import VMState

CPUS: Mapping[str, tuple[str, str]] = {
    "Broadwell": ("Intel(R) Xeon(R) CPU E5-2697 v4 @ 2.30GHz", "intel-broadwell"),
    "Skylake-Server": ("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", "intel-skylake"),
    "Cascadelake-Server": ("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", "intel-cascadelake"),
    "Icelake-Server": ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "intel-icelake"),
    "EPYC-Rome": ("AMD EPYC 7502 32-Core Processor", "amd-zen2"),
    "EPYC-Milan": ("AMD EPYC 7543 32-Core Processor", "amd-zen3"),
}
"""The world's word for a CPU → what ESXi calls it, and the newest EVC mode it can offer."""

EVC_MODES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("intel-merom", "intel", 'Intel® "Merom" Generation', ()),
    ("intel-penryn", "intel", 'Intel® "Penryn" Generation', ()),
    ("intel-nehalem", "intel", 'Intel® "Nehalem" Generation', ("sse4.2",)),
    ("intel-westmere", "intel", 'Intel® "Westmere" Generation', ("sse4.2",)),
    ("intel-sandybridge", "intel", 'Intel® "Sandy Bridge" Generation', ("sse4.2", "avx")),
    ("intel-ivybridge", "intel", 'Intel® "Ivy Bridge" Generation', ("sse4.2", "avx")),
    ("intel-haswell", "intel", 'Intel® "Haswell" Generation', ("sse4.2", "avx", "avx2")),
    ("intel-broadwell", "intel", 'Intel® "Broadwell" Generation', ("sse4.2", "avx", "avx2")),
    (
        "intel-skylake",
        "intel",
        'Intel® "Skylake" Generation',
        ("sse4.2", "avx", "avx2", "avx512f", "avx512dq"),
    ),
    (
        "intel-cascadelake",
        "intel",
        'Intel® "Cascade Lake" Generation',
        ("sse4.2", "avx", "avx2", "avx512f", "avx512dq", "avx512vnni"),
    ),
    (
        "intel-icelake",
        "intel",
        'Intel® "Ice Lake" Generation',
        ("sse4.2", "avx", "avx2", "avx512f", "avx512dq", "avx512vnni", "vaes"),
    ),
    ("amd-zen", "amd", 'AMD "Zen" Generation', ("sse4.2", "avx", "avx2", "sha-ni")),
    ("amd-zen2", "amd", 'AMD "Zen 2" Generation', ("sse4.2", "avx", "avx2", "sha-ni", "clzero")),
    ("amd-zen3", "amd", 'AMD "Zen 3" Generation', ("sse4.2", "avx", "avx2", "sha-ni", "clzero", "vaes")),
)
"""Key, vendor, label, features; oldest first within a vendor."""


HARDWARE = ("vmx-13", "vmx-14", "vmx-15", "vmx-17", "vmx-18", "vmx-19", "vmx-20", "vmx-21")
"""What ESXi 8.0 U2 and later run, of those since 6.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What vCenter knows of a VM and the world does not need."""

    networks: tuple[str, ...] = ("VM Network",)
    cdrom: str = ""
    """"host": the host's own drive is connected; "client": somebody's console; else the datastore of a connected ISO."""
    rdm: str = ""
    """"physicalMode" or "virtualMode": a LUN is mapped into it."""
    rdm_hosts: frozenset[str] = frozenset()
    """The hosts that see the LUN."""
    passthrough: bool = False
    """A PCI device of the host is in it."""
    vgpu: str = ""
    """Profile of a virtual GPU, such as "grid_t4-4q"."""
    snapshots: int = 0
    agent: bool = False
    """A vCLS VM: vCenter's own, to be left alone."""
    tools: bool = True
    independent: bool = False
    """Its disk is independent-nonpersistent."""
    pinned: bool = False
    """CPU affinity is set."""
    template: bool = False
    hardware: str = "vmx-19"
    """Version of its virtual hardware."""
    drs: str = ""
    """Automation level of its own ("manual", "fullyAutomated", …); "": the cluster's."""


@dataclass(slots=True, kw_only=True)
class ClusterPlan:
    """How a cluster is set up."""

    drs: bool = True
    level: str = "partiallyAutomated"
    """"manual", "partiallyAutomated" or "fullyAutomated"."""
    overrides: bool = True
    """VMs may have levels of their own."""
    ha: bool = True
    evc: str = ""
    hardware: tuple[str, ...] = HARDWARE
    """Versions of virtual hardware that its hosts run, oldest first."""


@dataclass(frozen=True, slots=True)
class Net:
    """A network: a port group of standard switches, or of a distributed one."""

    name: str
    distributed: bool = False
    hosts: frozenset[str] | None = None
    """The hosts that have it; None: all."""

    def on(self, host: str) -> bool:
        """True when that host has it."""
        return self.hosts is None or host in self.hosts


NETWORKS = (Net("VM Network"), Net("Management Network"), Net("dvs-prod-110", distributed=True))


def evc_features(mode: str) -> tuple[str, ...]:
    """What a guest sees of its CPU in that mode."""
    return next(features for key, _, _, features in EVC_MODES if key == mode)


def shown(name: str) -> str:
    """A name as vCenter keeps it: these three are escaped in every name of an entity."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def power_state(vm: SimVM) -> str:
    """VirtualMachinePowerState. A VM that stands still for a question is powered on."""
    if vm.state is VMState.SUSPENDED:
        return "suspended"
    return "poweredOff" if vm.state is VMState.STOPPED or vm.power == "shutdown" else "poweredOn"


def bios_uuid(vm: SimVM) -> str:
    """The UUID of the virtual hardware, which is not the instance UUID."""
    if vm.machine_id:
        return vm.machine_id
    digest = hashlib.sha256(vm.id.encode()).hexdigest()
    return f"42{digest[2:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def mac(vm: SimVM, number: int) -> str:
    """The address of one of its network cards."""
    digest = hashlib.sha256(vm.id.encode()).hexdigest()
    return (
        f"00:50:56:{int(digest[:2], 16) % 64:02x}:{digest[2:4]}:{(int(digest[4:6], 16) + number) % 256:02x}"
    )
