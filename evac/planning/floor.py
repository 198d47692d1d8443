"""One cluster as a plan will have left it so far: what lies where, and how much room is left. Changed as a plan grows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import cast

from msgspec.structs import replace

from evac.fleet import Fleet
from evac.model import VM, Affinity, AffinityKind, ClusterState, Host, HostState, Outlook, VMState
from evac.preflight import rank
from evac.rules import RuleContext, Said, context_of
from evac.rules.context import Case
from evac.rules.judging import OF_TARGET
from evac.rules.platforms import traits
from evac.staying import needs_stop
from evac.window.plan import Way

FORBIDDEN = rank(Outlook.FAIL)

_OWN = frozenset({"host", "memory", "vcpus", "affinity", "zone"})
"""Rules about targets that the floor itself keeps to, as what they look at changes with each move of a plan."""

_TARGET_RULES = tuple((name, rule) for name, rule in OF_TARGET if name not in _OWN)


IDLE = (VMState.RUNNING, VMState.STOPPED, VMState.PAUSED)


class Slot:
    """A host that VMs may be put on."""

    __slots__ = ("avoid", "free", "host", "id", "limit", "zone")

    def __init__(self, host: Host, limit: int | None, used: int | None, *, avoid: bool) -> None:
        self.host = host
        self.id = host.id
        self.zone = host.zone
        self.avoid = avoid
        """It is rather not taken: its own turn comes later."""
        self.limit = limit
        """Bytes that may be used; None: the cluster does not tell how much there is."""
        self.free = 0 if limit is None or used is None else limit - used


class Unit:
    """VMs that go to one target: a single one, or those that a strict rule keeps together."""

    __slots__ = ("bound", "need", "ranks", "vms", "zones")

    def __init__(
        self, vms: tuple[VM, ...], *, need: int, bound: bool, ranks: dict[str, int] | None = None
    ) -> None:
        self.vms = vms
        self.need = need
        """Bytes."""
        self.zones = {vm.zone for vm in vms if vm.zone}
        self.bound = bound
        """True: a rule names one of them."""
        self.ranks: dict[str, int] = {} if ranks is None else ranks
        """Host.id → what the other rules say, as `evac.preflight.rank`; filled as it is asked for."""


class Floor:
    """See the module's docstring. `where` holds every VM of the cluster, as the plan will have it."""

    def __init__(self, world: RuleContext, *, round_trip: bool = False) -> None:
        """`world` is changed with it: the rules see what the plan has done so far."""
        self.world = world
        self.round_trip = round_trip
        """VMs are to come back: a host with a newer CPU lets in what it may not let out again."""
        self.hosts = world.hosts
        self.vms = cast("dict[str, VM]", world.vms)
        self.where = cast("dict[str, str]", world.where)
        self.used = cast("dict[str, int]", world.used)
        self._vcpus = cast("dict[str, int]", world.vcpus)
        self.rules = world.affinities
        self.on: dict[str, set[str]] = {}
        for vm in self.vms.values():
            self.on.setdefault(vm.host, set()).add(vm.id)
        self.limit = {
            host.id: None if host.memory is None else int(host.memory * (1 - world.keep_free))
            for host in self.hosts.values()
        }
        self._cold_counts = traits(world.cluster.kind).cold_counts
        self._said: dict[tuple[object, ...], tuple[Said, ...]] = {}
        self._ranks: dict[tuple[object, ...], dict[str, int]] = {}

    def size(self, vm: VM) -> int:
        """Bytes that it takes of a host: none where it does not run and the platform reserves nothing for it."""
        if vm.state is VMState.STOPPED and not self._cold_counts:
            return 0
        return vm.memory or 0

    def crowding(self, host: Host) -> float:
        """Virtual CPUs per core; 0: not told."""
        return self._vcpus.get(host.id, 0) / host.vcpus if host.vcpus else 0.0

    def move(self, vm: str, to: str) -> None:
        """A VM is on another host from here on."""
        guest = self.vms[vm]
        size, cores = self.size(guest), guest.vcpus or 0
        self._fill(self.where[vm], -size)
        self._vcpus[self.where[vm]] = self._vcpus.get(self.where[vm], 0) - cores
        self._vcpus[to] = self._vcpus.get(to, 0) + cores
        self.on.get(self.where[vm], set()).discard(vm)
        self.where[vm] = to
        self.on.setdefault(to, set()).add(vm)
        self._fill(to, size)

    def _fill(self, host: str, size: int) -> None:
        used = self.used.get(host)
        if used is not None:
            # What a platform counts as used may be less than its guests were promised.
            self.used[host] = max(0, used + size)

    def on_host(self, host: str) -> list[VM]:
        """By name."""
        return sorted((self.vms[vm] for vm in self.on.get(host, ())), key=lambda vm: (vm.name, vm.id))

    def calm(self, host: str, *, leave: Collection[str]) -> dict[str, str]:
        """Takes the VMs of a host for idle that a task of the platform occupies: a backup is over when a window comes.

        Returns VM.id → the platform's word for the task. `leave`: VMs that are on their way elsewhere.
        """
        found = {}
        for ident in self.on.get(host, ()):
            vm = self.vms[ident]
            if vm.task and vm.state in IDLE and ident not in leave:
                found[ident] = vm.task
                self.vms[ident] = replace(vm, task="")
        return found

    def slots(self, source: str, *, never: Collection[str], avoid: Collection[str]) -> list[Slot]:
        """The hosts that VMs of `source` may be put on at all, by id."""
        found = []
        for host in self.hosts.values():
            if host.id == source or host.id in never or not is_open(host):
                continue
            used = self.used.get(host.id)
            limit = None if used is None else self.limit[host.id]
            found.append(Slot(host, limit, used, avoid=host.id in avoid))
        return sorted(found, key=lambda slot: slot.id)

    # --- rules -----------------------------------------------------------------------------------

    def allows(self, unit: Unit, slot: Slot) -> bool:
        """Whether no strict rule and no zone keeps the unit off a host. Room is another matter."""
        if unit.zones and slot.zone and unit.zones != {slot.zone}:
            return False
        ranks = unit.ranks
        if (ranks[slot.id] if slot.id in ranks else self.rank(unit, slot.host)) >= FORBIDDEN:
            return False
        return not unit.bound or not any(rule.strict for rule in self.broken(unit, slot.id))

    def rank(self, unit: Unit, host: Host) -> int:
        """What the rules about CPUs, versions, disks and images say of a host, the worst of the unit; 0: nothing."""
        if host.id not in unit.ranks:
            unit.ranks[host.id] = max(self._rank(vm, host) for vm in unit.vms)
        return unit.ranks[host.id]

    def _rank(self, vm: VM, host: Host) -> int:
        if vm.vcpus and host.vcpus and vm.vcpus > host.vcpus:
            return FORBIDDEN
        source = self.hosts.get(self.where[vm.id])
        there = _worst(self.against(vm, host, self.where[vm.id]))
        if there >= FORBIDDEN or not self.round_trip or source is None:
            return there
        # It is better off a host than not, even where it cannot come back to it.
        return max(there, min(_worst(self.against(vm, source, host.id)), FORBIDDEN - 1))

    def against(self, vm: VM, host: Host, source: str) -> tuple[Said, ...]:
        """What these rules have against a VM that goes from `source` to a host. VMs that are alike to them are judged once."""
        key = (host.id, _alike(vm, source))
        found = self._said.get(key)
        if found is None:
            case = Case(self.world, vm, self.hosts.get(source), way_of(vm))
            found = tuple(said for _, rule in _TARGET_RULES for said in rule(case, host))
            self._said[key] = found
        return found

    def broken(self, unit: Unit, host: str) -> list[Affinity]:
        """The rules that would be broken with the unit on that host, and all others where the plan has them."""
        own = {vm.id for vm in unit.vms}
        found = {rule.id: rule for vm in unit.vms for rule in self.rules.get(vm.id, ())}
        return [rule for rule in found.values() if self._breaks(rule, own, host)]

    def strain(self, unit: Unit, host: str, source: str) -> int:
        """How many rules, soft ones too, would be broken there. Those who are still on `source` may yet follow."""
        own = {vm.id for vm in unit.vms}
        found = {rule.id: rule for vm in unit.vms for rule in self.rules.get(vm.id, ())}
        return sum(self._breaks(rule, own, host, still=source) for rule in found.values())

    def _breaks(self, rule: Affinity, own: set[str], host: str, still: str = "") -> bool:
        match rule.kind:
            case AffinityKind.PINNED:
                return host not in rule.hosts
            case AffinityKind.KEPT_OFF:
                return host in rule.hosts
            case AffinityKind.APART:
                inside = sum(vm in own for vm in rule.vms)
                return inside > 1 or any(self.where.get(vm) == host for vm in rule.vms if vm not in own)
            case AffinityKind.TOGETHER:
                others = (self.where.get(vm, "") for vm in rule.vms if vm not in own)
                return any(place not in ("", host, still) for place in others)

    def _table(self, vm: VM) -> dict[str, int]:
        """One for all VMs that are alike."""
        return self._ranks.setdefault(_alike(vm, self.where[vm.id]), {})

    def units(self, vms: Sequence[VM]) -> list[Unit]:
        """The VMs, those that a strict rule keeps together as one; the largest first."""
        leader = {vm.id: vm.id for vm in vms}

        def root(vm: str) -> str:
            while leader[vm] != vm:
                vm = leader[vm]
            return vm

        for vm in vms:
            for rule in self.rules.get(vm.id, ()):
                if rule.strict and rule.kind is AffinityKind.TOGETHER:
                    for other in rule.vms:
                        if other in leader:
                            leader[root(other)] = root(vm.id)
        groups: dict[str, list[VM]] = {}
        for vm in vms:
            groups.setdefault(root(vm.id), []).append(vm)
        made = [
            Unit(
                tuple(group),
                need=sum(map(self.size, group)),
                bound=any(vm.id in self.rules for vm in group),
                ranks=self._table(group[0]) if len(group) == 1 else None,
            )
            for group in groups.values()
        ]
        return sorted(made, key=lambda unit: (-unit.need, unit.vms[0].name, unit.vms[0].id))


def is_open(host: Host) -> bool:
    """Whether VMs may be put on a host: it is up, and nobody has fenced it off."""
    return host.state is HostState.UP and not host.maintenance and not host.forced_down


def _worst(said: Sequence[Said]) -> int:
    return max((rank(one.outlook) for one in said), default=0)


def _alike(vm: VM, source: str) -> tuple[object, ...]:
    """The same for all VMs that the rules about targets cannot tell apart."""
    return (source, way_of(vm), *_looked_at(vm))


LOOKED_AT = ("cpu", "container", "datastores", "media", "vcpus", "local_disk", "devices", "snapshots")
"""What the rules about targets look at of a VM, besides its state and where it is."""


_looked_at = attrgetter(*LOOKED_AT)


def way_of(vm: VM) -> Way:
    """How it goes, as it is now."""
    if not needs_stop(vm):
        return Way.LIVE
    return Way.COLD if vm.state is VMState.STOPPED else Way.RESTART


def floor_of(fleet: Fleet, cluster: ClusterState, *, keep_free: float, round_trip: bool = False) -> Floor:
    """One cluster as it is now."""
    return Floor(context_of(fleet, cluster, keep_free=keep_free), round_trip=round_trip)
