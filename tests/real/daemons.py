"""Start, find and end a lab's own processes: by recorded pid and start time, never by name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_STATE, _START = 0, 19
"""Fields of /proc/PID/stat after the command's closing bracket: process state, start time in clock ticks."""


class LabError(Exception):
    """The lab cannot go on. The text says why, with the end of the log that tells."""


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, flush=True)


def tail(path: Path, size: int = 3000) -> str:
    """The end of a log, or a note that there is none."""
    try:
        return path.read_text(errors="replace")[-size:]
    except OSError:
        return f"(no {path.name})"


def run(*command: object, env: Mapping[str, str]) -> str:
    """Run a command to its end and return what it said. Raises LabError with its output when it fails."""
    began = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(env),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    shown = " ".join(str(part) for part in command)
    say(f"  [{time.monotonic() - began:5.1f} s] {shown[:120]}")
    if done.returncode:
        raise LabError(f"{shown}\nended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid: int) -> bool:
    """A zombie counts as gone: its parent may never collect it."""
    stat = _stat(pid)
    return stat is not None and stat[_STATE] != "Z"


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    found: list[int] = []
    todo = [pid]
    while todo:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{todo.pop()}/task").iterdir():
                children = [int(word) for word in (task / "children").read_text().split()]
                found += children
                todo += children
    return found


def memory(pid: int) -> int:
    """Proportional set size of a process and its descendants, KiB."""
    total = 0
    for one in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


class Daemons:
    """The processes of one lab. `run_folder` keeps a NAME.pid of each, `log_folder` what it wrote."""

    def __init__(self, run_folder: Path, log_folder: Path, *, cwd: Path) -> None:
        self.run_folder = run_folder
        self.log_folder = log_folder
        self.cwd = cwd

    def logs(self, name: str) -> str:
        """The ends of everything it wrote."""
        files = [self.log_folder / f"{name}{end}" for end in (".out", ".log", "-api.log")]
        return "\n".join(f"--- {file.name}\n{tail(file)}" for file in files if file.exists())

    def pid_of(self, name: str) -> int | None:
        """The pid of a recorded process that still runs. The start time guards against a recycled pid."""
        try:
            record = json.loads((self.run_folder / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        stat = _stat(record["pid"])
        if stat is None or stat[_START] != record["start"] or stat[_STATE] == "Z":
            return None
        return int(record["pid"])

    def recorded(self) -> list[str]:
        """Names of all processes ever started and not yet stopped."""
        return sorted(path.stem for path in self.run_folder.glob("*.pid"))

    def spawn(self, name: str, command: Sequence[object], env: Mapping[str, str]) -> None:
        """Start a process in a session of its own, unless it runs already."""
        if self.pid_of(name):
            return
        with (self.log_folder / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.cwd,
            )
        stat = _stat(process.pid)
        if stat is None:
            raise LabError(f"{name} ended at once\n{self.logs(name)}")
        (self.run_folder / f"{name}.pid").write_text(json.dumps({"pid": process.pid, "start": stat[_START]}))

    def wait(self, what: str, ready: Callable[[], bool], *, process: str, seconds: float = 120) -> None:
        """Wait until `ready()`; give up early when the process has died, with its log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ready():
                return
            if self.pid_of(process) is None:
                raise LabError(f"{process} died while we waited for {what}\n{self.logs(process)}")
            time.sleep(0.15)
        raise LabError(f"{what}: not within {seconds:.0f} s\n{self.logs(process)}")

    def signal_only(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal and do not wait."""
        pid = self.pid_of(name)
        if pid:
            os.kill(pid, number)

    def end(self, name: str, number: int = signal.SIGTERM, seconds: float = 20) -> None:
        """End a process and what it started; what outlives the signal is killed."""
        pid = self.pid_of(name)
        if pid:
            children = descendants(pid)
            os.kill(pid, number)
            limit = time.monotonic() + seconds
            while time.monotonic() < limit and alive(pid):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
            for left in [one for one in (pid, *children) if alive(one)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
        (self.run_folder / f"{name}.pid").unlink(missing_ok=True)

    def status(self) -> None:
        """One line per process with its memory."""
        total = 0
        for name in self.recorded():
            pid = self.pid_of(name)
            used = memory(pid) if pid else 0
            total += used
            say(f"{name:16} {pid or 'down':>8} {used / 1024:8.1f} MiB")
        say(f"{'total':16} {'':8} {total / 1024:8.1f} MiB")
