"""A node's shell over SSH, for what Proxmox VE has no API call for: node maintenance, and unlocking as root.

It knows exactly these lines, with or without `sudo -n` before them; anything else is "command not found":

    ha-manager crm-command node-maintenance enable|disable NODE
    qm unlock VMID
    pct unlock VMID
    pvesh set /nodes/NODE/qemu/VMID/config --delete lock --skiplock 1
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_wire import Wrong

USER = "root"
_PVESH = re.compile(r"pvesh set /nodes/[\w-]+/qemu/(\d+)/config --delete lock --skiplock 1")


@dataclass(frozen=True, slots=True)
class Door:
    """How to get in."""

    host: str
    port: int
    user: str
    identity: Path
    """The client's private key."""
    known_hosts: Path


class Shell:
    """Serves one cluster's shell. `async with shell.serve(folder) as door`."""

    def __init__(self, simulator: PveSimulator, node: str = "") -> None:
        """`node`: whose shell it is, where `qm` and `pct` find its own guests only; "": whichever is asked for."""
        self._simulator = simulator
        self._node = node
        self.lines: deque[str] = deque(maxlen=1000)
        """Commands that were asked for, newest last."""

    @asynccontextmanager
    async def serve(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Door]:
        """Listen; the client's key and the known_hosts file are written into `folder`."""
        mine, client = (
            asyncssh.generate_private_key("ssh-ed25519"),
            asyncssh.generate_private_key("ssh-ed25519"),
        )
        identity, known = folder / "pve-shell.key", folder / "pve-shell.known_hosts"
        identity.touch(0o600)
        client.write_private_key(identity)
        server = await asyncssh.listen(
            host,
            port,
            server_host_keys=[mine],
            authorized_client_keys=asyncssh.import_authorized_keys(client.export_public_key().decode()),
            process_factory=self._serve,
        )
        try:
            found = server.get_port()
            known.touch(0o600)
            known.write_text(f"[{host}]:{found} {mine.export_public_key().decode()}", encoding="ascii")
            yield Door(host, found, USER, identity, known)
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, process: asyncssh.SSHServerProcess[Any]) -> None:
        code, words = self.run(process.command or "")
        if words:
            process.stderr.write(f"{words}\n")
        process.exit(code)

    def run(self, line: str) -> tuple[int, str]:
        """Exit code and what goes to standard error."""
        self.lines.append(line)
        try:
            words = shlex.split(line)
        except ValueError:
            return 2, "bash: unexpected EOF while looking for matching quote"
        if words[:2] == ["sudo", "-n"]:
            words = words[3:] if words[2:3] == ["--"] else words[2:]
        simulator = self._simulator
        simulator.world.advance()
        try:
            if words[:2] == ["ha-manager", "crm-command"]:
                simulator.manager.command(*words[2:])
            elif len(words) == 3 and words[0] in ("qm", "pct") and words[1] == "unlock":
                self._unlock("qemu" if words[0] == "qm" else "lxc", words[2], self._node)
            elif found := _PVESH.fullmatch(" ".join(words)):
                self._unlock("qemu", found[1])
            else:
                return 127, f"bash: {words[0] if words else ''}: command not found"
        except Wrong as wrong:
            return 255, wrong.message
        return 0, ""

    def _unlock(self, kind: str, vmid: str, node: str = "") -> None:
        site = self._simulator.site
        site.sync()
        guest = site.guests.get(int(vmid)) if vmid.isdigit() else None
        if guest is None or guest.kind != kind or (node and guest.vm.host != node):
            folder, here = "qemu-server" if kind == "qemu" else "lxc", node or site.local()
            raise Wrong(255, f"Configuration file 'nodes/{here}/{folder}/{vmid}.conf' does not exist")
        site.unlock(guest)
