"""A simulated Ceph 16.2 for tests and the demo: monitor and manager commands answered over a UNIX socket.

The cluster behind it is a `backends.simulation.ceph.CephWorld`. Never imported by the backend itself. The protocol is
that of `backends.ceph.unixsocket`: one command per connection, a line of JSON in, a line of JSON and bytes out. Besides
"target" and "command" the line may name a "user": "client.admin" (also when it is missing) may do everything,
"client.evac-rw" may read and set noout for a host, any other may read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.ceph import (
    simulator_map,
    simulator_osd,
    simulator_pg,
    simulator_settings,
    simulator_status,
    simulator_writes,
)
from backends.ceph.simulator_answers import Context, Handler, Refused, Told, words
from backends.simulation.ceph import CephWorld
from backends.simulation.faults import CALL_FAULTS, Fault, Faults, Kind

MON: dict[str, Handler] = {
    **simulator_status.MON,
    **simulator_settings.MON,
    **simulator_osd.MON,
    **simulator_map.MON,
    **simulator_writes.MON,
}
MGR: dict[str, Handler] = {
    **simulator_status.MGR,
    **simulator_settings.MGR,
    **simulator_osd.MGR,
    **simulator_map.MGR,
    **simulator_pg.MGR,
}

ADMIN, WRITER = "client.admin", "client.evac-rw"

NO_SUCH_COMMAND = "command not known"

LINE = 1 << 20
"""Bytes of a command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `code` is 0 or a positive errno."""

    code: int
    err: str
    out: bytes


class CephSimulator:
    """Answers for one cluster. `faults` can be ordered on "read", "write", a prefix, or "mon PREFIX"."""

    def __init__(self, ceph: CephWorld) -> None:
        self.ceph = ceph
        self.faults = Faults(lambda: ceph.world.time)
        self.asked: list[str] = []
        """Prefixes of the commands that came, the newest last; the last 1,000."""
        self._context = Context(ceph)

    # --- answering -------------------------------------------------------------------------------

    def answer(self, target: str, command: Mapping[str, object], user: str = ADMIN) -> Answer | None:
        """What Ceph would say now; None when it would say nothing at all, as without quorum or without a manager."""
        self.ceph.advance()
        prefix = str(command.get("prefix", ""))
        self.asked = [*self.asked[-999:], prefix]
        if not self._anybody(target):
            return None
        handler = (MON if target == "mon" else MGR).get(prefix)
        if handler is None:
            return Answer(22, NO_SUCH_COMMAND, b"")
        if not may(user, command):
            return Answer(13, "access denied", b"")
        try:
            said = handler(self._context, command)
        except Refused as no:
            return Answer(no.code, no.words, b"" if no.data is None else simulator_pg.as_bytes(no.data))
        told = said if isinstance(said, Told) else Told(said)
        data = told.data
        out = data if isinstance(data, bytes) else b"" if data is None else simulator_pg.as_bytes(data)
        return Answer(0, told.words, out)

    def _anybody(self, target: str) -> bool:
        if target == "mon":
            return bool(self.ceph.daemons.in_quorum())
        return bool(self.ceph.daemons.active_mgr)

    # --- serving ---------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        """Listen on that path, for its owner only, until the block ends."""
        talks: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None, "run by the server"
            talks.add(task)
            try:
                await self._talk(reader, writer)
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # whoever asked is gone or does not speak our protocol; or the server ends, which cancels us
            finally:
                talks.discard(task)
                writer.close()

        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(talk, path, limit=LINE)
        finally:
            os.umask(before)
        try:
            yield
        finally:
            server.close()
            for task in list(talks):
                task.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - one system call on a local file, at the end

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = json.loads(await reader.readline())
        target, command = str(question["target"]), dict(question["command"])
        user = str(question.get("user") or ADMIN)
        prefix = str(command.get("prefix", ""))
        kind = "write" if prefix in simulator_writes.MON else "read"
        struck = self.faults.take((kind, prefix, f"{target} {prefix}"), CALL_FAULTS)
        for fault in struck:
            if fault.kind is Kind.LATENCY:
                await asyncio.sleep(fault.seconds)
        spoiler = next((one for one in struck if one.kind is not Kind.LATENCY), None)
        await self._reply(writer, reader, spoiler, (target, command, user))

    async def _reply(
        self,
        writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
        fault: Fault | None,
        question: tuple[str, dict[str, object], str],
    ) -> None:
        kind = fault.kind if fault is not None else None
        if kind is Kind.RESET_BEFORE:
            return
        if fault is not None and kind is Kind.STATUS:
            answer: Answer | None = Answer(fault.status, os.strerror(fault.status), b"")
        elif kind is Kind.UNAUTHORIZED:
            answer = Answer(13, "access denied", b"")
        else:
            answer = None if kind is Kind.BLACK_HOLE else self.answer(*question)
        if kind is Kind.RESET_AFTER:
            return
        if answer is None or kind is Kind.BLACK_HOLE_AFTER:
            await reader.read()  # nothing comes back, until whoever asked gives up
            return
        out = _spoiled(answer.out, fault)
        head = {"code": answer.code, "err": answer.err, "size": len(out)}
        writer.write(json.dumps(head).encode() + b"\n")
        writer.write(out)
        await writer.drain()


def _spoiled(out: bytes, fault: Fault | None) -> bytes:
    match fault.kind if fault is not None else None:
        case Kind.GARBAGE:
            return b"\x00\xff<html>not Ceph</html>\n" * 20
        case Kind.TRUNCATED:
            return out[: len(out) // 2]
        case Kind.WRONG_TYPE:
            return b'["unexpected",{"pg_stats":7}]'
        case Kind.HUGE:
            assert fault is not None, "it has a kind"
            return b'{"pg_stats":[' + b" " * (fault.size - 15) + b"]}"
    return out


def may(user: str, command: Mapping[str, object]) -> bool:
    """What the key of that name allows (recorded with such keys on 16.2.15)."""
    prefix = command.get("prefix")
    if user == ADMIN:
        return True
    if prefix in {"osd set-group", "osd unset-group"}:
        return user == WRITER and words(command, "flags") == ["noout"]
    return prefix not in {*simulator_writes.MON, "auth get", "auth ls"}
