"""A backend's worker process as the engine sees it: started when it is needed, replaced when it dies or hangs.

A library that may hang, abort or hold up its process is used in a process of its own. The engine's first frame is the
setup, with everything secret; afterwards it sends requests, each with an id that the frames of its answer carry. Frames
without an id are said aside: `Ready`, and whatever a backend adds. `evac.worker_main` is the other end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from evac import framing
from evac.framing import FrameError, Reader

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
"""Seconds before a worker that has died twice in a row is started again; doubled each time."""

LONGEST_PAUSE = 30.0

LEAVING = 0.5
"""Seconds it gets to end by itself."""

LINES = 200
"""Lines of its stderr that are logged per life."""

LINE = 500
"""Characters of each."""


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker has read its setup."""

    how: str = ""
    """What it works with, and its version."""


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Nobody waits for this any more, and no answer comes."""

    id: int


class WorkerDied(Exception):
    """The worker ended, or had to be ended, with a request in flight; or it may not be started again yet."""

    def __init__(self, why: str, *, sent: bool, worn: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent
        self.worn = worn
        """It ended of its own accord to make room for a fresh one: what only reads may be asked again at once."""


class Exchange(ABC):
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    def take(self, frame: Any) -> bool:
        """One frame of the answer; True: it was the last."""


Answered = TypeVar("Answered", bound=Exchange)


def program(module: str) -> tuple[str, ...]:
    """The command line of a worker."""
    return (sys.executable, "-P", "-m", module)


class _Life:
    """From the start of a process to its end."""

    def __init__(
        self, process: asyncio.subprocess.Process, read: Reader, aside: Callable[[Any], None]
    ) -> None:
        self.process = process
        self.open: dict[int, Exchange] = {}
        self.how = ""
        self.over = ""
        """Why it is over; "" while it lives."""
        self.worn = False
        self._read, self._aside = read, aside
        self._last_line = ""
        self._logging = asyncio.create_task(self._log())
        self._reading = asyncio.create_task(self._listen())

    def send(self, frame: Struct) -> None:
        """Buffered: requests are small, and a worker that does not read is found by its silence."""
        assert self.process.stdin is not None
        self.process.stdin.write(framing.pack(frame))

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self._take(await framing.receive(self.process.stdout, self._read))
                # What is buffered already would be read without a pause: others get their turn between two frames.
                await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            # Its own way out tells more than ours, and takes a moment: a dump of its memory, for one.
            await self._leaving()
            await self._ended("")
        except FrameError as error:
            await self._ended(f"it sent something that is no frame ({error})")

    def _take(self, frame: Any) -> None:
        if isinstance(frame, Ready):
            self.how = frame.how
            return
        number = getattr(frame, "id", None)
        if number is None:
            self._aside(frame)
            return
        exchange = self.open.get(number)
        if exchange is not None and exchange.take(frame) and not exchange.ended.done():
            exchange.ended.set_result(None)

    async def _leaving(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self.process.wait()

    async def _ended(self, why: str) -> None:
        self._kill()
        code = await self.process.wait()
        await self._logging
        how = f"signal {_signal(-code)}" if code < 0 else f"exit code {code}"
        said = f": {self._last_line}" if self._last_line else ""
        self.finish(why or f"it ended with {how}{said}", worn=code == os.EX_TEMPFAIL)

    def finish(self, why: str, *, worn: bool = False) -> None:
        """Everybody who waits hears of it."""
        if self.over:
            return
        self.over, self.worn = why, worn
        for exchange in self.open.values():
            if not exchange.ended.done():
                exchange.ended.set_exception(WorkerDied(why, sent=True, worn=worn))
        self._kill()

    def _kill(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def _log(self) -> None:
        assert self.process.stderr is not None
        lines = 0
        while raw := await _line(self.process.stderr):
            text = "".join(char if char.isprintable() else " " for char in raw.decode(errors="replace"))
            if not (line := text[:LINE].strip()):
                continue
            self._last_line = line
            lines += 1
            if lines <= LINES:
                LOG.info("worker %d: %s", self.process.pid, line)

    async def close(self) -> None:
        """Stdin closes, which ends a worker that is well; then by force."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self._leaving()
        self.finish("evac has ended it")
        self._kill()
        await self.process.wait()
        await asyncio.gather(self._reading, self._logging, return_exceptions=True)


def _signal(number: int) -> str:
    """Its name; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; of one that is too long, pieces of it. b"": the end."""
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long to show)"


class WorkerProcess:
    """At most one life at a time."""

    def __init__(
        self,
        cluster: str,
        command: Sequence[str],
        *,
        setup: Callable[[], Awaitable[Struct]],
        read: Reader,
        aside: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """`setup` is asked for before each life: it resolves secrets, and may raise a BackendError."""
        self._cluster, self._command = cluster, tuple(command)
        self._setup, self._read, self._aside = setup, read, aside
        self._life: _Life | None = None
        self._starting = asyncio.Lock()
        self._number = 0
        self._deaths = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def how(self) -> str:
        """What it works with, as the worker told; "" before it has."""
        return self._life.how if self._life else ""

    @property
    def pid(self) -> int | None:
        """Of the living worker."""
        return self._life.process.pid if self._life and not self._life.over else None

    async def request(self, frame: Struct, exchange: Answered, *, patience: float) -> Answered:
        """Send it, with an id of its own, and wait for the end of the answer. Raises WorkerDied, and what `setup` raises."""
        life = await self._living()
        self._number += 1
        number = self._number
        life.open[number] = exchange
        try:
            life.send(msgspec.structs.replace(frame, id=number))
            async with asyncio.timeout(patience):
                await exchange.ended
        except TimeoutError:
            life.finish("it did not answer and was ended")
            raise WorkerDied("it did not answer and was ended", sent=True) from None
        except asyncio.CancelledError:
            if not life.over:
                life.send(Cancel(id=number))
            raise
        finally:
            life.open.pop(number, None)
        self._deaths = 0
        return exchange

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
        await life.close()
        if life.worn:
            LOG.info("%s: worker %d made room: %s", self._cluster, life.process.pid, life.over)
            return
        self._deaths += 1
        LOG.warning("%s: worker %d died: %s", self._cluster, life.process.pid, life.over)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._deaths - 2)) if self._deaths > 1 else 0.0
        self._not_before = time.monotonic() + pause

    async def _start(self) -> _Life:
        left = self._not_before - time.monotonic()
        if left > 0:
            raise WorkerDied(f"it died {self._deaths} times; it is started again in {left:.0f} s", sent=False)
        setup = await self._setup()
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0, limit=1 << 20
            )
        except OSError as error:
            raise WorkerDied(f"it cannot be started: {error.strerror}", sent=False) from None
        life = _Life(process, self._read, self._aside)
        life.send(setup)
        return life

    async def close(self) -> None:
        """Within a second."""
        self._closed = True
        async with self._starting:
            if self._life is not None:
                await self._life.close()
