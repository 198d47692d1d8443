"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in milliseconds.

Work in executors (SQLite's fsync) takes real time; while any is under way the clock stands still, as seen from the
loop. `run(main)` runs a coroutine function on such a loop; `clock()` is the loop's time, for `now=`, `wall=` and worlds.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = 1_800_000_000.0
"""Virtual wall time at the loop's zero."""


class _Selector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, it moves the loop's clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.busy = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.busy:
            return super().select(1.0)  # woken by the executor's self-pipe
        if timeout is None:
            raise RuntimeError("everything waits for something that will never come")
        self.time += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.time

    def hold(self, count: int) -> None:
        """So many more wait for threads."""
        self._virtual.busy += count

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self._virtual.busy += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._idle)
        return future

    def _idle(self, _: asyncio.Future[Any]) -> None:
        self._virtual.busy -= 1


@contextlib.contextmanager
def held() -> Iterator[None]:
    """The running virtual loop's clock stands still inside: somebody waits for a thread that no executor knows of."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "not in virtual time"
    loop.hold(1)
    try:
        yield
    finally:
        loop.hold(-1)


def now() -> float:
    """The running virtual loop's time: stands in for the boot clock."""
    return asyncio.get_running_loop().time()


def wall() -> float:
    """Virtual wall time."""
    return EPOCH + now()


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
