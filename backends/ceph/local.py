"""The `ceph` command on this machine as a carrier, and how a JSON command is written on its command line."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from backends.ceph import trouble
from backends.ceph.carrier import CarrierError, Command, Reply, Target
from backends.ceph.frames import Setup
from backends.ceph.guard import READS, WRITES

LARGEST = 512 << 20
"""Bytes of one answer. `pg dump pgs_brief` of 1,000,000 PGs has 129 MB."""

_FAILED = re.compile(r"^Error (E[A-Z0-9]+)(?::|$)", re.MULTILINE)
"""How the `ceph` command names the error code of an answer; its exit code is the same number."""

ENOUGH = 64 << 10
"""Bytes of what it says to people."""


def arguments(command: Command) -> list[str]:
    """A JSON command as words of a command line: the prefix, then the arguments in the order of Ceph's signature."""
    prefix = str(command["prefix"])
    shape = READS.get(prefix) or WRITES[prefix]
    out = prefix.split(" ")
    for name in shape.positions:
        out += _words(command.get(name))
    for name in shape.options:
        for word in _words(command.get(name)):
            out += [f"--{name}", word]
    return out


def _words(value: object) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def arguments_of(setup: Setup, command: Command, *, write: bool = False) -> list[str]:
    """The whole of it. Keys stay in their files; only the files' names are here."""
    user = (setup.write_user if write else "") or setup.user
    keyring = (setup.write_keyring if write else "") or setup.keyring
    line = [*setup.command, "--format", "json", "--name", user]
    if setup.conf:
        line += ["--conf", setup.conf]
    if keyring:
        line += ["--keyring", keyring]
    line += ["--connect-timeout", str(max(1, round(setup.connect_timeout)))]
    return [*line, *arguments(command)]


def bounded(line: Sequence[str], seconds: float, timeout: str | None) -> list[str]:
    """Under coreutils' `timeout`: should this process be killed, a `ceph` that waits for a manager still ends."""
    return [timeout, "-k", "2", f"{seconds + 5:.0f}", *line] if timeout else list(line)


def reply(code: int, out: bytes | bytearray, err: str, *, where: str = "") -> Reply:
    """What the command printed as an answer. Raises CarrierError if it never reached the cluster."""
    told = _FAILED.search(err)
    if code == 0 or told:
        return Reply(code=_errno(told[1], code) if told else 0, out=out, err=_for_people(err))
    raise trouble.command_failed(code, err, where=where)


def _errno(name: str, code: int) -> int:
    return code or int(getattr(errno, name, errno.EIO))


def _for_people(err: str) -> str:
    """Without the lines of Ceph's own log ("2026-11-21T10:44:01.123+0000 7f… -1 …") that get mixed in."""
    kept = [
        line
        for line in err.splitlines()
        if line.strip() and not re.match(r"\d{4}-\d\d-\d\dT\S+ [0-9a-f]+ ", line)
    ]
    return "\n".join(kept)[:ENOUGH]


class CommandCarrier:
    """One process per command; each in a process group of its own, so that wrappers (`cephadm shell`) end with it."""

    def __init__(self, setup: Setup, environment: Mapping[str, str] | None = None) -> None:
        self._setup = setup
        self.how = f"the command {setup.command[0]}"
        self.worn = False
        self._environment = dict(environment) if environment is not None else None
        self._timeout = shutil.which("timeout")
        self._running: set[asyncio.subprocess.Process] = set()

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """As `Carrier` says; the `ceph` command finds out by itself who answers."""
        del target
        line = arguments_of(self._setup, command, write=write)
        process = await self._start(bounded(line, self._setup.read_timeout, self._timeout))
        self._running.add(process)
        try:
            out, err = await _output(process)
            code = await process.wait()
        finally:
            self._running.discard(process)
            _kill(process)
        return reply(abs(code), out, err.decode(errors="replace"))

    async def _start(self, line: Sequence[str]) -> asyncio.subprocess.Process:
        program = self._setup.command[0]
        if shutil.which(program) is None:
            raise trouble.no_command(program)
        try:
            return await asyncio.create_subprocess_exec(
                *line,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                process_group=0,
                limit=1 << 20,
            )
        except OSError as error:
            raise trouble.cannot_run(program, error) from None

    async def close(self) -> None:
        """Ends what still runs."""
        for process in list(self._running):
            _kill(process)


async def _output(process: asyncio.subprocess.Process) -> tuple[bytearray, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = await asyncio.gather(_read(process.stdout, LARGEST), _read(process.stderr, ENOUGH, drop=True))
    return out, bytes(err)


async def _read(stream: asyncio.StreamReader, most: int, *, drop: bool = False) -> bytearray:
    """All of it. Past `most` the rest is dropped, or the answer is refused."""
    held = bytearray()
    while chunk := await stream.read(1 << 20):
        if len(held) + len(chunk) <= most:
            held += chunk
        elif not drop:
            raise CarrierError("bad", trouble.too_large(most), sent=True)
    return held


def _kill(process: asyncio.subprocess.Process) -> None:
    """Its whole group, by id; nothing happens if it has ended and was waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
