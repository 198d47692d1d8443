"""The console in a real terminal: quit, suspend and resume, hang-up, a terminal that is not UTF-8, NO_COLOR."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES

from tui.commands.exits import Code
from tui.commands.opening import BARE

APP = [sys.executable, "-m", "tests.bench.console_app", "--vms", "60", "--hosts", "8", "--share", "0"]
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Terminal:
    """A program in a pty, and what its screen shows."""

    def __init__(self, argv: list[str], size: tuple[int, int] = (80, 24), **environ: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            os.chdir(ROOT)
            os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm-256color", "PS1": "ready$ ", **environ})  # noqa: S606  # the program under test, from a list
        self.raw = b""
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def read(self, seconds: float = 0.1) -> None:
        ready, _, _ = select.select([self.fd], [], [], seconds)
        with contextlib.suppress(OSError):
            if ready:
                data = os.read(self.fd, 65536)
                self.raw += data
                self._stream.feed(re.sub(rb"\x1b\[[>=<][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;$]*p", b"", data))

    def quiet(self) -> None:
        """Read until nothing has come for a while: frames may arrive in pieces."""
        deadline = time.monotonic() + PATIENCE
        seen = -1
        while seen != len(self.raw) and time.monotonic() < deadline:
            seen = len(self.raw)
            self.read(0.2)

    def wait_for(self, pattern: str, *, gone: bool = False) -> None:
        deadline = time.monotonic() + PATIENCE
        while bool(re.search(pattern, self.text)) is gone:
            assert time.monotonic() < deadline, (
                f"{pattern!r} never {'went' if gone else 'came'}:\n{self.text}"
            )
            self.read()

    def wait_for_left(self, times: int) -> None:
        """The alternate screen has been left so often, and the shell has answered since."""
        deadline = time.monotonic() + PATIENCE
        while (
            self.raw.count(b"\x1b[?1049l") < times or b"ready" not in self.raw.rpartition(b"\x1b[?1049l")[2]
        ):
            assert time.monotonic() < deadline, f"the shell never came back: {self.raw[-300:]!r}"
            self.read()

    def ended(self, *, reading: bool = True) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, "it did not end"
            if not reading:
                select.select([], [], [], 0.05)
                continue
            with contextlib.suppress(OSError, ValueError):
                self.read(0.05)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def terminal(argv: list[str], size: tuple[int, int] = (80, 24), **environ: str) -> Iterator[Terminal]:
    screen = Terminal(argv, size, **environ)
    try:
        yield screen
    finally:
        screen.close()


@pytest.mark.parametrize("key", ["q", "\x03", ":q\r"])
def test_quitting_gives_the_terminal_back(key: str) -> None:
    with terminal(APP) as screen:
        screen.wait_for("cmp-01")
        screen.type(key)
        assert screen.ended() == 0
        assert b"\x1b[?1049l" in screen.raw, "the alternate screen is left"
        assert b"\x1b[?25h" in screen.raw, "the cursor is shown again"


def test_ctrl_z_gives_the_shell_and_fg_repaints() -> None:
    with terminal(["bash", "--norc", "--noprofile", "-i"]) as screen:
        screen.wait_for("ready")
        screen.type(" ".join(APP) + "\r")
        screen.wait_for("cmp-01")
        screen.type("\x1a")
        screen.wait_for("Stopped")
        screen.type("clear\r")
        screen.wait_for("cmp-01", gone=True)
        screen.type("fg\r")
        screen.wait_for("cmp-01")
        screen.type("2")
        screen.wait_for("web-0004|cache-0002")
        screen.type("q")
        screen.wait_for_left(2)
        screen.type("exit\r")
        screen.ended()


@pytest.mark.parametrize("how", ["signal", "terminal closed"])
def test_a_hang_up_ends_the_console(how: str) -> None:
    with terminal(APP) as screen:
        screen.wait_for("cmp-01")
        if how == "signal":
            os.kill(screen.pid, signal.SIGHUP)
        else:
            os.close(screen.fd)
        assert screen.ended() == 0


def test_a_terminal_that_vanishes_without_a_word_ends_the_console() -> None:
    """Its launcher gets the SIGHUP, as `make demo` does, and the console only a terminal that answers nothing."""
    with terminal(["sh", "-c", f"trap '' HUP; {shlex.join(APP)}; exit $?"]) as screen:
        screen.wait_for("cmp-01")
        os.close(screen.fd)
        assert screen.ended() == 0


def test_sigterm_ends_the_console_whose_terminal_takes_nothing() -> None:
    with terminal(APP) as screen:
        screen.wait_for("cmp-01")
        stall(screen)
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.ended(reading=False) == 0


def stall(screen: Terminal) -> None:
    """Turn pages and read nothing, until more frames are owed than the pty and Textual's queue of 30 can hold."""
    held = since = 0
    while since < 2 * MAX_QUEUED_WRITES:
        screen.type("21"[since % 2])
        select.select([], [], [], 0.02)  # a frame's time, so that each key owes one of its own
        waiting = struct.unpack("i", fcntl.ioctl(screen.fd, termios.FIONREAD, b"\0" * 4))[0]
        held, since = (waiting, 0) if waiting > held else (held, since + 1)
    assert held, "nothing waits to be read"


