"""What the rules must know of a platform: which directions it allows, and what it refuses. By `ClusterState.kind`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from evac.model import Outlook


class Traits(Struct, frozen=True, kw_only=True):
    """How a platform treats a move of a running guest. The defaults are for one that evac knows nothing of."""

    lesser_cpu: Outlook = Outlook.RISK
    """To a host without CPU features of the source, where it is not told which of them the guest was given."""
    lesser_cpu_why: str = "a guest that was given them cannot go there"
    older: Outlook = Outlook.RISK
    """To a host whose hypervisor is older."""
    older_why: str = "live moves to older versions are not supported"
    group: Outlook = Outlook.RISK
    """One of a group that must stay together, away from the others on its host."""
    group_why: str = "the others must follow"
    snapshots: Outlook = Outlook.OK
    """With snapshots."""
    snapshots_why: str = ""
    local_disk: Outlook = Outlook.RISK
    """With disks that lie on its host and must be copied while it runs."""
    zones: bool = False
    """A guest may be bound to the availability zone, or to the aggregates, of its host."""
    round_trip: float = 0.010
    """Seconds of a round trip between two hosts from which it is a risk. Nobody documents one for QEMU: TCP's largest window
    by default (4 MiB, kernel ip-sysctl "tcp_wmem") carries 400 MB/s at 10 ms, a third of a 10 Gbit/s link."""
    round_trip_why: str = "TCP fills no fast link over that"
    links: str = ""
    """Who judges the links between hosts, where that is not a look by SSH; a sentence."""
    cold_counts: bool = False
    """A stopped guest takes its memory of the target as well."""


_NOVA = Traits(
    # Nova admin guide "Live-migrate instances" and "CPU models": the target's CPU is compared with what the guest was
    # given, by default all that its host has (cpu_mode = host-model); with a common cpu_models list both directions go.
    lesser_cpu=Outlook.RISK,
    lesser_cpu_why="Nova refuses it unless cpu_models gives guests less",
    # nova.conductor, _check_compatible_with_source_hypervisor: DestinationHypervisorTooOld, in every release; the
    # workaround skip_hypervisor_version_check_on_lm turns it off.
    older=Outlook.FAIL,
    older_why="Nova moves no running server to an older hypervisor",
    # ServerGroupAffinityFilter and the late check in the compute: no member of an "affinity" group goes alone.
    group=Outlook.FAIL,
    group_why="Nova moves no member of such a group away from the others",
    # block_migration = "auto": copying them is the ordinary case there. It takes time, which is the estimate's business.
    local_disk=Outlook.OK,
    zones=True,
    cold_counts=True,
)
_PVE = Traits(
    # pve-docs, qm.adoc, "CPU Type" and "Online Migration": nothing is compared; a guest that meets fewer features crashes.
    lesser_cpu_why="Proxmox VE compares nothing: a guest that uses them crashes after its move",
    older_why="Proxmox VE supports live moves to the same or a newer version only",
    group_why="HA moves the others along",
    # pve-docs, pvecm.adoc, "Requirements"/"Cluster Network": "latencies under 5 milliseconds (LAN performance)".
    round_trip=0.005,
    round_trip_why="Proxmox VE asks for less than 5 ms between its nodes",
)
_LIBVIRT = Traits(
    # libvirt, formatdomain "CPU model and topology"; virConnectCompareHypervisorCPU before the move.
    lesser_cpu_why="libvirt refuses a guest that was given them",
    older_why="an older QEMU may not know the guest's machine type",
    # qemuMigrationSrcIsAllowed: "cannot migrate domain with N snapshots".
    snapshots=Outlook.FAIL,
    snapshots_why="libvirt moves no running guest that has snapshots",
)
_VSPHERE = Traits(
    # "Enhanced vMotion Compatibility": vMotion goes to the same or a newer baseline, and never back while it runs.
    lesser_cpu_why="vMotion refuses a guest that uses them; EVC on the cluster gives guests less",
    # vMotion between releases goes both ways as long as the target knows the VM's hardware version; vCenter checks it.
    older=Outlook.OK,
    snapshots=Outlook.RISK,
    snapshots_why="it carries its snapshots along, and moving disks takes longer",
    group_why="DRS moves the others after it, or it back",
    links="Links between vSphere's hosts: the MTU of vMotion's adapters and virtual switches is judged beside vCenter's checker;"
    " what physical switches take, and how long a round trip is, no API tells.",
)

_KINDS: Mapping[str, Traits] = {"openstack": _NOVA, "proxmox": _PVE, "libvirt": _LIBVIRT, "vsphere": _VSPHERE}

_ANY = Traits()


def traits(kind: str) -> Traits:
    """Of a cluster's kind."""
    return _KINDS.get(kind, _ANY)
