"""The Proxmox VE backend: capabilities, short, built on the client, the reads and the mapping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from backends import closing
from backends.proxmox import hostfacts, migration_network
from backends.proxmox.arriving import Arrivals
from backends.proxmox.changing import Changes
from backends.proxmox.client import Client
from backends.proxmox.disks import Chains
from backends.proxmox.inventory import Poll
from backends.proxmox.knowing import Knowledge
from backends.proxmox.leaving import Departures
from backends.proxmox.looking import Looks
from backends.proxmox.marks import Marks
from backends.proxmox.memory import Memory
from backends.proxmox.options import Options
from backends.proxmox.preflight import Preflight
from backends.proxmox.reading import Reader
from backends.proxmox.switches import Switches
from backends.rights import ASK_AGAIN
from backends.trouble import read_only
from evac.across import Credential, Crossing, Destination
from evac.backend import Receipt, Settings
from evac.errors import Forbidden, ReadOnly
from evac.lanes import Lane
from evac.model import Capability, Finding, Host, Inventory, MoveCheck, Sighting, Switch, TaskRecord
from evac.window.nouns import HostFacts

if TYPE_CHECKING:
    from backends.proxmox.shell import Commands

T = TypeVar("T")

ABLE = (
    "live_migrate",
    "cold_migrate",
    "move_storage",
    "move_across",
    "reset_state",
    "abort",
    "start",
    "stop",
    "enter_maintenance",
    "leave_maintenance",
    "turn_switch",
)

UNABLE = {
    "confirm_move": "Proxmox VE moves a stopped guest at once: there is nothing to confirm",
    "revert_move": "Proxmox VE moves a stopped guest at once: there is nothing to confirm or to take back",
    "force_complete": "Proxmox VE raises the allowed downtime by itself while a migration does not converge; nobody can ask for it",
    "evacuate": "of a dead node, HA restarts its own guests elsewhere once the node is fenced; for others only a human may"
    " move /etc/pve/nodes/DEAD/…/ID.conf, once it is certain that the node is off",
    "force_down": "Proxmox VE fences by watchdog and quorum; a node cannot be declared dead through the API",
}


class ProxmoxBackend:
    """One cluster. Polls, looks and changes each have threads of their own."""

    refresh = 10.0
    """pvestatd gathers figures every 10 s, so asking more often shows nothing new."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self.client = Client(settings)
        self._reader = Reader(self.client)
        name = f"evac-{settings.name}"
        self._polls = Lane(f"{name}-poll", 4, closing.reads(self.name))
        self._sights = Lane(f"{name}-look", 6, closing.reads(self.name))
        self._changes = Lane(f"{name}-change", 4, closing.changes(self.name))
        self._memory = Memory()
        self._marks = Marks(settings.state_dir, settings.name)
        self._facts = Lane(f"{name}-facts", 2, closing.reads(self.name))
        options: Options = settings.options
        self._knowledge = Knowledge(
            self.client, self._reader, self._memory, self._facts, agents=options.guest_agent
        )
        marks, known = self._marks, self._knowledge
        self._poll = Poll(self.client, self._reader, self._polls, self._memory, marks=marks, knowledge=known)
        self._chains = Chains(self.client, self._reader)
        self._looks = Looks(self.client, self._reader, self._memory, self._knowledge, self._chains)
        details = self._poll.details
        self._preflight = Preflight(
            self.client, self._reader, self._looks, knowledge=known, memory=self._memory, details=details
        )
        self._acts = Changes(
            settings,
            self.client,
            self._reader,
            self._looks,
            marks=self._marks,
            knowledge=self._knowledge,
            chains=self._chains,
        )
        self._arrivals = Arrivals(settings, self.client, self._reader)
        self._departures = Departures(settings, self.client, self._looks)
        self._switches = Switches(self.client)
        self._one_poll = asyncio.Lock()
        self._forbidden: dict[str, tuple[float, str]] = {}

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """As the contract says. Where rights are missing: what is visible, and a Problem that names the right."""
        async with self._one_poll:
            return await self._poll(since)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """As the contract says. Calls: one for the tasks, one per guest, two more per guest that moves."""
        wanted = list(dict.fromkeys(vms))
        tasks = await self._sights.run(self._reader.tasks)
        found = await asyncio.gather(
            *(self._sights.run(_bind(lambda vm: self._looks.sighting(vm, tasks), vm)) for vm in wanted)
        )
        self._knowledge.ask_addresses(wanted)
        return dict(zip(wanted, found, strict=True))

    async def host(self, host: str) -> Host | None:
        """As the contract says."""
        return await self._sights.run(lambda: self._host(host))

    async def host_facts(self, host: str) -> HostFacts:
        """As the contract says."""
        return await self._sights.run(lambda: hostfacts.host_facts(self._reader, self.name, host))

    async def migration_addresses(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Their addresses in the network for migrations, where the config or the datacenter's options name one."""
        options: Options = self._settings.options
        chosen = options.migration.network

        def addresses() -> dict[str, str]:
            return migration_network.addresses(self.client, hosts, chosen=chosen)

        return await self._sights.run(addresses)

    def _host(self, host: str) -> Host | None:
        rows, _ = self._reader.resources("node")
        row = next((one for one in rows if one.node == host and one.type == "node"), None)
        if row is None:
            return None
        with suppress(Forbidden):  # the poll tells of it
            self._memory.manager = self._reader.manager()
        return self._poll.hosts({host: row}, self._marks.all())[0]

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """From the task lists of all nodes, with the reasons of failures from their logs."""
        return await self._sights.run(lambda: self._looks.records(vm, since))

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        """Proxmox VE's own check, and what it does not look at: CPUs, memory, maintenance, versions."""
        options: Options = self._settings.options
        return await self._sights.run(
            lambda: self._preflight(
                vm,
                targets,
                moves=options.migration,
                marks=self._marks,
                ask=self._acts.precondition,
            )
        )

    async def destination(self) -> Destination:
        """With every node whose API answers evac, and a number that is free."""
        return await self._sights.run(self._arrivals.destination)

    async def switches(self) -> Sequence[Switch]:
        """Backup jobs, and HA's automatic rebalancing where the cluster's options name it."""
        return await self._sights.run(self._switches.all)

    # --- changing -----------------------------------------------------------------------------------------------

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """Under HA by a request to the HA manager, which is not told how much bandwidth to use."""
        return await self._changing("live_migrate", lambda: self._acts.live_migrate(vm, to))

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """A stopped guest; a running container with a restart; a running guest under HA by its relocation."""
        return await self._changing("cold_migrate", lambda: self._acts.cold_migrate(vm, to))

    async def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """One disk per task. Several disks follow each other while evac runs, which the receipt's note tells."""
        return await self._changing("move_storage", lambda: self._acts.move_storage(vm, storage, to))

    async def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """A VM, running or not, with its disks. The receipt's note says that it is experimental in Proxmox VE."""
        return await self._changing(
            "move_across", lambda: self._departures.move_across(vm, going, credential)
        )

    async def abort(self, vm: str, migration: str) -> Receipt:
        """Stops the task; the guest stays where it is."""
        return await self._changing("abort", lambda: self._acts.abort(vm, migration))

    async def start(self, vm: str) -> Receipt:
        """As the contract says."""
        return await self._changing("start", lambda: self._acts.power(vm, "start"))

    async def stop(self, vm: str) -> Receipt:
        """Asks the guest to shut down; it is never switched off instead."""
        return await self._changing("stop", lambda: self._acts.power(vm, "shutdown"))

    async def reset_state(self, vm: str, to: str) -> Receipt:
        """Takes a lock off that a broken task left. "error" is no state that Proxmox VE keeps."""
        left = await self._changing("reset_state", lambda: self._acts.unlock(vm, to))
        if left is not None and left.on:
            await self._commands(left.on).unlock_container(left.guest.vmid)
        elif left is not None:
            await self._commands().unlock(left.guest.node, left.guest.vmid)
        return Receipt()

    async def turn(self, switch: str, was: str, to: str) -> Receipt:
        """PUT /cluster/backup/ID, or the property crs of /cluster/options with all its other parts as they are."""
        return await self._changing("turn_switch", lambda: self._switches.turn(switch, was, to))

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """Evac's own mark; with `ssh`, also ha-manager's node maintenance, by which HA moves its guests away."""
        return await self._maintain("enter_maintenance", host, reason or "maintenance")

    async def leave_maintenance(self, host: str) -> Receipt:
        """Takes both back."""
        return await self._maintain("leave_maintenance", host, None)

    async def _maintain(self, kind: str, host: str, reason: str | None) -> Receipt:
        options: Options = self._settings.options
        what = f"the {'end of ' if reason is None else ''}maintenance of {host}"
        await self._changing(kind, lambda: self._acts.must_have(host, what))
        note = "evac places nothing there; HA is not told, for want of [clusters.NAME.ssh]"
        if options.ssh is not None:
            await self._commands().maintenance(host, on=reason is not None)
            note = "HA is told too, and moves its own guests"
        await self._changing(kind, lambda: self._acts.mark(host, reason))
        return Receipt(note=note)

    def _commands(self, where: str = "") -> Commands:
        """`where`: a node that it must be; else the one that acts for the cluster."""
        from backends.proxmox.shell import Commands  # noqa: PLC0415 - asyncssh takes a while to import

        options: Options = self._settings.options
        assert options.ssh is not None, "asked before"
        host = where or options.ssh.host or urlsplit(self.client.endpoint).hostname or ""
        return Commands(self._settings, options.ssh, host)

    async def _changing(self, kind: str, work: Callable[[], T]) -> T:
        """Remembers which kinds of action the account may not do, for `capabilities`."""
        if self._settings.read_only:
            raise ReadOnly(read_only(self.name, f"{kind.replace('_', '-')} was not sent"))
        try:
            receipt = await self._changes.run(work)
        except Forbidden as error:
            self._forbidden[kind] = (time.monotonic(), error.problem.happened)
            raise
        self._forbidden.pop(kind, None)
        return receipt

    # --- what it can do -----------------------------------------------------------------------------------------

    async def capabilities(self) -> Sequence[Capability]:
        """From the mode, what the platform has, and what was refused before."""
        able = [self._capability(kind) for kind in ABLE]
        return [*able, *(Capability(action=kind, able=False, why_not=why) for kind, why in UNABLE.items())]

    def _capability(self, kind: str) -> Capability:
        if self._settings.read_only:
            return Capability(action=kind, able=False, why_not="this cluster is read-only here")
        when, why = self._forbidden.get(kind, (0.0, ""))
        if why and time.monotonic() - when < ASK_AGAIN:
            return Capability(action=kind, able=False, why_not=why)
        return Capability(action=kind, able=True)

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        from backends.proxmox.doctor import examine  # noqa: PLC0415 - needed by `evac doctor` only

        return await examine(self.client, self._reader, self._settings, self._sights)

    def describe(self) -> Mapping[str, str]:
        """endpoint, and version where known."""
        facts = {"endpoint": self.client.endpoint}
        if self._memory.version:
            facts["version"] = f"Proxmox VE {self._memory.version}"
        return facts

    async def close(self) -> None:
        """Ends the threads that are idle; those that wait for an answer are left to their time-outs."""
        self._knowledge.close()
        self._chains.closed.set()
        for lane in (self._polls, self._sights, self._changes, self._facts):
            lane.close()
        self.client.close()


def _bind(work: Callable[[str], T], vm: str) -> Callable[[], T]:
    return lambda: work(vm)
