"""Verbs on VMs: migrate, confirm, revert, reset-state, abort, force-complete, start, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from evac.actions import (
    Abort,
    Action,
    ColdMigrate,
    ConfirmMove,
    ForceComplete,
    LiveMigrate,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
)
from evac.model import VM
from tui.commands.acting import act, acting_options, how
from tui.commands.completing import complete_hosts, complete_vms
from tui.commands.exits import Code
from tui.commands.naming import active_migration, find
from tui.commands.session import View, engine, read_fleet, run, unsearched

F = TypeVar("F", bound=Callable[..., Any])

Step = Callable[[View, VM], Action]
"""From a VM as the engine sees it now to the intent; the queue compares both again before it fires."""


def on_some_vms(function: F) -> F:
    """VM..., --cluster, and what every changing verb takes."""
    function = acting_options(function)
    function = click.option("--cluster", default="", help="Look for the names in this cluster only.")(
        function
    )
    return click.argument("vms", nargs=-1, required=True, metavar="VM...", shell_complete=complete_vms)(
        function
    )


@click.command("migrate")
@on_some_vms
@click.option(
    "--to",
    default="",
    help="Target host [default: the cluster's scheduler chooses].",
    shell_complete=complete_hosts,
)
@click.option(
    "--cold", is_flag=True, help="Cold-migrate: stop it, move it, start it; then confirm or revert."
)
@click.pass_context
def migrate_command(ctx: click.Context, /, to: str, cold: bool, **options: Any) -> None:
    """Live-migrate VMs, named exactly or by id."""
    kind = ColdMigrate if cold else LiveMigrate

    def step(view: View, vm: VM) -> Action:
        target = find(view.hosts.values(), to, kind="host", cluster=vm.cluster).id if to else ""
        return kind(**identity(vm), to=target)

    carry_out(ctx, "cold-migrate" if cold else "live-migrate", step, options)


@click.command("confirm")
@on_some_vms
@click.pass_context
def confirm_command(ctx: click.Context, /, **options: Any) -> None:
    """Accept cold migrations that have arrived."""
    carry_out(ctx, "confirm", lambda _, vm: ConfirmMove(**identity(vm)), options)


@click.command("revert")
@on_some_vms
@click.pass_context
def revert_command(ctx: click.Context, /, **options: Any) -> None:
    """Take cold migrations back to where they came from."""
    carry_out(ctx, "revert", lambda _, vm: RevertMove(**identity(vm)), options)


@click.command("reset-state")
@on_some_vms
@click.option(
    "--to", type=click.Choice(["active", "error"]), default="active", show_default=True, help="The new state."
)
@click.pass_context
def reset_state_command(ctx: click.Context, /, to: str, **options: Any) -> None:
    """Overwrite a stuck state in the platform's database; no guest is changed."""
    carry_out(ctx, f"reset-state to {to}", lambda _, vm: ResetState(**identity(vm), to=to), options)


@click.command("abort")
@on_some_vms
@click.pass_context
def abort_command(ctx: click.Context, /, **options: Any) -> None:
    """Stop live migrations that are under way; the VMs stay where they are."""

    def step(view: View, vm: VM) -> Action:
        return Abort(**identity(vm), migration=active_migration(view.migrations.values(), vm).id)

    carry_out(ctx, "abort", step, options)


@click.command("force-complete")
@on_some_vms
@click.pass_context
def force_complete_command(ctx: click.Context, /, **options: Any) -> None:
    """Finish live migrations that do not converge, at the price of a longer pause."""

    def step(view: View, vm: VM) -> Action:
        return ForceComplete(**identity(vm), migration=active_migration(view.migrations.values(), vm).id)

    carry_out(ctx, "force-complete", step, options)


@click.command("start")
@on_some_vms
@click.pass_context
def start_command(ctx: click.Context, /, **options: Any) -> None:
    """Power VMs on."""
    carry_out(ctx, "start", lambda _, vm: StartVM(**identity(vm)), options)


@click.command("stop")
@on_some_vms
@click.pass_context
def stop_command(ctx: click.Context, /, **options: Any) -> None:
    """Shut VMs down."""
    carry_out(ctx, "stop", lambda _, vm: StopVM(**identity(vm)), options)


def identity(vm: VM) -> dict[str, str]:
    """What an action is confirmed against."""
    return {"cluster": vm.cluster, "vm": vm.id, "name": vm.name, "host": vm.host}


def carry_out(ctx: click.Context, verb: str, step: Step, options: dict[str, Any]) -> None:
    """Find the VMs, make one step for each, and show or do it."""
    way = how(options)

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=options["cluster"])
            vms = named(view, options["vms"], options["cluster"])
            actions = [step(view, vm) for vm in vms]
            return await act(ctx.obj, client, way, title(verb, vms), actions, view=view)

    ctx.exit(int(run(task)))


def named(view: View, texts: Sequence[str], cluster: str) -> list[VM]:
    """The VMs that are meant, each once."""
    unread = unsearched(view, cluster)
    found = [find(view.vms.values(), text, kind="VM", cluster=cluster, unread=unread) for text in texts]
    return list({vm.key: vm for vm in found}.values())


def title(verb: str, vms: Sequence[VM]) -> str:
    """The order's title: all names while they fit into a line."""
    names = ", ".join(vm.name for vm in vms)
    return f"{verb} {names}" if len(names) <= 60 else f"{verb} {len(vms)} VMs"
