"""The vSphere backend: capabilities, short, built on the session, the reads and the mapping."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from backends.trouble import unaffected
from backends.vsphere.inventory import Poll
from backends.vsphere.keeping import Reasons
from backends.vsphere.looking import Looker
from backends.vsphere.moves import Moves
from backends.vsphere.options import Options
from backends.vsphere.reading import Reader
from backends.vsphere.session import Session
from evac.backend import Settings
from evac.errors import BackendError, Refused, Uncertain, Unreachable
from evac.lanes import Lane
from evac.model import Capability, Finding, Host, Inventory, Problem, Sighting, TaskRecord

PARTING = 0.5
"""Seconds `close` waits for the logout."""


class VSphereBackend:
    """One vCenter, or one ESXi host. Reads, looks and changes each have threads of their own."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self.session = Session(settings)
        self.reader = Reader(self.session)
        self._moves = Moves(settings.name)
        self._reasons = Reasons(settings)
        self._looker = Looker(self.session, self.reader, self._moves, self._reasons)
        self._poll = Poll(self.session, self.reader, self._moves, self._reasons)
        name = f"evac-{settings.name}"
        self._polls = Lane(f"{name}-poll", 1, self._closed)
        self._looks = Lane(f"{name}-look", 4, self._closed)
        self._changes = Lane(f"{name}-change", 4, self._closed_change)
        self._parting = Lane(f"{name}-parting", 1, self._closed)

    # --- reading ------------------------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """As the contract says. Polls follow one another: the lane has one thread."""
        return await self._polls.run(lambda: self._poll(since))

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """As the contract says. Two calls, however many VMs."""
        return await self._looks.run(lambda: self._looker.look(list(dict.fromkeys(vms))))

    async def host(self, host: str) -> Host | None:
        """As the contract says."""
        return await self._looks.run(lambda: self._looker.host(host))

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """From vCenter's tasks of the last ten minutes."""
        return await self._looks.run(lambda: self._looker.tasks(vm, since))

    # --- what it can do -----------------------------------------------------------------------------------------

    async def capabilities(self) -> Sequence[Capability]:
        """From the mode and the kind of server."""
        return []

    async def examine(self) -> Sequence[Finding]:
        """As the contract says."""
        return []

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
        for lane in (self._polls, self._looks, self._changes):
            lane.close()
        leaving = asyncio.ensure_future(self._parting.run(self.session.close))
        await asyncio.wait({leaving}, timeout=PARTING)
        leaving.cancel()
        self._parting.close()
        self.session.wire.close()

    def _closed(self, started: bool) -> BackendError:
        del started
        return Unreachable(
            Problem(happened=f"{self.name} is being closed.", unaffected=unaffected(self.name))
        )

    def _closed_change(self, started: bool) -> BackendError:
        if not started:
            return Refused(
                Problem(happened=f"{self.name} is being closed.", unaffected="Nothing was changed.")
            )
        return Uncertain(
            Problem(
                happened=f"{self.name} was closed while a call was under way.",
                unaffected="Whether it was carried out is not known.",
                next_step="evac looks at the VM before anything else is done to it.",
            )
        )
