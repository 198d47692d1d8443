"""The calls that move guests and disks: what is asked before, what is refused at once and in which words, and the task."""

from __future__ import annotations

from typing import Any

from backends.proxmox.simulator_guests import ROOT_ONLY, Guests
from backends.proxmox.simulator_motion import Mirror, Motion
from backends.proxmox.simulator_run import Wish
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from backends.simulation.faults import Kind
from backends.simulation.things import SimRule
from evac.model import AffinityKind

KIB = 1024
QEMU = (
    "target!",
    "online:bool",
    "force:bool",
    "migration_type:secure|insecure",
    "migration_network",
    "with-local-disks:bool",
    "targetstorage",
    "bwlimit:int",
    "with-conntrack-state:bool",
)
LXC = ("target!", "online:bool", "restart:bool", "timeout:int", "target-storage", "bwlimit:int")
DISK = ("disk!", "storage", "delete:bool", "bwlimit:int", "format:raw|qcow2|vmdk", "digest")


class Migrations:
    """…/migrate, …/move_disk, and those for many guests at once."""

    def __init__(self, site: Site, guests: Guests, motion: Motion) -> None:
        self._site = site
        self._world = site.world
        self._guests = guests
        self._motion = motion

    def routes(self) -> list[Route]:
        """What is served."""
        qemu, lxc = "/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"
        many = ("max-workers:int", "maxworkers:int", "with-local-disks:bool")
        return [
            Route("GET", f"{qemu}/migrate", "preflight", self._ask_first, ("target",)),
            Route("GET", f"{lxc}/migrate", "preflight", self._ask_first, ("target",)),
            Route("POST", f"{qemu}/migrate", "live_migrate", self._qemu, QEMU),
            Route("POST", f"{lxc}/migrate", "cold_migrate", self._lxc, LXC),
            Route("POST", f"{qemu}/move_disk", "move_storage", self._move_disk, DISK),
            Route("POST", "/nodes/{node}/migrateall", "migrate_all", self._all, ("target!", "vms", *many)),
            Route(
                "POST",
                "/cluster/bulk-action/guest/migrate",
                "migrate_all",
                self._bulk,
                ("target!", "vms", "online:bool", *many),
            ),
        ]

    # --- asking first ----------------------------------------------------------------------------

    def _ask_first(self, ask: Ask) -> Answer:
        self._site.need_quorum()
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Migrate")
        self._locked(guest)
        bare: dict[str, dict[str, Any]] = {}
        allowed = []
        for name in self._world.hosts:
            if name == guest.vm.host:
                continue
            against: dict[str, Any] = {}
            if not self._site.has(name, guest.store):
                against["unavailable_storages"] = [guest.store]
            if blocking := self._blocking(guest, name):
                against["blocking-ha-resources"] = blocking
            if against:
                bare[name] = against
            else:
                allowed.append(name)
        found: dict[str, Any] = {
            "running": int(guest.running),
            "allowed_nodes" if guest.kind == "qemu" else "allowed-nodes": allowed,
            "not_allowed_nodes" if guest.kind == "qemu" else "not-allowed-nodes": bare,
        }
        if self._site.ha_state(guest):
            found["dependent-ha-resources"] = self._dependent(guest)
        if guest.kind == "qemu":
            found |= self._ties(guest)
        return Answer(found)

    def _blocking(self, guest: Guest, node: str) -> list[dict[str, str]]:
        """Rules of HA that keep a guest of its own off a node (since 9.0, node affinities since 9.1)."""
        found: list[dict[str, str]] = []
        for rule in self._rules(guest):
            if rule.kind is AffinityKind.PINNED and rule.strict and node not in rule.hosts:
                found.append({"sid": guest.sid, "cause": "node-affinity"})
            if rule.kind is AffinityKind.APART:
                there = [one for one in self._others(rule, guest) if one.vm.host == node]
                found += [{"sid": one.sid, "cause": "resource-affinity"} for one in there]
        return found

    def _dependent(self, guest: Guest) -> list[str]:
        """Guests that HA moves along."""
        together = [rule for rule in self._rules(guest) if rule.kind is AffinityKind.TOGETHER]
        return sorted({one.sid for rule in together for one in self._others(rule, guest)})

    def _rules(self, guest: Guest) -> list[SimRule]:
        if not self._site.ha_state(guest):
            return []
        return [rule for rule in self._world.rules.values() if guest.vm.id in rule.vms]

    def _others(self, rule: SimRule, guest: Guest) -> list[Guest]:
        known = (one for one in rule.vms if one != guest.vm.id and one in self._world.vms)
        return [self._site.guest(one) for one in known]

    def _ties(self, guest: Guest) -> dict[str, Any]:
        disks: list[dict[str, Any]] = []
        if guest.vm.local_disk:
            disks.append({"volid": guest.volume, "size": guest.vm.disk, "cdrom": 0, "is_unused": 0})
        if guest.cdrom:
            disks.append({"volid": guest.cdrom, "size": 0, "cdrom": 1, "is_unused": 0})
        return {
            "local_disks": disks,
            "local_resources": list(guest.devices),
            "mapped-resources": [],
            "mapped-resource-info": {},
            "has-dbus-vmstate": 1,
        }

    # --- one guest -------------------------------------------------------------------------------

    def _locked(self, guest: Guest) -> None:
        if guest.lock:
            raise Wrong(500, f"{guest.word} is locked ({guest.lock})")

    def _target(self, ask: Ask) -> str:
        target = ask.text("target")
        if target == ask.where.get("node"):
            raise wrong_parameter("target", "target is local node.")
        self._site.need_quorum()
        if target not in self._world.hosts:
            raise Wrong(500, f"no such cluster node '{target}'")
        return target

    def _qemu(self, ask: Ask) -> Answer:
        target = self._target(ask)
        for name in ("force", "migration_type", "migration_network"):
            if ask.given.get(name, "0") != "0" and not ask.account.root:
                raise wrong_parameter(name, ROOT_ONLY)
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Migrate")
        self._locked(guest)
        if guest.running and not ask.flag("online"):
            raise Wrong(500, "can't migrate running VM without --online")
        storages = self._storages(ask, guest, "targetstorage")
        self._reachable(guest, target, storages)
        wish = Wish(
            target=target,
            online=ask.flag("online") and guest.running,
            force=ask.flag("force"),
            with_local_disks=ask.flag("with-local-disks"),
            limit=ask.number("bwlimit") * KIB,
            storages=storages,
        )
        return self._go(ask, guest, wish)

    def _lxc(self, ask: Ask) -> Answer:
        target = self._target(ask)
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Migrate")
        self._locked(guest)
        if guest.running and not ask.flag("online") and not ask.flag("restart"):
            raise Wrong(500, "can't migrate running container without --online or --restart")
        storages = self._storages(ask, guest, "target-storage")
        self._reachable(guest, target, storages)
        wish = Wish(
            target=target,
            online=ask.flag("online"),
            restart=ask.flag("restart"),
            limit=ask.number("bwlimit") * KIB,
            storages=storages,
        )
        return self._go(ask, guest, wish)

    def _storages(self, ask: Ask, guest: Guest, name: str) -> dict[str, str]:
        given = ask.text(name)
        if not given or given == "1":
            return {}
        ask.want(f"/vms/{guest.vmid}", "VM.Config.Disk")
        found = {}
        for pair in given.split(","):
            left, mapped, right = pair.strip().partition(":")
            if (right or left) not in self._site.storages:
                raise Wrong(500, f"storage '{right or left}' does not exist")
            found[left if mapped else ""] = right if mapped else left
        return found

    def _reachable(self, guest: Guest, target: str, storages: dict[str, str]) -> None:
        """PVE::QemuServer::check_storage_availability."""
        name = guest.store
        if not self._site.storages[name].shared:
            name = storages.get(name, storages.get("", name))
        if not self._site.has(target, name):
            raise Wrong(500, f"storage '{name}' is not available on node '{target}'")

    def _go(self, ask: Ask, guest: Guest, wish: Wish) -> Answer:
        if not self._site.ha_state(guest):
            return Answer(self._motion.begin(guest, wish, ask.account.name).upid)
        tasks, node = self._motion.tasks, ask.where["node"]
        line = f"Requesting HA migration for {guest.word} {guest.vmid} to node {wish.target}"
        task = tasks.begin(node, "hamigrate", str(guest.vmid), ask.account.name)
        task.log.append(line)
        try:
            self._site.ha_request(guest, "migrate", wish.target)
        except Wrong as wrong:
            task.log.append(wrong.message)
            command = f"ha-manager migrate {guest.sid} {wish.target}"
            tasks.end(task, f"command '{command}' failed: exit code 255")
        else:
            tasks.end(task)
        return Answer(task.upid)

    # --- a disk ----------------------------------------------------------------------------------

    def _move_disk(self, ask: Ask) -> Answer:
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Config.Disk")
        self._locked(guest)
        if ask.text("disk") != guest.drive:
            raise Wrong(500, f"disk '{ask.text('disk')}' does not exist")
        storage = ask.text("storage")
        if not storage:
            raise Wrong(500, "missing option: 'storage' or 'target-vmid'")
        if storage not in self._site.storages:
            raise Wrong(500, f"storage '{storage}' does not exist")
        if not self._site.has(guest.vm.host, storage):
            raise Wrong(500, f"storage '{storage}' is not available on node '{guest.vm.host}'")
        if storage == guest.store:
            raise wrong_parameter("storage", "you can't move to the same storage with same format")
        task = self._motion.tasks.begin(guest.vm.host, "qmmove", str(guest.vmid), ask.account.name)
        if not self._hangs(guest):
            Mirror(self._motion, task, guest, storage, limit=ask.number("bwlimit") * KIB)
        return Answer(task.upid)

    def _hangs(self, guest: Guest) -> bool:
        fault = self._world.strike("move_storage", guest.vm)
        return fault is not None and fault.kind in (Kind.NEVER_STARTS, Kind.STUCK)

    # --- many ------------------------------------------------------------------------------------

    def _all(self, ask: Ask) -> Answer:
        target, node = self._target(ask), ask.where["node"]
        wanted = _numbers(ask.text("vms"))
        self._site.sync()
        guests = [
            one
            for one in self._site.guests.values()
            if one.vm.host == node and (not wanted or one.vmid in wanted)
        ]
        return self._several(ask, guests, target, node, "migrateall")

    def _bulk(self, ask: Ask) -> Answer:
        target = self._target(ask)
        wanted = _numbers(ask.text("vms"))
        self._site.sync()
        guests = [one for one in self._site.guests.values() if one.vmid in wanted and one.vm.host != target]
        return self._several(ask, guests, target, ask.local, "bulkmigrate")

    def _several(self, ask: Ask, guests: list[Guest], target: str, node: str, kind: str) -> Answer:
        for guest in guests:
            ask.want(f"/vms/{guest.vmid}", "VM.Migrate")
        tasks = self._motion.tasks
        task = tasks.begin(node, kind, "", ask.account.name)
        queue = [one for one in guests if not one.lock]
        state = {"busy": 0, "failed": 0}
        workers = ask.number("max-workers", ask.number("maxworkers", 1)) or 1

        def ended(well: bool) -> None:
            state["busy"] -= 1
            state["failed"] += not well
            fill()

        def fill() -> None:
            while queue and state["busy"] < workers:
                guest = queue.pop(0)
                state["busy"] += 1
                task.log.append(f"Migrating {guest.word} {guest.vmid}")
                wish = Wish(
                    target=target,
                    online=guest.kind == "qemu" and guest.running,
                    restart=guest.kind == "lxc",
                    with_local_disks=ask.flag("with-local-disks"),
                )
                self._motion.begin(guest, wish, ask.account.name, on_end=ended)
            if not queue and not state["busy"]:
                tasks.end(task, f"{state['failed']} migrations failed" if state["failed"] else "")

        fill()
        return Answer(task.upid)


def _numbers(text: str) -> set[int]:
    return {int(word) for word in text.replace(";", ",").replace(" ", ",").split(",") if word.isdigit()}
