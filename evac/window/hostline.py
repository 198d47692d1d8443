"""What is said to a host by SSH: the questions of `evac.window.hostfacts` and `hostpath`, and a window's command.

A connection of its own for each: between two of them the host may have been restarted, and a connection that is dead
without knowing it would cost a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import asyncssh

from evac import clock, ssh, ssh_trouble
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    ReadOnly,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.links import LinkLook
from evac.model import Problem
from evac.ssh_rules import Door
from evac.ssh_trouble import SSHTrouble
from evac.window import hostfacts, hostpath
from evac.window.nouns import HostFacts

LINE = 2000
"""Characters of one line of a command's output; the rest of it is dropped."""

AT_ONCE = 6
"""Questions on one connection at the same time; sshd's own limit (MaxSessions) is 10."""

TRUE = ("true",)
"""Run with sudo by `evac doctor`, to see whether it may."""


class HostLine:
    """One host. What changes something never passes a line that may only read."""

    def __init__(self, name: str, door: Door, *, read_only: bool, timeout: float) -> None:
        """`timeout`: seconds in which a question is answered, connecting not counted."""
        self._name = name
        self._door = door
        self._timeout = timeout
        self._looks = frozenset({self._written(hostfacts.WORDS, sudo=False), self._written(TRUE, sudo=True)})
        self._read_only = read_only

    @staticmethod
    def _written(words: Sequence[str], *, sudo: bool) -> str:
        return ssh.line_of(words, sudo=sudo)

    def line(self, words: Sequence[str]) -> str:
        """As it goes over the wire."""
        return self._written(words, sudo=self._door.sudo)

    async def facts(self) -> HostFacts:
        """A fresh look. Raises BackendError."""
        line = await self._connected(_asked)
        try:
            async with asyncio.timeout(self._timeout):
                sent = clock.wall()
                process = await self._begin(line, self._written(hostfacts.WORDS, sudo=False))
                out = await ssh.read(process.stdout, hostfacts.LARGEST)
                came = clock.wall()
                return hostfacts.parse(out.decode(errors="replace"), sent=sent, came=came)
        except (ssh.TooMuch, ValueError) as error:
            why = str(error) or "it is larger than anybody could use"
            raise BadAnswer(
                Problem(
                    happened=f"{self._name} answers by SSH, and the answer makes no sense: {why}.",
                    next_step="It must be a Linux host with a shell that runs sh -c; try to log in by hand.",
                )
            ) from None
        except TimeoutError:
            raise Unreachable(
                Problem(
                    happened=f"{self._name} took the SSH login and did not answer for {self._timeout:g} s."
                )
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise _asked(ssh_trouble.broken(self._door.host, error)) from None
        finally:
            line.abort()

    async def paths(self, addresses: Collection[str]) -> dict[str, LinkLook]:
        """The ways to these addresses, each looked at and pinged from the host. Raises BackendError: none could be."""
        line = await self._connected(_asked)
        places = asyncio.Semaphore(AT_ONCE)

        async def one(address: str) -> tuple[str, LinkLook]:
            async with places:
                return address, await self._path(line, address)

        try:
            return dict(await asyncio.gather(*map(one, addresses)))
        finally:
            line.abort()

    async def _path(self, line: ssh.Line, address: str) -> LinkLook:
        """What could not be asked is said in it."""
        if not hostpath.may_be_asked(address):
            return LinkLook(why=f"{address[:60]!a} is no address", at=clock.wall())
        try:
            async with asyncio.timeout(self._timeout):
                process = await self._begin(line, self._written(hostpath.words(address), sudo=False))
                out = await ssh.read(process.stdout, hostpath.LARGEST)
                return hostpath.parse(out.decode(errors="replace"), at=clock.wall())
        except (ssh.TooMuch, ValueError) as error:
            why = f"its answer makes no sense: {str(error) or 'it is larger than anybody could use'}"
        except TimeoutError:
            why = f"it did not answer within {self._timeout:g} s"
        except (asyncssh.Error, OSError) as error:
            why = f"the SSH connection broke ({ssh_trouble.said(error)})"
        return LinkLook(why=why, at=clock.wall())

    async def may_sudo(self) -> str:
        """Why it may not, in words; "" when it may. Raises BackendError."""
        line = await self._connected(_asked)
        try:
            async with asyncio.timeout(self._timeout):
                code, said = await self._followed(line, self._written(TRUE, sudo=True), lambda _: None)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise _asked(ssh_trouble.broken(self._door.host, error)) from None
        finally:
            line.abort()
        refused = ssh_trouble.sudo_refused(self._door, ["ALL"], code, said)
        return refused.problem.happened if refused else "" if code == 0 else f"sudo ended with status {code}"

    async def run(self, words: Sequence[str], *, within: float, said: Callable[[str], None]) -> int:
        """Run a command, with `sudo -n` where the config says so; as `Reach.run`. `within`: seconds."""
        text = self.line(words)
        self._must_be_allowed(text)
        line = await self._connected(_not_begun)
        try:
            async with asyncio.timeout(within):
                code, told = await self._followed(line, text, said)
        except asyncssh.ChannelOpenError as error:
            if line.closed:
                raise self._uncertain(error, within) from None
            raise Refused(
                Problem(happened=f"{self._name} does not let a command begin: {ssh_trouble.said(error)}.")
            ) from None
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise self._uncertain(error, within) from None
        finally:
            line.abort()
        if refused := ssh_trouble.sudo_refused(self._door, words, code, told):
            raise _not_begun(refused)
        return code

    async def _connected(self, meaning: Callable[[SSHTrouble], BackendError]) -> ssh.Line:
        try:
            return await ssh.connect(self._door)
        except SSHTrouble as error:
            raise meaning(error) from None

    def _must_be_allowed(self, text: str) -> None:
        if self._read_only and text not in self._looks and not hostpath.is_look(text):
            raise ReadOnly(
                Problem(
                    happened=f"{self._name} is on a cluster that is read-only here: nothing is run on it.",
                    unaffected="Nothing was changed.",
                )
            )

    async def _begin(self, line: ssh.Line, text: str) -> asyncssh.SSHClientProcess[bytes]:
        self._must_be_allowed(text)
        # Without an encoding: bytes, as they come. The environment of this machine is not sent.
        return await line.to.create_process(
            text, encoding=None, stdin=asyncssh.DEVNULL, stderr=asyncssh.STDOUT
        )

    async def _followed(self, line: ssh.Line, text: str, said: Callable[[str], None]) -> tuple[int, str]:
        """Exit status, and the first lines of what it said."""
        process = await self._begin(line, text)
        first: list[str] = []
        rest = b""
        while chunk := await process.stdout.read(ssh.CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            rest = rest[: LINE * 4]
            for row in map(_shown, whole):
                first += [row] if len(first) < 2 else []
                said(row)
        if rest:
            first.append(_shown(rest))
            said(_shown(rest))
        await process.wait_closed()
        if process.exit_status is None:
            raise asyncssh.ConnectionLost("it ended without an exit status")
        return process.exit_status, "\n".join(first)

    def _uncertain(self, error: BaseException, within: float) -> Uncertain:
        why = (
            f"it has not ended within {within:g} s"
            if isinstance(error, TimeoutError) and not str(error)
            else f"the SSH connection broke ({ssh_trouble.said(error)})"
        )
        return Uncertain(
            Problem(
                happened=f"A command was begun on {self._name}, and {why}.",
                unaffected="Whether it was carried out is not known. A command that restarts the host ends like this.",
                next_step="evac looks at the host before anything else is done.",
            )
        )


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace")[:LINE]
    return "".join(char if char.isprintable() else " " for char in text).rstrip()


def _asked(error: SSHTrouble) -> BackendError:
    """What it means for a question."""
    kinds = {"auth": AuthFailed, "forbidden": Forbidden, "unreachable": Unreachable}
    return kinds[error.kind](error.problem)


def _not_begun(error: SSHTrouble) -> BackendError:
    """What it means for a command: certainly nothing was done."""
    return Refused(
        Problem(
            happened=error.problem.happened,
            unaffected="Nothing was run.",
            next_step=error.problem.next_step,
        )
    )
