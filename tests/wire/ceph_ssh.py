"""An SSH server on loopback that runs what it is told in a shell, as sshd does; asyncssh's own server, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh


class SSHSite:
    """The server, its key, the key of the one client it knows, and what was asked of it."""

    def __init__(self, folder: Path, client_key: asyncssh.SSHKey | None = None) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = client_key or asyncssh.generate_private_key("ssh-ed25519")
        self.environment: dict[str, str] | None = None
        self.identity = folder / "id"
        self.client_key.write_private_key(str(self.identity))
        self.identity.chmod(0o600)
        self.commands: list[str] = []
        self.logins: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.drop_in_the_middle = False
        self.port = 0
        self._shells: list[asyncio.subprocess.Process] = []

    def known(self, key: asyncssh.SSHKey | None = None) -> Path:
        """A known_hosts file that has this key for the server, or its right one."""
        file = self.folder / "known_hosts"
        shown = (key or self.host_key).export_public_key().decode().strip()
        file.write_text(f"[127.0.0.1]:{self.port} {shown}\n", encoding="utf-8")
        return file

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command."""
        line = process.command or ""
        self.commands.append(line)
        if self.drop_in_the_middle:
            self.drop_in_the_middle = False
            self.connections[-1].abort()
            return
        shell = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", line),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        self._shells.append(shell)
        out, err = await shell.communicate()
        process.stdout.write(out)
        process.stderr.write(err)
        process.exit(abs(shell.returncode or 0))

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[SSHSite]:
        site = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                site.connections.append(conn)

            def begin_auth(self, username: str) -> bool:
                site.logins.append(username)
                return True

            def connection_requested(self, *_: object) -> bool:
                """So that it can be a jump host."""
                return True

        authorized = asyncssh.import_authorized_keys(self.client_key.export_public_key().decode())
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self.host_key],
            authorized_client_keys=authorized,
            process_factory=self.run,
            encoding=None,
        )
        self.port = server.get_port()
        try:
            yield self
        finally:
            server.close()
            for connection in self.connections:
                connection.abort()
            for shell in self._shells:
                if shell.returncode is None:
                    shell.kill()
                await shell.wait()
            await server.wait_closed()
