"""The process that talks to one Ceph cluster: `python -m backends.ceph.worker`, a child of the engine.

librados may hang or abort() its process, and a dump of 129 MB takes a second of CPU to count: neither may happen in the
engine. The first frame on stdin is the setup; the process ends when stdin closes, and with its parent.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from backends.ceph import frames, shapes, trouble
from backends.ceph.carrier import Carrier, CarrierError, Command, Reply, Target
from backends.ceph.guard import Verdict, judge
from backends.ceph.setup import found_conf
from backends.trouble import read_only
from evac.decoding import from_json
from evac.framing import FrameError, pack
from evac.model import Problem
from evac.worker_main import Inbox, run
from evac.workers import Cancel, Ready

if TYPE_CHECKING:
    from backends.ceph.matrix import Matrix


class Worker:
    """Answers frames. Every ask runs by itself, so that a slow one holds up no other."""

    def __init__(self, setup: frames.Setup, carrier: Carrier, out: asyncio.StreamWriter) -> None:
        self._setup = setup
        self._carrier = carrier
        self._out = out
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._former: Matrix | None = None
        self._counting = asyncio.Lock()
        self._own = tuple(filter(None, (setup.user, setup.write_user)))

    async def serve(self, inbox: Inbox) -> None:
        """Until stdin ends."""
        await self._send(Ready(how=self._carrier.how))
        try:
            while (frame := await inbox()) is not None:
                self._take(frame)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._carrier.close()

    def _take(self, frame: frames.Request) -> None:
        match frame:
            case Cancel(id=number):
                if task := self._tasks.get(number):
                    task.cancel()
            case frames.Ask() | frames.Place() | frames.Examine():
                task = asyncio.create_task(self._answer(frame))
                self._tasks[frame.id] = task
                task.add_done_callback(lambda _: self._tasks.pop(frame.id, None))
            case frames.Setup():
                raise FrameError("a second setup")

    async def _answer(self, frame: frames.Ask | frames.Place | frames.Examine) -> None:
        try:
            match frame:
                case frames.Ask():
                    await self._ask(frame)
                case frames.Examine():
                    await self._examine(frame)
                case frames.Place():
                    async with self._counting:
                        await self._place(frame)
        except CarrierError as error:
            failed = frames.Failed(id=frame.id, kind=error.kind, problem=error.problem, sent=error.sent)
            await self._send(failed)
        except Exception as error:  # noqa: BLE001 - the one boundary: whatever it is, the engine must hear of it
            problem = Problem(
                happened=f"evac's worker made a mistake: {error!r}.", next_step="Please report it."
            )
            await self._send(frames.Failed(id=frame.id, kind="bad", problem=problem, sent=True))
        if self._carrier.worn and not self._busy:
            print("too many calls never came back; a new process starts", file=sys.stderr)  # noqa: T201 - it is logged
            os._exit(os.EX_TEMPFAIL)

    @property
    def _busy(self) -> bool:
        """Somebody else still waits for an answer that may come."""
        return len(self._tasks) > 1

    async def _ask(self, frame: frames.Ask) -> None:
        began = time.monotonic()
        reply = await self._carry(frame.target, frame.command, write=frame.write)
        lean = shapes.lean(str(frame.command["prefix"]), reply.out) if frame.lean else None
        view = memoryview(reply.out if lean is None else lean)
        for start in range(0, len(view), frames.PART):
            await self._send(frames.Part(id=frame.id, data=bytes(view[start : start + frames.PART])))
        took = time.monotonic() - began
        await self._send(frames.Done(id=frame.id, code=reply.code, err=reply.err, took=took))

    async def _place(self, frame: frames.Place) -> None:
        began = time.monotonic()
        reply = await self._carry("mgr", {"prefix": "pg dump", "dumpcontents": ["pgs_brief"]})
        fetched = time.monotonic() - began
        if reply.code:
            await self._send(frames.Done(id=frame.id, code=reply.code, err=reply.err, took=fetched))
            return
        former = None if frame.whole else self._former
        counted = await asyncio.to_thread(_count, reply, former, fetched)
        # Only now: a count that was given up in the middle must not become what the next one is compared with.
        self._former, placement, rows = counted
        for start in range(0, len(rows), frames.ROWS):
            some = dict(rows[start : start + frames.ROWS])
            await self._send(frames.Rows(id=frame.id, rows=some))
        await self._send(frames.Placed(id=frame.id, placement=placement))

    async def _examine(self, frame: frames.Examine) -> None:
        from backends.ceph.doctor_local import findings  # noqa: PLC0415 - needed by `evac doctor` only

        found = await asyncio.to_thread(lambda: tuple(findings(self._setup, self._carrier.how)))
        await self._send(frames.Examined(id=frame.id, findings=found))

    async def _carry(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """Below the guard nothing but what it knows is ever sent."""
        verdict = judge(command, self._own)
        changes = verdict is Verdict.CHANGES
        if verdict is Verdict.FOREIGN or (changes and not write):
            raise CarrierError("refused", _foreign(command), sent=False)
        if changes and self._setup.read_only:
            raise CarrierError("readonly", _read_only(command), sent=False)
        try:
            async with asyncio.timeout(self._setup.read_timeout):
                reply = await self._carrier.ask(target, command, write=write)
        except TimeoutError:
            raise trouble.slow(self._setup.read_timeout, target, write=changes) from None
        return _without_key(reply) if command["prefix"] == "auth get" else reply

    async def _send(self, frame: frames.Answer) -> None:
        self._out.write(pack(frame))
        await self._out.drain()


def _count(
    reply: Reply, former: Matrix | None, fetched: float
) -> tuple[Matrix, frames.Placement, list[tuple[int, frames.Counts]]]:
    from backends.ceph.counting import count  # noqa: PLC0415 - numpy takes 0.1 s, and not every worker counts

    return count(reply, former, fetched=fetched)


def _without_key(reply: Reply) -> Reply:
    """Only the rights leave this process."""
    if reply.code:
        return reply
    entries = from_json(reply.out, list[dict[str, object]])
    kept = [{name: value for name, value in entry.items() if name != "key"} for entry in entries]
    return msgspec.structs.replace(reply, out=msgspec.json.encode(kept), err="")


def _foreign(command: Command) -> Problem:
    return Problem(
        happened=f"{str(command.get('prefix'))[:80]!r} with these arguments is not among the commands evac sends.",
        unaffected="Nothing was changed.",
    )


def _read_only(command: Command) -> Problem:
    return read_only("The cluster", f"{command['prefix']} was not sent")


def carrier_of(setup: frames.Setup) -> Carrier:
    """The one the setup names; its library is imported now. Raises CarrierError."""
    match setup.carrier:
        case "auto":
            return _best(setup)
        case "librados":
            from backends.ceph.rados import RadosCarrier  # noqa: PLC0415 - only the carrier in use is imported

            return RadosCarrier(setup)
        case "ssh":
            from backends.ceph.ssh import SSHCarrier  # noqa: PLC0415 - as above

            return SSHCarrier(setup)
        case "command":
            from backends.ceph.local import CommandCarrier  # noqa: PLC0415 - as above

            return CommandCarrier(setup)
        case _:
            from backends.ceph.unixsocket import SocketCarrier  # noqa: PLC0415 - as above

            return SocketCarrier(setup)


def _best(setup: frames.Setup) -> Carrier:
    """Librados if it and a ceph.conf are here, else the command."""
    if setup.conf or found_conf():
        with suppress(CarrierError):
            return carrier_of(msgspec.structs.replace(setup, carrier="librados"))
    return carrier_of(msgspec.structs.replace(setup, carrier="command"))


class _Missing:
    """What cannot be used here says so at every question."""

    worn = False

    def __init__(self, setup: frames.Setup, why: CarrierError) -> None:
        self.how = setup.carrier
        self._why = why

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """Raises."""
        del target, command, write
        raise self._why

    async def close(self) -> None:
        """Nothing to let go of."""


def _carrier(setup: frames.Setup) -> Carrier:
    try:
        return carrier_of(setup)
    except CarrierError as error:
        return _Missing(setup, error)
    except ImportError as error:
        problem = Problem(
            happened=f'carrier = "{setup.carrier}" needs the Python module {error.name}.',
            next_step='Install "evac[ceph]".',
        )
        return _Missing(setup, CarrierError("unreachable", problem, sent=False))


async def _serve(inbox: Inbox, out: asyncio.StreamWriter) -> None:
    setup = await inbox()
    if isinstance(setup, frames.Setup):
        await Worker(setup, _carrier(setup), out).serve(inbox)


def main() -> None:
    """Run until stdin ends."""
    gc.collect()
    gc.freeze()
    run(frames.request, _serve)


if __name__ == "__main__":
    main()
