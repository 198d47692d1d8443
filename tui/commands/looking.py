"""`evac hosts|vms|datastores|problems|events`: what the engine knows, for people and for scripts. Nothing here changes anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from evac.api import KnownProblem
from evac.jobs import Event
from evac.model import VM, Datastore, Host, Problem
from tui.board import Context, Pane
from tui.commands import show
from tui.commands.exits import Code
from tui.commands.session import View, engine, read_fleet, run, unread
from tui.commands.start import Start
from tui.filter import matcher
from tui.look import Look
from tui.panes.hosts import HOSTS
from tui.panes.vms import VMS

in_cluster = click.option("--cluster", default="", help="Only this cluster.")
words = click.argument("words", nargs=-1, metavar="[FILTER]...")


@click.command("hosts")
@words
@in_cluster
@show.as_json
@click.pass_context
def hosts_command(ctx: click.Context, /, words: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """List hosts.

    FILTER is the console's: free text, host: state: cluster: tag: and ! for the inverse.
    """
    view = read(ctx.obj, cluster)
    rows = [row for row in chosen(view, HOSTS, words) if cluster in ("", row.cluster)]
    if as_json:
        show.print_json({"hosts": rows, **standing(view, cluster)})
    else:
        show.table(
            ("CLUSTER", "HOST", "STATE", "MAINTENANCE", "VMS", "VCPUS", "MEMORY", "REASON"),
            [host_row(row) for row in sorted(rows, key=lambda row: (row.cluster, row.name))],
        )
        none_of(rows, "host")
    ctx.exit(finish(view, cluster, as_json=as_json))


@click.command("vms")
@words
@in_cluster
@show.as_json
@click.pass_context
def vms_command(ctx: click.Context, /, words: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """List VMs.

    FILTER is the console's: free text, host: state: cluster: tag: and ! for the inverse.
    """
    view = read(ctx.obj, cluster)
    rows = [row for row in chosen(view, VMS, words) if cluster in ("", row.cluster)]
    if as_json:
        show.print_json({"vms": rows, **standing(view, cluster)})
    else:
        show.table(
            ("CLUSTER", "VM", "STATE", "TASK", "HOST", "MEMORY", "ID"),
            [vm_row(row, view) for row in sorted(rows, key=lambda row: (row.cluster, row.name, row.id))],
        )
        none_of(rows, "VM")
    ctx.exit(finish(view, cluster, as_json=as_json))


@click.command("datastores")
@in_cluster
@show.as_json
@click.pass_context
def datastores_command(ctx: click.Context, /, cluster: str, as_json: bool) -> None:
    """List the places for disks, and what room they have."""
    view = read(ctx.obj, cluster)
    rows = [row for row in view.datastores.values() if cluster in ("", row.cluster)]
    if as_json:
        show.print_json({"datastores": rows, **standing(view, cluster)})
    else:
        holds = Counter(f"{vm.cluster}/{store}" for vm in view.vms.values() for store in vm.datastores)
        show.table(
            ("CLUSTER", "DATASTORE", "STATE", "KIND", "FREE", "CAPACITY", "HOSTS", "VMS", "ID"),
            [
                datastore_row(row, holds[row.key])
                for row in sorted(rows, key=lambda row: (row.cluster, row.name))
            ],
        )
        none_of(rows, "datastore")
    ctx.exit(finish(view, cluster, as_json=as_json))


@click.command("problems")
@show.as_json
@click.pass_context
def problems_command(ctx: click.Context, /, as_json: bool) -> None:
    """List what is wrong with clusters, hosts and notify hooks, and what to do next.

    Exit code 4 when there is anything but what is expected: a host that a window restarts, or that rests in maintenance.
    """

    async def task() -> tuple[View, list[KnownProblem]]:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client)
            return view, await client.problems()

    view, found = run(task)
    if as_json:
        rows = [{"cluster": one.cluster, **show.plain(one.problem)} for one in found]
        show.print_json({"problems": rows, **standing(view, "")})
    elif not found:
        show.say("No problems.")
    else:
        for one in found:
            tell(one.cluster, one.problem)
    wrong = any(one.problem.severity != "info" for one in found)
    ctx.exit(int(Code.INCOMPLETE if wrong else Code.DONE))


@click.command("events")
@click.option("--last", default=50, show_default=True, help="How many, newest last.")
@show.as_json
@click.pass_context
def events_command(ctx: click.Context, /, last: int, as_json: bool) -> None:
    """List what happened lately."""
    view = read(ctx.obj, "")
    events = sorted(view.events.values(), key=lambda event: event.at)[-last:] if last > 0 else []
    if as_json:
        show.print_json({"events": events})
        return
    tell_events(events)


def tell_events(events: Sequence[Event]) -> None:
    """A line each; who it was is added where the text does not say so itself."""
    if not events:
        show.note("Nothing has happened since the engine was started.")
    for event in events:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
        who = f"  ({event.by})" if event.by and f"by {event.by}" not in event.text else ""
        show.say(f"{when}  {event.severity:<7}  {event.cluster or '-'}  {event.text}{who}")


def read(start: Start, cluster: str) -> View:
    """The fleet as it is now."""

    async def task() -> View:
        async with engine(start) as client:
            return await read_fleet(client, cluster=cluster)

    return run(task)


def chosen(view: View, pane: Pane, terms: tuple[str, ...]) -> list[Any]:
    """The pane's rows that the filter keeps, by the console's own rules."""
    rows = list(view.table(pane.name).values())
    passes = matcher(" ".join(terms))
    if passes is None:
        return rows
    context = Context(view, Look())
    return [row for row in rows if passes(pane.hay(row, context))]


def host_row(host: Host) -> tuple[Any, ...]:
    """One line of `evac hosts`."""
    return (
        host.cluster,
        host.name,
        host.state,
        "yes" if host.maintenance else "",
        "?" if host.vms is None else host.vms,
        f"{part(host.vcpus_used)}/{part(host.vcpus)}",
        f"{show.size(host.memory_used)} of {show.size(host.memory)}",
        f"{host.reason} (forced down)".strip() if host.forced_down else host.reason,
    )


def datastore_row(store: Datastore, vms: int) -> tuple[Any, ...]:
    """One line of `evac datastores`."""
    return (
        store.cluster,
        store.name,
        "usable" if store.usable else "NOT USABLE",
        store.kind,
        show.size(store.free),
        show.size(store.capacity),
        f"{len(store.hosts)}{'' if store.shared is None else ' shared' if store.shared else ' local'}",
        vms,
        store.id,
    )


def none_of(rows: Sequence[Any], what: str) -> None:
    """An empty table is an answer too, and says so."""
    if not rows:
        show.note(f"No {what} matches.")


def part(count: int | None) -> str:
    """A number that may not be known."""
    return "?" if count is None else str(count)


def vm_row(vm: VM, view: View) -> tuple[Any, ...]:
    """One line of `evac vms`; a host is called by its name, as its own table does."""
    where = view.host_name(vm.cluster, vm.host) or "-"
    return (vm.cluster, vm.name, vm.state, vm.task, where, show.size(vm.memory), vm.id)


def standing(view: View, cluster: str) -> dict[str, Any]:
    """How far the answer can be trusted: age and problems of each cluster it is made of."""
    states = [state for state in view.clusters.values() if cluster in ("", state.name)]
    return {
        "clusters": [
            {
                "name": state.name,
                "age": view.age(state.name),
                "stale": view.stale(state.name),
                "problems": state.problems,
            }
            for state in states
        ],
        "complete": not view.silent(cluster),
    }


def finish(view: View, cluster: str, *, as_json: bool) -> int:
    """Tell what is missing or old, and find the exit code: 0 all read, 4 some clusters missing, 6 none read."""
    if not as_json:
        for problem in unread(view, cluster):
            show.note(f"evac: {show.told(problem)}")
        for state in view.clusters.values():
            old = view.age(state.name)
            if cluster in ("", state.name) and old is not None and view.stale(state.name):
                show.note(f"evac: the figures of {state.name} are {show.span(old)} old.")
    silent = len(view.silent(cluster))
    total = sum(cluster in ("", name) for name in view.clusters)
    if not silent:
        return int(Code.DONE)
    return int(Code.UNREACHABLE if silent == total else Code.INCOMPLETE)


def tell(cluster: str, problem: Problem) -> None:
    """A problem in up to three lines."""
    prefix = "" if not cluster or problem.happened.startswith(f"{cluster}: ") else f"{cluster}: "
    show.say(f"{prefix}{problem.happened}")
    if problem.unaffected:
        show.say(f"    {problem.unaffected}")
    if problem.next_step:
        show.say(f"    Next: {problem.next_step}")
