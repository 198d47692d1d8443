"""A program on a pseudo-terminal of its own, as an SSH session gives it one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence

from tests.real.processes import DIE_WITH_US


class Terminal:
    """Starts the program with the terminal as its controlling one; keeps what it wrote."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, columns: int = 120, lines: int = 36
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._file = ours
        self._written = bytearray()
        self.process = subprocess.Popen(
            # setsid: a session of its own whose controlling terminal is stdin.
            ["setsid", "--ctty", *DIE_WITH_US, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            start_new_session=False,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
            while data := os.read(self._file, 65_536):
                self._written += data

    @property
    def written(self) -> bytes:
        """Everything it wrote, escape sequences and all."""
        return bytes(self._written)

    def until_written(self, text: str, seconds: float = 30) -> None:
        """Until it has written that text in one piece."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text.encode() in self.written:
                return
            assert self.process.poll() is None, f"it ended: {self.written[-2000:]!r}"
            time.sleep(0.05)
        raise AssertionError(f"never wrote {text!r}: {self.written[-2000:]!r}")

    def kill(self) -> None:
        """SIGKILL, then the terminal goes too."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(5)
        with contextlib.suppress(OSError):
            os.close(self._file)
