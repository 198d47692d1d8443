"""The OpenStack backend: capabilities, short, built on the client, the reads and the mapping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from backends import closing
from backends.openstack.client import READ, Client
from backends.openstack.inventory import Poll
from backends.openstack.login import OLDEST, Version
from backends.openstack.masakari import KIND as MASAKARI
from backends.openstack.masakari import Masakari
from backends.openstack.options import Options
from backends.openstack.reading import Reader
from backends.openstack.watcher import KIND as WATCHER
from backends.openstack.watcher import PREFIX as AUDIT
from backends.openstack.watcher import Watcher
from backends.rights import ASK_AGAIN
from backends.trouble import read_only
from evac.backend import Receipt, Settings
from evac.errors import BackendError, BadAnswer, Forbidden, NotFound, ReadOnly
from evac.lanes import Lane
from evac.model import (
    VM,
    Capability,
    Finding,
    Host,
    Inventory,
    Migration,
    Problem,
    Sighting,
    Switch,
    TaskRecord,
    VMState,
)

T = TypeVar("T")

ALONE = 4
"""Up to this many VMs each have their migrations asked for by name. More are looked for in one list first."""

LATEST = 200
"""Length of that list: newer than anything a queue with its limits has in flight. Those not in it are asked by name."""

NEEDS: Mapping[str, Version] = {
    "live_migrate": (2, 30),
    "cold_migrate": OLDEST,
    "confirm_move": OLDEST,
    "revert_move": OLDEST,
    "evacuate": (2, 29),
    "reset_state": OLDEST,
    "abort": (2, 24),
    "force_complete": (2, 22),
    "start": OLDEST,
    "stop": OLDEST,
    "enter_maintenance": (2, 53),
    "leave_maintenance": (2, 53),
    "force_down": (2, 53),
}
"""Microversion each action needs (Compute API history). Live migrate: below 2.30 a named host skips the scheduler's
checks. Evacuate: the same below 2.29. Services are addressed by UUID since 2.53."""

COLD_TO_HOST: Version = (2, 56)
ABORT_QUEUED: Version = (2, 65)

EVACUATE_RUNNING: Version = (2, 94)
"""From 2.95 on an evacuated server arrives stopped; up to 2.94 it arrives as it was."""


NO_SWITCHES = (
    "Nova has no balancer and no backup jobs, and this cloud's catalog has no Masakari and no Watcher"
)
NOT_SEEN_YET = "whether this cloud has Masakari or Watcher is not known before the first login"


class OpenStackBackend:
    """One cloud in one region. Reads, looks and changes each have threads of their own."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self.client = Client(settings)
        self._reader = Reader(self.client)
        name = f"evac-{settings.name}"
        self._polls = Lane(f"{name}-poll", 4, closing.reads(self.name))
        self._looks = Lane(f"{name}-look", 6, closing.reads(self.name))
        self._changes = Lane(f"{name}-change", 4, closing.changes(self.name))
        self._masakari = Masakari(self.client)
        self._watcher = Watcher(self.client)
        self._poll = Poll(self.client, self._reader, self._polls)
        self._one_poll = asyncio.Lock()
        self._forbidden: dict[str, tuple[float, str]] = {}

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """As the contract says. Where rights are missing: what is visible, and a Problem that names the right."""
        async with self._one_poll:
            return await self._poll(since)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """As the contract says. Calls: one per VM, one per VM that live-migrates now, and one or a few for the lists."""
        wanted = list(dict.fromkeys(vms))
        listed, servers = await asyncio.gather(
            self._migrations_of(wanted),
            asyncio.gather(*(self._looks.run(_bind(self._reader.server, vm)) for vm in wanted)),
        )
        sightings = await asyncio.gather(
            *(self._sighting(vm, server, listed) for vm, server in zip(wanted, servers, strict=True))
        )
        return dict(zip(wanted, sightings, strict=True))

    async def _migrations_of(self, vms: Sequence[str]) -> list[Migration]:
        """Without the right to list migrations there are none, and the servers' own state must do."""
        try:
            listed: list[Migration] = []
            if len(vms) > ALONE:
                # One of them may not say whose it is: then each VM is asked for its own.
                with suppress(BadAnswer):
                    listed = await self._looks.run(lambda: self._reader.migrations(newest=LATEST, sure=True))
            found = {move.vm for move in listed}
            alone = [vm for vm in vms if vm not in found]
            lists = await asyncio.gather(
                *(self._looks.run(_bind(self._migrations_of_one, vm)) for vm in alone)
            )
        except Forbidden:
            return []
        return [*listed, *(move for moves in lists for move in moves)]

    def _migrations_of_one(self, vm: str) -> list[Migration]:
        return self._reader.migrations(vm=vm, sure=True)

    async def _sighting(self, vm: str, server: VM | None, listed: Sequence[Migration]) -> Sighting:
        if server is None:
            return Sighting(vm=None, migrations=tuple(move for move in listed if move.vm == vm))
        own = [move for move in listed if move.vm == vm]
        moving = server.state is VMState.MIGRATING or bool(server.task)
        if not moving and not any(move.phase.active for move in own):
            return Sighting(vm=server, migrations=tuple(own))
        try:
            running = {move.id: move for move in await self._looks.run(lambda: self._reader.running(vm))}
        except Forbidden:
            running = {}
        merged = [running.pop(move.id, move) for move in own]
        return Sighting(vm=server, migrations=(*running.values(), *merged))

    async def host(self, host: str) -> Host | None:
        """As the contract says."""
        return await self._looks.run(lambda: self._reader.host(host))

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """From Nova's instance actions; a reason of a failure comes from their events."""
        return await self._looks.run(lambda: self._reader.tasks(vm, since))

    async def switches(self) -> Sequence[Switch]:
        """Masakari's watch over each host and Watcher's audits, of what the catalog has of the two."""
        watches, audits = await asyncio.gather(
            self._looks.run(self._masakari.all), self._looks.run(self._watcher.all)
        )
        return [*watches, *audits]

    # --- changing -----------------------------------------------------------------------------------------------

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """From 2.34 on asynchronous: "accepted" even for a target that will be refused a moment later."""
        body = {"os-migrateLive": {"host": to or None, "block_migration": "auto"}}
        return await self._act("live_migrate", vm, body)

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """A named host needs 2.56."""
        body = {"migrate": {"host": to} if to else None}
        return await self._act("cold_migrate", vm, body, lowest=COLD_TO_HOST if to else OLDEST)

    async def confirm_move(self, vm: str) -> Receipt:
        """As the contract says."""
        return await self._act("confirm_move", vm, {"confirmResize": None})

    async def revert_move(self, vm: str) -> Receipt:
        """As the contract says."""
        return await self._act("revert_move", vm, {"revertResize": None})

    async def evacuate(self, vm: str, to: str) -> Receipt:
        """At 2.94 or below, so that a VM that ran runs again."""
        body = {"evacuate": {"host": to} if to else {}}
        return await self._act("evacuate", vm, body, best=EVACUATE_RUNNING)

    async def reset_state(self, vm: str, to: str) -> Receipt:
        """As the contract says."""
        return await self._act("reset_state", vm, {"os-resetState": {"state": to}})

    async def start(self, vm: str) -> Receipt:
        """As the contract says."""
        return await self._act("start", vm, {"os-start": None})

    async def stop(self, vm: str) -> Receipt:
        """As the contract says."""
        return await self._act("stop", vm, {"os-stop": None})

    async def abort(self, vm: str, migration: str) -> Receipt:
        """A queued migration can be aborted from 2.65 on.

        Twice is harmless: Nova takes it of this one migration only, while it runs, and logs it before it hands it on
        (live_migrate_abort in nova/compute/api.py).
        """
        path = f"/servers/{vm}/migrations/{migration}"
        return await self._change("abort", "DELETE", path, None, f"abort of migration {migration}")

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        """Logged as an abort is (live_migrate_force_complete, nova/compute/api.py), and as harmless when it comes twice.

        In post-copy the second one is only warned of; without post-copy the guest, paused already, is paused again, and
        resumed if the migration fails (run_tasks and run_recover_tasks in nova/virt/libvirt/migration.py).
        """
        path = f"/servers/{vm}/migrations/{migration}/action"
        body = {"force_complete": None}
        return await self._change(
            "force_complete", "POST", path, body, f"force-complete of migration {migration}"
        )

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """Disables the compute service; Nova keeps 255 characters of the reason."""
        body = {"status": "disabled", "disabled_reason": reason[:255] or "maintenance"}
        return await self._set_service(
            "enter_maintenance", host, body, f"disabling the compute service of {host}"
        )

    async def leave_maintenance(self, host: str) -> Receipt:
        """Enables the compute service."""
        body = {"status": "enabled"}
        return await self._set_service(
            "leave_maintenance", host, body, f"enabling the compute service of {host}"
        )

    async def force_down(self, host: str, down: bool) -> Receipt:
        """By the service's id, read now: the SDK given a stale object sends nothing and says it did."""
        what = f"forcing down {host}" if down else f"taking back the force-down of {host}"
        return await self._set_service("force_down", host, {"forced_down": down}, what)

    async def turn(self, switch: str, was: str, to: str) -> Receipt:
        """Masakari's watch over a host: on maintenance, or watched. An audit of Watcher: suspended, or ongoing."""
        owner = self._watcher if switch.startswith(AUDIT) else self._masakari
        return await self._changing("turn_switch", lambda: owner.turn(switch, was, to))

    async def _act(
        self,
        kind: str,
        vm: str,
        body: Mapping[str, object],
        *,
        lowest: Version = OLDEST,
        best: Version = READ,
    ) -> Receipt:
        what = f"{kind.replace('_', '-')} of server {vm}"
        return await self._change(kind, "POST", f"/servers/{vm}/action", body, what, lowest=lowest, best=best)

    async def _change(
        self,
        kind: str,
        method: str,
        path: str,
        body: object,
        what: str,
        *,
        lowest: Version = OLDEST,
        best: Version = READ,
    ) -> Receipt:
        floor = max(lowest, NEEDS[kind])
        return await self._changing(
            kind, lambda: self.client.change(method, path, body, lowest=floor, best=best, what=what)
        )

    async def _set_service(self, kind: str, host: str, body: Mapping[str, object], what: str) -> Receipt:
        def work() -> Receipt:
            agents = self.client.before_change(lambda: self._reader.services(host), what)
            agent = next((one for one in agents if one.host == host), None)
            if agent is None:
                raise NotFound(Problem(happened=f"{self.name}: Nova has no compute service on {host}."))
            path = f"/os-services/{agent.id}"
            return self.client.change("PUT", path, body, lowest=NEEDS[kind], what=what)

        return await self._changing(kind, work)

    async def _changing(self, kind: str, work: Callable[[], Receipt]) -> Receipt:
        """Every changing call passes here: none where the cluster is read-only, not even the reads on its behalf.

        The transport stops them too (backends.wire), whoever sends them. Remembers which kinds of action the account may
        not do, for `capabilities`.
        """
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
        """From the mode, the server's microversions and what was refused before.

        Rights are not probed: there is no harmless way to ask Nova "could I?".
        """
        if self.client.known_api is None and not self._settings.read_only:
            # A cloud that does not answer is the poll's story, not this one's.
            with suppress(BackendError):
                await self._looks.run(lambda: self.client.api)
        return [*(self._capability(kind) for kind in NEEDS), self._turning()]

    def _turning(self) -> Capability:
        there = [self.client.login.has(kind) for kind in (MASAKARI, WATCHER)]
        if any(there) or self._settings.read_only:
            return self._capability("turn_switch")
        why = NOT_SEEN_YET if None in there else NO_SWITCHES
        return Capability(action="turn_switch", able=False, why_not=why)

    def _capability(self, kind: str) -> Capability:
        if self._settings.read_only:
            return Capability(action=kind, able=False, why_not="this cluster is read-only here")
        api = self.client.known_api
        lowest = NEEDS.get(kind, OLDEST)
        if api is not None and api.newest < lowest:
            spoken = f"{api.newest[0]}.{api.newest[1]}"
            needs = f"{lowest[0]}.{lowest[1]}"
            return Capability(
                action=kind, able=False, why_not=f"needs compute API {needs}; this Nova speaks {spoken}"
            )
        when, why = self._forbidden.get(kind, (0.0, ""))
        if why and time.monotonic() - when < ASK_AGAIN:
            return Capability(action=kind, able=False, why_not=why)
        return Capability(action=kind, able=True)

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        from backends.openstack.doctor import examine  # noqa: PLC0415 - needed by `evac doctor` only

        return await examine(self.client, self._reader, self._settings, self._looks)

    def describe(self) -> Mapping[str, str]:
        """endpoint, region, version, where known."""
        api = self.client.known_api
        if api is None:
            options: Options = self._settings.options
            return {"endpoint": options.auth_url} if options.auth_url else {}
        oldest, newest = api.oldest, api.newest
        return {
            "endpoint": api.url,
            "region": api.region,
            "version": f"Nova {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}",
        }

    async def close(self) -> None:
        """Ends the threads that are idle; those that wait for an answer are left to their time-outs."""
        for lane in (self._polls, self._looks, self._changes):
            lane.close()
        self.client.close()


def _bind(work: Callable[[str], T], vm: str) -> Callable[[], T]:
    return lambda: work(vm)
