"""The `ceph` command on another host as a carrier: one SSH connection that stays, every argument quoted."""

from __future__ import annotations

import asyncio

import asyncssh

from backends.ceph import trouble
from backends.ceph.carrier import CarrierError, Command, Reply, Target
from backends.ceph.frames import Setup
from backends.ceph.local import ENOUGH, LARGEST, arguments_of, reply
from evac import ssh, ssh_trouble
from evac.model import Problem
from evac.said import last_line
from evac.ssh_trouble import SSHTrouble

AT_ONCE = 6
"""Commands that run at the same time; sshd's own limit (MaxSessions) is 10 per connection."""


class SSHCarrier:
    """Connects at the first question, and again after the connection broke."""

    def __init__(self, setup: Setup) -> None:
        assert setup.door is not None, "chosen by it"
        self._setup = setup
        self._door = setup.door
        self.how = f"the ceph command on {setup.door.host}, asyncssh {asyncssh.__version__}"
        self.worn = False
        self._link = ssh.Link(setup.door)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """As `Carrier` says. What only reads is asked once more when a connection turns out to be dead."""
        del target
        line = remote_line(self._setup, command, write=write)
        async with self._places:
            fresh = self._link.fresh
            try:
                return await self._run(line)
            except (asyncssh.Error, OSError) as error:
                self._link.drop()
                if write or fresh:
                    raise _of(ssh_trouble.broken(self._door.host, error)) from None
            try:
                return await self._run(line)
            except (asyncssh.Error, OSError) as error:
                self._link.drop()
                raise _of(ssh_trouble.broken(self._door.host, error)) from None

    async def _run(self, line: str) -> Reply:
        try:
            connection = (await self._link.line()).to
        except SSHTrouble as error:
            raise _of(error) from None
        # Without an encoding: bytes, as Ceph wrote them. The environment of this machine is not sent.
        process = await connection.create_process(line, encoding=None, stdin=asyncssh.DEVNULL)
        try:
            out, err = await asyncio.gather(
                ssh.read(process.stdout, LARGEST), ssh.read(process.stderr, ENOUGH, drop=True)
            )
            await process.wait_closed()
        except ssh.TooMuch:
            raise CarrierError("bad", trouble.too_large(LARGEST), sent=True) from None
        finally:
            process.close()
        code = process.exit_status
        if code is None:
            raise asyncssh.ConnectionLost("the connection ended in the middle of an answer")
        text = bytes(err).decode(errors="replace")
        if known := self._failed(code, text):
            raise known
        return reply(code, out, text, where=f" on {self._door.host}")

    def _failed(self, code: int, err: str) -> CarrierError | None:
        """What the shell, sudo or `timeout` said; None: the `ceph` command itself ran."""
        words = self._setup.command
        if code in {126, 127}:
            happened = (
                f"{words[0]} cannot be run on {self._door.host}: {last_line(err) or 'command not found'}."
            )
            step = f"Install it there ({trouble.CLI_PACKAGES}), or name it with its path in `command`."
            return _of(SSHTrouble("unreachable", Problem(happened=happened, next_step=step)))
        refused = ssh_trouble.sudo_refused(self._door, words, code, err)
        return _of(refused) if refused else None

    async def close(self) -> None:
        """As `Carrier` says."""
        await self._link.close()


def _of(error: SSHTrouble) -> CarrierError:
    return CarrierError(error.kind, error.problem, sent=error.sent)


def remote_line(setup: Setup, command: Command, *, write: bool = False) -> str:
    """For the login shell of the other host."""
    assert setup.door is not None, "chosen by it"
    words = arguments_of(setup, command, write=write)
    return ssh.line_of(words, sudo=setup.door.sudo, seconds=setup.read_timeout + 5)
