"""The engine's side of a cluster's worker process: starts it, asks it, ends it, and says in words what went wrong.

Nothing here blocks: the carrier, its library and the counting of placement groups live in the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from backends.ceph import frames, replies
from backends.ceph.carrier import Command, Target
from backends.ceph.frames import Placement
from backends.ceph.guard import WRITES
from backends.ceph.process import CephExchange, worker
from backends.ceph.setup import setup_of
from evac.backend import Call, Settings
from evac.errors import BackendError
from evac.model import Finding
from evac.workers import WorkerDied

GRACE = 10.0
"""Seconds beyond the worker's own time-out after which it counts as hung: it may be counting a huge dump."""

RECORDED = 2000
"""Characters of body and answer kept in a Call."""


class CephClient:
    """One cluster. Any number of asks may overlap."""

    def __init__(self, settings: Settings) -> None:
        self.cluster = settings.name
        self._settings = settings
        self.setup = setup_of(settings)
        self._worker = worker(self.setup)
        self._rows_lost = True
        self._one_placement = asyncio.Lock()

    @property
    def how(self) -> str:
        """The carrier and its version, once the worker has told; no I/O."""
        return self._worker.how

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, if one lives."""
        return self._worker.pid

    async def ask(self, target: Target, prefix: str, **args: Any) -> Any:
        """The decoded JSON of an answer; None where Ceph had none to give.

        EBUSY and EAGAIN with JSON are answers ("osd ok-to-stop" says no that way). A changing command is never repeated.

        Raises:
            Unreachable, AuthFailed, Forbidden, NotFound, BadAnswer: as `evac.errors` says.
            ReadOnly, Refused: stopped by the guard, or certainly not done.
            Uncertain: a changing command was sent and no answer came.
        """
        out = await self.fetch(target, prefix, **args)
        return replies.decoded(self.cluster, prefix, out)

    async def fetch(self, target: Target, prefix: str, **args: Any) -> bytes:
        """The same as bytes."""
        command = {"prefix": prefix, **args}
        if prefix in WRITES:
            return await self._change(target, command)
        return await self._fetch(frames.Ask(id=0, target=target, command=command))

    async def lean(self, target: Target, prefix: str, **args: Any) -> bytes:
        """Of a reading command: what `shapes` knows of the answer, for `shapes.read`; the rest stays in the worker."""
        return await self._fetch(
            frames.Ask(id=0, target=target, command={"prefix": prefix, **args}, lean=True)
        )

    async def _fetch(self, frame: frames.Ask) -> bytes:
        exchange = await self._exchange(frame)
        replies.judge(self.cluster, self.setup.user, frame.command, exchange)
        return exchange.data()

    async def _change(self, target: Target, command: dict[str, Any]) -> bytes:
        """Once. Whatever comes of it is recorded."""
        began = time.monotonic()
        try:
            exchange = await self._exchange(frames.Ask(id=0, target=target, command=command, write=True))
        except BackendError as error:
            self._note(command, None, error.problem.happened, began)
            raise
        self._note(command, exchange.code, exchange.err, began)
        replies.judge(self.cluster, self.setup.write_user or self.setup.user, command, exchange)
        return exchange.data()

    async def try_write_key(self) -> None:
        """Ask something harmless with the key for changing calls. Raises as `ask` does."""
        command: dict[str, object] = {"prefix": "fsid"}
        exchange = await self._exchange(frames.Ask(id=0, target="mon", command=command, write=True))
        replies.judge(self.cluster, self.setup.write_user or self.setup.user, command, exchange)

    async def examine(self) -> Sequence[Finding]:
        """What the worker can see of its carrier, files and known hosts. Raises as `ask` does."""
        return (await self._exchange(frames.Examine(id=0))).findings

    async def placement(self) -> Placement:
        """How PGs lie on OSDs: rows that changed since the former answer, all if `whole`. Raises as `ask` does."""
        async with self._one_placement:
            whole, self._rows_lost = self._rows_lost, True
            exchange = await self._exchange(frames.Place(id=0, whole=whole))
            if exchange.placement is None:
                replies.judge(self.cluster, self.setup.user, {"prefix": "pg dump"}, exchange)
                raise replies.no_json(self.cluster, "pg dump")
            self._rows_lost = False
            return msgspec.structs.replace(exchange.placement, rows=exchange.rows)

    async def _exchange(self, frame: frames.Ask | frames.Place | frames.Examine) -> CephExchange:
        """One request and its answer. A worker that says nothing at all in good time is replaced."""
        write = isinstance(frame, frames.Ask) and frame.command["prefix"] in WRITES
        patience = self._settings.read_timeout + GRACE
        try:
            try:
                exchange = await self._worker.request(frame, CephExchange(), patience=patience)
            except WorkerDied as died:
                if write or not died.worn:
                    raise
                exchange = await self._worker.request(frame, CephExchange(), patience=patience)
        except WorkerDied as died:
            raise replies.lost(self.cluster, died, write=write) from None
        if exchange.failed is not None:
            raise replies.failed(self.cluster, exchange.failed, write=write)
        return exchange

    def _note(self, command: Command, status: int | None, answer: str, began: float) -> None:
        if self._settings.record is None:
            return
        call = Call(
            cluster=self.cluster,
            method="mon_command",
            path=str(command["prefix"]),
            body=msgspec.json.encode(command).decode()[:RECORDED],
            status=status,
            answer=answer[:RECORDED],
            took=time.monotonic() - began,
        )
        self._settings.record(call)

    async def close(self) -> None:
        """Ends the worker; returns within a second."""
        await self._worker.close()
