"""A world's things as evac's nouns, as any backend would report them. Never the truth the cluster does not know."""

from __future__ import annotations

import time

from backends.simulation.faults import Kind
from backends.simulation.physics import Stage
from backends.simulation.things import SimHost, SimMove, SimRule, SimVM
from backends.simulation.world import World
from evac import model
from evac.errors import NotFound, Unreachable
from evac.model import HostState, MigrationKind, Phase, VMState
from evac.window.nouns import HostFacts

RECENT = 300.0
"""Seconds for which an ended migration stays in the inventory."""

PHASES = {
    "accepted": Phase.QUEUED,
    "queued": Phase.QUEUED,
    "preparing": Phase.PREPARING,
    "pre-migrating": Phase.PREPARING,
    "running": Phase.RUNNING,
    "running (post-copy)": Phase.FINISHING,
    "migrating": Phase.RUNNING,
    "post-migrating": Phase.FINISHING,
    "finished": Phase.AWAITING_CONFIRM,
    "done": Phase.COMPLETED,
    "confirmed": Phase.COMPLETED,
    "reverted": Phase.CANCELLED,
    "completed": Phase.COMPLETED,
    "cancelled": Phase.CANCELLED,
    "failed": Phase.FAILED,
    "error": Phase.FAILED,
}


def switches(cluster: str, world: World) -> list[model.Switch]:
    """All of them as they stand."""
    return [
        model.Switch(
            cluster=cluster,
            id=sim.id,
            name=sim.name,
            kind=sim.kind,
            value=sim.value,
            calm=sim.calm,
            why=sim.why,
            host=sim.host,
            exempt=sim.exempt,
            busy=sim.busy,
            note=sim.note,
        )
        for sim in world.switches.values()
    ]


def host(cluster: str, world: World, sim: SimHost) -> model.Host:
    """One hypervisor."""
    return model.Host(
        cluster=cluster,
        id=sim.name,
        name=sim.name,
        uuid=sim.uuid,
        state=HostState.UP if world.host_up(sim) else HostState.DOWN,
        forced_down=sim.forced_down,
        maintenance=sim.maintenance,
        reason=sim.reason,
        seen=world.wall(world.time if sim.agent else sim.lost),
        cpu_model=sim.cpu_model,
        cpu_vendor=sim.cpu_vendor,
        cpu_features=sim.cpu_features,
        hypervisor="QEMU 8.2.2",
        address=sim.address,
        vcpus=sim.vcpus,
        vcpus_used=sim.vcpus_used,
        memory=sim.memory,
        memory_used=sim.memory_used,
        vms=len(sim.vms),
        zone=sim.zone,
        aggregates=sim.aggregates,
        tags=sim.tags,
    )


def host_facts(cluster: str, world: World, name: str) -> HostFacts:
    """What a host that runs says of itself. Raises NotFound, Unreachable."""
    world.advance()
    if (host := world.hosts.get(name)) is None:
        raise NotFound(model.Problem(happened=f"{cluster} has no host {name}."))
    if not host.alive:
        raise Unreachable(model.Problem(happened=f"{name} does not answer."))
    return HostFacts(
        boot=host.machine.boot_id,
        kernel=host.machine.kernel,
        version="simulation",
        clock=host.machine.clock,
        links=tuple(sorted(name for name, _ in host.machine.links)),
        mtus={name: host.machine.mtu(name) for name, _ in sorted(host.machine.links)},
        mounts=tuple(sorted(place for _, place in host.machine.mounts)),
        how="simulation",
        at=time.time(),
    )


def vm(cluster: str, world: World, sim: SimVM) -> model.VM:
    """One VM."""
    state = VMState.MIGRATING if sim.task == "migrating" else sim.state
    return model.VM(
        cluster=cluster,
        id=sim.id,
        name=sim.name,
        uuid=sim.instance,
        host="" if sim.hostless else sim.host,
        state=VMState.UNKNOWN if sim.native else state,
        native=sim.native or state.value,
        task=sim.task,
        power=sim.power,
        vcpus=sim.vcpus,
        memory=sim.memory,
        disk=sim.disk,
        flavor=sim.flavor,
        tenant=sim.project,
        zone=sim.zone,
        addresses=sim.addresses,
        volumes=sim.volumes,
        datastores=sim.datastores,
        question=sim.question,
        local_disk=sim.local_disk,
        tags=sim.tags,
        machine_id=sim.machine_id or sim.id,
        devices=tuple(f"pci {one}" for one in sim.devices),
        media=sim.media,
        snapshots=sim.snapshots,
        locked=sim.locked,
        fault=sim.fault if sim.state is VMState.ERROR else "",
        created=world.wall(sim.created),
        updated=world.wall(sim.updated),
    )


