"""The two commands for which the API has no call, run over SSH on a node: node maintenance, and an unlock as root.

The host's key must be in known_hosts. Nothing but these commands can be run, and every word is quoted.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import time
from pathlib import Path

import asyncssh

from backends.proxmox.options import Shell
from backends.trouble import quoted
from evac.backend import Call, Settings
from evac.errors import BackendError, ReadOnly, Refused, Uncertain
from evac.model import Problem

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")

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


class Commands:
    """A connection of its own for each command: they are rare."""

    def __init__(self, settings: Settings, shell: Shell, host: str) -> None:
        self._settings = settings
        self._shell = shell
        self.host = shell.host or host

    async def maintenance(self, node: str, *, on: bool) -> None:
        """As `_run`."""
        await self._run(maintenance(node, on=on), f"the {'' if on else 'end of '}maintenance of {node}")

    async def unlock(self, node: str, vmid: int) -> None:
        """As `_run`."""
        await self._run(unlock(node, vmid), f"the unlock of guest {vmid}")

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
        line = shlex.join((["sudo", "-n", "--"] if self._shell.sudo else []) + words)
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
        connection = await self._connected(what)
        try:
            done = await asyncio.wait_for(
                connection.run(line, stdin=asyncssh.DEVNULL, encoding="utf-8", errors="replace"),
                self._settings.read_timeout,
            )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise self._uncertain(what, _said(error)) from error
        finally:
            connection.abort()
        if done.exit_status is None:
            raise self._uncertain(what, "it ended without an exit status")
        said = "\n".join(str(text) for text in (done.stdout, done.stderr) if text)
        return done.exit_status, said.strip()[:LONGEST]

    async def _connected(self, what: str) -> asyncssh.SSHClientConnection:
        shell, timeout = self._shell, self._settings.connect_timeout
        try:
            known = await asyncio.to_thread(known_hosts, shell.known_hosts)
            return await asyncssh.connect(
                self.host,
                shell.port,
                username=shell.user or (),
                config=None,
                known_hosts=known,
                client_keys=[os.path.expanduser(shell.identity)] if shell.identity else (),  # noqa: ASYNC240, PTH111 - looks at $HOME only
                agent_path=(os.environ.get("SSH_AUTH_SOCK") if shell.agent else None) or None,
                preferred_auth=("publickey",),
                connect_timeout=timeout,
                login_timeout=timeout * 3,
                gss_host=None,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            name = self.host if shell.port == 22 else f"[{self.host}]:{shell.port}"
            raise self._refused(
                f"{what}: the SSH host key of {self.host} is not the one in known_hosts, or is not in it."
                " Nothing was sent.",
                f"Compare it on the node's console, then add it: ssh-keyscan -p {shell.port} {name}",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise self._refused(
                f"{what}: {self.host} refuses the SSH login of {shell.user or 'this user'}.",
                f"Give it our public key: ssh-copy-id {shell.user}@{self.host}. evac never types a password.",
            ) from error
        except (asyncssh.Error, ValueError, OSError) as error:
            raise self._refused(
                f"{what}: no SSH connection to {self.host} port {shell.port} ({_said(error)}).",
                f"Try: ssh -p {shell.port} {shell.user}@{self.host} true",
            ) from error

    def _uncertain(self, what: str, why: str) -> Uncertain:
        return Uncertain(
            Problem(
                happened=f"{self._settings.name}: the SSH connection to {self.host} broke during {what} ({why}).",
                unaffected="Whether it was carried out is not known.",
                next_step="evac looks at it before anything else is done.",
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
                path=f"{self._shell.user}@{self.host}",
                body=line[:2000],
                status=code,
                answer=said[:2000],
                took=time.monotonic() - began,
            )
            self._settings.record(call)


def known_hosts(given: str) -> bytes:
    """The files' content. A missing one holds nobody, so that nobody is trusted."""
    held = []
    for name in (given,) if given else KNOWN_HOSTS:
        try:
            held.append(Path(name).expanduser().read_bytes())
        except FileNotFoundError:
            continue
    return b"\n".join(held)


def _said(error: BaseException) -> str:
    return quoted(str(error)) or type(error).__name__
