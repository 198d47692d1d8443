"""What `evac doctor` looks at on this machine: the terminal, the state directory, the config. No network."""

from __future__ import annotations

import contextlib
import locale
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evac.archive import segments
from evac.config import Config, ConfigErrors, load, plugins
from evac.model import Finding
from evac.paths import Paths
from tui.commands.reach import engine_answers, present
from tui.commands.show import size

ROOM_WANTED = 200 * 1024**2
"""Bytes free. A drain of 1,000 VMs writes some 10 MB of journal; below this, keep an eye on it."""

FSYNC_SLOW = 0.1
"""Seconds. Each step of a job waits for two or three of these before it calls the cluster."""


def terminal() -> Iterator[Finding]:
    """Size, colours, text, and what lies between us and the terminal."""
    yield _size()
    yield _colours()
    encoding = locale.getpreferredencoding(do_setlocale=False).upper().replace("-", "")
    yield Finding(
        check="UTF-8",
        ok=encoding == "UTF8" or None,
        detail="the locale says UTF-8"
        if encoding == "UTF8"
        else f"the locale says {encoding}: ASCII is drawn",
        fix="" if encoding == "UTF8" else "Set LANG or LC_ALL to a UTF-8 locale, such as C.UTF-8.",
    )
    if os.environ.get("TMUX"):
        yield _tmux()
    elif os.environ.get("STY"):
        yield Finding(check="screen", ok=None, detail="inside GNU screen: copying goes to a file")


def _size() -> Finding:
    handles = [stream.fileno() for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__) if stream]
    for handle in handles:
        try:
            columns, lines = os.get_terminal_size(handle)
        except OSError:
            continue
        fits = columns >= 80 and lines >= 24
        return Finding(
            check="size",
            ok=fits,
            detail=f"{columns}x{lines}",
            fix="" if fits else "The console needs 80x24; make the window larger or the type smaller.",
        )
    return Finding(
        check="size", ok=None, detail="no terminal here; the console needs one, the other commands do not"
    )


def _colours() -> Finding:
    if os.environ.get("NO_COLOR"):
        return Finding(check="colours", ok=True, detail="off by NO_COLOR; every state is also a word")
    term, extra = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    if not term or term == "dumb":
        return Finding(
            check="colours",
            ok=None,
            detail=f"TERM is {term or 'not set'}",
            fix="Set TERM, such as xterm-256color.",
        )
    depth = "16 million" if extra in {"truecolor", "24bit"} else "256" if "256" in term else "16"
    return Finding(check="colours", ok=True, detail=f"{depth} ({term})")


def _tmux() -> Finding:
    """Copying goes through tmux as OSC 52, which `set-clipboard` must let pass (tmux(1), "set-clipboard")."""
    try:
        done = subprocess.run(
            ["tmux", "show-options", "-gqv", "set-clipboard"],
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding(check="tmux", ok=None, detail="inside tmux, which cannot be asked about its clipboard")
    value = done.stdout.strip() or "not known"
    good = value in {"on", "external"}
    return Finding(
        check="tmux",
        ok=True if good else None,
        detail=f"set-clipboard is {value}" + ("" if good else ": copying goes to a file"),
        fix="" if good else "tmux set-option -g set-clipboard on",
    )


def state_directory(where: Paths) -> Iterator[Finding]:
    """Room, speed of a safe write, rights, and who holds the lock."""
    folder = where.state
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            check="writable",
            ok=False,
            detail=f"{folder} cannot be written",
            fix=f"Give it to this user, or choose another with --state: {folder}",
        )
        return
    yield _rights(where.state)
    free = shutil.disk_usage(folder).free
    yield Finding(
        check="space",
        ok=free >= ROOM_WANTED,
        detail=f"{size(free)} free at {folder}",
        fix="" if free >= ROOM_WANTED else "Make room: on a full disk the engine takes no new orders.",
    )
    if where.state.exists():
        yield _used(where)
    yield _fsync(folder)


def _used(where: Paths) -> Finding:
    """What evac itself has on this disk; `[engine] keep_days` bounds the journal, not the closed audit files."""
    journal = _bytes(where.journal, where.journal.with_name(where.journal.name + "-wal"))
    closed = [segment.path for segment in segments(where.journal)]
    logs = _bytes(*where.state.glob(f"{where.log.name}*"))
    parts = [f"journal {size(journal)}", f"logs {size(logs)}"]
    parts += [f"{len(closed)} closed audit file{'s' * (len(closed) > 1)} {size(_bytes(*closed))}"] * bool(
        closed
    )
    return Finding(check="used", ok=True, detail=", ".join(parts))


def _bytes(*paths: Path) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _rights(folder: Path) -> Finding:
    if not folder.exists():
        return Finding(check="rights", ok=True, detail=f"{folder} will be made when it is needed")
    mode = folder.stat().st_mode & 0o777
    open_to_all = bool(mode & 0o007)
    return Finding(
        check="rights",
        ok=not open_to_all,
        detail=f"{folder} has mode {mode:04o}",
        fix=f"chmod o-rwx {folder}" if open_to_all else "",
    )


def _fsync(folder: Path) -> Finding:
    """Median of five writes of one page, each made safe."""
    took: list[float] = []
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".evac-fsync-") as file:
            for _ in range(5):
                began = time.perf_counter()
                file.write(b"\0" * 4096)
                file.flush()
                os.fsync(file.fileno())
                took.append(time.perf_counter() - began)
    except OSError as error:
        return Finding(
            check="fsync",
            ok=False,
            detail=f"a safe write failed: {error.strerror}",
            fix=f"Look at the disk of {folder}.",
        )
    median = statistics.median(took)
    slow = median > FSYNC_SLOW
    return Finding(
        check="fsync",
        ok=not slow,
        detail=f"{median * 1000:.1f} ms for a safe write",
        fix="Put the state directory on a local disk; this one slows every step of the queue."
        if slow
        else "",
    )


def config_file(where: Paths) -> tuple[Config | None, list[Finding]]:
    """The config, if it can be used, and what there is to say about it."""
    path = where.config
    if not present(path):
        if engine_answers(where.socket):
            theirs = (
                "none of your own; the engine that runs has its own, and doctor cannot look into its clusters"
            )
            return None, [
                Finding(check="file", ok=None, detail=theirs, fix="Run doctor as the engine's owner.")
            ]
        missing = Finding(
            check="file", ok=False, detail=f"there is none at {path}", fix="evac import, or evac config edit"
        )
        return None, [missing]
    try:
        config = load(path, plugins())
    except ConfigErrors as errors:
        return None, [
            Finding(check="file", ok=False, detail=str(error), fix="evac config edit")
            for error in errors.errors
        ]
    named = Finding(
        check="file",
        ok=bool(config.clusters) or None,
        detail=f"{path}: {len(config.clusters)} clusters, no mistakes",
        fix="" if config.clusters else "Add a cluster: evac import, or evac config edit",
    )
    right = Finding(
        check="write",
        ok=True,
        detail="read_only = true: evac looks and never touches" if config.read_only else "evac may act",
    )
    return config, [named, right]


def broken_plugins() -> Iterator[Finding]:
    """Backends that are installed and cannot be loaded."""
    for name, why in plugins().broken.items():
        yield Finding(check=f"backend {name}", ok=False, detail=why, fix="Install it again, or take it away.")
