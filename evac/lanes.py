"""Worker threads for a blocking SDK, in lanes, so that one kind of work can never starve another.

The threads are daemons and nobody joins them: a thread that waits for a black hole must delay neither `close` nor the
end of the process, which `concurrent.futures.ThreadPoolExecutor` does (it joins its threads at exit).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """A few threads that take jobs in order of arrival."""

    def __init__(self, name: str, workers: int, closed: Callable[[bool], Exception]) -> None:
        """`closed(started)` makes the error for jobs that are open when the lane closes."""
        self._name = name
        self._workers = workers
        self._closed_error = closed
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._open: dict[Future[Any], bool] = {}
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread. Cancelling drops it if it has not started; else it runs on and is not waited for."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise self._closed_error(False)
            self._open[future] = False
            if self._threads < min(self._workers, len(self._open)):
                self._threads += 1
                number = self._threads
                threading.Thread(target=self._serve, name=f"{self._name}-{number}", daemon=True).start()
        self._jobs.put((future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more work, end idle threads, answer open jobs with the lane's error. Does not wait."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            left = dict(self._open)
            threads = self._threads
        for _ in range(threads):
            self._jobs.put(None)
        for future, started in left.items():
            _settle(future, error=self._closed_error(started))

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if future.done() or not future.set_running_or_notify_cancel():
                self._forget(future)
                continue
            with self._lock:
                self._open[future] = True
            try:
                answer = work()
            except BaseException as error:  # noqa: BLE001 - handed to the coroutine that waits, whatever it is
                _settle(future, error=error)
            else:
                _settle(future, answer=answer)
            self._forget(future)
            del future, work, job

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._open.pop(future, None)


def _settle(future: Future[Any], *, answer: object = None, error: BaseException | None = None) -> None:
    """Answer once; the second answer (a job that ended after the lane was closed) is dropped."""
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)
    except InvalidStateError:
        return