def affinity(cluster: str, rule: SimRule) -> model.Affinity:
    """A rule about where VMs run."""
    return model.Affinity(
        cluster=cluster,
        id=rule.id,
        name=rule.name,
        kind=rule.kind,
        strict=rule.strict,
        vms=tuple(rule.vms),
        hosts=rule.hosts,
    )


def migration(cluster: str, world: World, move: SimMove) -> model.Migration:
    """One migration record, with bytes once they flow."""
    if move.kind is MigrationKind.STORAGE:
        return _disk_migration(cluster, world, move)
    stream = move.stream if move.kind is MigrationKind.LIVE else None
    done = stream is not None and stream.stage is Stage.DONE
    return model.Migration(
        cluster=cluster,
        id=str(move.id),
        vm=move.vm,
        kind=move.kind,
        phase=PHASES.get(move.status, Phase.UNKNOWN),
        native=move.status,
        source=move.source,
        target=move.target,
        created=world.wall(move.created),
        updated=world.wall(world.time if stream is not None and not move.over else move.updated),
        memory_total=None if stream is None else int(stream.memory),
        memory_processed=None if stream is None else move.memory_sent,
        memory_remaining=None if stream is None else 0 if done else int(stream.remaining),
        disk_total=None if stream is None else int(stream.disk),
        disk_processed=None if stream is None else move.disk_sent,
        disk_remaining=None if stream is None else max(0, int(stream.disk) - move.disk_sent),
    )


def _disk_migration(cluster: str, world: World, move: SimMove) -> model.Migration:
    disk, sent = world.vms[move.vm].disk if move.vm in world.vms else None, world.placing.sent(move)
    return model.Migration(
        cluster=cluster,
        id=str(move.id),
        vm=move.vm,
        kind=move.kind,
        phase=PHASES.get(move.status, Phase.UNKNOWN),
        native=move.status,
        source=move.source,
        target=move.target,
        created=world.wall(move.created),
        updated=world.wall(move.updated if move.over else world.time),
        disk_total=disk,
        disk_processed=sent,
        disk_remaining=None if disk is None else max(0, disk - sent),
    )


def datastores(cluster: str, world: World) -> tuple[model.Datastore, ...]:
    """The places for disks; none in most worlds."""
    return tuple(
        model.Datastore(
            cluster=cluster,
            id=store.id,
            name=store.name,
            kind=store.kind,
            shared=len(store.hosts) > 1,
            hosts=tuple(sorted(store.hosts)),
            capacity=store.capacity,
            free=store.capacity - store.used,
            usable=store.usable,
        )
        for store in world.placing.datastores.values()
    )


def changed_since(world: World, at: float) -> list[SimVM]:
    """VMs that changed at or after that world time, and those on the move, whose figures change all the time."""
    found: dict[str, SimVM] = {}
    for vm_id, when in reversed(world.updates.items()):
        if when >= at:
            found[vm_id] = world.vms[vm_id]
        elif at > 0:
            break
    for move in world.live.open_moves():
        if move.lie != Kind.NEVER_STARTS and move.vm in world.vms:
            found.setdefault(move.vm, world.vms[move.vm])
    return list(found.values())


def inventory(cluster: str, world: World, since: str) -> model.Inventory:
    """Everything, or with a former mark what changed."""
    world.advance()
    at = float(since) if since else 0.0
    sims = changed_since(world, at) if since else list(world.vms.values())
    gone = tuple(vm_id for vm_id, (_, when) in world.deleted.items() if when >= at) if since else ()
    recent = [move for move in world.moves.values() if not move.over or move.updated >= world.time - RECENT]
    return model.Inventory(
        hosts=tuple(host(cluster, world, sim) for sim in world.hosts.values()),
        vms=tuple(vm(cluster, world, sim) for sim in sims),
        migrations=tuple(migration(cluster, world, move) for move in recent),
        datastores=datastores(cluster, world),
        affinities=tuple(affinity(cluster, rule) for rule in world.rules.values()),
        complete=not since,
        gone=gone,
        mark=repr(world.time),
        skew=world.clock_offset,
        calls=1,
    )


def sighting(cluster: str, world: World, vm_id: str) -> model.Sighting:
    """One VM and its migrations."""
    world.advance()
    sim = world.vms.get(vm_id)
    moves = tuple(migration(cluster, world, move) for move in world.moves_of(vm_id))
    return model.Sighting(vm=None if sim is None else vm(cluster, world, sim), migrations=moves)


def tasks(world: World, vm_id: str, since: float) -> list[model.TaskRecord]:
    """The cluster's log of requests, newest first."""
    world.advance()
    return [
        model.TaskRecord(
            id=action.request,
            vm=vm_id,
            action=action.action,
            started=world.wall(action.started),
            user=action.user,
            failed=action.result == "Error",
            message=action.details,
        )
        for action in reversed(world.actions.get(vm_id, []))
        if world.wall(action.started) >= since
    ]
