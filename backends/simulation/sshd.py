"""A login on every machine of a simulated world: one SSH server a host, on loopback.

It knows these lines and no others:

    sh -c SCRIPT                             what evac asks a host (evac.window.hostfacts)
    sh -c SCRIPT evac-path ADDRESS           what it asks of the way to another (evac.window.hostpath)
    sudo -n -- true
    [sudo -n --] patch-and-reboot [KERNEL]   installs a kernel, by default the next one, and restarts the machine
    [sudo -n --] reboot

A machine without power refuses the connection; one that goes down takes its connections with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from backends.simulation import machines, wires
from backends.simulation.machines import LineFault, Machine
from backends.simulation.things import SimHost
from backends.simulation.world import World
from evac.window import hostpath
from evac.window.hostfacts import WORDS

USER = "evac"

PATCHES = 1.0
"""Seconds that installing a kernel takes, by this machine's own clock."""

FOLLOWS = 0.2
"""Seconds after which the world is looked at again, so that a machine goes down also while nobody asks it anything."""

_SUDO = ["sudo", "-n", "--"]


@dataclass(frozen=True, slots=True)
class Doors:
    """How to get in."""

    user: str
    identity: Path
    """The client's private key."""
    known_hosts: Path
    ports: Mapping[str, int]
    """Host → port on 127.0.0.1."""

    def table(self, cluster: str) -> str:
        """[clusters.NAME.shell] of config.toml."""
        hosts = ", ".join(f'"{name}" = "127.0.0.1:{port}"' for name, port in self.ports.items())
        return (
            f'\n[clusters.{cluster}.shell]\nuser = "{self.user}"\nidentity = "{self.identity}"\n'
            f'known_hosts = "{self.known_hosts}"\nagent = false\nsudo = true\nhosts = {{ {hosts} }}\n'
        )


class Logins:
    """`async with Logins(world).serve(folder, "pve") as doors`. Follows the world while it serves."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, set[asyncssh.SSHServerConnection]] = {name: set() for name in world.hosts}
        self._work: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self, folder: Path, name: str) -> AsyncIterator[Doors]:
        """Listen; the client's key and the known_hosts file are written into `folder`, with that name before them."""
        client = asyncssh.generate_private_key("ssh-ed25519")
        identity, known = folder / f"{name}-hosts.key", folder / f"{name}-hosts.known_hosts"
        identity.touch(0o600)
        client.write_private_key(identity)
        allowed = asyncssh.import_authorized_keys(client.export_public_key().decode())
        async with contextlib.AsyncExitStack() as stack:
            ports, lines = {}, []
            for host in self._world.hosts:
                key = asyncssh.generate_private_key("ssh-ed25519")
                ports[host] = await stack.enter_async_context(self._listen(host, key, allowed))
                shown = key.export_public_key().decode().strip()
                lines.append(f"[127.0.0.1]:{ports[host]} {shown}\n")
            known.touch(0o600)
            known.write_text("".join(lines), encoding="ascii")
            self._world.power_listeners.append(self._power)
            stack.callback(self._world.power_listeners.remove, self._power)
            following = asyncio.create_task(self._follow())
            try:
                yield Doors(USER, identity, known, ports)
            finally:
                for task in (following, *self._work):
                    task.cancel()
                await asyncio.gather(following, *self._work, return_exceptions=True)

    @asynccontextmanager
    async def _listen(
        self, host: str, key: asyncssh.SSHKey, allowed: asyncssh.SSHAuthorizedKeys
    ) -> AsyncIterator[int]:
        logins = self

        class Server(asyncssh.SSHServer):
            """One connection."""

            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                """To a machine without power there is none."""
                self.conn = conn
                logins._world.advance()
                if logins._world.hosts[host].alive:
                    logins._open[host].add(conn)
                else:
                    conn.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                """It is over."""
                del exc
                logins._open[host].discard(self.conn)

        async def process(process: asyncssh.SSHServerProcess[str]) -> None:
            await self._run(self._world.hosts[host], process)

        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[key],
            authorized_client_keys=allowed,
            process_factory=process,
        )
        try:
            yield server.get_port()
        finally:
            server.close()
            for conn in list(self._open[host]):
                conn.abort()
            await server.wait_closed()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOWS)
            self._world.advance()

    def _power(self, host: SimHost) -> None:
        if not host.alive:
            for conn in list(self._open[host.name]):
                conn.abort()

    # --- what is said there ----------------------------------------------------------------------

    async def _run(self, host: SimHost, process: asyncssh.SSHServerProcess[str]) -> None:
        line = process.command or ""
        try:
            words = shlex.split(line)
        except ValueError:
            words = []
        bare = words[len(_SUDO) :] if words[: len(_SUDO)] == _SUDO else words
        if tuple(words) == WORDS:
            process.stdout.write(answer(host.machine))
            process.exit(0)
        elif words and hostpath.is_look(line):
            process.stdout.write(wires.path_answer(self._world, host, words[-1]))
            process.exit(0)
        elif bare == ["true"]:
            process.exit(0)
        elif (bare[:1] == ["patch-and-reboot"] and len(bare) <= 2) or bare == ["reboot"]:
            host.machine.commands.append(line)
            await self._change(host, bare, process)
        else:
            process.stderr.write(f"bash: {bare[0] if bare else ''}: command not found\n")
            process.exit(127)

    async def _change(self, host: SimHost, words: list[str], process: asyncssh.SSHServerProcess[str]) -> None:
        """The command belongs to the machine: it goes on when the connection does not."""
        fault = host.machine.lines.popleft() if host.machine.lines else None
        if fault is not LineFault.DROPS_AND_STOPS:
            work = asyncio.create_task(self._patch(host, words, None if fault else process))
            self._work.add(work)
            work.add_done_callback(self._work.discard)
        if fault is not None:
            process.stdout.write("Reading package lists...\n")
            for conn in list(self._open[host.name]):
                conn.abort()

    async def _patch(
        self, host: SimHost, words: list[str], process: asyncssh.SSHServerProcess[str] | None
    ) -> None:
        kernel = ""
        if words[0] == "patch-and-reboot":
            kernel = words[1] if len(words) > 1 else machines.following(host.machine.kernel)
            _say(process, f"Setting up {kernel} ...\n")
            await asyncio.sleep(PATCHES)
            _say(process, f"Found linux image: {kernel}\n")
        machines.reboot(self._world, host.name, then=kernel)
        # The login ends with the machine: whoever waits for the command's end never gets one.
        _say(process, "Rebooting.\n")


def _say(process: asyncssh.SSHServerProcess[str] | None, text: str) -> None:
    if process is not None:
        with contextlib.suppress(OSError, asyncssh.Error):
            process.stdout.write(text)


def answer(machine: Machine, now: Any = time.time) -> str:
    """As `evac.window.hostfacts.SCRIPT` prints it there."""
    links = "".join(f"link {name} up 0x1003 {kind} {machine.mtu(name)}\n" for name, kind in machine.links)
    mounts = "".join(f"mount {kind} {place}\n" for kind, place in machine.mounts)
    return (
        f"evac-facts 1\nboot {machine.boot_id}\nkernel {machine.kernel}\n"
        f"clock {now() + machine.clock:.9f}\nlink lo unknown 0x9 other 65536\n{links}{mounts}end\n"
    )
