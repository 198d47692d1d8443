"""Listens to a cluster that tells of changes by itself, so that what changes is read when it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from evac.errors import BackendError
from evac.secret import SecretTrouble

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds one call waits at the cluster."""

DEAF = 10.0
"""Seconds until it is listened to again after a call that failed: polls go on meanwhile, and tell what is wrong."""


@runtime_checkable
class HearsChanges(Protocol):
    """Its system can be asked to answer when something has changed. A promise of backends, as those in `evac.backend`."""

    async def hears(self, patience: float) -> bool:
        """True as soon as a VM or host has changed since the last call; False when `patience` seconds have gone by.

        Costs the cluster one open call, and is not told of figures that change all the time. Raises BackendError.
        """
        ...


class Listening:
    """One call after another in the background, while `wanted`; `heard` is called at each change."""

    def __init__(
        self,
        backend: HearsChanges,
        *,
        now: Callable[[], float],
        wanted: Callable[[], bool],
        heard: Callable[[], None],
    ) -> None:
        self._backend, self._now, self._wanted, self._heard = backend, now, wanted, heard
        self._task: asyncio.Task[None] | None = None
        self._deaf_until = float("-inf")

    def go_on(self) -> None:
        """Listen, if nobody does yet and it is wanted."""
        under_way = self._task is not None and not self._task.done()
        if not under_way and self._wanted() and self._now() >= self._deaf_until:
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """At once; a call on the wire is left behind."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        try:
            while self._wanted():
                if await self._backend.hears(PATIENCE):
                    self._heard()
                    return  # what else changes until it has been read is read with it
        except (BackendError, SecretTrouble) as error:
            log.info("not told of changes: %s", error)
            self._deaf_until = self._now() + DEAF
        except Exception:  # the boundary of one call: a fault of ours must not end the polling
            log.exception("listening for changes")
            self._deaf_until = self._now() + DEAF
