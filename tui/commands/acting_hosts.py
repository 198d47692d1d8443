"""Verbs on hosts: drain, evacuate, maintenance, force-down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from evac.actions import EnterMaintenance, ForceDown, HostAction, LeaveMaintenance
from evac.api import EvacuatePlanRequest, PlanRequest
from evac.client import EngineClient
from evac.model import Host
from tui.commands.acting import How, act, acting_options, how
from tui.commands.completing import complete_hosts
from tui.commands.exits import Code, Stop
from tui.commands.naming import find
from tui.commands.session import View, engine, read_fleet, run, unsearched

F = TypeVar("F", bound=Callable[..., Any])

Deed = Callable[[EngineClient, View, Host, How], Awaitable[Code]]


def on_host(function: F) -> F:
    """HOST, --cluster, and what every changing verb takes."""
    function = acting_options(function)
    function = click.option("--cluster", default="", help="Look for the name in this cluster only.")(function)
    return click.argument("host", shell_complete=complete_hosts)(function)


to_option = click.option(
    "--to",
    default="",
    help="Target host [default: the cluster's scheduler chooses].",
    shell_complete=complete_hosts,
)

fenced_option = click.option(
    "--fenced",
    default="",
    help='How you made sure that the host is off, such as "powered off by IPMI 03:12".',
)


@click.command("drain")
@on_host
@to_option
@click.option("--reason", default="", help="Why, for the maintenance mode and the record.")
@click.option(
    "--restart-containers",
    is_flag=True,
    help="Running containers may restart: none can be moved while it runs.",
)
@click.pass_context
def drain_command(
    ctx: click.Context, /, to: str, reason: str, restart_containers: bool, **options: Any
) -> None:
    """Empty a live host: into maintenance, then live-migrate every VM away."""

    async def deed(client: EngineClient, view: View, host: Host, way: How) -> Code:
        request = PlanRequest(cluster=host.cluster, host=host.id, to=target(view, host, to), reason=reason)
        plan = await client.plan_drain(request)
        if plan.restarts and way.yes and not restart_containers:
            raise Stop(
                f"{len(plan.restarts)} running containers of {host.name} would restart.",
                Code.REFUSED,
                details=tuple(
                    action.name for action in plan.actions if getattr(action, "vm", "") in plan.restarts
                ),
                unaffected="Nothing was done.",
                next_step="Say that they may: --restart-containers.",
            )
        return await act(ctx.obj, client, way, plan.title, plan.actions, view=view, plan=plan)

    carry_out(ctx, options, deed)


@click.command("evacuate")
@on_host
@fenced_option
@to_option
@click.pass_context
def evacuate_command(ctx: click.Context, /, fenced: str, to: str, **options: Any) -> None:
    """Rebuild elsewhere the VMs of a DEAD host that you have fenced.

    If the host still runs, two copies of each VM write to one disk and destroy it. So --fenced must say in words how
    the host was switched off or cut off, and the cluster must hold it for down.
    """
    need_statement(fenced, "evacuate")

    async def deed(client: EngineClient, view: View, host: Host, way: How) -> Code:
        request = EvacuatePlanRequest(
            cluster=host.cluster, host=host.id, fenced=fenced.strip(), to=target(view, host, to)
        )
        plan = await client.plan_evacuate(request)
        return await act(ctx.obj, client, way, plan.title, plan.actions, view=view, plan=plan)

    carry_out(ctx, options, deed)


@click.group("maintenance")
def maintenance_command() -> None:
    """Tell the scheduler to leave a host alone, or to use it again."""


@maintenance_command.command("enter")
@on_host
@click.option("--reason", required=True, help="Why; every admin of the cluster sees it.")
@click.pass_context
def enter_command(ctx: click.Context, /, reason: str, **options: Any) -> None:
    """Place nothing new on a host. Moves no guest."""
    one_step(
        ctx,
        options,
        f"maintenance of {options['host']}",
        lambda host: EnterMaintenance(**identity(host), reason=reason),
    )


@maintenance_command.command("leave")
@on_host
@click.pass_context
def leave_command(ctx: click.Context, /, **options: Any) -> None:
    """Let the scheduler use a host again."""
    one_step(
        ctx,
        options,
        f"end of maintenance of {options['host']}",
        lambda host: LeaveMaintenance(**identity(host)),
    )


@click.command("force-down")
@on_host
@fenced_option
@click.option("--undo", is_flag=True, help="Take it back.")
@click.pass_context
def force_down_command(ctx: click.Context, /, fenced: str, undo: bool, **options: Any) -> None:
    """Declare a fenced host dead, so that its VMs can be evacuated."""
    if not undo:
        need_statement(fenced, "force-down")
    title = f"take back force-down of {options['host']}" if undo else f"force down {options['host']}"
    one_step(
        ctx, options, title, lambda host: ForceDown(**identity(host), down=not undo, fenced=fenced.strip())
    )


def need_statement(fenced: str, verb: str) -> None:
    """Refuse while nobody has said in words that the host is off."""
    if not fenced.strip():
        raise Stop(
            f"{verb} needs --fenced with a statement of how the host was switched off or cut off.",
            Code.REFUSED,
            unaffected="Nothing was done.",
            next_step='Switch it off first, then say so: --fenced "powered off by IPMI 03:12"',
        )


def identity(host: Host) -> dict[str, str]:
    """What an action is confirmed against."""
    return {"cluster": host.cluster, "host": host.id, "name": host.name, "uuid": host.uuid}


def target(view: View, host: Host, to: str) -> str:
    """The id of the host named by --to, in the same cluster; "" for the scheduler's choice."""
    return find(view.hosts.values(), to, kind="host", cluster=host.cluster).id if to else ""


def one_step(
    ctx: click.Context, options: dict[str, Any], title: str, step: Callable[[Host], HostAction]
) -> None:
    """An order of a single step on the host."""

    async def deed(client: EngineClient, view: View, host: Host, way: How) -> Code:
        return await act(ctx.obj, client, way, title, [step(host)], view=view)  # type: ignore[list-item]

    carry_out(ctx, options, deed)


def carry_out(ctx: click.Context, options: dict[str, Any], deed: Deed) -> None:
    """Find the host, then do it."""
    way = how(options)

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=options["cluster"])
            cluster = options["cluster"]
            unread = unsearched(view, cluster)
            host = find(view.hosts.values(), options["host"], kind="host", cluster=cluster, unread=unread)
            return await deed(client, view, host, way)

    ctx.exit(int(run(task)))
