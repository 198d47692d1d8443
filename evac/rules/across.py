"""Rules before a move to another cluster: what the fleet's nouns tell of both. Pure.

Neither platform judges such a move without the other side's credential, so these are evac's own. Networks and the virtual
hardware's version are looked up at both ends, where the platform tells them (`TellsLuggage`); else they are UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from evac.able import able
from evac.across import Destination, Luggage, Reception
from evac.model import VM, Datastore, Host, MoveCheck, Outlook, VMState
from evac.rules import belongings, capacity, cpu, standing
from evac.rules.context import Case, RuleContext, case_of
from evac.rules.said import Said, fail, listed, risk, unknown
from evac.window.plan import Way


class Journey(NamedTuple):
    """One VM, from one cluster to another."""

    here: RuleContext
    there: RuleContext
    vm: VM
    destination: Destination | None
    """As the target's backend tells; None: it did not, or takes none in."""
    luggage: Luggage | None = None
    """None: the platform does not tell, or did not answer."""
    receptions: Mapping[str, Reception] = {}
    """By Host.id over there."""
    networks: tuple[tuple[str, str], ...] = ()
    """(network of the VM now, network there), as for the move itself."""

    @property
    def way(self) -> Way:
        """A VM that is off goes cold."""
        return Way.COLD if self.vm.state is VMState.STOPPED else Way.LIVE

    @property
    def case(self) -> Case:
        """At its own cluster."""
        return case_of(self.here, self.vm, self.way)

    @property
    def arrival(self) -> Case:
        """At the target, with the host that it comes from."""
        return Case(self.there, self.vm, self.here.hosts.get(self.vm.host), self.way)


def kind(way: Journey) -> Iterator[Said]:
    """A platform moves VMs to its own kind only."""
    here, there = way.here.cluster, way.there.cluster
    if here.kind != there.kind:
        yield fail(
            f"{there.name} is {there.kind}, {here.name} is {here.kind}", "Choose one of the same kind."
        )


def ability(way: Journey) -> Iterator[Said]:
    """What the platform has and our rights allow, and whether the other side takes VMs in."""
    here, there = way.here.cluster, way.there.cluster
    if here.read_only or there.read_only:
        return  # what may be done is another question than what would come of it
    can, why = able(here, "move_across")
    if not can:
        yield fail(f"{here.name} moves nothing to another cluster: {why}", "Move it by hand.")
    elif way.destination is None:
        yield unknown(
            f"{there.name} did not tell where it takes VMs in", "Ask again; evac doctor tells more."
        )


def guest(way: Journey) -> Iterator[Said]:
    """Proxmox VE moves no container and no HA resource across (qm, "remote-migrate"; API: "is HA managed")."""
    if way.here.cluster.kind != "proxmox":
        return
    if way.vm.container:
        yield fail("it is a container; evac moves VMs alone across", "By hand: pct remote-migrate.")
    if way.vm.ha and way.vm.ha != "ignored":
        yield fail("HA manages it, and Proxmox VE moves no such VM across", "Take it out of HA first.")


def identity(way: Journey) -> Iterator[Said]:
    """It is known again over there by its UUID, else by its name: none of the other side may have that already."""
    vm, others = way.vm, way.there.vms.values()
    same = [one.name for one in others if (one.uuid == vm.uuid if vm.uuid else one.name == vm.name)]
    if same:
        by = "this identity" if vm.uuid else "this name"
        yield fail(f"there is a VM of {by} already ({listed(same)})", "Find out what it is first.")
    twins = [one.name for one in others if vm.machine_id and one.machine_id == vm.machine_id]
    if twins and not same:
        yield risk(f"{listed(twins)} has the same firmware UUID", "Is one a clone of the other?")


def macs(way: Journey) -> Iterator[Said]:
    """Two cards with one address on one network cut each other off; it keeps its own."""
    own = set(way.vm.macs)
    others = list(way.there.vms.values())
    if not own or not (others and all(one.macs for one in others)):
        yield unknown("not every MAC address of both sides is told", "Compare them where it joins a network.")
    for one in others:
        if clash := sorted(own & set(one.macs)):
            yield fail(f"{one.name} there has the MAC address {clash[0]} too", "Change one of the two first.")


def stays_behind(way: Journey) -> Iterator[Said]:
    """Rules, rights, alarms, tags, backup jobs and HA settings are of the cluster, not of the VM."""
    rules = way.here.affinities.get(way.vm.id, ())
    if rules:
        yield risk(f"its affinity rules stay behind ({len(rules)})", "Make them anew over there.")


def unread(way: Journey) -> Iterator[Said]:
    """What the platform does not tell beforehand. evac looks up networks, and the platform judges the rest, when it is sent."""
    if way.luggage is None or not way.receptions:
        yield unknown(
            "whether its networks are there and its virtual hardware's version fits is not read beforehand",
            "evac compares the networks before it sends the move; name pairs with --network HERE=THERE.",
        )


OF_VM: Sequence[tuple[str, Callable[[Journey], Iterable[Said]]]] = (
    ("kind", kind),
    ("ability", ability),
    ("guest", guest),
    ("identity", identity),
    ("mac", macs),
    ("affinity", stays_behind),
    ("network", unread),
    ("question", lambda way: standing.question(way.case)),
    ("locked", lambda way: standing.locked(way.case)),
    ("busy", lambda way: standing.busy(way.case)),
    ("state", lambda way: standing.state(way.case)),
    ("device", lambda way: belongings.devices(way.case)),
    ("snapshot", lambda way: belongings.snapshots(way.case)),
)


