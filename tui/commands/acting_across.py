"""`evac move-across`: VMs to another cluster of the same kind, with a credential that only the engine's memory holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from msgspec.structs import replace

from evac.actions import MoveAcross
from evac.model import VM
from tui.commands.acting import act, how, refuse_unable
from tui.commands.acting_disks import datastore_of
from tui.commands.acting_vms import identity, named, on_some_vms, title
from tui.commands.completing import complete_datastores, complete_hosts
from tui.commands.exits import Code, Stop
from tui.commands.naming import find
from tui.commands.session import View, engine, read_fleet, run


@click.command("move-across")
@on_some_vms
@click.option("--to-cluster", required=True, help="The other cluster, of the same kind.")
@click.option("--host", required=True, help="Target host there.", shell_complete=complete_hosts)
@click.option(
    "--datastore",
    default="",
    help="Datastore there [default: the platform's choice].",
    shell_complete=complete_datastores,
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="HERE=THERE",
    help="Network of the VM, and the one it has there; for each whose name differs.",
)
@click.option("--user", default="", help="Whom the source logs in as there [default: asked].")
@click.option(
    "--secret-stdin", is_flag=True, help="Read the password from stdin [default: asked, not shown]."
)
@click.pass_context
def move_across_command(ctx: click.Context, /, user: str, secret_stdin: bool, **options: Any) -> None:
    """Move VMs to another cluster, with their disks.

    The source logs in to the target for it. That credential stays in the engine's memory, for an hour at most.
    """
    way = how(options)

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client)
            if way.yes:
                need_rights(view)
            vms = named(view, options["vms"], options["cluster"])
            actions = [step(view, vm, options) for vm in vms]
            refuse_unable(view, actions, yes=way.yes)
            if way.yes:
                handle = (await client.keep_credential(*credential(user, from_stdin=secret_stdin))).handle
                actions = [replace(action, credential=handle) for action in actions]
            name = f"{title('move', vms)} to {options['to_cluster']}"
            return await act(ctx.obj, client, way, name, actions, view=view)

    ctx.exit(int(run(task)))


def need_rights(view: View) -> None:
    """Nobody is asked for a password that could not be used."""
    if not view.may_write:
        why = view.hello.read_only_why if view.hello is not None else "the engine has not said who you are"
        raise Stop(f"Nothing can be changed: {why}.", Code.REFUSED, unaffected="Nothing was done.")


def step(view: View, vm: VM, options: dict[str, Any]) -> MoveAcross:
    """The intent, without its credential."""
    there = options["to_cluster"]
    if there not in view.clusters:
        raise Stop(
            f"There is no cluster {there!r}.",
            Code.USAGE,
            unaffected="Nothing was done.",
            next_step=f"Choose one of: {', '.join(sorted(view.clusters))}.",
        )
    host = find(view.hosts.values(), options["host"], kind="host", cluster=there).id
    store = datastore_of(view, there, options["datastore"], host=host).id if options["datastore"] else ""
    return MoveAcross(
        **identity(vm),
        uuid=vm.uuid,
        to_cluster=there,
        to=host,
        storage=store,
        networks=pairs(options["networks"]),
        credential="",
    )


def pairs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """From HERE=THERE."""
    found = [text.partition("=")[::2] for text in texts]
    if not all(here and there for here, there in found):
        raise click.UsageError("--network is written HERE=THERE.")
    return tuple((here, there) for here, there in found)


def credential(user: str, *, from_stdin: bool) -> tuple[str, str]:
    """User and secret; what is not given is asked for on the terminal."""
    user = user or click.prompt("User there", err=True)
    if from_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
    else:
        secret = click.prompt("Password there", hide_input=True, err=True)
    if not secret:
        raise Stop("No password was given.", Code.USAGE, unaffected="Nothing was done.")
    return str(user), str(secret)
