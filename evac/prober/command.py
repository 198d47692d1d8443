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

LEAVING = 0.2
"""Seconds one that was killed may take, when we end."""


class Run:
    """All commands under way; `fd` becomes readable when one has ended."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._dying: list[subprocess.Popen[bytes]] = []
        """Killed and not gone yet: one that hangs in a dead file system must not hold us up."""
        self._running: dict[int, tuple[subprocess.Popen[bytes], int, int, int]] = {}

    @property
    def fd(self) -> int:
        """To be watched for reading."""
        return self._epoll.fileno()

    def send(self, command: tuple[str, ...], token: int, number: int, *, until: int) -> str:
        """Start it, without a shell and in a process group of its own; why it could not be started, or ""."""
        if not command:
            return "no command is given"
        if len(self._running) + len(self._dying) >= MOST:
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
        self._running[fd] = (process, token, number, until)
        self._epoll.register(fd, select.EPOLLIN)
        return ""

    def receive(self, came: Callable[[int, int], None]) -> None:
        """Hand (token, number) of each one that ended well to `came`."""
        for fd, _ in self._epoll.poll(0, MOST):
            process, token, number, _ = self._drop(fd)
            if process.poll() == 0:
                came(token, number)

    def give_up(self, now: int) -> None:
        """Kill those that run past their time."""
        self._dying = [process for process in self._dying if process.poll() is None]
        for fd in [fd for fd, (_, _, _, until) in self._running.items() if until <= now]:
            self._kill(fd)

    def close(self) -> None:
        """Kill all."""
        for fd in list(self._running):
            self._kill(fd)
        for process in self._dying:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LEAVING)
        self._epoll.close()

    def _kill(self, fd: int) -> None:
        process = self._drop(fd)[0]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._dying.append(process)

    def _drop(self, fd: int) -> tuple[subprocess.Popen[bytes], int, int, int]:
        self._epoll.unregister(fd)
        os.close(fd)
        return self._running.pop(fd)
