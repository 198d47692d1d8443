"""Pure functions from one payload to one noun. Words we do not know stay visible in `native`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from backends.openstack.payload import (
    Address,
    Aggregate,
    ExtraSpecs,
    Flavor,
    FlavorDetail,
    Hypervisor,
    InstanceAction,
    Move,
    Server,
    ServerGroup,
    Service,
)
from evac.decoding import from_json
from evac.model import (
    VM,
    Affinity,
    AffinityKind,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Phase,
    TaskRecord,
    VMState,
)

MIB = 1024**2
GIB = 1024**3

VM_STATES: dict[str, VMState] = {
    "ACTIVE": VMState.RUNNING,
    "BUILD": VMState.BUILDING,
    "DELETED": VMState.DELETED,
    "ERROR": VMState.ERROR,
    "HARD_REBOOT": VMState.RUNNING,
    "MIGRATING": VMState.MIGRATING,
    "PASSWORD": VMState.RUNNING,
    "PAUSED": VMState.PAUSED,
    "REBOOT": VMState.RUNNING,
    "REBUILD": VMState.BUILDING,
    "RESCUE": VMState.RUNNING,
    "RESIZE": VMState.MIGRATING,
    "REVERT_RESIZE": VMState.MIGRATING,
    "SHELVED": VMState.STOPPED,
    "SHELVED_OFFLOADED": VMState.STOPPED,
    "SHUTOFF": VMState.STOPPED,
    "SOFT_DELETED": VMState.DELETED,
    "SUSPENDED": VMState.SUSPENDED,
    "VERIFY_RESIZE": VMState.AWAITING_CONFIRM,
}
"""Compute API guide, "Server concepts", status of a server."""

POWER = {0: "no state", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed", 7: "suspended"}
"""nova.compute.power_state, exposed as OS-EXT-STS:power_state."""

PHASES: dict[str, Phase] = {
    "queued": Phase.QUEUED,
    "accepted": Phase.PREPARING,
    "preparing": Phase.PREPARING,
    "pre-migrating": Phase.PREPARING,
    "migrating": Phase.RUNNING,
    "running": Phase.RUNNING,
    "running (post-copy)": Phase.RUNNING,
    "post-migrating": Phase.FINISHING,
    "confirming": Phase.FINISHING,
    "reverting": Phase.FINISHING,
    "finished": Phase.AWAITING_CONFIRM,
    "completed": Phase.COMPLETED,
    "confirmed": Phase.COMPLETED,
    "done": Phase.COMPLETED,
    "cancelled": Phase.CANCELLED,
    "reverted": Phase.CANCELLED,
    "failed": Phase.FAILED,
    "error": Phase.FAILED,
}
"""Words of nova.objects.fields and of the libvirt driver. An evacuation ends as "done" until its source restarts."""

KINDS: dict[str, MigrationKind] = {
    "live-migration": MigrationKind.LIVE,
    "migration": MigrationKind.COLD,
    "resize": MigrationKind.RESIZE,
    "evacuation": MigrationKind.EVACUATION,
}

_NO_FLAVOR = Flavor()
_NO_PORTS: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
_UTC = UTC


def seconds(when: datetime | None) -> float | None:
    """Unix seconds. os-services and os-migrations send times without a zone; they are UTC."""
    if when is None:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=_UTC)
    return when.timestamp()


def vm(cluster: str, server: Server, flavors: Mapping[str, FlavorDetail] | None = None) -> VM:
    """One server. `flavors` is needed below 2.47 only, where a server carries nothing but its flavor's id."""
    flavor = server.flavor or _NO_FLAVOR
    if flavors and flavor.vcpus is None and (full := flavors.get(flavor.id or "")):
        flavor = Flavor(full.id, full.name, full.vcpus, full.ram, full.disk, full.ephemeral, full.swap)
    status = server.status or ""
    power = server.power_state
    fault = server.fault
    addresses, macs = _ports(server.addresses) if server.addresses else _NO_PORTS
    return VM(
        cluster=cluster,
        id=server.id,
        name=server.name or server.id,
        host=server.host or "",
        state=VM_STATES.get(status, VMState.UNKNOWN),
        native=status,
        task=server.task_state or "",
        power="" if power is None else POWER.get(power) or f"power state {power}",
        vcpus=flavor.vcpus,
        memory=None if flavor.ram is None else flavor.ram * MIB,
        disk=None if flavor.disk is None else flavor.disk * GIB,
        flavor=flavor.original_name or flavor.id or "",
        tenant=server.tenant_id or "",
        zone=server.zone or "",
        addresses=addresses,
        macs=macs,
        devices=_devices(flavor.extra_specs) if flavor.extra_specs else (),
        volumes=tuple([volume.id for volume in server.volumes]) if server.volumes else (),
        local_disk=_local_disk(server, flavor),
        tags=tuple(server.tags) if server.tags else (),
        locked=bool(server.locked),
        fault=(fault.message or "") if fault else "",
        created=seconds(server.created),
        updated=seconds(server.updated),
    )


