"""A command as a probe: exit status 0 in time is a good answer. For guests that only something special can ask."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable

MOST = 64
"""Commands under way at once."""


class Run:
    """All commands under way; `fd` becomes readable when one has ended."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._running: dict[int, tuple[subprocess.Popen[bytes], int, int, int]] = {}

    @property
    def fd(self) -> int:
        """To be watched for reading."""
        return self._epoll.fileno()

    def send(self, command: tuple[str, ...], lane: int, number: int, *, until: int) -> str:
        """Start it, without a shell and in a process group of its own; why it could not be started, or ""."""
        if len(self._running) >= MOST:
            return f"{MOST} commands run already"
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError as error:
            return f"{command[0]} cannot be run: {error.strerror}"
        fd = os.pidfd_open(process.pid)
        self._running[fd] = (process, lane, number, until)
        self._epoll.register(fd, select.EPOLLIN)
        return ""

    def receive(self, came: Callable[[int, int], None]) -> None:
        """Hand (lane, number) of each one that ended well to `came`."""
        for fd, _ in self._epoll.poll(0):
            process, lane, number, _ = self._drop(fd)
            if process.wait() == 0:
                came(lane, number)

    def give_up(self, now: int) -> None:
        """Kill those that run past their time."""
        for fd in [fd for fd, (_, _, _, until) in self._running.items() if until <= now]:
            self._kill(fd)

    def close(self) -> None:
        """Kill all."""
        for fd in list(self._running):
            self._kill(fd)
        self._epoll.close()

    def _kill(self, fd: int) -> None:
        process = self._drop(fd)[0]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _drop(self, fd: int) -> tuple[subprocess.Popen[bytes], int, int, int]:
        self._epoll.unregister(fd)
        os.close(fd)
        return self._running.pop(fd)
