"""The worker process of a Ceph cluster, and what the frames of an answer add up to."""

from __future__ import annotations

from collections.abc import Sequence

from backends.ceph import frames
from backends.ceph.frames import Counts, Placement
from evac.model import Finding
from evac.workers import Exchange, WorkerProcess, program

PROGRAM = program("backends.ceph.worker")

Piece = frames.Part | frames.Done | frames.Rows | frames.Placed | frames.Examined | frames.Failed


class CephExchange(Exchange):
    """One request and what has come of its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self.rows: dict[int, Counts] = {}
        self.placement: Placement | None = None
        self.code = 0
        self.err = ""
        self.failed: frames.Failed | None = None
        self.findings: tuple[Finding, ...] = ()

    def take(self, frame: Piece) -> bool:
        """One frame of the answer."""
        match frame:
            case frames.Part():
                self._parts.append(frame.data)
                return False
            case frames.Rows():
                self.rows.update(frame.rows)
                return False
            case frames.Placed():
                self.placement = frame.placement
            case frames.Examined():
                self.findings = frame.findings
            case frames.Done():
                self.code, self.err = frame.code, frame.err
            case frames.Failed():
                self.failed = frame
        return True

    @property
    def has_data(self) -> bool:
        """Something came besides the code."""
        return any(part.strip() for part in self._parts)

    def data(self) -> bytes:
        """The answer's bytes."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


def worker(setup: frames.Setup, command: Sequence[str] = PROGRAM) -> WorkerProcess:
    """One that is set up so."""

    async def told() -> frames.Setup:
        return setup

    return WorkerProcess(setup.cluster, command, setup=told, read=frames.answer)
