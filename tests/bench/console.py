"""The console from outside, in a pty: start to paint, key to paint, bytes, idle CPU and memory; `less` and `cat` beside it.

    python -m tests.bench.console [--quick]

The whole stack runs: a simulated cloud on its wire with 1 % of its servers changing each second, the engine that
polls it, and the console on the engine's socket, each its own process. A key counts as painted when the position it
leads to ("61/10,000") has arrived on the pty, which is in the same frame as the moved cursor. Times are wall time:
on a busy machine they hold the waiting for a core too, and so do the floor's.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import math
import os
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.table import table

ROWS, COLUMNS = 40, 120
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 30.0
DOWN, UP, PAGE_DOWN, PAGE_UP = "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~"
POSITION = rb"[^0-9,][0-9,]+/[0-9,]+ "
"""Where the cursor is: sent with every key that moves it, and only then."""
ANSWERS = {b"\x1b[c": b"\x1b[?62;22c", b"\x1b[?2026$p": b"\x1b[?2026;2$y", b"\x1b[6n": b"\x1b[1;1R"}
"""What a terminal answers to the queries that Textual and less send."""


class Screen:
    """A program in a pty; what it wrote is only searched, never drawn, so that the clock is not ours."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execvpe(argv[0], list(argv), {**os.environ, "TERM": "xterm-256color"})  # noqa: S606  # measured program
        self.seen = bytearray()
        self.bytes = 0

    def read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return b""
        try:
            data = os.read(self.fd, 1 << 20)
        except OSError:
            raise SystemExit(f"the program ended: {bytes(self.seen[-2000:])!r}") from None
        for query, answer in ANSWERS.items():
            if query in data:
                os.write(self.fd, answer)
        self.bytes += len(data)
        self.seen += data
        return data

    def wait(self, pattern: bytes) -> float:
        """Seconds since now until the pattern has arrived."""
        began, searched = time.monotonic(), re.compile(pattern)
        while not searched.search(self.seen):
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"{pattern!r} never came; last: {bytes(self.seen[-2000:])!r}")
            self.read(0.5)
        return time.monotonic() - began

    def key(self, key: str, pattern: bytes) -> tuple[float, float, int]:
        """Milliseconds from the key to the pattern, those of them waiting for a core, and the bytes until it was quiet."""
        self.drain(0.03)
        self.seen.clear()
        before, queued = self.bytes, waited(self.pid)
        os.write(self.fd, key.encode())
        took = self.wait(pattern) * 1000
        queued = waited(self.pid) - queued
        self.drain(0.02)
        return took, min(took, queued), self.bytes - before

    def drain(self, quiet: float) -> None:
        """Read until nothing comes for a moment."""
        while self.read(quiet):
            pass

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(SystemExit):
                self.read(0.05)
        os.close(self.fd)


def cpu(pid: int) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def waited(pid: int) -> float:
    """Milliseconds that the threads of a process have been ready to run without a core: other work's share of a time."""
    stats = [
        path.read_text(encoding="ascii").split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
    ]
    return sum(int(fields[1]) for fields in stats) / 1e6


