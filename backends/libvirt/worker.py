"""The process that talks to the hosts of one cluster: `python -m backends.libvirt.worker`, a child of the engine.

The first frame on stdin is the setup; the process ends when stdin closes, and with its parent. A migration that runs is
its source host's business and goes on; the next life finds it in the records and follows it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from backends.libvirt import frames, hostxml
from backends.libvirt.checking import checks
from backends.libvirt.cold import ColdMoves
from backends.libvirt.herd import Herd
from backends.libvirt.keeping import Mark
from backends.libvirt.kinds import kind_of
from backends.libvirt.live import LiveMoves
from backends.libvirt.reading import lv
from backends.libvirt.refusals import read_only, refuse, unwritten
from evac.backend import Call, Receipt
from evac.errors import BackendError, NotFound
from evac.framing import FrameError, pack
from evac.model import Capability, Inventory, MoveCheck, Phase, Problem, TaskRecord
from evac.worker_main import Inbox, run
from evac.workers import Cancel, Ready

PIECE = 200
"""VMs in one frame: their decode takes the engine's loop a few milliseconds."""

RECORDED = 2000
"""Characters of body and answer kept in a Call."""

NO_CONFIRM = "a cold migration leaves nothing to confirm or revert: the guest has moved, or it has not"

ABLE = (
    "live_migrate", "cold_migrate", "evacuate", "abort", "force_complete", "start", "stop", "enter_maintenance",
    "leave_maintenance", "force_down",
)  # fmt: skip

CHANGES = frozenset(ABLE)


