"""`evac plan rebalance` and `evac plan restore`: moves within a cluster; shown first, done with --yes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from evac.api import Balance, DrainPlan, Placement, RebalanceRequest, RestoreRequest
from evac.client import EngineClient
from evac.planning import PlanFileErrors, load_plan
from tui.commands import show
from tui.commands.acting import How, act, acting_options, how, stay_line
from tui.commands.exits import Code, Stop
from tui.commands.session import View, engine, read_fleet, run

Ask = Callable[[EngineClient, View], Awaitable[DrainPlan]]


@click.command("rebalance")
@click.argument("cluster")
@click.option(
    "--spread", "balance", flag_value=Balance.SPREAD.value, help="Every host about as full as any other."
)
@click.option(
    "--consolidate", "balance", flag_value=Balance.CONSOLIDATE.value, help="As many hosts as possible empty."
)
@acting_options
@click.pass_context
def rebalance_command(ctx: click.Context, /, cluster: str, balance: str | None, **options: Any) -> None:
    """Move the VMs of a cluster so that they are spread, or together on few hosts."""
    if balance is None:
        raise click.UsageError("Say what for: --spread or --consolidate.")

    async def ask(client: EngineClient, view: View) -> DrainPlan:  # noqa: ARG001  # Ask's shape
        return await client.plan_rebalance(RebalanceRequest(cluster=cluster, balance=Balance(balance)))

    carry_out(ctx, how(options), ask, cluster)


@click.command("restore")
@click.argument("what", metavar="WINDOW|FILE")
@click.option("--cluster", default="", help="Look for the names in this cluster only.")
@acting_options
@click.pass_context
def restore_command(ctx: click.Context, /, what: str, cluster: str, **options: Any) -> None:
    """Bring VMs back to the hosts where a window found them, or where a plan's file has them."""
    given = None if re.fullmatch(r"[Ww]\d+", what) else of_file(what)

    async def ask(client: EngineClient, view: View) -> DrainPlan:
        found = given if given is not None else of_window(view, what.upper())
        return await client.plan_restore(
            RestoreRequest(
                placements=of_cluster(found, cluster), title=f"restore placement of {Path(what).name}"
            )
        )

    carry_out(ctx, how(options), ask, cluster)


def carry_out(ctx: click.Context, way: How, ask: Ask, cluster: str) -> None:
    """Plan, show, and with --yes do it."""

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=cluster)
            plan = await ask(client, view)
            if way.yes and not plan.actions:
                return nothing_to_do(view, plan)
            return await act(ctx.obj, client, way, plan.title, plan.actions, view=view, plan=plan)

    ctx.exit(int(run(task)))


def nothing_to_do(view: View, plan: DrainPlan) -> Code:
    """No order is given for nothing; but who may not give one is told so all the same."""
    state = view.clusters.get(plan.cluster)
    if (view.hello and view.hello.read_only) or (state and state.read_only):
        why = (view.hello.read_only_why if view.hello else "") or (state.read_only_why if state else "")
        raise Stop(f"Nothing can be changed: {why or plan.cluster + ' is read-only'}.", Code.REFUSED)
    for line in (*plan.warnings, *map(stay_line, plan.stays)):
        show.note(line)
    return Code.INCOMPLETE if plan.stays else Code.DONE


def of_file(file: str) -> tuple[Placement, ...]:
    """Each VM of a plan's file, on the host where the plan begins with it."""
    try:
        plan = load_plan(Path(file).read_bytes(), file=file)
    except OSError as error:
        raise Stop(
            f"{file} is no window (W3), and as a file it cannot be read: {error.strerror or error}.",
            Code.USAGE,
        ) from None
    except PlanFileErrors as wrong:
        raise Stop(f"{file} is no plan:", Code.USAGE, details=tuple(map(str, wrong.errors))) from None
    first: dict[tuple[str, str], str] = {}
    for host in plan.hosts:
        for row in host.rows:
            first.setdefault((host.cluster, row.vm), host.host)
    return tuple(Placement(cluster=cluster, vm=vm, host=host) for (cluster, vm), host in first.items())


def of_window(view: View, name: str) -> tuple[Placement, ...]:
    """Each VM that a window moved, on the host that it left."""
    window = view.windows.get(name)
    if window is None:
        known = ", ".join(sorted(view.windows)) or "none"
        raise Stop(f"There is no window {name}.", Code.USAGE, next_step=f"Known: {known}.")
    return tuple(
        Placement(cluster=run_.cluster, vm=vm, host=run_.host) for run_ in window.hosts for vm in run_.moved
    )


def of_cluster(found: tuple[Placement, ...], cluster: str) -> tuple[Placement, ...]:
    """Those of one cluster; Stop when there are several and none was named."""
    names = sorted({one.cluster for one in found})
    if len(names) > 1 and not cluster:
        raise Stop(
            f"It is of {len(names)} clusters: {', '.join(names)}.",
            Code.USAGE,
            unaffected="Nothing was done.",
            next_step="Say which one with --cluster; restore them one after the other.",
        )
    return tuple(one for one in found if cluster in ("", one.cluster))
