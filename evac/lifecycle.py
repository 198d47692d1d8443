"""One engine per state folder: starting it detached, finding the one that runs, refusing a second.

Imported by the console before its first paint, so it imports nothing slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import fcntl
import json
import os
import pwd
import selectors
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from evac.access import AccessRules
from evac.api import ENDING
from evac.decoding import from_json
from evac.model import Problem
from evac.paths import Paths

if TYPE_CHECKING:
    from evac.config import Config

WRITABLE = "Check the owner, the mode and the free space of the state folder."
GREETING = 2.0
"""Seconds for a hello."""

NOTHING_LOST = "Nothing was changed on any cluster."


class EngineTrouble(Exception):
    """The engine does not run, and why, in its own words."""

    def __init__(self, problem: Problem, *, held: bool = False) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.held = held
        """True: another engine has this state folder."""


class Holder(Struct, frozen=True, kw_only=True):
    """Who holds the lock, as written into it."""

    pid: int
    user: str
    started: float


class Report(Struct, frozen=True, kw_only=True):
    """The one line a starting engine writes to whoever started it."""

    ready: bool = False
    held: bool = False
    problem: Problem | None = None


class Found(enum.Enum):
    """What is behind the socket."""

    NONE = "none"
    READY = "ready"
    ENDING = "ending"


# --- starting one --------------------------------------------------------------------------------


async def ensure_engine(
    where: Paths,
    *,
    read_only: bool = False,
    timeout: float = 30,  # noqa: ASYNC109  # handed on to a thread, which asyncio.timeout could not stop
    demo: bool = False,
) -> None:
    """Return when an engine answers on the socket; start it, in a session of its own, if none runs.

    Raises:
        EngineTrouble: in the engine's own words. A failure comes at once; `timeout` (s) allows for a busy machine.
    """
    deadline = time.monotonic() + timeout
    report = Report()
    while (found := await _answers(where)) is not Found.READY:
        left = deadline - time.monotonic()
        if left <= 0:
            raise EngineTrouble(report.problem or _silent(where, timeout), held=report.held)
        if found is Found.ENDING:
            await asyncio.sleep(0.05)  # it is gone within a second, and holds the lock until then
            continue
        if report.held:
            # Two consoles that start together start two engines; the one that lost the race is not needed.
            await asyncio.sleep(0.1)
        report = await asyncio.get_running_loop().run_in_executor(None, _start, where, read_only, demo, left)
        if report.problem is not None and not report.held:
            raise EngineTrouble(report.problem)


async def _answers(where: Paths) -> Found:
    """Whether an engine accepts on the socket, and goes on to live."""
    path = where.socket
    try:
        _check_owner(where)
        reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(str(path)), 2)
    except PermissionError as error:
        step = "Ask the engine's owner to add you to [access] in its config.toml, and to the socket's group."
        problem = Problem(happened=f"You may not open {path}: {error.strerror}.", next_step=step)
        raise EngineTrouble(problem) from None
    except (OSError, TimeoutError):
        return Found.NONE
    try:
        return await _greet(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Found:
    """Ask for hello: the kernel accepts for an engine that has stopped to listen to anyone. HTTP by hand, aiohttp is slow to import."""
    try:
        async with asyncio.timeout(GREETING):
            writer.write(b"GET /v1/hello HTTP/1.1\r\nHost: evac\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
    except TimeoutError:
        return Found.READY  # busy, or another program: the first real question will tell
    except OSError:
        return Found.ENDING
    if not answer:
        return Found.ENDING
    return Found.ENDING if f'"code":"{ENDING}"'.encode() in answer else Found.READY


def _check_owner(where: Paths) -> None:
    """Orders go to the engine of the state folder's owner, not to whoever was first to make a socket of that name.

    Raises:
        EngineTrouble: the socket is somebody else's.
        OSError: there is none.
    """
    owner = where.socket.lstat().st_uid
    trusted = {0, os.getuid()} | ({where.state.stat().st_uid} if where.state.exists() else set())
    if owner not in trusted:
        raise EngineTrouble(
            Problem(
                happened=f"The socket {where.socket} belongs to {_user_name(owner)}, who does not own {where.state}.",
                unaffected=NOTHING_LOST,
                next_step="Find out who made it and why; EVAC_SOCKET names another place.",
            )
        )


def _start(where: Paths, read_only: bool, demo: bool, timeout: float) -> Report:
    """Blocking. Starts `python -m evac.engine --detach` and waits for its one line."""
    ours, theirs = os.pipe()
    command = [
        sys.executable,
        "-m",
        "evac.engine",
        "--config",
        str(where.config),
        "--state",
        str(where.state),
    ]
    command += ["--socket", str(where.socket), "--detach", "--report-fd", str(theirs)]
    command += ["--read-only"] * read_only + ["--demo"] * demo
    try:
        with os.fdopen(ours, "rb", buffering=0) as answer:
            try:
                # The state folder may not exist yet; "/" keeps no file system busy.
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs,),
                    cwd="/",
                    timeout=timeout,
                    check=False,
                )
            finally:
                os.close(theirs)
            line = _read_line(answer.fileno(), timeout)
        return from_json(line, Report)
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return Report(problem=_silent(where, timeout))


def _read_line(descriptor: int, timeout: float) -> bytes:
    """Until the end of the line or of the pipe; the engine closes it when it has said its line, or has died."""
    deadline, data = time.monotonic() + timeout, b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not data.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                break
            data += chunk
    return data


def _silent(where: Paths, timeout: float) -> Problem:
    tail = ""
    with contextlib.suppress(OSError):
        lines = where.log.read_text(errors="replace").strip().splitlines()
        tail = f" Its log ends: {lines[-1][:300]}" if lines else ""
    return Problem(
        happened=f"The engine did not start within {timeout:.0f} s.{tail}",
        unaffected=NOTHING_LOST,
        next_step=f"Start it by hand to see why: evac engine. Its log is {where.log}.",
    )


# --- being one -----------------------------------------------------------------------------------


class EngineLock:
    """flock on the lock file: gone with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def take(self) -> None:
        """Raises EngineTrouble(held=True), which names the holder."""
        try:
            file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        except OSError as error:
            problem = Problem(
                happened=f"The lock {self._path} cannot be made: {error.strerror}.", next_step=WRITABLE
            )
            raise EngineTrouble(problem) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            said = file.read(1000)
            file.close()
            raise EngineTrouble(_held(self._path, said), held=True) from None
        self._file = file
        # The lock is ours, whether or not a full disk lets us say so.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "user": _user_name(), "started": time.time()}) + "\n")
            file.flush()

    def release(self) -> None:
        """Let the next one in."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def holder(path: Path) -> Holder | None:
    """Who has written the lock file last, whether or not it still holds it."""
    try:
        return from_json(path.read_bytes(), Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _held(path: Path, said: str) -> Problem:
    try:
        by = from_json(said, Holder)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(by.started))
        who = f"process {by.pid} of {by.user}, running since {since}"
    except msgspec.MsgspecError:
        who = "another process"
    return Problem(
        happened=f"An engine already has {path.parent}: {who}.",
        unaffected="It goes on undisturbed.",
        next_step="Use it (evac attaches to it), stop it, or name another folder with EVAC_STATE_DIR.",
    )


def prepare_state(where: Paths, rules: AccessRules) -> None:
    """Make the state folder: 0700, or 0710 with [access], so that others can reach the socket and read nothing.

    Raises:
        EngineTrouble: it cannot be made, is somebody else's, or others could write into it.
    """
    try:
        where.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = where.state.stat()
    except OSError as error:
        raise _state_trouble(where, f"cannot be made: {error.strerror}") from None
    if found.st_uid != os.getuid():
        raise _state_trouble(where, f"belongs to {_user_name(found.st_uid)}")
    if found.st_mode & 0o022:
        raise _state_trouble(where, f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})")
    if rules.shared and not found.st_mode & 0o010:
        where.state.chmod(stat.S_IMODE(found.st_mode) | 0o010)
    if rules.shared and rules.group:
        _give(where.state, rules.group)
    if not os.access(where.state, os.W_OK | os.X_OK):
        raise _state_trouble(where, "cannot be written")


def _state_trouble(where: Paths, what: str) -> EngineTrouble:
    step = f"Run: chmod 700 {where.state} as its owner, or name another folder with EVAC_STATE_DIR."
    return EngineTrouble(
        Problem(happened=f"The state folder {where.state} {what}.", unaffected=NOTHING_LOST, next_step=step)
    )


def listen(where: Paths, rules: AccessRules) -> socket.socket:
    """The engine's socket, bound and listening: 0600, or 0660 with [access]. Call it with the lock held."""
    folder = where.socket.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(folder)
        if where.socket.exists() and not where.socket.is_socket():
            raise _socket_trouble(where.socket, "there is a file of another kind")
        where.socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(where.socket))
        where.socket.chmod(0o660 if rules.shared else 0o600)
        if rules.shared and rules.group:
            _give(where.socket, rules.group)
    except OSError as error:
        raise _socket_trouble(where.socket, error.strerror or str(error)) from None
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _check_folder(folder: Path) -> None:
    """Nobody else may be able to put a socket of theirs in the place of ours."""
    found = folder.lstat()
    foreign = found.st_uid not in (0, os.getuid())
    if (
        foreign
        or not stat.S_ISDIR(found.st_mode)
        or (found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX)
    ):
        raise _socket_trouble(folder, "the folder is not ours alone to write")