class Worker:
    """Answers frames. Every request runs by itself, so that a slow one holds up no other."""

    def __init__(self, setup: frames.Setup, out: asyncio.StreamWriter) -> None:
        self._setup, self._out = setup, out
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._behind: set[asyncio.Future[Any]] = set()
        self._calls = 0
        self.herd = Herd(setup, self._record)
        self._live, self._cold = (
            LiveMoves(self.herd, self._background),
            ColdMoves(self.herd, self._background),
        )
        self._ops: dict[str, Callable[..., Awaitable[Any]]] = {
            "look": self._look,
            "host": self.herd.host,
            "tasks": self._log_of,
            "capabilities": self._capabilities,
            "check_migration": self._check,
            "examine": self._examine,
            "live_migrate": self._live.start,
            "abort": self._live.abort,
            "force_complete": self._live.force_complete,
            "cold_migrate": self._cold.migrate,
            "evacuate": self._cold.evacuate,
            "start": self._cold.start,
            "stop": self._cold.stop,
            "enter_maintenance": self._enter_maintenance,
            "leave_maintenance": self._leave_maintenance,
            "force_down": self._force_down,
        }

    async def serve(self, inbox: Inbox) -> None:
        """Until stdin ends."""
        await asyncio.to_thread(self.herd.keeper.load)
        if not self._setup.read_only:
            self._live.adopt()
            self._cold.adopt()
        await self._send(Ready(how=f"libvirt {hostxml.version(lv.getVersion())}"))
        while (frame := await inbox()) is not None:
            match frame:
                case Cancel(id=number):
                    self._cancel(number)
                case frames.Ask():
                    task = asyncio.create_task(self._answer(frame))
                    self._tasks[frame.id] = task
                    task.add_done_callback(partial(self._forget, frame.id))
                case frames.Setup():
                    raise FrameError("a second setup")

    def _forget(self, number: int, _: object) -> None:
        self._tasks.pop(number, None)

    def _cancel(self, number: int) -> None:
        """Reads only: a change that has begun is seen through."""
        task = self._tasks.get(number)
        if task is not None and task.get_name() != "change":
            task.cancel()

    def _background(self, future: asyncio.Future[Any]) -> None:
        self._behind.add(future)
        future.add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._behind.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            print(f"evac's own mistake: {error!r}", file=sys.stderr)  # noqa: T201 - the engine logs it

    async def _answer(self, frame: frames.Ask) -> None:
        changes = frame.op in CHANGES
        if changes and (task := asyncio.current_task()) is not None:
            task.set_name("change")
        calls = self._calls
        try:
            if frame.op == "inventory":
                await self._inventory(frame)
            else:
                answer = await self._ops[frame.op](*frame.args)
                await self._send(frames.Part(id=frame.id, data=msgspec.msgpack.encode(answer)))
            await self._send(frames.Done(id=frame.id))
        except BackendError as error:
            kind = kind_of(error)
            if changes and calls == self._calls and kind != "readonly":
                self._note(frame.op, frame.args, None, error.problem.happened)
            await self._send(frames.Failed(id=frame.id, kind=kind, problem=error.problem))
        except Exception as error:  # noqa: BLE001 - the one boundary: whatever it is, the engine must hear of it
            problem = Problem(
                happened=f"evac's libvirt worker made a mistake: {error!r}.", next_step="Please report it."
            )
            await self._send(
                frames.Failed(id=frame.id, kind="uncertain" if changes else "bad", problem=problem)
            )

    # --- reading ------------------------------------------------------------------------------------------------

    async def _inventory(self, frame: frames.Ask) -> None:
        whole = await self.herd.inventory(str(frame.args[0]))
        first = msgspec.structs.replace(whole, vms=whole.vms[:PIECE])
        rest = (Inventory(vms=whole.vms[at : at + PIECE]) for at in range(PIECE, len(whole.vms), PIECE))
        for piece in (first, *rest):
            await self._send(frames.Part(id=frame.id, data=msgspec.msgpack.encode(piece)))

    async def _look(self, vms: list[str]) -> Any:
        return await self.herd.look(vms)

    async def _check(self, vm: str, targets: list[str]) -> list[MoveCheck]:
        return await checks(self.herd, vm, targets)

    async def _log_of(self, vm: str, since: float) -> list[TaskRecord]:
        return [
            TaskRecord(
                id=one.id,
                vm=one.vm,
                action=one.action,
                started=one.started,
                user="somebody else" if one.foreign else "evac",
                failed=one.phase in {Phase.FAILED, Phase.CANCELLED},
                message=one.message,
            )
            for one in reversed(self.herd.keeper.records)
            if one.vm == vm and one.started >= since and one.id not in self.herd.doubted
        ]

    async def _capabilities(self) -> list[Capability]:
        why = "this cluster is read-only here" if self._setup.read_only else ""
        able = [Capability(action=kind, able=not why, why_not=why) for kind in ABLE]
        return able + [
            Capability(action=kind, able=False, why_not=why or NO_CONFIRM)
            for kind in ("confirm_move", "revert_move")
        ]

    async def _examine(self) -> Any:
        from backends.libvirt.doctor import findings  # noqa: PLC0415 - needed by `evac doctor` only

        return await findings(self.herd)

    # --- evac's own marks ---------------------------------------------------------------------------------------

    async def _enter_maintenance(self, host: str, reason: str) -> Receipt:
        return await self._mark("enter_maintenance", host, maintenance=True, reason=reason)

    async def _leave_maintenance(self, host: str) -> Receipt:
        return await self._mark("leave_maintenance", host, maintenance=False, reason="")

    async def _force_down(self, host: str, down: bool) -> Receipt:
        self._writable("force_down")
        site = self.herd.sites.get(host)
        if down and site is not None and await self._answers(host):
            raise refuse(
                f"{host} answers: it is not dead.",
                "Power it off first; then declare it dead, and evacuate it.",
            )
        return await self._mark("force_down", host, forced_down=down)

    async def _answers(self, host: str) -> bool:
        """Asked now: what was true at the last poll may not be any more."""
        await self.herd.sites[host].memory_used()
        return self.herd.sites[host].up

    async def _mark(self, op: str, host: str, **changes: Any) -> Receipt:
        self._writable(op)
        if host not in self.herd.sites:
            raise NotFound(
                Problem(
                    happened=f"{self._setup.cluster} has no host {host}.", unaffected="Nothing was changed."
                )
            )
        mark = msgspec.structs.replace(self.herd.keeper.marks.get(host, Mark()), **changes)
        try:
            async with self.herd.saving:
                await asyncio.to_thread(self.herd.keeper.put_mark, host, mark)
        except OSError as error:
            raise unwritten(f"marking {host}", error) from None
        self._note(op, [host, *changes.values()], 0, "marked by evac itself; libvirt knows nothing of it")
        return Receipt(note="evac's own mark: virsh and other tools do not know of it")

    def _writable(self, verb: str) -> None:
        if self._setup.read_only:
            raise read_only(verb)

    # --- frames -------------------------------------------------------------------------------------------------

    def _record(self, method: str, args: tuple[Any, ...], subject: str, error: Exception | None) -> None:
        """From any thread, after each changing call of libvirt."""
        self._calls += 1
        status = 0 if error is None else int(getattr(error, "get_error_code", lambda: -1)() or -1)
        answer = "" if error is None else str(error)
        path = f"{method} {subject}".strip()
        body = [
            one if not isinstance(one, str) or not one.lstrip().startswith("<") else "(XML)" for one in args
        ]
        self._loop.call_soon_threadsafe(self._note, path, body, status, answer)

    def _note(self, path: str, body: Any, status: int | None, answer: str) -> None:
        call = Call(
            cluster=self._setup.cluster,
            method="libvirt",
            path=path,
            body=msgspec.json.encode(body, enc_hook=str).decode()[:RECORDED],
            status=status,
            answer=answer[:RECORDED],
        )
        self._out.write(pack(frames.Called(call=call)))

    async def _send(self, frame: frames.Answer) -> None:
        self._out.write(pack(frame))
        await self._out.drain()


async def _serve(inbox: Inbox, out: asyncio.StreamWriter) -> None:
    setup = await inbox()
    if isinstance(setup, frames.Setup):
        await Worker(setup, out).serve(inbox)


def _run_events() -> None:
    while True:
        try:
            lv.virEventRunDefaultImpl()
        except lv.libvirtError:
            time.sleep(0.1)


def main() -> None:
    """Run until stdin ends."""
    lv.registerErrorHandler(lambda *_: None, None)  # else each error is printed, too
    lv.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, daemon=True, name="events").start()
    run(frames.request, _serve)


if __name__ == "__main__":
    main()
