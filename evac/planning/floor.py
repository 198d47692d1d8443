"""One cluster as a plan will have left it so far: what lies where, and how much room is left. Changed as a plan grows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from evac.fleet import Fleet
from evac.model import VM, Affinity, AffinityKind, Host, HostState


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

    __slots__ = ("bound", "need", "vms", "zones")

    def __init__(self, vms: tuple[VM, ...], *, bound: bool) -> None:
        self.vms = vms
        self.need = sum(vm.memory or 0 for vm in vms)
        """Bytes. What does not run counts as well: some platforms keep its memory reserved (Nova), and it will run."""
        self.zones = {vm.zone for vm in vms if vm.zone}
        self.bound = bound
        """True: a rule names one of them."""


class Floor:
    """See the module's docstring. `where` holds every VM of the cluster, as the plan will have it."""

    def __init__(
        self,
        cluster: str,
        hosts: Iterable[Host],
        vms: Iterable[VM],
        affinities: Iterable[Affinity],
        *,
        keep_free: float,
    ) -> None:
        self.cluster = cluster
        self.hosts = {host.id: host for host in hosts}
        self.vms = {vm.id: vm for vm in vms}
        self.where = {vm.id: vm.host for vm in self.vms.values()}
        self.on: dict[str, set[str]] = {}
        for vm in self.vms.values():
            self.on.setdefault(vm.host, set()).add(vm.id)
        self.used = {host.id: host.memory_used for host in self.hosts.values()}
        self.limit = {
            host.id: None if host.memory is None else int(host.memory * (1 - keep_free))
            for host in self.hosts.values()
        }
        self.rules: dict[str, list[Affinity]] = {}
        for rule in affinities:
            for vm_id in rule.vms:
                self.rules.setdefault(vm_id, []).append(rule)

    def move(self, vm: str, to: str) -> None:
        """A VM is on another host from here on."""
        size = self.vms[vm].memory or 0
        self._fill(self.where[vm], -size)
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

    def slots(self, source: str, *, never: Collection[str], avoid: Collection[str]) -> list[Slot]:
        """The hosts that VMs of `source` may be put on at all, by id."""
        found = []
        for host in self.hosts.values():
            if host.id == source or host.id in never or not is_open(host):
                continue
            known = self.limit[host.id] is not None and self.used[host.id] is not None
            limit = self.limit[host.id] if known else None
            found.append(Slot(host, limit, self.used[host.id], avoid=host.id in avoid))
        return sorted(found, key=lambda slot: slot.id)

    # --- rules -----------------------------------------------------------------------------------

    def allows(self, unit: Unit, slot: Slot) -> bool:
        """Whether no strict rule and no zone keeps the unit off a host. Room is another matter."""
        if unit.zones and slot.zone and unit.zones != {slot.zone}:
            return False
        if not unit.bound:
            return True
        return not any(rule.strict for rule in self.broken(unit, slot.id))

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
            Unit(tuple(group), bound=any(vm.id in self.rules for vm in group)) for group in groups.values()
        ]
        return sorted(made, key=lambda unit: (-unit.need, unit.vms[0].name, unit.vms[0].id))


def is_open(host: Host) -> bool:
    """Whether VMs may be put on a host: it is up, and nobody has fenced it off."""
    return host.state is HostState.UP and not host.maintenance and not host.forced_down


def floor_of(fleet: Fleet, cluster: str, *, keep_free: float) -> Floor:
    """One cluster as it is now."""
    return Floor(
        cluster,
        (host for host in fleet.table("hosts").values() if host.cluster == cluster),
        (vm for vm in fleet.table("vms").values() if vm.cluster == cluster),
        (rule for rule in fleet.table("affinities").values() if rule.cluster == cluster),
        keep_free=keep_free,
    )
