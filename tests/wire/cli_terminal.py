"""A terminal for `evac`: a pty that a process has as its controlling terminal, read through pyte."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyte

_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """80 to 120 columns of what a person would see."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], columns: int, lines: int) -> None:
        self.master = master
        self.process = process
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)

    def text(self) -> str:
        """The screen as it is."""
        self._read(0)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, condition: str | Callable[[str], bool], within: float = 40.0) -> str:
        """The screen once it shows a text (or meets a condition)."""
        deadline = time.monotonic() + within
        while True:
            text = self.text()
            if condition in text if isinstance(condition, str) else condition(text):
                return text
            assert time.monotonic() < deadline, f"{condition!r} not within {within:g} s; the screen:\n{text}"
            assert self.process.poll() is None or self._read(0.1), (
                f"it ended ({self.process.returncode}):\n{text}"
            )
            self._read(0.1)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self, within: float = 30.0) -> int:
        """The exit code, once it has ended; what it writes meanwhile is read, or it would hang."""
        deadline = time.monotonic() + within
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"did not end within {within:g} s; the screen:\n{self.text()}"
            self._read(0.05)
        return self.process.returncode

    def hang_up(self) -> None:
        """The terminal goes: a closed window, a dropped SSH session."""
        os.close(self.master)
        self.master = -1

    def _read(self, timeout: float) -> bool:
        some = False
        while self.master >= 0 and select.select([self.master], [], [], 0 if some else timeout)[0]:
            try:
                data = os.read(self.master, 65_536)
            except OSError:
                return some
            if not data:
                return some
            some = True
            # pyte prints the private CSI sequences it does not know (kitty's keyboard, XTVERSION).
            self.stream.feed(data.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b""))
        return some


@contextmanager
def terminal(
    words: Sequence[object], environment: Mapping[str, str], *, columns: int = 120, lines: int = 36
) -> Iterator[Terminal]:
    """Run a command on a terminal of its own; whatever is left of its session is ended afterwards."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE, *map(str, words)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    os.close(slave)
    made = Terminal(master, process, columns, lines)
    try:
        yield made
    finally:
        if made.master >= 0:
            made.hang_up()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(5)
