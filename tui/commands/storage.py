"""`evac ok-to-stop` and `evac noout`: may the OSDs of a host stop, and keep its data where it is meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import click
from msgspec import Struct

from evac.actions import SetNoout, UnsetNoout
from evac.hyperconverged import bare
from evac.noun import Finding
from evac.storage import OSD, StopAnswer, StopVerdict
from tui.commands import show
from tui.commands.acting import act, acting_options, how
from tui.commands.completing import complete_crush_hosts
from tui.commands.exits import Code, Stop
from tui.commands.naming import unsure
from tui.commands.session import View, engine, read_fleet, run, unsearched_storage

EXITS = {
    StopAnswer.SAFE: Code.DONE,
    StopAnswer.NO: Code.REFUSED,
    StopAnswer.NOT_YET: Code.INCOMPLETE,
    StopAnswer.UNKNOWN: Code.UNKNOWN,
}
"""The verdict, for a script."""

MARKS = {True: "ok  ", False: "NO  ", None: "?   "}
WAIT = "WAIT"
"""The mark of what passes by itself."""

in_cluster = click.option("--cluster", default="", help="Look for the host in this storage cluster only.")


class Node(Struct, frozen=True, order=True):
    """A host of a storage cluster, as its CRUSH map calls it."""

    cluster: str
    name: str


@click.command("ok-to-stop")
@click.argument("host", shell_complete=complete_crush_hosts)
@in_cluster
@show.as_json
@click.pass_context
def ok_to_stop_command(ctx: click.Context, /, host: str, cluster: str, as_json: bool) -> None:
    """Ask whether all OSDs of a host may stop now.

    The storage cluster itself is asked, afresh; nothing is changed. Exit code 0: safe. 3: no, something must be done
    first. 4: not yet, it passes by itself. 5: unknown, something could not be seen. True now and no longer: ask again
    right before you stop the host.
    """

    async def task() -> StopVerdict:
        async with engine(ctx.obj) as client:
            node = meant(await read_fleet(client, cluster=cluster), host, cluster)
            return await client.may_stop(node.cluster, node.name)

    verdict = run(task)
    code = EXITS[verdict.answer]
    if as_json:
        show.print_json({"verdict": verdict, "exit": int(code)})
    else:
        tell(verdict)
    ctx.exit(int(code))


@click.command("noout")
@click.argument("host", shell_complete=complete_crush_hosts)
@in_cluster
@click.option("--undo", is_flag=True, help="Take it back, when the host's OSDs are up again.")
@acting_options
@click.pass_context
def noout_command(ctx: click.Context, /, host: str, cluster: str, undo: bool, **options: Any) -> None:
    """Keep a host's OSDs in while they are down: no data is copied.

    Set for exactly this host, in its storage cluster; evac reminds you while it is left set and all is up again.
    """
    way = how(options)
    kind = UnsetNoout if undo else SetNoout

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await read_fleet(client, cluster=cluster)
            node = meant(view, host, cluster)
            step = kind(cluster=node.cluster, host=node.name, name=node.name)
            title = f"{'unset' if undo else 'set'} noout for {node.name}"
            return await act(ctx.obj, client, way, title, [step], view=view)

    ctx.exit(int(run(task)))


def meant(view: View, text: str, cluster: str) -> Node:
    """The one CRUSH host of this name; else, in each cluster, one whose name without domain is the same, in any case.

    A machine may carry OSDs of two clusters, which call it cmp-07 and cmp-07.example.org: that is a question, no answer.
    """
    nodes = sorted({Node(osd.cluster, osd.host) for osd in with_host(view.osds.values(), cluster)})
    found = [node for node in nodes if text == f"{node.cluster}/{node.name}"] or _called(nodes, text)
    if len(found) > 1:
        raise Stop(
            f"{len(found)} storage hosts are called {text!r}:",
            Code.USAGE,
            details=tuple(f"cluster {node.cluster}  host {node.name}" for node in found),
            unaffected="Nothing was done.",
            next_step="Say which cluster with --cluster, or write CLUSTER/HOST.",
        )
    if not found and (unread := unsearched_storage(view, cluster)):
        raise unsure("storage host", text, unread, "")
    if not found:
        raise missing(nodes, text, cluster)
    for name in unsearched_storage(view, cluster):
        show.note(f"evac: {name} could not be read; whether {text} carries OSDs of it as well is not known.")
    return found[0]


def _called(nodes: Iterable[Node], text: str) -> list[Node]:
    found: dict[str, list[Node]] = {}
    for node in nodes:
        if bare(node.name) == bare(text):
            found.setdefault(node.cluster, []).append(node)
    return [node for own in found.values() for node in ([one for one in own if one.name == text] or own)]


def missing(nodes: Iterable[Node], text: str, cluster: str) -> Stop:
    """No storage cluster knows such a host."""
    names = sorted({node.name for node in nodes})
    near = get_close_matches(text, names, n=3, cutoff=0.6)
    within = f" of cluster {cluster}" if cluster else ""
    known = f"Near it: {', '.join(near)}." if near else f"Storage hosts: {', '.join(names[:10]) or 'none'}."
    return Stop(
        f"No OSDs{within} lie on a host {text!r}.",
        Code.USAGE,
        unaffected="Nothing was done.",
        next_step=known,
    )


def with_host(osds: Iterable[OSD], cluster: str) -> list[OSD]:
    """OSDs that lie on a host, of one cluster or of all."""
    return [osd for osd in osds if osd.host and cluster in ("", osd.cluster)]


def mark(finding: Finding) -> str:
    """What it says of stopping now, four signs wide."""
    return WAIT if finding.ok is False and finding.passes else MARKS[finding.ok]


def tell(verdict: StopVerdict) -> None:
    """The answer first, then every reason, what stands against it on top."""
    count = len(verdict.osds)
    osds = f"{count} OSD{'s' * (count != 1)} of {verdict.host}" if count else f"OSDs of {verdict.host}"
    colour = {StopAnswer.SAFE: "green", StopAnswer.NO: "red"}.get(verdict.answer, "yellow")
    wait = f", about {show.span(verdict.wait)}" if verdict.wait is not None else ""
    answer = click.style(verdict.answer.value.upper(), fg=colour, bold=True)
    click.echo(f"{answer}{wait}: ", nl=False)
    show.say(f"may the {osds} in {verdict.cluster} stop now?")
    for one in verdict.findings:
        show.say(f"  {mark(one)} {one.check}: {one.detail}")
        if one.fix:
            show.say(f"         {one.fix}")
    if verdict.answer is StopAnswer.SAFE:
        show.say("True now and no longer: ask again right before you stop it.")
