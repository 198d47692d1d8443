"""One worker process as the engine sees it: started when it is needed, replaced when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from backends.ceph import frames
from backends.ceph.frames import Counts, Placement
from evac.model import Finding

LOG = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "backends.ceph.worker")

FIRST_PAUSE = 0.5
"""Seconds before a worker that has died twice is started again; doubled each time."""

LONGEST_PAUSE = 30.0

LEAVING = 0.5
"""Seconds it gets to end by itself."""

LINES = 200
"""Lines of its stderr that are logged per life."""

LINE = 500
"""Characters of each."""


class WorkerDied(Exception):
    """The worker ended, or had to be ended, with a request in flight; or it may not be started again yet."""

    def __init__(self, why: str, *, sent: bool, worn: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent
        self.worn = worn
        """It ended of its own accord to make room for a fresh one: what only reads may be asked again at once."""


Piece = frames.Part | frames.Done | frames.Rows | frames.Placed | frames.Examined | frames.Failed


class Exchange:
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.rows: dict[int, Counts] = {}
        self.placement: Placement | None = None
        self.code = 0
        self.err = ""
        self.failed: frames.Failed | None = None
        self.findings: tuple[Finding, ...] = ()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, frame: Piece) -> None:
        """One frame of the answer."""
        match frame:
            case frames.Part():
                self._parts.append(frame.data)
                return
            case frames.Rows():
                self.rows.update(frame.rows)
                return
            case frames.Placed():
                self.placement = frame.placement
            case frames.Examined():
                self.findings = frame.findings
            case frames.Done():
                self.code, self.err = frame.code, frame.err
            case frames.Failed():
                self.failed = frame
        if not self.ended.done():
            self.ended.set_result(None)

    @property
    def has_data(self) -> bool:
        """Something came besides the code."""
        return any(part.strip() for part in self._parts)

    def data(self) -> bytes:
        """The answer's bytes."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class _Life:
    """From the start of a process to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.open: dict[int, Exchange] = {}
        self.how = ""
        self.answered = False
        self.last_line = ""
        self.over = ""
        """Why it is over; "" while it lives."""
        self.worn = False
        self._said = asyncio.create_task(self._log())
        self._reading = asyncio.create_task(self._read())

    def send(self, frame: frames.Request) -> None:
        """Buffered: requests are small, and a worker that does not read is found by its silence."""
        assert self.process.stdin is not None
        self.process.stdin.write(frames.pack(frame))

    async def _read(self) -> None:
        assert self.process.stdout is not None
        out = self.process.stdout
        try:
            while True:
                body = await out.readexactly(frames.length(await out.readexactly(4)))
                self._take(frames.answer(body))
                # What is buffered already would be read without a pause: others get their turn between two frames.
                await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            # Its own way out tells more than ours, and takes a moment: a dump of its memory, for one.
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVING):
                    await self.process.wait()
            await self._ended("")
        except frames.FrameError as error:
            await self._ended(f"it sent something that is no frame ({error})")

    def _take(self, frame: frames.Answer) -> None:
        if isinstance(frame, frames.Ready):
            self.how = frame.how
            return
        exchange = self.open.get(frame.id)
        if exchange is None:
            return
        self.answered = True
        exchange.take(frame)

    async def _ended(self, why: str) -> None:
        self._kill()
        code = await self.process.wait()
        await self._said
        how = f"signal {_signal(-code)}" if code < 0 else f"exit code {code}"
        said = f": {self.last_line}" if self.last_line else ""
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
            text = "".join(char if char.isprintable() else " " for char in raw.decode(errors="replace"))[
                :LINE
            ]
            if not text.strip():
                continue
            self.last_line = text.strip()
            lines += 1
            if lines <= LINES:
                LOG.info("worker %d: %s", self.process.pid, self.last_line)

    async def close(self) -> None:
        """Stdin closes, which ends a worker that is well; then by force."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self.process.wait()
        self.finish("evac has ended it")
        self._kill()
        await self.process.wait()
        await asyncio.gather(self._reading, self._said, return_exceptions=True)


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

    def __init__(self, setup: frames.Setup, program: Sequence[str] = PROGRAM) -> None:
        self._setup = setup
        self._program = program
        self._life: _Life | None = None
        self._starting = asyncio.Lock()
        self._number = 0
        self._deaths = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def how(self) -> str:
        """The carrier and its version, as the worker told."""
        return self._life.how if self._life else ""

    @property
    def pid(self) -> int | None:
        """Of the living worker."""
        return self._life.process.pid if self._life and not self._life.over else None

    async def request(
        self, frame: frames.Ask | frames.Place | frames.Examine, *, patience: float
    ) -> Exchange:
        """Send it and wait for the end of the answer. Raises WorkerDied."""
        life = await self._living()
        self._number += 1
        number = self._number
        exchange = life.open[number] = Exchange()
        try:
            life.send(msgspec.structs.replace(frame, id=number))
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
            LOG.info("%s: worker %d made room: %s", self._setup.cluster, life.process.pid, life.over)
            return
        self._deaths += 1
        LOG.warning("%s: worker %d died: %s", self._setup.cluster, life.process.pid, life.over)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._deaths - 2)) if self._deaths > 1 else 0.0
        self._not_before = time.monotonic() + pause

    async def _start(self) -> _Life:
        left = self._not_before - time.monotonic()
        if left > 0:
            raise WorkerDied(f"it died {self._deaths} times; it is started again in {left:.0f} s", sent=False)
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
        life = _Life(process)
        life.send(self._setup)
        return life

    async def close(self) -> None:
        """Within a second."""
        self._closed = True
        async with self._starting:
            if self._life is not None:
                await self._life.close()
