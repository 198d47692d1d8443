"""One worker process as the engine sees it: started when it is needed, replaced when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from backends.libvirt import frames
from evac.backend import Call

LOG = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "backends.libvirt.worker")

PAUSES = (0.0, 0.0, 0.5, 2.0, 10.0, 30.0)
"""Seconds before it is started again, by how often it died in a row."""

LEAVING = 0.5
"""Seconds it gets to end by itself."""

LINE = 500
"""Characters of a line of its stderr that are logged."""


class WorkerDied(Exception):
    """The worker ended, or had to be ended, with a request in flight; or it may not be started again yet."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent


class _Exchange:
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.failed: frames.Failed | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Life:
    """From the start of a process to its end."""

    def __init__(self, process: asyncio.subprocess.Process, on_call: Callable[[Call], None]) -> None:
        self.process = process
        self.open: dict[int, _Exchange] = {}
        self.version = ""
        self.over = ""
        """Why it is over; "" while it lives."""
        self._on_call = on_call
        self._last_line = ""
        self._logging = asyncio.create_task(self._log())
        self._reading = asyncio.create_task(self._read())

    def send(self, frame: frames.Request) -> None:
        """Buffered: requests are small, and a worker that does not read is found by its silence."""
        assert self.process.stdin is not None
        self.process.stdin.write(frames.pack(frame))

    async def _read(self) -> None:
        out = self.process.stdout
        assert out is not None
        try:
            while True:
                body = await out.readexactly(frames.length(await out.readexactly(4)))
                self._take(frames.answer(body))
                await asyncio.sleep(0)  # what is buffered already would be read without a pause
        except asyncio.IncompleteReadError:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVING):
                    await self.process.wait()
            await self._ended("")
        except frames.FrameError as error:
            await self._ended(f"it sent something that is no frame ({error})")

    def _take(self, frame: frames.Answer) -> None:
        match frame:
            case frames.Ready():
                self.version = frame.version
            case frames.Called():
                self._on_call(frame.call)
            case frames.Part():
                if frame.id in self.open:
                    self.open[frame.id].parts.append(frame.data)
            case frames.Done() | frames.Failed():
                exchange = self.open.get(frame.id)
                if exchange is not None and not exchange.ended.done():
                    exchange.failed = frame if isinstance(frame, frames.Failed) else None
                    exchange.ended.set_result(None)

    async def _ended(self, why: str) -> None:
        self.kill()
        code = await self.process.wait()
        await self._logging
        how = f"signal {_signal(-code)}" if code < 0 else f"exit code {code}"
        said = f": {self._last_line}" if self._last_line else ""
        self.finish(why or f"it ended with {how}{said}")

    def finish(self, why: str) -> None:
        """Everybody who waits hears of it."""
        if self.over:
            return
        self.over = why
        for exchange in self.open.values():
            if not exchange.ended.done():
                exchange.ended.set_exception(WorkerDied(why, sent=True))
        self.kill()

    def kill(self) -> None:
        """At once."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def _log(self) -> None:
        assert self.process.stderr is not None
        while raw := await _line(self.process.stderr):
            text = "".join(char if char.isprintable() else " " for char in raw.decode(errors="replace"))
            if text.strip():
                self._last_line = text.strip()[:LINE]
                LOG.info("worker %d: %s", self.process.pid, self._last_line)

    async def close(self) -> None:
        """Stdin closes, which ends a worker that is well; then by force."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self.process.wait()
        self.finish("evac has ended it")
        self.kill()
        await self.process.wait()
        await asyncio.gather(self._reading, self._logging, return_exceptions=True)


def _signal(number: int) -> str:
    """Its name; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; b"": the end."""
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long to show)"


class WorkerProcess:
    """At most one life at a time."""

    def __init__(
        self,
        setup: Callable[[], Awaitable[frames.Setup]],
        on_call: Callable[[Call], None],
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """`setup` is asked for before each life: it resolves secrets, and may raise a BackendError."""
        self._setup, self._on_call, self._program = setup, on_call, program
        self._life: _Life | None = None
        self._starting = asyncio.Lock()
        self._number = 0
        self._deaths = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the living worker."""
        return self._life.process.pid if self._life and not self._life.over else None

    @property
    def version(self) -> str:
        """Of libvirt, as the worker told."""
        return self._life.version if self._life else ""

    async def request(self, op: str, args: Sequence[Any], *, patience: float) -> list[bytes] | frames.Failed:
        """The parts of the answer, or why there is none. Raises WorkerDied."""
        life = await self._living()
        self._number += 1
        number = self._number
        exchange = life.open[number] = _Exchange()
        try:
            life.send(frames.Ask(id=number, op=op, args=list(args)))
            async with asyncio.timeout(patience):
                await exchange.ended
        except TimeoutError:
            life.finish("it did not answer and was ended")
            raise WorkerDied("it did not answer and was ended", sent=True) from None
        except asyncio.CancelledError:
            if not life.over:
                life.send(frames.Cancel(id=number))
            raise
        finally:
            life.open.pop(number, None)
        self._deaths = 0
        return exchange.failed or exchange.parts

    async def _living(self) -> _Life:
        async with self._starting:
            if self._closed:
                raise WorkerDied("evac has closed it", sent=False)
            if self._life is not None and not self._life.over:
                return self._life
            if self._life is not None:
                await self._bury(self._life)
            self._life = await self._start()
            return self._life

    async def _bury(self, life: _Life) -> None:
        """After a second death in a row it is left alone for a while."""
        self._life = None
        self._deaths += 1
        await life.close()
        LOG.warning("libvirt worker %d died: %s", life.process.pid, life.over)
        self._not_before = time.monotonic() + PAUSES[min(self._deaths, len(PAUSES) - 1)]

    async def _start(self) -> _Life:
        left = self._not_before - time.monotonic()
        if left > 0:
            raise WorkerDied(f"it died {self._deaths} times; it is started again in {left:.0f} s", sent=False)
        setup = await self._setup()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,
                limit=1 << 20,
            )
        except OSError as error:
            raise WorkerDied(f"it cannot be started: {error.strerror}", sent=False) from None
        life = _Life(process, self._on_call)
        life.send(setup)
        return life

    async def close(self) -> None:
        """Within a second."""
        self._closed = True
        async with self._starting:
            if self._life is not None:
                await self._life.close()
