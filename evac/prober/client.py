"""The engine's side of the prober. Nothing here ever stops a move: without a prober it is simply not measured."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from evac.framing import FrameError, pack, receive
from evac.probe import Felt, Method, ProbeRow, Target
from evac.prober import messages

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "evac.prober")
PAUSES = (0.0, 0.5, 2.0, 10.0, 30.0)
"""Seconds before the process is started again: at once the first time, then ever slower."""

LEAVING = 0.5

PATIENCE = 5.0
"""Seconds it may take to answer beyond the last deadline."""

QUIET = 5.0
"""Seconds without a word, of which it has one each second, after which its rows are no news any more."""

HUNG = 30.0
"""Seconds without a word after which it is ended and started again."""

CALM = 60.0
"""Seconds it lived after which an end is the first one again."""


class Prober:
    """Keeps one prober process alive and in the picture."""

    def __init__(
        self,
        *,
        rate: float = 10_000,
        on_rows: Callable[[Sequence[ProbeRow]], None] = lambda _: None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.rows: dict[str, ProbeRow] = {}
        """The latest of every target watched."""
        self._trouble = "the prober has not started yet"
        self._heard = time.monotonic()
        self.state = messages.State()
        self._rate = rate
        self._on_rows = on_rows
        self._program = program
        self._targets: dict[str, Target] = {}
        self._windows: dict[str, tuple[str, asyncio.Future[Felt]]] = {}
        """Window → the target it is of, and who waits for its measure."""
        self._began: dict[str, tuple[float, float, float]] = {}
        """Window → when, the interval and the longest deadline."""
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once; the process comes up by itself and is kept up."""
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let the process go; open windows end as not measured."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self._end_process()
        self._lose("evac has ended the prober")

    @property
    def pid(self) -> int | None:
        """Of the living process."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def trouble(self) -> str:
        """Why nothing is measured; "" when it works."""
        silent = time.monotonic() - self._heard
        return self._trouble or (f"the prober has been silent for {silent:.0f} s" if silent > QUIET else "")

    @property
    def targets(self) -> Mapping[str, Target]:
        """Those being watched, by id."""
        return self._targets

    # --- what is asked of it -----------------------------------------------------------------------------

    async def watch(self, targets: Iterable[Target]) -> None:
        """Ask these from now on; one whose id is known is replaced if it differs."""
        fresh = tuple(target for target in targets if self._targets.get(target.id) != target)
        self._targets.update((target.id, target) for target in fresh)
        if fresh:
            self._send(messages.Watch(fresh))

    async def drop(self, ids: Iterable[str]) -> None:
        """Ask these no more."""
        known = tuple(name for name in ids if self._targets.pop(name, None) is not None)
        for name in known:
            self.rows.pop(name, None)
        if known:
            self._send(messages.Drop(known))

    async def begin(
        self, target: str, window: str, *, interval: float, deadline: float | None = None
    ) -> bool:
        """A move of the target begins; False when it cannot be measured."""
        if target not in self._targets or window in self._windows or self.pid is None:
            return False
        self._windows[window] = (target, asyncio.get_running_loop().create_future())
        longest = max(1.0, deadline or 0.0, self._targets[target].deadline or 0.0)
        self._began[window] = (time.time(), interval, longest)
        self._send(messages.Begin(target, window, interval, deadline))
        return True

    async def end(self, target: str, window: str) -> Felt:
        """The move and its grace time are over: what was felt. Raises nothing."""
        held = self._windows.get(window)
        if held is None:
            return self._nothing(target, window, self.trouble or "it was never asked during the move")
        wait = self._began[window][2] + PATIENCE
        self._send(messages.End(target, window))
        try:
            async with asyncio.timeout(wait):
                return await asyncio.shield(held[1])
        except TimeoutError:
            return self._nothing(target, window, "the prober does not answer")
        finally:
            self._windows.pop(window, None)
            self._began.pop(window, None)

    def _nothing(self, target: str, window: str, why: str) -> Felt:
        known = self._targets.get(target)
        began, interval, _ = self._began.get(window, (time.time(), 1.0, 1.0))
        return Felt(
            target=target,
            method=known.method if known else Method.ICMP,
            address=known.address if known else "",
            port=known.port if known else 0,
            interval=interval,
            deadline=0.0,
            began=began,
            ended=time.time(),
            unmeasured=why,
        )

    # --- the process -----------------------------------------------------------------------------------

    def _send(self, order: messages.Order) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return  # whoever starts it tells it everything
        with suppress(OSError, RuntimeError):
            process.stdin.write(pack(order))

    async def _keep(self) -> None:
        starts = 0
        while True:
            await asyncio.sleep(PAUSES[min(starts, len(PAUSES) - 1)])
            starts += 1
            began = time.monotonic()
            why = await self._live()
            if time.monotonic() - began > CALM:
                starts = 0
            self._trouble = why
            log.warning("the prober has ended: %s", why)
            self._lose(why)

    async def _live(self) -> str:
        """One life of the process; why it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return f"the prober cannot be started: {error.strerror}"
        self._process = process
        self._send(messages.Rate(self._rate))
        if self._targets:
            self._send(messages.Watch(tuple(self._targets.values())))
        assert process.stdout is not None
        why = ""
        try:
            while True:
                async with asyncio.timeout(HUNG):
                    news = await receive(process.stdout, messages.news)
                self._heard = time.monotonic()
                self._take(news)
        except asyncio.IncompleteReadError:
            pass
        except TimeoutError:
            why = f"the prober was silent for {HUNG:.0f} s"
        except FrameError as error:
            why = f"the prober sent something that is no frame ({error})"
        await self._end_process()
        return why or f"the prober ended ({_how(process.returncode)})"

    def _take(self, news: messages.News) -> None:
        match news:
            case messages.Rows(rows=rows):
                known = [row for row in rows if row.id in self._targets]
                self.rows.update((row.id, row) for row in known)
                try:
                    self._on_rows(known)
                except Exception:  # what others do with the rows must not end the measuring
                    log.exception("the prober's rows could not be passed on")
            case messages.Measured(window=window, felt=felt):
                held = self._windows.get(window)
                if held is not None and not held[1].done():
                    held[1].set_result(felt)
            case messages.State():
                self.state, self._trouble = news, ""

    def _lose(self, why: str) -> None:
        """Nobody waits for a measure that will not come; a window that is open has a hole as long as the rest of it."""
        for window, (target, waiting) in self._windows.items():
            if not waiting.done():
                waiting.set_result(self._nothing(target, window, why))

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    return f"signal {-code}"
