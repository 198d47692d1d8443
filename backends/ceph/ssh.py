"""The `ceph` command on another host as a carrier: one SSH connection that stays, every argument quoted."""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import suppress
from pathlib import Path

import asyncssh

from backends.ceph import trouble, trouble_ssh
from backends.ceph.carrier import CarrierError, Command, Reply, Target
from backends.ceph.frames import Setup
from backends.ceph.local import ENOUGH, LARGEST, arguments_of, reply

KEEPALIVE = 15
"""Seconds between signs of life; three that are missed end the connection."""

AT_ONCE = 6
"""Commands that run at the same time; sshd's own limit (MaxSessions) is 10 per connection."""

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class SSHCarrier:
    """Connects at the first question, and again after the connection broke."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.how = f"the ceph command on {setup.host}, asyncssh {asyncssh.__version__}"
        self.worn = False
        self._link: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._jump: asyncssh.SSHClientConnection | None = None
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """As `Carrier` says. What only reads is asked once more when a connection turns out to be dead."""
        del target
        line = remote_line(self._setup, command, write=write)
        async with self._places:
            fresh = self._link is None
            try:
                return await self._run(line)
            except (asyncssh.Error, OSError) as error:
                self._drop()
                if write or fresh:
                    raise trouble_ssh.broken(self._setup.host, error, sent=True) from None
            try:
                return await self._run(line)
            except (asyncssh.Error, OSError) as error:
                self._drop()
                raise trouble_ssh.broken(self._setup.host, error, sent=True) from None

    async def _run(self, line: str) -> Reply:
        connection = await self._connection()
        # Without an encoding: bytes, as Ceph wrote them. The environment of this machine is not sent.
        process = await connection.create_process(line, encoding=None, stdin=asyncssh.DEVNULL)
        try:
            out, err = await asyncio.gather(
                _read(process.stdout, LARGEST), _read(process.stderr, ENOUGH, drop=True)
            )
            await process.wait_closed()
        finally:
            process.close()
        code = process.exit_status
        if code is None:
            raise asyncssh.ConnectionLost("the connection ended in the middle of an answer")
        text = bytes(err).decode(errors="replace")
        if known := trouble_ssh.command_failed(self._setup, code, text):
            raise known
        return reply(code, out, text, where=f" on {self._setup.host}")

    async def _connection(self) -> asyncssh.SSHClientConnection:
        """The one there is; whoever needs one meanwhile waits for the same."""
        if self._link is not None and self._link.done() and _is_dead(self._link):
            self._drop()
        if self._link is None:
            self._link = asyncio.create_task(self._connect())
            self._link.add_done_callback(_looked_at)
        try:
            return await asyncio.shield(self._link)
        except CarrierError:
            self._link = None
            raise

    async def _connect(self) -> asyncssh.SSHClientConnection:
        setup = self._setup
        if not setup.jump:
            return await self._reach(setup.host, setup.port, setup.login, None)
        (host, port), *_ = hops(setup)
        self._jump = await self._reach(host, port, setup.jump.rpartition("@")[0], None)
        return await self._reach(setup.host, setup.port, setup.login, self._jump)

    async def _reach(
        self, host: str, port: int, login: str, tunnel: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        setup = self._setup
        known = await asyncio.to_thread(known_hosts, setup.known_hosts)
        seen = _Witness()
        try:
            return await asyncssh.connect(
                host,
                port,
                username=login or (),
                tunnel=tunnel or (),
                config=None,
                known_hosts=known,
                client_factory=lambda: seen,
                client_keys=[setup.identity] if setup.identity else (),
                agent_path=(os.environ.get("SSH_AUTH_SOCK") if setup.agent else None) or None,
                preferred_auth=("publickey",),
                connect_timeout=setup.connect_timeout,
                login_timeout=setup.connect_timeout * 3,
                keepalive_interval=KEEPALIVE,
                gss_host=None,
            )
        except asyncssh.HostKeyNotVerifiable:
            raise trouble_ssh.host_key((host, port), seen.key, known, setup.known_hosts) from None
        except (asyncssh.Error, ValueError, OSError) as error:
            raise trouble_ssh.unreachable(setup, host, port, error) from None

    def _drop(self) -> None:
        if self._link is not None and self._link.done() and not _is_dead(self._link):
            self._link.result().abort()
        if self._jump is not None:
            self._jump.abort()
        self._link = self._jump = None

    async def close(self) -> None:
        """As `Carrier` says."""
        if self._link is not None and not self._link.done():
            self._link.cancel()
            with suppress(asyncio.CancelledError, CarrierError):
                await self._link
        self._drop()


class _Witness(asyncssh.SSHClient):
    """Sees the key of a host that is not trusted, so that it can be named. It never accepts one."""

    def __init__(self) -> None:
        self.key: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called only for a key that is not in known_hosts."""
        del host, addr, port
        self.key = key
        return False


def remote_line(setup: Setup, command: Command, *, write: bool = False) -> str:
    """For the login shell of the other host: every word quoted. `timeout` ends what nobody waits for any more."""
    words = ["timeout", "-k", "2", f"{setup.read_timeout + 5:.0f}"]
    if setup.sudo:
        words += ["sudo", "-n", "--"]
    words += arguments_of(setup, command, write=write)
    return shlex.join(words)


def hops(setup: Setup) -> list[tuple[str, int]]:
    """The hosts whose keys must be known, in the order in which they are reached."""
    host, _, port = setup.jump.rpartition("@")[2].partition(":")
    first = [(host, int(port or 22))] if setup.jump else []
    return [*first, (setup.host, setup.port)]


def _is_dead(link: asyncio.Task[asyncssh.SSHClientConnection]) -> bool:
    return link.cancelled() or link.exception() is not None or link.result().is_closed()


def _looked_at(link: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    """A failure nobody waited for any more is no news."""
    if not link.cancelled():
        link.exception()


def known_hosts(given: str) -> bytes:
    """The files' content. A missing one holds nobody, so that nobody is trusted. Raises CarrierError."""
    held = []
    for name in (given,) if given else KNOWN_HOSTS:
        try:
            held.append(Path(name).expanduser().read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise trouble_ssh.no_known_hosts(name, error) from None
    return b"\n".join(held)


async def _read(stream: asyncssh.SSHReader[bytes], most: int, *, drop: bool = False) -> bytearray:
    held = bytearray()
    while chunk := await stream.read(1 << 20):
        if len(held) + len(chunk) <= most:
            held += chunk
        elif not drop:
            raise CarrierError("bad", trouble.too_large(most), sent=True)
    return held
