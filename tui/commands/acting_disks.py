"""`evac move-storage` and `evac answer`: disks to another datastore, and what a platform wants to know about a VM."""

from __future__ import annotations

from typing import Any

import click

from evac.actions import Action, AnswerQuestion, MoveStorage
from evac.model import VM, Datastore
from tui.commands import show
from tui.commands.acting import How, act, acting_options, how
from tui.commands.acting_vms import carry_out, identity, named, on_some_vms
from tui.commands.completing import complete_datastores, complete_hosts, complete_vms
from tui.commands.exits import Code, Stop
from tui.commands.naming import find
from tui.commands.session import View, engine, read_fleet, run

NOTHING = "Nothing was done."


@click.command("move-storage")
@on_some_vms
@click.option(
    "--to",
    "datastore",
    required=True,
    metavar="DATASTORE",
    help="The datastore that all their disks go to.",
    shell_complete=complete_datastores,
)
@click.option(
    "--host",
    default="",
    help="Target host, to which the VMs go as well [default: they stay on theirs].",
    shell_complete=complete_hosts,
)
@click.pass_context
def move_storage_command(ctx: click.Context, /, datastore: str, host: str, **options: Any) -> None:
    """Move the disks of VMs, running or not, to another datastore."""

    def step(view: View, vm: VM) -> Action:
        to = find(view.hosts.values(), host, kind="host", cluster=vm.cluster).id if host else ""
        store = datastore_of(view, vm.cluster, datastore, host=to or vm.host)
        return MoveStorage(
            **identity(vm), storage=store.id, storage_name=store.name, to="" if to == vm.host else to
        )

    carry_out(ctx, "move the disks of", step, options)


def datastore_of(view: View, cluster: str, text: str, *, host: str) -> Datastore:
    """The datastore of a cluster that is meant: by its exact name, or by its id.

    Of several of one name, such as each host's own "local-lvm", it is the one that the VM's host sees.
    """
    stores = [store for store in view.datastores.values() if store.cluster == cluster]
    found = [store for store in stores if text in (store.id, store.name, store.key)]
    if len(found) > 1:
        found = [store for store in found if host in store.hosts] or found
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(store.name for store in stores)) or "none"
    if not found:
        raise Stop(
            f"{cluster} has no datastore {text!r}.",
            Code.USAGE,
            unaffected=NOTHING,
            next_step=f"It has: {names}. `evac datastores` shows them.",
        )
    raise Stop(
        f"{len(found)} datastores of {cluster} are called {text!r}:",
        Code.USAGE,
        details=tuple(f"id {store.id}  {store.kind}" for store in found),
        unaffected=NOTHING,
        next_step="Name it by its id.",
    )


@click.command("answer")
@acting_options
@click.option("--cluster", default="", help="Look for the name in this cluster only.")
@click.argument("vm", shell_complete=complete_vms)
@click.argument("choice", required=False)
@click.pass_context
def answer_command(ctx: click.Context, /, vm: str, choice: str | None, **options: Any) -> None:
    """Answer what a platform asks about a VM that stands still. Without CHOICE, show what it asks."""
    way = how(options)

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=options["cluster"])
            (asking,) = named(view, [vm], options["cluster"])
            if choice is None:
                return tell(asking, way)
            return await act(
                ctx.obj, client, way, f"answer {asking.name}", [answer_to(asking, choice)], view=view
            )

    ctx.exit(int(run(task)))


def answer_to(vm: VM, text: str) -> AnswerQuestion:
    """The answer that is meant: by its key or by its words."""
    asked = vm.question
    if asked is None:
        raise Stop(f"Nothing is asked about {vm.name}.", Code.REFUSED, unaffected=NOTHING)
    found = [choice for choice in asked.choices if text in (choice.key, choice.label)]
    if len(found) != 1:
        raise Stop(
            f'{text!r} is not an answer to "{asked.text}"',
            Code.USAGE,
            details=tuple(f"{choice.key}  {choice.label}" for choice in asked.choices),
            unaffected=NOTHING,
            next_step="Give one of them, by its key or its words.",
        )
    chosen = found[0]
    return AnswerQuestion(**identity(vm), question=asked.id, choice=chosen.key, label=chosen.label)


def tell(vm: VM, way: How) -> Code:
    """What is asked, and which answers there are. Asking for nothing but that is no error."""
    if way.yes:
        raise Stop("Which answer? --yes needs a CHOICE.", Code.USAGE, unaffected=NOTHING)
    if way.as_json:
        show.print_json({"vm": vm.id, "name": vm.name, "question": vm.question})
    elif vm.question is None:
        show.say(f"Nothing is asked about {vm.name}.")
    else:
        show.say(f"{vm.name} stands still: {vm.question.text}")
        rows = [
            (choice.key, choice.label, "default" if choice.key == vm.question.default else "")
            for choice in vm.question.choices
        ]
        show.table(("CHOICE", "ANSWER", ""), rows)
        show.say(f"Answer it with: evac answer {vm.name} CHOICE --yes")
    return Code.DONE
