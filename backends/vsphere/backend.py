"""The vSphere backend: capabilities, short, built on the session, the reads and the mapping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from backends import closing
from backends.rights import ASK_AGAIN
from backends.vsphere import hostfacts, offers, switches
from backends.vsphere.acting import Actor
from backends.vsphere.arrival import Arrivals
from backends.vsphere.checks import Checker
from backends.vsphere.farchecks import FarChecker
from backends.vsphere.hearing import Ear
from backends.vsphere.inventory import Poll
from backends.vsphere.keeping import Reasons
from backends.vsphere.looking import Looker
from backends.vsphere.moves import Moves
from backends.vsphere.named import HostNames
from backends.vsphere.options import Options
from backends.vsphere.placing import Places
from backends.vsphere.reading import Reader
from backends.vsphere.receiving import destination
from backends.vsphere.session import Live, Session
from backends.vsphere.tagging import Tags
from evac.across import Credential, Crossing, Destination, Luggage, Reception
from evac.backend import Receipt, Settings
from evac.errors import BackendError, BadAnswer, Forbidden, Refused, Unreachable
from evac.lanes import Lane
from evac.model import Capability, Finding, Host, Inventory, MoveCheck, Problem, Sighting, Switch, TaskRecord
from evac.window.nouns import HostFacts

T = TypeVar("T")

PARTING = 0.5
"""Seconds `close` waits for the logout."""


ABLE = (
    "live_migrate",
    "cold_migrate",
    "move_storage",
    "move_across",
    "abort",
    "start",
    "stop",
    "answer",
    "enter_maintenance",
    "leave_maintenance",
    "turn_switch",
)
NEEDS_VCENTER = frozenset(
    {"live_migrate", "cold_migrate", "move_storage", "move_across", "abort", "turn_switch"}
)
ALONE = "an ESXi host that stands alone moves nothing: vMotion, storage vMotion and DRS are vCenter's"

LACKING: Mapping[str, str] = {
    "confirm_move": "a cold migration of vSphere's is over when its task is: there is nothing to confirm",
    "revert_move": "a cold migration of vSphere's is over when its task is: move the VM back instead",
    "evacuate": "vSphere HA restarts the VMs of a dead host by itself; without HA, register them on another host by hand",
    "reset_state": "vSphere keeps no state that could be overwritten",
    "force_complete": "vSphere slows a busy guest down by itself (SDPS) until the rest fits into a switch-over",
    "force_down": "vSphere finds out by itself which hosts are dead (HA's heartbeats); nobody can declare one so",
}
"""Actions vSphere has nothing for, and why."""


class VSphereBackend:
    """One vCenter, or one ESXi host. Reads, looks and changes each have threads of their own."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self.session = Session(settings)
        self.reader = Reader(self.session)
        self._moves = Moves(settings.name)
        self._reasons = Reasons(settings)
        self._tags = Tags(self.session, settings)
        self._looker = Looker(self.session, self.reader, self._moves, self._reasons, tags=self._tags)
        self._poll = Poll(self.session, self.reader, self._moves, self._reasons, tags=self._tags)
        places = Places(self.session, self.reader, self._moves, settings.options)
        arrivals = Arrivals(settings)
        self._actor = Actor(self.session, self.reader, self._moves, self._reasons, places, arrivals)
        self._checker = Checker(self.session, self.reader, places)
        self._far_checker = FarChecker(self.session, self.reader, places, arrivals)
        self._forbidden: dict[str, tuple[float, str]] = {}
        self._names = HostNames()
        name = f"evac-{settings.name}"
        self._polls = Lane(f"{name}-poll", 1, closing.reads(self.name))
        self._looks = Lane(f"{name}-look", 4, closing.reads(self.name))
        self._changes = Lane(f"{name}-change", 4, closing.changes(self.name))
        self._ear = Ear(self.session, self.reader)
        self._hearing = Lane(f"{name}-hear", 1, closing.reads(self.name))
        self._tagging = Lane(f"{name}-tags", 1, closing.reads(self.name))
        self._reading_tags: asyncio.Task[None] | None = None
        self._parting = Lane(f"{name}-parting", 1, closing.reads(self.name))

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """As the contract says. Polls follow one another: the lane has one thread."""
        answer = self._names.inventory(await self._named(self._polls, lambda: self._poll(since)))
        if self._tags.is_due():  # nobody waits for them: another poll tells them
            self._reading_tags = asyncio.create_task(self._read_tags())
        return answer

    async def hears(self, patience: float) -> bool:
        """As `evac.hearing` says: one call that waits at vCenter."""
        return await self._hearing.run(lambda: self._ear.wait(max(1, round(patience))))

    async def _read_tags(self) -> None:
        with suppress(BackendError):  # the lane was closed
            await self._tagging.run(self._tags.read)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """As the contract says. Two calls, however many VMs."""
        found = await self._named(self._looks, lambda: self._looker.look(list(dict.fromkeys(vms))))
        await self._learn(seen.vm.host for seen in found.values() if seen.vm is not None)
        return {vm: self._names.sighting(seen) for vm, seen in found.items()}

    async def host(self, host: str) -> Host | None:
        """As the contract says."""
        await self._learn([host])
        found = await self._named(self._looks, lambda: self._looker.host(self._names.id_of(host)))
        return None if found is None else self._names.host(found)

    async def host_facts(self, host: str) -> HostFacts:
        """As the contract says."""
        await self._learn([host])
        id_ = self._names.id_of(host)
        return await self._named(self._looks, lambda: hostfacts.host_facts(self.session, self.reader, id_))

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """From vCenter's tasks of the last ten minutes."""
        return await self._looks.run(lambda: self._looker.tasks(vm, since))

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        """By vCenter's checker, and by evac's rules."""
        await self._learn(targets)
        ids = [self._names.id_of(target) for target in targets]
        return [
            self._names.check(check)
            for check in await self._named(self._looks, lambda: self._checker(vm, ids))
        ]

    async def check_across(
        self, vm: str, going: Crossing, targets: Sequence[str], credential: Credential
    ) -> Sequence[MoveCheck]:
        """By vCenter's checker with a ServiceLocator. The hosts it speaks of are the target's."""
        return await self._named(self._looks, lambda: self._far_checker(vm, going, targets, credential))

    async def luggage(self, vm: str) -> Luggage:
        """As the contract says."""
        what = f"the networks of {vm}"
        return await self._looks.run(
            lambda: self.session.read(lambda live: offers.luggage(live, self.reader, vm), what)
        )

    async def reception(self, hosts: Sequence[str]) -> Sequence[Reception]:
        """As the contract says. vCenter's environment browser tells the versions of virtual hardware."""
        await self._learn(hosts)
        ids = [self._names.id_of(host) for host in hosts]
        told = await self._looks.run(
            lambda: self.session.read(
                lambda live: offers.reception(live, self.reader, ids), "the networks of hosts"
            )
        )
        return [replace(one, host=self._names.name_of(one.host)) for one in told]

    async def switches(self) -> Sequence[Switch]:
        """DRS and HA of each cluster, where they are on."""

        def work(live: Live) -> list[Switch]:
            return switches.read(live, self.reader, self.name)

        return await self._looks.run(lambda: self.session.read(work, "the clusters' DRS and HA"))

    # --- changing -----------------------------------------------------------------------------------------------

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """RelocateVM_Task of a running VM; without a target DRS's recommendation, else evac's choice."""
        return await self._change(
            "live_migrate", lambda: self._actor.live_migrate(vm, self._names.id_of(to)), to
        )

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """RelocateVM_Task of a VM that is off. There is nothing to confirm afterwards."""
        return await self._change(
            "cold_migrate", lambda: self._actor.cold_migrate(vm, self._names.id_of(to)), to
        )

    async def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """Storage vMotion, or with a host both in one task."""
        return await self._change(
            "move_storage", lambda: self._actor.move_storage(vm, storage, self._names.id_of(to)), to
        )

    async def destination(self) -> Destination:
        """From a look at the certificate, and the vCenter's own identity."""
        return await self._looks.run(lambda: destination(self.session, self._settings))

    async def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """RelocateVM_Task with a ServiceLocator, running or not."""
        # The hosts it speaks of are the target's: it does without the names of this vCenter's.
        return await self._attempt(
            "move_across", self._changes.run(lambda: self._actor.move_across(vm, going, credential))
        )

    async def abort(self, vm: str, migration: str) -> Receipt:
        """CancelTask."""
        return await self._change("abort", lambda: self._actor.abort(vm, migration))

    async def start(self, vm: str) -> Receipt:
        """PowerOnVM_Task."""
        return await self._change("start", lambda: self._actor.start(vm))

    async def stop(self, vm: str) -> Receipt:
        """ShutdownGuest; never a power-off."""
        return await self._change("stop", lambda: self._actor.stop(vm))

    async def answer(self, vm: str, question: str, choice: str) -> Receipt:
        """AnswerVM."""
        return await self._change("answer", lambda: self._actor.answer(vm, question, choice))

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """EnterMaintenanceMode_Task, which waits until the guests have gone."""
        return await self._change(
            "enter_maintenance",
            lambda: self._actor.enter_maintenance(self._names.id_of(host), reason),
            host,
        )

    async def leave_maintenance(self, host: str) -> Receipt:
        """ExitMaintenanceMode_Task, or the cancel of an entry that waits."""
        return await self._change(
            "leave_maintenance", lambda: self._actor.leave_maintenance(self._names.id_of(host)), host
        )

    async def turn(self, switch: str, was: str, to: str) -> Receipt:
        """ReconfigureComputeResource_Task, which sets the automation level of DRS and nothing else."""
        return await self._change("turn_switch", lambda: self._actor.turn(switch, was, to))

    async def _change(self, kind: str, work: Callable[[], Receipt], host: str = "") -> Receipt:
        """Remembers which kinds of action the account may not do, for `capabilities`. `host`: the one it names."""
        if not self._settings.read_only:
            await self._learn_first(kind, host)
        receipt = await self._attempt(kind, self._named(self._changes, work))
        return replace(receipt, note=self._names.text(receipt.note))

    async def _attempt(self, kind: str, sent: Awaitable[Receipt]) -> Receipt:
        try:
            receipt = await sent
        except Forbidden as error:
            self._forbidden[kind] = (time.monotonic(), error.problem.happened)
            raise
        self._forbidden.pop(kind, None)
        return receipt

    # --- names of hosts -----------------------------------------------------------------------------------------

    async def _learn(self, hosts: Iterable[str]) -> None:
        """What the hosts are called, where one of these is not known: the first call after the start, or a new host."""
        if self._names.knows(hosts):
            return
        read = self.reader.host_names
        self._names.learn(await self._looks.run(lambda: self.session.read(read, "the names of the hosts")))

    async def _learn_first(self, kind: str, host: str) -> None:
        try:
            await self._learn([host])
        except (Unreachable, BadAnswer) as error:
            happened = f"{error.problem.happened} So {kind.replace('_', ' ')} was not sent."
            raise Refused(
                Problem(
                    happened=happened,
                    unaffected="Nothing was changed.",
                    next_step=error.problem.next_step,
                )
            ) from error

    async def _named(self, lane: Lane, work: Callable[[], T]) -> T:
        """Work in a lane; an error speaks of hosts by their names."""
        try:
            return await lane.run(work)
        except BackendError as error:
            error.problem = self._names.problem(error.problem)
            raise

    # --- what it can do -----------------------------------------------------------------------------------------

    async def capabilities(self) -> Sequence[Capability]:
        """From the mode, the kind of server, and what was refused before."""
        if self.session.known is None and not self._settings.read_only:
            # A server that does not answer is the poll's story, not this one's.
            with suppress(BackendError):
                await self._looks.run(self.session.live)
        return [self._capability(kind) for kind in (*ABLE, *LACKING)]

    def _capability(self, kind: str) -> Capability:
        live = self.session.known
        when, why = self._forbidden.get(kind, (0.0, ""))
        if kind in LACKING:
            return Capability(action=kind, able=False, why_not=LACKING[kind])
        if self._settings.read_only:
            return Capability(action=kind, able=False, why_not="this cluster is read-only here")
        if live is not None and not live.vcenter and kind in NEEDS_VCENTER:
            return Capability(action=kind, able=False, why_not=ALONE)
        if why and time.monotonic() - when < ASK_AGAIN:
            return Capability(action=kind, able=False, why_not=why)
        return Capability(action=kind, able=True)

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        from backends.vsphere.doctor import examine  # noqa: PLC0415 - needed by `evac doctor` only

        return await examine(self.session, self.reader, self._settings, self._looks)

    def describe(self) -> Mapping[str, str]:
        """endpoint, version, where known."""
        options: Options = self._settings.options
        host, port = options.address
        facts = {"endpoint": f"https://{host}:{port}/sdk"}
        live = self.session.known
        if live is not None:
            facts["version"] = str(live.content.about.fullName)
        return facts

    async def close(self) -> None:
        """Log out if that is quick; end the threads that are idle, and leave those that wait to their time-outs."""
        for lane in (self._polls, self._looks, self._changes, self._hearing, self._tagging):
            lane.close()
        leaving = asyncio.ensure_future(self._parting.run(self.session.close))
        await asyncio.wait({leaving}, timeout=PARTING)
        leaving.cancel()
        self._parting.close()
        self.session.wire.close()