def storage(way: Journey, host: Host) -> Iterator[Said]:
    """All its disks are copied: a datastore of the host has to have room for them."""
    usable = [one for one in way.there.datastores.values() if one.usable and host.id in one.hosts]
    if not usable:
        yield fail("it sees no datastore that can be used", "Choose another.")
        return
    if way.vm.disk is None or all(one.free is None for one in usable):
        yield unknown("how large its disks are, or what is free there, is not told", "Compare them by hand.")
        return
    best = max(usable, key=lambda one: one.free or 0)
    if (best.free or 0) < way.vm.disk:
        yield fail(
            f"its disks are {_gib(way.vm.disk)}, and no datastore there has room: {best.name} has {_gib(best.free)}",
            "Make room, or choose another.",
        )
    elif lost := _unnamed(way, usable):
        yield risk(f"no storage there is called {lost}", "Name the one to use: --storage.")


def door(way: Journey, host: Host) -> Iterator[Said]:
    """Proxmox VE takes a VM in on the very node whose API is asked."""
    there = way.destination
    if there is not None and there.doors and host.id not in {one.host for one in there.doors}:
        known = ", ".join(one.host for one in there.doors)
        yield fail(
            f"a VM lands on the node whose API is asked, and evac has those of {known}",
            f"Choose one of them, or add the API of {host.name} to its endpoints.",
        )


def networks(way: Journey, host: Host) -> Iterator[Said]:
    """Each card gets a network of the host: the one that is named for it, else the one that is called the same.

    Every card of the VM has to be given one that the target has, of whichever switch (vSphere Web Services API,
    VirtualMachineRelocateSpec.deviceChange). A name alone does not tell that both are one VLAN.
    """
    own = way.luggage
    if own is None or not way.receptions:
        return  # told once, of all targets
    there = way.receptions.get(host.id)
    if own.networks is None or there is None or there.networks is None:
        whose = "it uses" if own.networks is None else f"{host.name} has"
        yield unknown(f"which networks {whose} is not told", "Compare them before it goes.")
        return
    known = {word for net in there.networks for word in (net.id, net.name)}
    pairs = dict(way.networks)
    wanted = {net.name: pairs.get(net.name) or pairs.get(net.id) or net.name for net in own.networks}
    lacking = [here if to == here else f"{to} (for {here})" for here, to in wanted.items() if to not in known]
    if lacking:
        fix = "Name the network there for each network of the VM: --network HERE=THERE."
        yield fail(f"{host.name} has no network {listed(lacking)}", fix)
    elif changed := [f"{here} → {to}" for here, to in wanted.items() if to != here]:
        yield risk(
            f"its networks change: {listed(changed)}", "Make sure that the VLAN and the rules are the same."
        )


def hardware(way: Journey, host: Host) -> Iterator[Said]:
    """A host runs no VM whose virtual hardware is newer than it knows, and no version is ever taken back.

    vSphere Web Services API, VirtualMachineConfigOptionDescriptor.runSupported: whether a VM of that version can be powered
    on there.
    """
    if way.luggage is None or not way.receptions:
        return
    own, there = way.luggage.hardware, way.receptions.get(host.id)
    runs = there.hardware if there is not None else None
    if not own or runs is None:
        whose = f"that {host.name} runs" if own else "of the VM"
        yield unknown(f"the version of virtual hardware {whose} is not told", "Compare both in vSphere.")
    elif own not in runs:
        most = max(runs, key=lambda one: (len(one), one), default="none")
        yield fail(
            f"its virtual hardware is {own}, and {host.name} runs {most} at most", "Choose a newer host."
        )


OF_TARGET: Sequence[tuple[str, Callable[[Journey, Host], Iterable[Said]]]] = (
    ("host", lambda way, host: standing.target_up(way.arrival, host)),
    ("door", door),
    ("network", networks),
    ("hardware", hardware),
    ("cpu", lambda way, host: cpu.cpu(way.arrival, host)),
    ("version", lambda way, host: cpu.version(way.arrival, host)),
    ("storage", storage),
    ("memory", lambda way, host: capacity.memory(way.arrival, host)),
    ("vcpus", lambda way, host: capacity.overcommit(way.arrival, host)),
)


def judge_across(way: Journey, targets: Sequence[str]) -> list[MoveCheck]:
    """What stands against moving it, and against each target (Host.id over there). Each target is spoken of."""
    vm = way.vm.id
    found = [_check(vm, "", name, said) for name, rule in OF_VM for said in rule(way)]
    for target in targets:
        host = way.there.hosts.get(target)
        if host is None:
            found.append(_check(vm, target, "host", standing.NO_HOST))
            continue
        own = [_check(vm, target, name, said) for name, rule in OF_TARGET for said in rule(way, host)]
        found += own or [MoveCheck(vm=vm, target=target, outlook=Outlook.OK, rule="rules")]
    return found


def _unnamed(way: Journey, usable: Sequence[Datastore]) -> str:
    """Of Proxmox VE: a storage of the VM whose name no storage of the target has."""
    if way.here.cluster.kind != "proxmox":
        return ""
    known = {one.name for one in usable}
    names = [way.here.datastores[one].name for one in way.vm.datastores if one in way.here.datastores]
    return next((name for name in names if name not in known), "")


def _gib(size: int | None) -> str:
    return "?" if size is None else f"{size / (1 << 30):.0f} GiB"


def _check(vm: str, target: str, rule: str, said: Said) -> MoveCheck:
    return MoveCheck(vm=vm, target=target, outlook=said.outlook, rule=rule, why=said.why, fix=said.fix)
