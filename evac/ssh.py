"""A connection to a host by SSH: to hosts in known_hosts alone, with a key or the agent, every word quoted, all bounded.

asyncssh is imported here and in `evac.ssh_trouble`: whoever may live without it imports these two when it is needed.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncssh

from evac import ssh_trouble
from evac.ssh_rules import Door, hops
from evac.ssh_trouble import SSHTrouble

KEEPALIVE = 15
"""Seconds between signs of life; three that are missed end the connection."""

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")

CHUNK = 1 << 20
"""Bytes read at once."""


class Line:
    """One connection, with the one it goes through."""

    def __init__(self, to: asyncssh.SSHClientConnection, jump: asyncssh.SSHClientConnection | None) -> None:
        self.to = to
        self._jump = jump

    @property
    def closed(self) -> bool:
        """True when it has ended."""
        return self.to.is_closed()

    def abort(self) -> None:
        """Hang up at once."""
        self.to.abort()
        if self._jump is not None:
            self._jump.abort()


async def connect(door: Door) -> Line:
    """Raises SSHTrouble: nothing was sent."""
    if not door.jump:
        return Line(await _reach(door, door.host, door.port, door.user, None), None)
    (host, port), *_ = hops(door)
    jump = await _reach(door, host, port, door.jump.rpartition("@")[0], None)
    try:
        return Line(await _reach(door, door.host, door.port, door.user, jump), jump)
    except BaseException:
        jump.abort()
        raise


async def _reach(
    door: Door, host: str, port: int, user: str, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    known = await asyncio.to_thread(known_hosts, door.known_hosts)
    seen = _Witness()
    try:
        return await asyncssh.connect(
            host,
            port,
            username=user or (),
            tunnel=tunnel or (),
            config=None,
            known_hosts=known,
            client_factory=lambda: seen,
            client_keys=[door.identity] if door.identity else (),
            agent_path=(os.environ.get("SSH_AUTH_SOCK") if door.agent else None) or None,
            preferred_auth=("publickey",),
            connect_timeout=door.connect_timeout,
            login_timeout=door.connect_timeout * 3,
            keepalive_interval=KEEPALIVE,
            gss_host=None,
        )
    except asyncssh.HostKeyNotVerifiable:
        raise ssh_trouble.host_key((host, port), seen.key, known, door.known_hosts) from None
    except (asyncssh.Error, ValueError, OSError) as error:
        raise ssh_trouble.unreachable(door, host, port, error) from None


class _Witness(asyncssh.SSHClient):
    """Sees the key of a host that is not trusted, so that it can be named. It never accepts one."""

    def __init__(self) -> None:
        self.key: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called only for a key that is not in known_hosts."""
        del host, addr, port
        self.key = key
        return False


class Link:
    """One connection that stays: made at the first use, and again after it broke."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._task: asyncio.Task[Line] | None = None

    @property
    def fresh(self) -> bool:
        """True: the next use makes a new connection."""
        return self._task is None

    async def line(self) -> Line:
        """The one there is; whoever needs one meanwhile waits for the same. Raises SSHTrouble."""
        if self._task is not None and self._task.done() and _is_dead(self._task):
            self.drop()
        if self._task is None:
            self._task = asyncio.create_task(connect(self.door))
            self._task.add_done_callback(_looked_at)
        try:
            return await asyncio.shield(self._task)
        except SSHTrouble:
            self._task = None
            raise

    def drop(self) -> None:
        """Hang up."""
        if self._task is not None and self._task.done() and not _is_dead(self._task):
            self._task.result().abort()
        self._task = None

    async def close(self) -> None:
        """Hang up, also while it connects."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError, SSHTrouble):
                await self._task
        self.drop()


def _is_dead(task: asyncio.Task[Line]) -> bool:
    return task.cancelled() or task.exception() is not None or task.result().closed


def _looked_at(task: asyncio.Task[Line]) -> None:
    """A failure nobody waited for any more is no news."""
    if not task.cancelled():
        task.exception()


def line_of(words: Sequence[str], *, sudo: bool, seconds: float | None = None) -> str:
    """For the login shell of the host: every word quoted. `seconds`: `timeout` there ends what nobody waits for any more."""
    first = ["timeout", "-k", "2", f"{seconds:.0f}"] if seconds is not None else []
    return shlex.join([*first, *(["sudo", "-n", "--"] if sudo else []), *words])


def known_hosts(given: str) -> bytes:
    """The files' content. A missing one holds nobody, so that nobody is trusted. Raises SSHTrouble."""
    held = []
    for name in (given,) if given else KNOWN_HOSTS:
        try:
            held.append(Path(name).expanduser().read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ssh_trouble.no_known_hosts(name, error) from None
    return b"\n".join(held)


class TooMuch(Exception):
    """More was said than anybody could use."""


async def read(stream: asyncssh.SSHReader[bytes], most: int, *, drop: bool = False) -> bytearray:
    """All that comes, `most` bytes of it. Raises TooMuch at more, unless that is to be dropped."""
    held = bytearray()
    while chunk := await stream.read(CHUNK):
        room = most - len(held)
        if len(chunk) > room and not drop:
            raise TooMuch
        held += chunk[:room]
    return held
