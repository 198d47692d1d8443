"""Looks whether what is owed has been put back, by evac or by anybody else with any tool.

Hosts and VMs are judged by the poller's answers, which come anyway; switches are in none of them and are asked for, one
cluster at a time each and seldom, and only while something is owed there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from evac.actions import HostAction, TurnSwitch, VMAction
from evac.backend import Backend
from evac.errors import BackendError
from evac.looking import switches_of
from evac.model import ClusterState
from evac.window.crush import seen_host
from evac.window.debts import host_stands, switch_stands, vm_stands
from evac.window.nouns import LedgerEntry

if TYPE_CHECKING:
    from evac.board import Board

log = logging.getLogger(__name__)

EVERY = 20.0
"""Seconds between two looks at the switches of a cluster."""

PATIENCE = 60.0
"""Seconds that such a look may take. A backend's own time-outs are shorter."""


class LedgerWatch:
    """See the module's docstring."""

    def __init__(self, board: Board, backends: Mapping[str, Backend], *, now: Callable[[], float]) -> None:
        self._board, self._backends, self._now = board, backends, now
        self._task: asyncio.Task[None] | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._polled: dict[str, float] = {}
        """Cluster → stamp of the answer that was looked at last."""
        self._version = -1
        self._clusters: frozenset[str] = frozenset()
        """Where anything is owed, as of that version of the ledger."""

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop looking; the next engine looks anew."""
        tasks = [task for task in (self._task, *self._asking.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        fleet, rev = self._board.fleet, -1
        with fleet.subscribe() as news:
            while True:
                rev = await news.wait(rev)
                try:
                    self._look()
                except Exception:  # the boundary of one look: a fault of ours must not end the watching
                    log.exception("looking at the ledger")

    def _look(self) -> None:
        """Whatever a new answer of a cluster shows of what is owed there."""
        if self._version != self._board.ledger.version:
            self._version = self._board.ledger.version
            self._clusters = frozenset(entry.cluster for entry in self._board.ledger.owed())
            for name in self._clusters - self._asking.keys():
                if self._switches(name):
                    self._asking[name] = asyncio.get_running_loop().create_task(self._ask(name))
        for name in self._clusters:
            state = self._board.fleet.cluster(name)
            fresh = state.fresh_stamp if state is not None else None
            if state is not None and fresh is not None and self._polled.get(name) != fresh:
                self._polled[name] = fresh
                self._judge(state, fresh - (state.took or 0.0))

    def _judge(self, state: ClusterState, began: float) -> None:
        if any(problem.severity == "error" for problem in state.problems):
            return  # what is missing from such an answer need not be gone
        fleet = self._board.fleet
        for entry in self._board.ledger.owed(state.name):
            did = entry.did
            if isinstance(did, HostAction):
                stand = host_stands(entry.what, seen_host(fleet, did.cluster, did.host))
            elif isinstance(did, VMAction):
                stand = vm_stands(fleet.vm(did.cluster, did.vm))
            else:
                continue
            self._board.put_ledger(self._board.ledger.look(entry, stand, began))

    # --- switches --------------------------------------------------------------------------------

    def _switches(self, cluster: str) -> list[LedgerEntry]:
        owed = self._board.ledger.owed(cluster)
        return [entry for entry in owed if isinstance(entry.did, TurnSwitch)]

    async def _ask(self, cluster: str) -> None:
        """Look again and again, as long as a switch of this cluster is owed."""
        try:
            while self._switches(cluster):
                if any(self._board.ledger.settled_down(entry) for entry in self._switches(cluster)):
                    await self._ask_once(cluster)
                await asyncio.sleep(EVERY)
        finally:
            del self._asking[cluster]

    async def _ask_once(self, cluster: str) -> None:
        began = self._now()
        backend = self._backends.get(cluster)
        if backend is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                found = await switches_of(backend)
        except (BackendError, TimeoutError) as error:
            log.info("switches of %s: %s", cluster, error)
            return
        except Exception:  # the boundary of one look: a fault of ours must not end the watching
            log.exception("switches of %s", cluster)
            return
        for entry in self._switches(cluster):
            did = entry.did
            assert isinstance(did, TurnSwitch)
            stand = switch_stands(entry, found.get(did.switch))
            self._board.put_ledger(self._board.ledger.look(entry, stand, began))
