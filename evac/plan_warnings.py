"""What a plan warns of: age, a cluster that cannot, stopped VMs, containers, lost disks, room on the targets. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac import hyperconverged
from evac.able import able
from evac.actions import Action, ColdMigrate, LiveMigrate, kind_of
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Host, HostState
from evac.rules.context import RuleContext
from evac.rules.links import between

FEW = 3
"""Links that a plan warns of by name."""

OLD = 15.0
"""Seconds from which on a plan warns of the age of its figures."""


def about_age(cluster: ClusterState, age: float) -> list[str]:
    """How old the figures are, where that matters."""
    if cluster.fresh_stamp is None:
        return [f"{cluster.name} has not answered yet: this plan is made of nothing"]
    if age > OLD:
        return [f"the figures are {age:.0f} s old; each VM is read again before it is touched"]
    return []


def about_source(fleet: Fleet, host: Host) -> list[str]:
    """What is not known of the host, and what else it carries."""
    unsure = [f"the cluster does not say whether {host.name} is up"] * (host.state is HostState.UNKNOWN)
    return unsure + hyperconverged.warnings(fleet, host.name)


def about_links(world: RuleContext, host: Host) -> list[str]:
    """What was seen of the links to other hosts, whether the plan uses them or not."""
    others = sorted((one for one in world.hosts.values() if one.id != host.id), key=lambda one: one.name)
    kind = world.cluster.kind
    told = {one.name: between(world.links, kind, host, one) for one in others} if world.links else {}
    words = [
        f"link to {name}: {said.why}. {said.fix}".strip() for name, found in told.items() for said in found
    ]
    more = len(words) - FEW
    return words[:FEW] + [f"{more} more such links: evac preflight --host {host.name}"] * (more > 0)


def about_cluster(cluster: ClusterState, actions: Sequence[Action]) -> list[str]:
    """What the cluster cannot do for us, and what could not be seen of it."""
    words = []
    if cluster.read_only:
        why = f" ({cluster.read_only_why})" if cluster.read_only_why else ""
        words.append(f"{cluster.name} is read-only{why}: this plan cannot be carried out")
    # What cannot be seen cannot be planned for: other projects' VMs, servers of a cell that is down.
    words += [f"{problem.happened} {problem.unaffected}".strip() for problem in cluster.problems]
    for kind, verb in {kind_of(action): action.verb for action in actions}.items():
        can, why = able(cluster, kind)
        told = any(entry.action == kind for entry in cluster.capabilities)
        words += [f"{cluster.name} cannot {verb}: {why}"] * (not can and (told or not cluster.read_only))
    return words


def about_maintenance(cluster: ClusterState, host: Host) -> list[str]:
    """A host that cannot be fenced off from the scheduler may be filled again while it is emptied."""
    can, why = able(cluster, "enter_maintenance")
    if can or host.maintenance or cluster.read_only:
        return []
    return [f"{host.name} cannot be put into maintenance ({why}): new VMs may be placed on it meanwhile"]


def about_cold(cluster: ClusterState, moves: Sequence[LiveMigrate | ColdMigrate], restarts: int) -> list[str]:
    """What a cold migration leaves behind."""
    cold = sum(isinstance(move, ColdMigrate) for move in moves) - restarts
    if not cold:
        return []
    words = "1 stopped VM is cold-migrated" if cold == 1 else f"{cold} stopped VMs are cold-migrated"
    if not able(cluster, "confirm_move")[0]:
        return [words]
    return [f"{words}; each may then wait for confirm, and until then its disk stays here as well"]


def about_restarts(names: Sequence[str]) -> list[str]:
    """Containers are not moved while they run."""
    if not names:
        return []
    words = "1 running container RESTARTS" if len(names) == 1 else f"{len(names)} running containers RESTART"
    return [f"{words}, as none can be moved while it runs: {listed(names)}"]


def about_ha(vms: Sequence[VM]) -> list[str]:
    """Guests that somebody else moves as well."""
    names = [f"{vm.name} ({vm.ha})" for vm in vms if vm.ha not in {"", "protected"}]
    if not names:
        return []
    return [
        f"{len(names)} under the platform's own high availability, which may move them by its own rules: {listed(names)}"
    ]


def listed(names: Sequence[str]) -> str:
    """The first five."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def about_lost_disks(vms: Sequence[VM]) -> list[str]:
    """Disks that are gone with a dead host."""
    local = [vm.name for vm in vms if vm.local_disk]
    if not local:
        return []
    return [
        f"{len(local)} with their disk on the dead host are rebuilt from their image, their data is lost: {listed(local)}"
    ]


def about_targets(fleet: Fleet, source: Host, target: Host | None, vms: Sequence[VM]) -> list[str]:
    """Whether there is a place to go, and room on it."""
    if target is not None:
        return [*about_one_target(target), *about_room([target], vms)]
    others = [
        host
        for host in fleet.table("hosts").values()
        if host.cluster == source.cluster and host.id != source.id
    ]
    fit = [
        host
        for host in others
        if host.state is HostState.UP and not host.maintenance and not host.forced_down
    ]
    words = []
    if vms and not fit:
        words.append("no other host of this cluster is up and out of maintenance: nothing can go anywhere")
    resting = [host.name for host in others if host.maintenance]
    if resting and fit:
        words.append(f"in maintenance, so no target: {listed(resting)}")
    return [*words, *about_room(fit, vms)]


def about_one_target(target: Host) -> list[str]:
    """The one that was named."""
    word = "forced down" if target.forced_down else target.state.value
    words = [f"target {target.name} is {word}"] if word != HostState.UP.value else []
    return words + [f"target {target.name} is in maintenance"] * target.maintenance


def about_room(hosts: Sequence[Host], vms: Sequence[VM]) -> list[str]:
    """Memory only, and only from what the hosts tell; overcommit is the platform's business."""
    told = [host for host in hosts if host.memory is not None and host.memory_used is not None]
    if not told or len(told) < len(hosts) or not vms:
        return []
    rooms = [max(0, (host.memory or 0) - (host.memory_used or 0)) for host in told]
    need, room = sum(vm.memory or 0 for vm in vms), sum(rooms)
    if need > room:
        return [f"memory is short: {_gib(need)} to place, {_gib(room)} free on {len(told)} host(s)"]
    largest = max(vms, key=lambda vm: vm.memory or 0)
    if (largest.memory or 0) > max(rooms):
        return [
            f"no host has {_gib(largest.memory or 0)} free for {largest.name}; the most is {_gib(max(rooms))}"
        ]
    return []


def _gib(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"