def rss(pid: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """p50, p99, max."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[max(0, math.ceil(len(ordered) * 0.99) - 1)], ordered[-1]


@contextlib.contextmanager
def stack(folder: Path, servers: int) -> Iterator[int]:
    """World and engine; gives the engine's process id."""
    world = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "backends.simulation.demo",
            "--dir",
            str(folder),
            "--scale",
            str(servers),
            "--churn",
            "0.01",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert world.stdout is not None
    if b"ready" not in world.stdout.readline():
        raise SystemExit("the simulated cloud did not start")
    words = ["--config", str(folder / "config.toml"), "--state", str(folder / "state"), "--foreground"]
    engine = subprocess.Popen([sys.executable, "-m", "evac.engine", *words], stdout=subprocess.DEVNULL)
    try:
        yield engine.pid
    finally:
        engine.terminate()
        engine.wait(10)
        world.terminate()
        world.wait(10)


def console(folder: Path) -> Screen:
    """The console attached to the stack's engine."""
    script = shutil.which("evac", path=str(Path(sys.executable).parent)) or "evac"
    return Screen([script, "--config", str(folder / "config.toml"), "--state", str(folder / "state")])


def starts(folder: Path, runs: int) -> list[float]:
    """Medians: seconds to the first paint and to rows on the screen, with the engine up; CPU seconds used until then."""
    figures = []
    for _ in range(runs):
        screen = console(folder)
        screen.wait(rb"evac ")
        first, first_cpu = time.monotonic() - screen.began, cpu(screen.pid)
        screen.wait(rb"1/\d+")
        figures.append((first, first_cpu, time.monotonic() - screen.began, cpu(screen.pid)))
        screen.close()
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def keys(screen: Screen, servers: int, presses: int) -> list[list[object]]:
    """In the VM pane: within a page, by pages, and where every step scrolls."""
    screen.key("2", f"1/{servers:,}".encode())
    screen.drain(0.5)
    inside = ROWS // 2
    pages = min(presses, (servers - presses) // ROWS)  # at the end nothing moves
    legs = math.ceil(presses / pages)
    near = [screen.key(key, POSITION) for key in (DOWN, UP) for _ in range(inside - 1)]
    down, up = [], []
    for _ in range(legs):
        down += [screen.key(PAGE_DOWN, POSITION) for _ in range(pages)]
        up += [screen.key(PAGE_UP, POSITION) for _ in range(pages)]
    return [
        figures("Down, Up within the page", near),
        figures("PageDown", down),
        figures("PageUp", up),
        figures("Down, scrolling", [screen.key(DOWN, POSITION) for _ in range(presses)]),
        figures("Up, scrolling", [screen.key(UP, POSITION) for _ in range(presses)]),
    ]


def figures(name: str, pressed: Sequence[tuple[float, float, int]]) -> list[object]:
    """A row of the table for some presses of a key."""
    took, queued, sizes = zip(*pressed, strict=True)
    p50, p99, most = spread(took)
    net = spread([wall - wait for wall, wait in zip(took, queued, strict=True)])[1]
    return [name, len(took), p50, p99, net, most, statistics.median(sizes)]


def floor(presses: int) -> list[list[object]]:
    """The same keys in less, and a character echoed by cat."""
    rows: list[list[object]] = []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{number:06d} some line of text\n" for number in range(1, 10_001))
        file.flush()
        screen = Screen(["less", file.name])
        screen.wait(b"000039")
        took = [screen.key("j", f"{ROWS + n:06d}".encode()) for n in range(presses)]
        rows.append(figures("j in less", took))
        screen.close()
    screen = Screen(["cat"])
    took = [screen.key("x", b"x") for _ in range(presses)]
    rows.append(figures("x echoed by cat", took))
    screen.close()
    return rows


def measure(servers: int, *, runs: int, presses: int, idle: float) -> None:
    """One size: all tables."""
    with tempfile.TemporaryDirectory(prefix="evac-bench-") as name:
        folder = Path(name)
        with stack(folder, servers) as engine:
            warm = console(folder)
            warm.wait(rb"fresh")
            warm.close()
            begin = starts(folder, runs)
            screen = console(folder)
            screen.wait(rb"fresh")
            rows = keys(screen, servers, presses)
            screen.drain(0.2)
            began, used, engine_used, sent = time.monotonic(), cpu(screen.pid), cpu(engine), screen.bytes
            while (elapsed := time.monotonic() - began) < idle:
                screen.read(0.2)
            quiet = [
                [
                    "console",
                    100 * (cpu(screen.pid) - used) / elapsed,
                    rss(screen.pid),
                    (screen.bytes - sent) / elapsed,
                ],
                ["engine", 100 * (cpu(engine) - engine_used) / elapsed, rss(engine), 0.0],
            ]
            screen.close()
    title = f"{servers:,} VMs, 1 % changing each second, {COLUMNS}x{ROWS}"
    table(
        f"{title}: start, engine up (s, median of {runs})",
        ["first paint", "CPU till then", "useful paint", "CPU till then"],
        [begin],
    )
    table(
        f"{title}: key to paint (ms)",
        ["key", "n", "p50", "p99", "p99 less waiting for a core", "max", "bytes p50"],
        [*rows, *floor(presses)],
    )
    table(f"{title}: idle for {idle:.0f} s", ["process", "CPU % of a core", "RSS MiB", "bytes/s"], quiet)


def main() -> None:
    """Both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,200 VMs only, few keys")
    quick = parser.parse_args().quick
    for servers in (1_200,) if quick else (1_200, 10_000):
        measure(servers, runs=3 if quick else 7, presses=20 if quick else 300, idle=3 if quick else 10)


if __name__ == "__main__":
    main()
