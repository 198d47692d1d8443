"""Questions that a request puts to a cluster at once: bounded in time and in number, and a no becomes words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from evac.api import Refusal
from evac.backend import Backend
from evac.errors import BackendError, NotFound
from evac.queue import QueueRefusal
from evac.reply import Refuse

if TYPE_CHECKING:
    from evac.assembly import Engine

PATIENCE = 25.0
"""Seconds a cluster gets for one question; clients of the socket wait for 30."""


class Asking:
    """`at_once`: questions to one cluster that run at the same time; those who ask more wait, within their own time."""

    def __init__(self, engine: Engine, at_once: int) -> None:
        self._engine = engine
        self._at_once = at_once
        self._gates: dict[str, asyncio.Semaphore] = {}

    def backend(self, name: str) -> Backend:
        """The cluster's; ends the request where there is none."""
        if self._engine.fleet.cluster(name) is None:
            raise Refuse("not-found", f"There is no cluster {name[:40]}.", "GET /v1/clusters lists them.")
        backend = self._engine.backend(name)
        if backend is None:
            raise Refuse("unreachable", f"There is no connection to {name}.", "GET /v1/problems says why.")
        return backend

    @contextlib.asynccontextmanager
    async def asking(self, name: str) -> AsyncIterator[None]:
        """Raises TimeoutError after `PATIENCE` seconds; what the cluster says no to becomes a refusal in its words."""
        gate = self._gates.setdefault(name, asyncio.Semaphore(self._at_once))
        try:
            async with asyncio.timeout(PATIENCE), gate:
                yield
        except BackendError as error:
            code = "not-found" if isinstance(error, NotFound) else "unreachable"
            raise QueueRefusal(Refusal(code=code, problem=error.problem)) from None
