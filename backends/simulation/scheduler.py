"""Where a VM may go: what a platform's scheduler checks, in a fixed order, so that the same world decides the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation.things import SimHost, SimRule, SimVM
from evac.model import AffinityKind

if TYPE_CHECKING:
    from backends.simulation.world import World

NO_VALID_HOST = "No valid host was found. There are not enough hosts available."
BAD_CPU = (
    "Migration pre-check error: Unacceptable CPU info: CPU doesn't have compatibility.\n\n0\n\n"
    "Refer to http://libvirt.org/html/libvirt-libvirt-host.html#virCPUCompareResult"
)

BAD_DEVICE = "Migration pre-check error: the instance has PCI devices that cannot be live migrated."


def fits(world: World, host: SimHost, vm: SimVM) -> bool:
    """Memory without overcommit, vCPUs with the ratio every Nova ships (initial_cpu_allocation_ratio 4.0)."""
    return (
        host.memory_used + vm.memory <= host.memory
        and host.vcpus_used + vm.vcpus <= host.vcpus * world.timing.cpu_ratio
    )


def takes(world: World, host: SimHost, vm: SimVM) -> bool:
    """True when the scheduler would place this VM there. A VM of no zone may go to any."""
    return (
        host.name != vm.host
        and world.host_up(host)
        and not (host.maintenance or host.barred)
        and vm.zone in ("", host.zone)
        and fits(world, host, vm)
        and not breaks_rule(world, host, vm)
    )


def breaks_rule(world: World, host: SimHost, vm: SimVM) -> str:
    """The name of a strict rule that forbids the VM on that host; "" where none does."""
    for rule in world.rules.values():
        if rule.strict and vm.id in rule.vms and _breaks(world, rule, host, vm):
            return rule.name
    return ""


def _breaks(world: World, rule: SimRule, host: SimHost, vm: SimVM) -> bool:
    others = [world.vms[one].host for one in rule.vms if one != vm.id and one in world.vms]
    return {
        AffinityKind.PINNED: host.name not in rule.hosts,
        AffinityKind.KEPT_OFF: host.name in rule.hosts,
        AffinityKind.APART: host.name in others,
        AffinityKind.TOGETHER: any(one != host.name for one in others),
    }[rule.kind]


def cpu_allows(source: SimHost, target: SimHost, vm: SimVM | None = None) -> bool:
    """A running guest needs every CPU feature it has seen: its host's, unless it was given less."""
    seen = source.cpu_features if vm is None or vm.cpu_features is None else vm.cpu_features
    return source.cpu_vendor == target.cpu_vendor and set(seen) <= set(target.cpu_features)


def choose(world: World, vm: SimVM, to: str, *, live: bool) -> tuple[str, str]:
    """(host, "") or ("", why not, in Nova's words)."""
    if to and world.timing.admits_all:
        return (to, "") if world.host_up(world.hosts[to]) else ("", NO_VALID_HOST)
    named = [world.hosts[to]] if to else list(world.hosts.values())
    candidates = [host for host in named if takes(world, host, vm)]
    if not candidates:
        return "", NO_VALID_HOST
    if live and vm.devices:
        return "", BAD_DEVICE
    if live:
        source = world.hosts[vm.host]
        fitting = [host for host in candidates if cpu_allows(source, host, vm)]
        if not fitting:
            return "", BAD_CPU if to else NO_VALID_HOST
        candidates = fitting
    best = max(candidates, key=lambda host: (host.memory - host.memory_used, host.name))
    return best.name, ""
