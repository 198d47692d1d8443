"""What the rules look at: one cluster, as it is or as a plan will have left it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from evac import clock
from evac.fleet import Fleet
from evac.links import LinkLook, of_cluster
from evac.model import VM, Affinity, ClusterState, Datastore, Host, Migration
from evac.rules.identity import twins
from evac.window.plan import Policy, Way


class RuleContext(Struct, frozen=True, kw_only=True):
    """One cluster. `where`, `used` and `vcpus` are what a planner changes as it goes: hand in its own."""

    cluster: ClusterState
    hosts: Mapping[str, Host]
    """By Host.id."""
    vms: Mapping[str, VM]
    """By VM.id."""
    where: Mapping[str, str]
    """VM.id → Host.id it is on when the move begins."""
    used: Mapping[str, int]
    """Host.id → bytes of memory taken when the move begins; a host is absent that does not tell."""
    vcpus: Mapping[str, int]
    """Host.id → virtual CPUs of the guests on it when the move begins."""
    affinities: Mapping[str, tuple[Affinity, ...]] = msgspec.field(default_factory=dict)
    """VM.id → the rules that name it."""
    datastores: Mapping[str, Datastore] = msgspec.field(default_factory=dict)
    """By Datastore.id."""
    moving: Mapping[str, Migration] = msgspec.field(default_factory=dict)
    """VM.id → the move that is under way."""
    twins: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """VM.id → in words, what other VMs of the fleet have that should be its alone."""
    links: Mapping[tuple[str, str], LinkLook] = msgspec.field(default_factory=dict)
    """(Host.id from, Host.id to) → the last look from one to the other."""
    fenced: str | None = None
    """None: VMs are moved. Else their host is dead and they are rebuilt elsewhere, and this is how somebody knows that it is
    fenced."""
    keep_free: float = Policy().keep_free
    """Share of a target's memory that should stay free."""


class Case(NamedTuple):
    """One VM that is to leave its host."""

    world: RuleContext
    vm: VM
    source: Host | None
    """None: it is not told, or not known."""
    way: Way


def case_of(world: RuleContext, vm: VM, way: Way) -> Case:
    """Where it is when the move begins."""
    return Case(world, vm, world.hosts.get(world.where.get(vm.id, "")), way)


def context_of(fleet: Fleet, cluster: ClusterState, *, keep_free: float = Policy().keep_free) -> RuleContext:
    """One cluster as it is now. Its mappings are the caller's to change."""
    hosts = {host.id: host for host in fleet.table("hosts").values() if host.cluster == cluster.name}
    vms = {vm.id: vm for vm in fleet.table("vms").values() if vm.cluster == cluster.name}
    vcpus: dict[str, int] = {}
    for vm in vms.values():
        vcpus[vm.host] = vcpus.get(vm.host, 0) + (vm.vcpus or 0)
    shared = twins(fleet.table("vms").values())
    affinities: dict[str, tuple[Affinity, ...]] = {}
    for rule in fleet.table("affinities").values():
        if rule.cluster == cluster.name:
            for vm_id in rule.vms:
                affinities[vm_id] = (*affinities.get(vm_id, ()), rule)
    return RuleContext(
        cluster=cluster,
        hosts=hosts,
        vms=vms,
        where={vm.id: vm.host for vm in vms.values()},
        used={host.id: host.memory_used for host in hosts.values() if host.memory_used is not None},
        vcpus=vcpus,
        affinities=affinities,
        datastores={one.id: one for one in fleet.table("datastores").values() if one.cluster == cluster.name},
        moving={
            move.vm: move
            for move in fleet.table("migrations").values()
            if move.cluster == cluster.name and move.phase.active
        },
        twins={
            key.removeprefix(f"{cluster.name}/"): words
            for key, words in shared.items()
            if key.startswith(f"{cluster.name}/")
        },
        links=of_cluster(fleet.links, cluster.name, now=clock.wall()),
        keep_free=keep_free,
    )
