"""Shell completion: the script for the shell, and names of hosts and VMs from an engine that runs already.

A shell asks on every tab, so nothing is started and nothing waits: no engine, or a slow one, means no names.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from tui.commands.start import Start

PATIENCE = 0.5
"""Seconds for connecting, and for each read."""

MOST = 200
"""Names offered; a longer list helps nobody."""

PLAIN = re.compile(r"[A-Za-z0-9_.@-]+")
"""Names a shell takes as they are. Others are not offered: quoting differs by shell, and a name may be hostile."""

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script for a shell.

    bash: eval "$(evac completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc. fish: evac completion fish |
    source in config.fish. Hosts and VMs are completed from a running engine; none is started.
    """
    found = get_completion_class(shell)
    assert found is not None, "click knows the three shells of SHELLS"
    click.echo(found(ctx.find_root().command, {}, "evac", "_EVAC_COMPLETE").source())


def complete_hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Names of hosts for a half-typed word."""
    return names(ctx, "hosts", incomplete)


def complete_vms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Names of VMs for a half-typed word."""
    return names(ctx, "vms", incomplete)


def complete_datastores(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Names of datastores for a half-typed word."""
    return names(ctx, "datastores", incomplete)


def complete_crush_hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's
    """Names of hosts with OSDs for a half-typed word."""
    return names(ctx, "osds", incomplete, field="host")


def names(ctx: click.Context, table: str, incomplete: str, *, field: str = "name") -> list[str]:
    """Names that begin with what was typed, from the running engine; none when there is none."""
    options = ctx.find_root().params
    where = Start.of(options).where()
    cluster = str(ctx.params.get("cluster") or "")
    rows = ask(where.socket, f"/v1/{table}")
    return fitting(rows, incomplete, cluster, field=field)


def fitting(
    rows: Iterable[Mapping[str, object]], incomplete: str, cluster: str, *, field: str = "name"
) -> list[str]:
    """The first names that fit, sorted, each once."""
    found = {
        name
        for row in rows
        if (name := str(row.get(field, ""))).startswith(incomplete)
        and PLAIN.fullmatch(name)
        and cluster in ("", row.get("cluster"))
    }
    return sorted(found)[:MOST]


class _Unix(HTTPConnection):
    """HTTP over the engine's socket. aiohttp would take longer to import than the whole answer takes."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """To the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def ask(path: Path, route: str) -> list[dict[str, object]]:
    """The rows of a route; none when there is no engine or its answer is late or makes no sense."""
    connection = _Unix(path)
    try:
        connection.request("GET", route, headers={"Accept": "application/json"})
        rows = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return []
    finally:
        connection.close()
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
