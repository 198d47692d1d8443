"""`evac preflight`: would these VMs move, and to which hosts? Asks; changes nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from evac.api import Preflight
from evac.client import EngineClient
from evac.model import MoveCheck, Outlook
from evac.preflight import about, best, outlook_of, rank, worst
from tui.commands import show
from tui.commands.acting_across import credential, pairs
from tui.commands.acting_disks import datastore_of
from tui.commands.acting_vms import named
from tui.commands.completing import complete_hosts, complete_vms
from tui.commands.exits import Code, Stop
from tui.commands.matrix import ANSWERS, of_host
from tui.commands.naming import find
from tui.commands.session import View, engine, read_fleet, run

FAR = ("datastore", "networks", "user", "secret_stdin")
"""Options that are about another cluster."""


@click.command("preflight")
@click.argument("vms", nargs=-1, metavar="[VM]...", shell_complete=complete_vms)
@click.option("--host", default="", help="All VMs of this host.", shell_complete=complete_hosts)
@click.option("--to", default="", help="Only this target host.", shell_complete=complete_hosts)
@click.option(
    "--to-cluster", default="", help="Hosts of this cluster instead: as `evac move-across` would move them."
)
@click.option("--datastore", default="", help="With --to-cluster: as for `evac move-across`.")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="HERE=THERE",
    help="With --to-cluster: as for `evac move-across`.",
)
@click.option(
    "--user",
    default="",
    help="With --to-cluster: ask the platform's checker too, which logs in there as this user; the password is asked.",
)
@click.option(
    "--secret-stdin", is_flag=True, help="Read that password from stdin [default: asked, not shown]."
)
@click.option(
    "--quick", is_flag=True, help="With --host: evac's rules alone, the platform's checker is not asked."
)
@click.option("--cluster", default="", help="Look for the names in this cluster only.")
@click.option(
    "--fenced", default=None, metavar="HOW", help="With --host: it is dead; would its VMs be rebuilt?"
)
@show.as_json
@click.pass_context
def preflight_command(
    ctx: click.Context,
    /,
    *,
    vms: tuple[str, ...],
    host: str,
    to_cluster: str,
    cluster: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Check whether VMs could move, and why not. Nothing is done.

    With --to-cluster evac's own rules judge a move to another cluster, and with --user the platform's checker as well.
    It logs in to the target for that, as the move would; the password is in the engine's memory only, until the answer.

    With --host every VM of a host is judged against every target, all of them on the move: before a window.

    Exit code 0: OK, 3: will fail, 4: a risk, 5: not known. Without --to a VM's best target counts.
    """
    if bool(vms) == bool(host):
        raise click.UsageError("Name VMs, or a host with --host.")
    if host and to_cluster:
        raise click.UsageError("--to-cluster is for VMs that are named, not for --host.")
    if not to_cluster and any(how[one] for one in FAR):
        raise click.UsageError("--datastore, --network, --user and --secret-stdin go with --to-cluster.")
    if host:
        near = {name: value for name, value in how.items() if name not in FAR}
        task = partial(of_host, ctx.obj, host=host, cluster=cluster, as_json=as_json, **near)
    elif how["quick"] or how["fenced"] is not None:
        raise click.UsageError("--quick and --fenced go with --host.")
    else:
        task = partial(of_vms, ctx.obj, vms, cluster=cluster, to_cluster=to_cluster, as_json=as_json, **how)
    ctx.exit(run(task))


async def of_vms(
    settings: Any, vms: tuple[str, ...], *, to: str, to_cluster: str, cluster: str, as_json: bool, **how: Any
) -> int:
    """The exit code."""
    async with engine(settings) as client:
        view = await read_fleet(client, cluster="" if to_cluster else cluster)
        known(view, to_cluster)
        rows = named(view, vms, cluster)
        way = await crossing(client, view, to_cluster, how)
        try:
            answers = [await check(client, view, row, to, to_cluster=to_cluster, **way) for row in rows]
        finally:
            if way["credential"]:
                await client.forget_credential(way["credential"])
        outlook = worst(overall(answer) for answer in answers)
        code = ANSWERS[outlook]
        if as_json:
            body = [{**show.plain(answer), "targets": targets(answer)} for answer in answers]
            show.print_json({"preflight": body, "outlook": outlook, "exit": int(code)})
        else:
            for answer in answers:
                tell(answer, view)
        return int(code)


def known(view: View, cluster: str) -> None:
    """Ends the command where there is no such cluster."""
    if cluster and cluster not in view.clusters:
        step = f"Choose one of: {', '.join(sorted(view.clusters))}."
        raise Stop(f"There is no cluster {cluster!r}.", Code.USAGE, next_step=step)


async def crossing(client: EngineClient, view: View, to_cluster: str, how: dict[str, Any]) -> dict[str, Any]:
    """How VMs would go to another cluster; a credential is asked for and handed to the engine where --user names one."""
    store = datastore_of(view, to_cluster, how["datastore"], host="").id if how["datastore"] else ""
    networks = pairs(how["networks"])
    handle = ""
    if how["user"] or how["secret_stdin"]:
        user, secret = credential(how["user"], from_stdin=how["secret_stdin"])
        handle = (await client.keep_credential(user, secret)).handle
    return {"storage": store, "networks": networks, "credential": handle}


async def check(
    client: EngineClient, view: View, vm: Any, to: str, *, to_cluster: str = "", **way: Any
) -> Preflight:
    """One VM's answer."""
    there = to_cluster or vm.cluster
    target = find(view.hosts.values(), to, kind="host", cluster=there).id if to else ""
    return await client.preflight(vm.cluster, vm.id, [target] if target else [], to_cluster=to_cluster, **way)


def overall(answer: Preflight) -> Outlook:
    """Of one VM: where several targets were asked about, one good one is enough."""
    return best(outlook_of(answer.checks, target) for target in answer.targets)


def targets(answer: Preflight) -> list[dict[str, Any]]:
    """Each target with the word on it."""
    return [{"host": target, "outlook": outlook_of(answer.checks, target)} for target in answer.targets]


def tell(answer: Preflight, view: View) -> None:
    """A table of targets; the best first, what stands against each with it."""
    rows = []
    for target in sorted(answer.targets, key=lambda one: (rank(outlook_of(answer.checks, one)), one)):
        host = view.hosts.get(f"{answer.to_cluster or answer.cluster}/{target}")
        rows.append((outlook_of(answer.checks, target).value.upper(), host.name if host else target, ""))
        rows += [("", "", reason(check)) for check in about(answer.checks, target) if check.why]
    over = f", to {answer.to_cluster}" if answer.to_cluster else ""
    show.say(f"{answer.name} on {answer.host or 'no host'}, cluster {answer.cluster}{over}:")
    show.table(("OUTLOOK", "TARGET", "WHY"), rows)
    if not answer.targets:
        show.note("There is no other host it could go to.")
    for words in answer.notes:
        show.wrapped(words, err=True)


def reason(check: MoveCheck) -> str:
    """One rule's word in one line."""
    by = f" ({check.by})" if check.by else ""
    fix = f" Fix: {check.fix}" if check.fix else ""
    return f"{check.outlook.value.upper()} {check.rule}: {check.why}{by}.{fix}"
