"""The cluster resource manager: carries out what was requested of HA, some seconds later, and recovers from dead nodes.

States and their order follow pve-ha-manager 5 (src/PVE/HA/Manager.pm): a request only goes into a queue; the manager then
marks the resource "migrate" or "relocate", the node's own manager runs the task as root@pam, and its end settles the
state. A node that stays silent is fenced; its resources go through "fence" and "recovery" and start elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from backends.proxmox.simulator_motion import Motion
from backends.proxmox.simulator_run import Wish
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_wire import Wrong
from backends.proxmox.switches import ON, REBALANCE
from backends.simulation import deeds
from backends.simulation.balancer import Balancer
from backends.simulation.things import Denied, SimHost, SimMove, SimVM
from evac.model import MigrationKind, VMState

WORKERS = 4
"""Tasks at once that a node's local resource manager runs (max_workers)."""

ROOT = "root@pam"


@dataclass(slots=True)
class Resource:
    """One guest under HA."""

    sid: str
    guest: Guest
    wanted: str = "started"
    """What was requested: started, stopped, disabled or ignored."""
    state: str = "started"
    """What the manager makes of it."""
    target: str = ""
    home: str = ""
    """The node in maintenance it was moved away from, and to which it goes back."""
    comment: str = ""
    settings: dict[str, int] = field(default_factory=lambda: {"max_restart": 1, "max_relocate": 1})