def test_resizing_is_seen_whatever_the_environment_says_of_the_size() -> None:
    with terminal(APP, COLUMNS="100", LINES="50") as screen:
        screen.wait_for("cmp-01")
        for wide, high in ((60, 20), (80, 24)):
            fcntl.ioctl(screen.fd, termios.TIOCSWINSZ, struct.pack("HHHH", high, wide, 0, 0))
            os.kill(screen.pid, signal.SIGWINCH)
            screen.wait_for("needs 80x24" if wide == 60 else "cmp-01")


def test_no_color_is_obeyed_and_keeps_the_cursor_bar() -> None:
    with terminal(APP, NO_COLOR="1") as screen:
        screen.wait_for("cmp-01")
        colours = re.findall(rb"\x1b\[([0-9;]*)m", screen.raw)
        codes = {code for group in colours for code in group.split(b";")}
        assert not codes & {b"31", b"32", b"33", b"36", b"38", b"48", b"41", b"42", b"43", b"46"}
        assert b"7" in codes, "the cursor is shown by reverse video"


def test_sixteen_colours_stay_sixteen() -> None:
    with terminal(APP, TERM="xterm", COLORTERM="", TEXTUAL_COLOR_SYSTEM="standard") as screen:
        screen.wait_for("cmp-01")
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;[25];", screen.raw)


@pytest.mark.parametrize("name", sorted(BARE))
def test_a_terminal_that_cannot_move_the_cursor_is_refused_in_words(name: str, tmp_path: Path) -> None:
    """Drawn upon all the same, Textual resizes for ever: half a core, and deaf to every key."""
    evac = "import sys; from tui.cli import main; sys.exit(main())"
    where = ["--config", str(tmp_path / "config.toml"), "--state", str(tmp_path / "state")]
    with terminal([sys.executable, "-c", evac, *where], TERM=name) as screen:
        assert screen.ended() == Code.USAGE
        said = b" ".join(screen.raw.split()).decode()
        assert f"TERM={name} says that this terminal cannot" in said
        assert "TERM=xterm evac" in said
        assert b"\x1b[?" not in screen.raw, "nothing was drawn"
        assert not (tmp_path / "state").exists(), "and no engine was started"


def test_what_the_terminal_answers_late_is_no_key() -> None:
    """The colour that `less` asked for, and what kind of terminal it is: read as keys, the `c` opens a dialog."""
    with terminal(APP) as screen:
        screen.wait_for("cmp-01")
        screen.type("2")
        screen.wait_for("web-0004|cache-0002")
        screen.type("\x1b]11;rgb:cccc/cccc/cccc\x1b\\\x1b[?64;1;22c\x1bP>|xterm(388)\x1b\\")
        screen.type("3")
        screen.wait_for(r"(?m)^ Queue ")
