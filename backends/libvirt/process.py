"""The worker process of a libvirt cluster, and what the frames of an answer add up to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from backends.libvirt import frames
from evac.backend import Call
from evac.workers import Exchange, WorkerProcess, program

PROGRAM = program("backends.libvirt.worker")


class Answer(Exchange):
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.failed: frames.Failed | None = None

    def take(self, frame: frames.Part | frames.Done | frames.Failed) -> bool:
        """One frame of the answer."""
        match frame:
            case frames.Part():
                self.parts.append(frame.data)
                return False
            case frames.Failed():
                self.failed = frame
            case frames.Done():
                pass
        return True


def worker(
    cluster: str, setup: Callable[[], Awaitable[frames.Setup]], on_call: Callable[[Call], None]
) -> WorkerProcess:
    """One that is set up so; `on_call` hears of each changing call it makes."""

    def aside(frame: frames.Called) -> None:
        on_call(frame.call)

    return WorkerProcess(cluster, PROGRAM, setup=setup, read=frames.answer, aside=aside)