class Manager:
    """The CRM, and the local managers of all nodes."""

    def __init__(self, site: Site, motion: Motion) -> None:
        self._site = site
        self._world = site.world
        self._motion = motion
        self.resources: dict[str, Resource] = {}
        self.requested: set[str] = set()
        """Nodes for which maintenance was requested."""
        self.maintenance: set[str] = set()
        """Nodes the manager treats so."""
        self.fenced: set[str] = set()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._working: dict[str, int] = {}
        site.ha_state = self._state_of
        site.ha_request = lambda guest, verb, node: self.request(guest.sid, verb, node)
        site.newcomers.append(self._adopt)
        site.world.power_listeners.append(self._power)
        site.world.end_listeners.append(self._recovered)

    def resource(self, sid: str) -> Resource:
        """Raises Wrong 500. A bare number names a VM or a container."""
        self._site.sync()
        if sid.isdigit():
            sid = next((one for one in (f"vm:{sid}", f"ct:{sid}") if one in self.resources), sid)
        found = self.resources.get(sid)
        if found is None:
            raise Wrong(500, f"no such resource '{sid}'")
        return found

    def manage(self, guest: Guest) -> Resource:
        """Put a guest under HA."""
        state = "started" if guest.running else "stopped"
        resource = Resource(guest.sid, guest, wanted=state, state=state)
        self.resources[guest.sid] = resource
        return resource

    def master(self) -> str:
        """Which node's manager rules."""
        return next((host.name for host in self._world.hosts.values() if self._site.online(host)), "")

    def node_status(self, host: SimHost) -> str:
        """online, maintenance, unknown, or fence."""
        if not self._site.online(host):
            return "fence" if host.name in self.fenced else "unknown"
        return "maintenance" if host.name in self.maintenance else "online"

    # --- requests --------------------------------------------------------------------------------

    def request(self, sid: str, verb: str, node: str) -> None:
        """`migrate` or `relocate` goes into the queue; nobody is told what becomes of it. Raises Wrong."""
        resource = self.resource(sid)
        if resource.state == "error":
            raise Wrong(500, f"service '{sid}' in error state, must be disabled and fixed first")
        self._world.later(self._site.pace.crm, lambda: self._dispatch(resource, verb, node))

    def want(self, resource: Resource, state: str) -> None:
        """Start or stop it."""
        resource.wanted = state
        self._world.later(self._site.pace.crm, lambda: self._set_power(resource))

    def command(self, *words: str) -> None:
        """What `ha-manager crm-command` does with these words; node-maintenance enable|disable NODE. Raises Wrong."""
        if len(words) != 3 or words[0] != "node-maintenance" or words[1] not in ("enable", "disable"):
            raise Wrong(500, f"unknown command '{' '.join(words)}'")
        name, on = words[2], words[1] == "enable"
        if name not in self._world.hosts:
            raise Wrong(500, f"no such cluster node '{name}'")
        (self.requested.add if on else self.requested.discard)(name)
        deeds.maintain(self._world, name, on=on)
        self._world.later(self._site.pace.crm, lambda: self._maintain(name))

    def _maintain(self, name: str) -> None:
        if name in self.requested and name not in self.maintenance:
            self.maintenance.add(name)
            for resource in self.resources.values():
                if resource.guest.vm.host == name and resource.state == "started":
                    resource.home = resource.home or name
                    self._dispatch(resource, "migrate", "")
        elif name not in self.requested and name in self.maintenance:
            self.maintenance.discard(name)
            for resource in self.resources.values():
                if resource.home == name:
                    resource.home = ""
                    self._dispatch(resource, "migrate", name)

    def balance(self) -> None:
        """Rebalance from now on, while the switch is on: guests under HA, and no others (ha-auto-rebalance, 9.2)."""
        world = self._world

        def may(vm: SimVM) -> bool:
            switch = world.switches.get(REBALANCE)
            resource = self.resources.get(self._site.guest(vm.id).sid)
            on = switch is not None and switch.value == ON
            return on and resource is not None and resource.state == "started" and not resource.home

        def move(vm: SimVM, target: SimHost) -> None:
            self._dispatch(self.resources[self._site.guest(vm.id).sid], "migrate", target.name)

        Balancer(world, groups=lambda: [list(world.hosts.values())], may=may, move=move)

    # --- moving ----------------------------------------------------------------------------------

    def _dispatch(self, resource: Resource, verb: str, node: str) -> None:
        target = node or self._choose(resource.guest)
        source = resource.guest.vm.host
        known = self._world.hosts.get(target)
        if known is None or target == source or resource.state not in ("started", "stopped"):
            return
        if not self._site.online(known) or not self._site.online(self._world.hosts[source]):
            return
        resource.state, resource.target = verb, target
        self._waiting.setdefault(source, []).append(lambda: self._move(resource, verb))
        self._work(source)

    def _work(self, node: str) -> None:
        queue = self._waiting.get(node, [])
        while queue and self._working.get(node, 0) < WORKERS:
            self._working[node] = self._working.get(node, 0) + 1
            queue.pop(0)()

    def _move(self, resource: Resource, verb: str) -> None:
        guest, source = resource.guest, resource.guest.vm.host
        online = verb == "migrate" and guest.running
        wish = Wish(target=resource.target, online=online and guest.kind == "qemu", restart=guest.running)
        if guest.lock:
            self._settle(resource, source)
            return
        self._motion.begin(guest, wish, ROOT, on_end=lambda _: self._settle(resource, source))

    def _settle(self, resource: Resource, source: str) -> None:
        resource.state = "started" if resource.wanted == "started" else "stopped"
        resource.target = ""
        self._working[source] = max(0, self._working.get(source, 0) - 1)
        self._work(source)

    def _choose(self, guest: Guest) -> str:
        """The node with the fewest guests under HA; the static scheduler's default."""
        load = dict.fromkeys(self._world.hosts, 0)
        for other in self.resources.values():
            load[other.target or other.guest.vm.host] += 1
        fit = [
            host.name
            for host in self._world.hosts.values()
            if host.alive
            and self.node_status(host) == "online"
            and host.name != guest.vm.host
            and self._site.has(host.name, guest.store)
        ]
        return min(fit, key=lambda name: (load[name], name), default="")

    def _set_power(self, resource: Resource) -> None:
        vm, on = resource.guest.vm, resource.wanted == "started"
        kind = (
            ("qmstart" if on else "qmshutdown")
            if resource.guest.kind == "qemu"
            else "vzstart"
            if on
            else "vzshutdown"
        )
        try:
            (deeds.start if on else deeds.stop)(self._world, vm.id, user=ROOT)
        except Denied:
            return
        self._motion.tasks.whole(vm.host, kind, str(resource.guest.vmid), ROOT)
        resource.state = "started" if on else "stopped"

    # --- dead nodes ------------------------------------------------------------------------------

    def _power(self, host: SimHost) -> None:
        if host.alive:
            self.fenced.discard(host.name)
            return
        lost = host.lost
        self._waiting.pop(host.name, None)
        self._working.pop(host.name, None)
        self._world.later(self._site.pace.corosync, lambda: self._mark(host, lost))
        self._world.later(self._site.pace.corosync + self._site.pace.fence, lambda: self._fence(host, lost))

    def _here(self, host: SimHost) -> list[Resource]:
        return [one for one in self.resources.values() if one.guest.vm.host == host.name]

    def _mark(self, host: SimHost, lost: float) -> None:
        if not host.alive and host.lost == lost:
            for resource in self._here(host):
                if resource.wanted == "started":
                    resource.state, resource.target = "fence", ""

    def _fence(self, host: SimHost, lost: float) -> None:
        if host.alive or host.lost != lost:
            for resource in self._here(host):
                resource.state = "started" if resource.state == "fence" else resource.state
            return
        self.fenced.add(host.name)
        for resource in self._here(host):
            if resource.state == "fence":
                resource.state = "recovery"
                self._recover(resource)

    def _recover(self, resource: Resource) -> None:
        guest = resource.guest
        target = self._choose(guest)
        guest.lock = ""
        guest.vm.task = ""
        if not target:
            return
        try:
            self._world.evacuations.evacuate(guest.vm.id, target, request=resource.sid, user=ROOT)
        except Denied:
            return
        resource.target = target

    def _recovered(self, move: SimMove) -> None:
        resource = self.resources.get(move.request)
        if resource is None or move.kind is not MigrationKind.EVACUATION:
            return
        resource.target = ""
        guest = resource.guest
        if move.status == "error":
            guest.vm.state, guest.vm.fault, resource.state = VMState.STOPPED, "", "error"
            return
        resource.state = "started"
        kind = "qmstart" if guest.kind == "qemu" else "vzstart"
        self._motion.tasks.whole(guest.vm.host, kind, str(guest.vmid), ROOT)

    # --- bookkeeping -----------------------------------------------------------------------------

    def _adopt(self, guest: Guest) -> None:
        if guest.vmid in self._site.managed:
            self.manage(guest)

    def _state_of(self, guest: Guest) -> str:
        resource = self.resources.get(guest.sid)
        return resource.state if resource is not None and resource.wanted != "ignored" else ""