def _ports(networks: Mapping[str, list[Address]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(addresses, MACs). A port with two addresses is listed twice, so MACs may repeat; a server has a few at most."""
    addresses: list[str] = []
    macs: list[str] = []
    for ports in networks.values():
        for port in ports:
            addresses.append(port.addr)
            mac = port.mac
            if mac and mac not in macs:
                macs.append(mac)
    return tuple(addresses), tuple(macs)


def _devices(specs: ExtraSpecs) -> tuple[str, ...]:
    """Its flavor's words for them (Nova admin guide, "Attaching physical PCI devices to guests", "Virtual GPUs")."""
    found = [f"pci {specs.pci}"] if specs.pci else []
    return tuple(found + ([f"vGPU x {specs.vgpu}"] if specs.vgpu else []))


POLICIES: dict[str, tuple[AffinityKind, bool]] = {
    "affinity": (AffinityKind.TOGETHER, True),
    "anti-affinity": (AffinityKind.APART, True),
    "soft-affinity": (AffinityKind.TOGETHER, False),
    "soft-anti-affinity": (AffinityKind.APART, False),
}


def affinity(cluster: str, group: ServerGroup) -> Affinity | None:
    """A server group. None where its policy is unknown, or it says nothing: with fewer than two servers in it."""
    policy = group.policy or next(iter(group.policies or ()), "")
    kind, strict = POLICIES.get(policy, (None, False))
    if kind is None or len(group.members or ()) < 2:
        return None
    several = group.rules is not None and (group.rules.max_server_per_host or 1) > 1
    return Affinity(
        cluster=cluster,
        id=group.id,
        name=group.name or group.id,
        kind=kind,
        strict=strict
        and not several,  # so many may be on one host; which move would be one too many is not counted
        vms=tuple(group.members or ()),
    )


def _local_disk(server: Server, flavor: Flavor) -> bool | None:
    """False when every disk is a volume. An image-backed disk may lie on the host or on Ceph: the API does not tell."""
    if server.image is None or server.image:
        return None
    return None if flavor.ephemeral or flavor.swap else False


def hosts(
    cluster: str,
    services: Iterable[Service],
    hypervisors: Iterable[Hypervisor],
    aggregates: Iterable[Aggregate] = (),
) -> tuple[Host, ...]:
    """Compute services and hypervisors joined by the service's host name, which is what servers refer to.

    A bare-metal service has many hypervisors under one host name; their capacity is added up.
    """
    agents = {agent.host: agent for agent in services if agent.host}
    nodes: dict[str, list[Hypervisor]] = {}
    for node in hypervisors:
        name = (node.service.host if node.service else None) or node.hypervisor_hostname
        if name:
            nodes.setdefault(name, []).append(node)
    groups: dict[str, list[str]] = {}
    for group in aggregates:
        for member in group.hosts or ():
            groups.setdefault(member, []).append(group.name or "")
    names = sorted(agents.keys() | nodes.keys())
    return tuple(
        host(cluster, name, agents.get(name), nodes.get(name, []), groups.get(name, [])) for name in names
    )


def host(
    cluster: str, name: str, agent: Service | None, nodes: list[Hypervisor], groups: list[str] | None = None
) -> Host:
    """One host from its compute service and its hypervisors; either may be unknown to us."""
    first = nodes[0] if nodes else Hypervisor()
    single = len(nodes) == 1
    cpu = _cpu(first)
    state = (agent.state if agent else None) or first.state
    status = (agent.status if agent else None) or first.status
    reason = (agent.disabled_reason if agent else None) or (
        first.service.disabled_reason if first.service else ""
    )
    return Host(
        cluster=cluster,
        id=name,
        name=name,
        uuid=str(first.id) if single and isinstance(first.id, str) else "",
        state=HostState(state) if state in {"up", "down"} else HostState.UNKNOWN,
        forced_down=bool(agent and agent.forced_down),
        maintenance=status == "disabled",
        reason=reason or "",
        seen=seconds(agent.updated_at) if agent else None,
        cpu_model=cpu[0],
        cpu_vendor=cpu[1],
        cpu_features=cpu[2],
        hypervisor=_hypervisor(first),
        address=(first.host_ip or "") if single else "",
        vcpus=_sum(node.vcpus for node in nodes),
        vcpus_used=_sum(node.vcpus_used for node in nodes),
        memory=_scaled(_sum(node.memory_mb for node in nodes)),
        memory_used=_scaled(_sum(node.memory_mb_used for node in nodes)),
        vms=_sum(node.running_vms for node in nodes),
        zone=(agent.zone or "") if agent else "",
        aggregates=tuple(sorted(groups or ())),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _scaled(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else mebibytes * MIB


def _hypervisor(node: Hypervisor) -> str:
    """Nova packs a version as major * 1,000,000 + minor * 1,000 + patch."""
    kind, version = node.hypervisor_type or "", node.hypervisor_version
    if not version:
        return kind
    return f"{kind} {version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}".strip()


def _cpu(node: Hypervisor) -> tuple[str, str, tuple[str, ...]]:
    info = node.cpu_info
    if isinstance(info, str):
        try:
            info = from_json(info, dict[str, Any]) if info else None
        except msgspec.DecodeError:
            return str(info), "", ()
    if not isinstance(info, dict):
        return "", "", ()
    features = info.get("features")
    return (
        str(info.get("model") or ""),
        str(info.get("vendor") or ""),
        tuple(sorted(str(one) for one in features)) if isinstance(features, list) else (),
    )


def migration(cluster: str, move: Move, vm_id: str = "", kind: MigrationKind | None = None) -> Migration:
    """One migration. `kind` when the list it came from implies it (GET /servers/ID/migrations: live)."""
    status = move.status or ""
    return Migration(
        cluster=cluster,
        id=str(move.id),
        vm=move.instance_uuid or move.server_uuid or vm_id,
        kind=kind or KINDS.get(move.migration_type or "", MigrationKind.UNKNOWN),
        phase=PHASES.get(status, Phase.UNKNOWN),
        native=status,
        source=move.source_compute or "",
        target=move.dest_compute or "",
        created=seconds(move.created_at),
        updated=seconds(move.updated_at),
        memory_total=move.memory_total_bytes,
        memory_processed=move.memory_processed_bytes,
        memory_remaining=move.memory_remaining_bytes,
        disk_total=move.disk_total_bytes,
        disk_processed=move.disk_processed_bytes,
        disk_remaining=move.disk_remaining_bytes,
    )


def task(vm_id: str, action: InstanceAction) -> TaskRecord:
    """One entry of a server's log. It failed if Nova says "Error" of the action or of any of its steps."""
    events = sorted(action.events or (), key=lambda event: seconds(event.start_time) or 0.0)
    bad = [event for event in events if event.result not in {"Success", None}]
    reasons = list(dict.fromkeys(event.details for event in bad if event.details))
    failed = bool(bad) or action.message == "Error"
    message = "; ".join(reasons) or (", ".join(event.event or "" for event in bad) if bad else "")
    if not message and action.message and action.message != "Error":
        message = action.message
    return TaskRecord(
        id=action.request_id,
        vm=action.instance_uuid or vm_id,
        action=action.action or "",
        started=seconds(action.start_time) or 0.0,
        user=action.user_id or "",
        failed=failed,
        message=message,
    )
