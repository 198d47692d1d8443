"""The commands for which the API has no call, run over SSH on a node: node maintenance, and an unlock as root.

The host's key must be in known_hosts. Nothing but these commands can be run, and every word is quoted.
"""

from __future__ import annotations

import asyncio
import re
import time

import asyncssh

from backends.proxmox.options import Shell
from backends.trouble import quoted, uncertain
from evac import ssh, ssh_trouble
from evac.backend import Call, Settings
from evac.errors import BackendError, ReadOnly, Refused, Uncertain
from evac.model import Problem
from evac.ssh_rules import door
from evac.ssh_trouble import SSHTrouble

LONGEST = 4096
"""Bytes kept of what a command says."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*", re.ASCII)


def maintenance(node: str, *, on: bool) -> list[str]:
    """What makes the HA manager move its guests off a node and place none there, or ends that."""
    if not _NODE.fullmatch(node):
        raise ValueError(f"{node!r} is no name of a node")
    return ["ha-manager", "crm-command", "node-maintenance", "enable" if on else "disable", node]


def unlock(node: str, vmid: int) -> list[str]:
    """What takes the lock off a VM on whichever node: pvesh hands the call on, as root@pam."""
    if not _NODE.fullmatch(node):
        raise ValueError(f"{node!r} is no name of a node")
    return ["pvesh", "set", f"/nodes/{node}/qemu/{vmid:d}/config", "--delete", "lock", "--skiplock", "1"]


def unlock_container(vmid: int) -> list[str]:
    """What takes the lock off a container, on its own node only: pct(1), and no call of the API skips a container's lock."""
    return ["pct", "unlock", f"{vmid:d}"]


class Commands:
    """A connection of its own for each command: they are rare."""

    def __init__(self, settings: Settings, shell: Shell, host: str) -> None:
        self._settings = settings
        self.host = host
        self._door = door(
            shell, self.host, folder=settings.config_dir, connect_timeout=settings.connect_timeout
        )

    async def maintenance(self, node: str, *, on: bool) -> None:
        """As `_run`."""
        await self._run(maintenance(node, on=on), f"the {'' if on else 'end of '}maintenance of {node}")

    async def unlock(self, node: str, vmid: int) -> None:
        """As `_run`."""
        await self._run(unlock(node, vmid), f"the unlock of guest {vmid}")

    async def unlock_container(self, vmid: int) -> None:
        """As `_run`. On another node than the container's it fails: the container's config is not there."""
        await self._run(unlock_container(vmid), f"the unlock of container {vmid}")

    async def _run(self, words: list[str], what: str) -> None:
        """One command, whose exit status says that it was accepted.

        Raises:
            ReadOnly, Refused: it was not begun, or says that it failed.
            Uncertain: the connection broke while it ran.
        """
        if self._settings.read_only:
            problem = Problem(
                happened=f"{self._settings.name} is read-only here: {what} was not sent.",
                unaffected="Nothing was changed.",
            )
            raise ReadOnly(problem)
        line = ssh.line_of(words, sudo=self._door.sudo)
        began = time.monotonic()
        try:
            code, said = await self._carried_out(line, what)
        except BackendError as error:
            self._note(line, None, error.problem.happened, began)
            raise
        self._note(line, code, said, began)
        if code:
            told = f': "{quoted(said)}"' if said else ""
            raise self._refused(
                f"{what}: {words[0]} on {self.host} ended with status {code}{told}.",
                "Run it there by hand to see more.",
            )

    async def _carried_out(self, line: str, what: str) -> tuple[int, str]:
        try:
            connection = await ssh.connect(self._door)
        except SSHTrouble as error:
            raise self._refused(f"{what}: {error.problem.happened}", error.problem.next_step) from None
        try:
            async with asyncio.timeout(self._settings.read_timeout):
                return await _run(connection.to, line)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise self._uncertain(what, ssh_trouble.said(error)) from None
        finally:
            connection.abort()

    def _uncertain(self, what: str, why: str) -> Uncertain:
        return Uncertain(
            uncertain(
                f"{self._settings.name}: the SSH connection to {self.host} broke during {what} ({why}).", "it"
            )
        )

    def _refused(self, why: str, step: str) -> Refused:
        return Refused(
            Problem(
                happened=f"{self._settings.name}: {why}", unaffected="Nothing was changed.", next_step=step
            )
        )

    def _note(self, line: str, code: int | None, said: str, began: float) -> None:
        if self._settings.record is not None:
            call = Call(
                cluster=self._settings.name,
                method="ssh",
                path=f"{self._door.user}@{self.host}",
                body=line[:2000],
                status=code,
                answer=said[:2000],
                took=time.monotonic() - began,
            )
            self._settings.record(call)


async def _run(connection: asyncssh.SSHClientConnection, line: str) -> tuple[int, str]:
    """Exit status, and what it said."""
    process = await connection.create_process(line, encoding=None, stdin=asyncssh.DEVNULL)
    out, err = await asyncio.gather(
        ssh.read(process.stdout, LONGEST, drop=True), ssh.read(process.stderr, LONGEST, drop=True)
    )
    await process.wait_closed()
    if process.exit_status is None:
        raise asyncssh.ConnectionLost("it ended without an exit status")
    said = "\n".join(text.decode(errors="replace").strip() for text in (out, err) if text)
    return process.exit_status, said[:LONGEST]
