"""The libvirt backend as the engine has it: every method is a question to the cluster's worker process.

libvirt's library blocks, may hang on a dead host and may abort its process: none of that may happen in the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from backends.libvirt import frames
from backends.libvirt.kinds import ERRORS
from backends.libvirt.options import Options, entries
from backends.libvirt.process import Answer, worker
from evac.backend import Call, Receipt, Settings
from evac.decoding import from_msgpack
from evac.errors import BackendError, Uncertain, Unreachable
from evac.model import Capability, Finding, Host, Inventory, MoveCheck, Problem, Sighting, TaskRecord
from evac.workers import WorkerDied

T = TypeVar("T")

GRACE = 10.0
"""Seconds beyond the worker's own time-outs after which it counts as hung."""


class LibvirtBackend:
    """Some hosts, as one cluster."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._options: Options = settings.options
        self._worker = worker(self.name, self._setup, self._note)

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, if one lives."""
        return self._worker.pid

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """As the contract says. Hosts that do not answer are in `problems`; their guests are shown as last seen."""
        first, *rest = await self._ask("inventory", [since])
        whole = _decode(first, Inventory)
        vms = list(whole.vms)
        for part in rest:
            await asyncio.sleep(0)  # others get their turn between two pieces
            vms += _decode(part, Inventory).vms
        return msgspec.structs.replace(whole, vms=tuple(vms))

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """As the contract says."""
        found: dict[str, Sighting] = {}
        for part in await self._ask("look", [list(vms)]):
            found |= _decode(part, dict[str, Sighting])
        return found

    async def host(self, host: str) -> Host | None:
        """As the contract says."""
        return _decode((await self._ask("host", [host]))[0], Host | None)  # type: ignore[arg-type]

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """From evac's own ledger: libvirt keeps no log. What others did is not in it."""
        return _decode((await self._ask("tasks", [vm, since]))[0], list[TaskRecord])

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        """Each target is asked whether the guest's CPU fits (compareHypervisorCPU) and whether its name is free there."""
        return _decode((await self._ask("check_migration", [vm, list(targets)]))[0], list[MoveCheck])

    async def migration_addresses(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """What the source dials: the host in `migrate_uri`, else in `peer_uri`. From the config; nobody is asked."""
        found = {
            entry.name: urlsplit(entry.migrate_uri or entry.peer_uri) for entry in entries(self._options)
        }
        return {one: found[one].hostname or "" for one in hosts if one in found and found[one].hostname}

    async def capabilities(self) -> Sequence[Capability]:
        """As the contract says."""
        return _decode((await self._ask("capabilities", []))[0], list[Capability])

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        try:
            return _decode((await self._ask("examine", []))[0], list[Finding])
        except BackendError as error:
            return [
                Finding(
                    check="worker",
                    ok=False,
                    detail=error.problem.happened,
                    fix=error.problem.next_step or "See the engine's log.",
                )
            ]

    def describe(self) -> Mapping[str, str]:
        """endpoint: the hosts; version: libvirt's, here."""
        hosts = [entry.name for entry in entries(self._options)]
        more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
        facts = {"endpoint": f"libvirt on {', '.join(hosts[:3])}{more}"}
        if self._worker.how:
            facts["version"] = self._worker.how
        return facts

    # --- changing -----------------------------------------------------------------------------------------------

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """Peer to peer: the source host does it, and goes on if evac ends. Without a target evac chooses one."""
        return await self._change("live_migrate", vm, to)

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """Shut down, defined there, undefined here, started there; only with shared storage."""
        return await self._change("cold_migrate", vm, to)

    async def evacuate(self, vm: str, to: str) -> Receipt:
        """From the stored definition; refused if the VM, or its host, answers anywhere."""
        return await self._change("evacuate", vm, to)

    async def abort(self, vm: str, migration: str) -> Receipt:
        """As the contract says."""
        return await self._change("abort", vm, migration)

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        """Post-copy where the migration allows it, else a longer pause; the receipt's note says which."""
        return await self._change("force_complete", vm, migration)

    async def start(self, vm: str) -> Receipt:
        """Refused if the VM runs on any host that answers."""
        return await self._change("start", vm)

    async def stop(self, vm: str) -> Receipt:
        """Asks the guest to shut down; it is never switched off."""
        return await self._change("stop", vm)

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """Evac's own mark: evac places nothing there. libvirt itself has no such thing."""
        return await self._change("enter_maintenance", host, reason)

    async def leave_maintenance(self, host: str) -> Receipt:
        """As the contract says."""
        return await self._change("leave_maintenance", host)

    async def force_down(self, host: str, down: bool) -> Receipt:
        """Evac's own mark; a host that answers cannot be declared dead."""
        return await self._change("force_down", host, down)

    async def close(self) -> None:
        """Ends the worker; migrations go on, their source hosts see to them."""
        await self._worker.close()

    # --- the worker ---------------------------------------------------------------------------------------------

    async def _setup(self) -> frames.Setup:
        settings, options = self._settings, self._options
        password = ""
        if options.password and settings.secret is not None:
            password = await asyncio.to_thread(settings.secret, options.password)
        return frames.Setup(
            cluster=self.name,
            hosts=entries(options),
            read_only=settings.read_only,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            state_dir=str(settings.state_dir / "libvirt" / self.name) if settings.state_dir != Path() else "",
            username=options.username,
            password=password,
            shared_paths=options.shared_paths,
            addresses=options.addresses,
            cpu_check=options.cpu_check,
            shutdown_timeout=options.shutdown_timeout,
            migration=options.migration,
        )

    def _note(self, call: Call) -> None:
        if self._settings.record is not None:
            self._settings.record(call)

    async def _change(self, op: str, *args: Any) -> Receipt:
        return _decode((await self._ask(op, args, changes=True))[0], Receipt)

    async def _ask(self, op: str, args: Sequence[Any], *, changes: bool = False) -> list[bytes]:
        patience = self._settings.connect_timeout + self._settings.read_timeout + GRACE
        try:
            answer = await self._worker.request(
                frames.Ask(id=0, op=op, args=list(args)), Answer(), patience=patience
            )
        except WorkerDied as died:
            raise self._lost(died, changes=changes) from None
        if answer.failed is not None:
            raise ERRORS[answer.failed.kind](answer.failed.problem)
        return answer.parts

    def _lost(self, died: WorkerDied, *, changes: bool) -> BackendError:
        happened = f"{self.name}: evac's libvirt worker failed: {died.why}."
        if changes and died.sent:
            return Uncertain(
                Problem(
                    happened=happened,
                    unaffected="Whether the call was carried out is not known.",
                    next_step="evac looks at the VM before anything else is done to it.",
                )
            )
        return Unreachable(
            Problem(
                happened=happened,
                unaffected="Guests and other clusters are not affected.",
                next_step="evac starts it again.",
            )
        )


def _decode(data: bytes, kind: type[T]) -> T:
    return from_msgpack(data, kind)
