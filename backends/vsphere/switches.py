"""What of vSphere works against a maintenance window while it is on: DRS, which moves VMs by itself. Pure but for the read.

DRS that is fully automated is calm as "partiallyAutomated": it still places a VM that is powered on, and moves none by
itself (vSphere Resource Management, "DRS automation levels"). A VM may have a level of its own, which holds whatever the
cluster's is (vSphere Web Services API, ClusterDrsVmConfigInfo, and ClusterDrsConfigInfo.enableVmBehaviorOverrides, which is on
unless told otherwise): such VMs are named, and left as somebody has set them. HA's admission control is told and never turned: without it
the VMs of a host that fails meanwhile may find no room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backends.vsphere.reading import Reader
from backends.vsphere.session import Live
from backends.vsphere.soap import Node, Row
from evac.model import Switch

DRS, HA = "/drs", "/ha"
FULL, CALM = "fullyAutomated", "partiallyAutomated"
LEVELS = ("manual", CALM, FULL)
"""vim.cluster.DrsConfigInfo.DrsBehavior"""


def read(live: Live, reader: Reader, cluster: str) -> list[Switch]:
    """All switches of all clusters of this vCenter, as they stand now."""
    rows = reader.viewed(live, "ClusterComputeResource")
    own = sorted({vm for row in rows for vm in automated(row)})
    guests = reader.many(live, [("VirtualMachine", vm) for vm in own], {"VirtualMachine": ("name",)})
    names = {guest.id: guest.text("name") or guest.id for guest in guests}
    return [switch for row in rows for switch in of_cluster(cluster, row, names)]


def automated(row: Row) -> list[str]:
    """VMs that are fully automated by a level of their own, whatever the cluster's: by reference."""
    config = row.node("configurationEx")
    drs = config.node("drsConfig") or Node()
    if drs.text("enabled") != "true" or drs.text("enableVmBehaviorOverrides") == "false":
        return []
    return [
        one.text("key")
        for one in config.nodes("drsVmConfig")
        if one.text("behavior") == FULL and one.text("enabled") != "false"
    ]


def of_cluster(cluster: str, row: Row, names: Mapping[str, str]) -> Iterator[Switch]:
    """DRS where it is on; HA where it is on. `names`: of VMs that are automated by themselves; one that is gone has none."""
    config = row.node("configurationEx")
    drs, das = config.node("drsConfig") or Node(), config.node("dasConfig") or Node()
    name = row.text("name") or row.id
    level = drs.text("defaultVmBehavior")
    if drs.text("enabled") == "true" and level:
        yield Switch(
            cluster=cluster,
            id=f"{row.id}{DRS}",
            name=f"DRS of {name}",
            kind="balancer",
            value=level,
            calm=CALM if level == FULL else level,
            why="DRS would move VMs by itself while hosts are emptied and refilled" if level == FULL else "",
            exempt=tuple(sorted(names[vm] for vm in automated(row) if vm in names)),
        )
    if das.text("enabled") == "true":
        control = "admission control on" if das.text("admissionControlEnabled") == "true" else "on"
        yield Switch(
            cluster=cluster,
            id=f"{row.id}{HA}",
            name=f"HA of {name}",
            kind="ha",
            value=control,
            calm=control,
            why="vCenter may refuse to start VMs while a host is out and its spare room is short",
        )


def why_not(switches: Sequence[Switch], switch: str, was: str, to: str) -> str:
    """Why it cannot be turned, in words; "" when it can. One that does not exist is for the caller."""
    now = next(one for one in switches if one.id == switch)
    if not switch.endswith(DRS):
        return f"{now.name} is told only: evac does not turn it"
    if now.value != was:
        return f"{now.name} is {now.value}, and not {was}: it was not turned"
    return "" if to in LEVELS else f"{now.name} can be {', '.join(LEVELS)}, and not {to}"