def _socket_trouble(path: Path, why: str) -> EngineTrouble:
    return EngineTrouble(
        Problem(
            happened=f"The engine's socket cannot be made at {path}: {why}.",
            unaffected=NOTHING_LOST,
            next_step="Remove what is in the way, or name another place with EVAC_SOCKET.",
        )
    )


def _give(path: Path, group: str) -> None:
    import grp  # noqa: PLC0415  # only with [access]

    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise EngineTrouble(
            Problem(
                happened=f'[access] names the group "{group}", which does not exist on this machine.',
                unaffected=NOTHING_LOST,
                next_step="Correct the config: getent group lists the groups.",
            )
        ) from None
    except PermissionError:
        raise EngineTrouble(
            Problem(
                happened=f'{path} cannot be given to the group "{group}": this user is not a member of it.',
                unaffected=NOTHING_LOST,
                next_step="Add the engine's user to the group, or set [access] socket_group.",
            )
        ) from None


def _user_name(uid: int | None = None) -> str:
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def run_engine(where: Paths, *, config: Config, read_only: bool, foreground: bool) -> int:
    """Be the engine until it is stopped. Returns the exit code; raises EngineTrouble when it cannot start.

    A process that calls this should end with `os._exit`: a thread that hangs in a dead cluster's socket would keep a
    normal exit waiting. `python -m evac.engine` does so.
    """
    from evac.engine import serve  # noqa: PLC0415  # imports aiohttp

    return await serve(where, config=config, read_only=read_only, foreground=foreground)
