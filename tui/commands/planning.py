"""`evac plan`: a maintenance window on paper. Made, shown, compared and checked here; nothing is done.

Only `rebalance` and `restore` can do something, with --yes (tui/commands/balancing.py).
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from evac.client import EngineClient
from evac.decoding import converted
from evac.mistakes import in_plain_words, nearest_of, type_name
from evac.planning import PlanFileErrors, dump_plan, fit, load_plan, plan_hash
from evac.window.plan import HostName, PlanDiff, Policy, WindowPlan, WindowPlanRequest
from tui.commands import plan_words, show
from tui.commands.balancing import rebalance_command, restore_command
from tui.commands.completing import complete_hosts
from tui.commands.exits import Code, Stop
from tui.commands.naming import find
from tui.commands.private_file import write_private
from tui.commands.session import engine, read_fleet, run, unsearched
from tui.commands.times import FORMS, moment

_HASH = re.compile(r"[0-9a-f]{8,64}")
"""Of a plan that the engine keeps, or the beginning of one. A file of that name is written ./NAME."""


@click.group("plan")
def plan_command() -> None:
    """Plan a maintenance window, review it as a file, compare it with what is there."""


plan_command.add_command(rebalance_command)
plan_command.add_command(restore_command)


@plan_command.command("new")
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...", shell_complete=complete_hosts)
@click.option("--cluster", default="", help="Look for the names in this cluster only.")
@click.option("--ticket", default="", help="Change ticket, kept with the order.")
@click.option("--title", default="", help="What it is for [default: the hosts' names].")
@click.option("--starts", default="", help=f"When the window opens: {FORMS}.")
@click.option("--ends", default="", help="When it must be over, with restarts and the way back.")
@click.option(
    "--policy", multiple=True, metavar="KEY=VALUE", help="One rule of the policy, such as refill=leave."
)
@click.option("-o", "--output", metavar="FILE", help="Write the plan's file there instead of on stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@show.as_json
@click.pass_context
def new_command(ctx: click.Context, /, hosts: tuple[str, ...], cluster: str, **options: Any) -> None:
    """Plan a window over HOSTs, in this order. Nothing is done.

    The plan is a file to read, to keep in Git, to change by hand, and to have approved.
    """
    policy = policy_of(options["policy"])
    starts = moment(options["starts"], time.time())
    ends = moment(options["ends"], starts or time.time())
    output = options["output"]
    if output and Path(output).exists() and not options["force"]:
        raise Stop(f"{output} is there already.", Code.REFUSED, next_step="Another name, or --force.")

    request = WindowPlanRequest(
        hosts=(), title=options["title"], ticket=options["ticket"], starts=starts, ends=ends, policy=policy
    )
    plan = run(lambda: asked(ctx, request, hosts, cluster))
    text = dump_plan(plan)
    if output:
        write(Path(output), text)
    if options["as_json"]:
        show.print_json(as_plain(plan))
        return
    if not output:
        click.echo(text, nl=False)
    tell = show.say if output else show.note
    plan_words.summary(plan, tell)
    if output:
        show.say(f"Written to {output}. Compare it later: evac plan check {output}")


async def asked(
    ctx: click.Context, request: WindowPlanRequest, names: tuple[str, ...], cluster: str
) -> WindowPlan:
    """The engine's plan for the hosts that are meant."""
    async with engine(ctx.obj) as client:
        view = await read_fleet(client, cluster=cluster)
        unread = unsearched(view, cluster)
        rows = [
            find(view.hosts.values(), name, kind="host", cluster=cluster, unread=unread) for name in names
        ]
        hosts = tuple(HostName(cluster=row.cluster, host=row.id) for row in rows)
        return await client.plan_window(replace(request, hosts=hosts))


@plan_command.command("show")
@click.argument("what", metavar="FILE|HASH")
@show.as_json
@click.pass_context
def show_command(ctx: click.Context, /, what: str, as_json: bool) -> None:
    """Show a plan: of a file, or one that the engine keeps, by its hash."""
    plan = known(ctx, what)
    if as_json:
        show.print_json(as_plain(plan))
        return
    plan_words.whole(plan)


@plan_command.command("hash")
@click.argument("file", metavar="FILE")
@show.as_json
def hash_command(file: str, as_json: bool) -> None:
    """Print a plan's hash: the same for the same content, however the file is written."""
    sealed = plan_hash(read(file))
    if as_json:
        show.print_json({"hash": sealed})
    else:
        show.say(sealed)


@plan_command.command("diff")
@click.argument("file", metavar="FILE|HASH")
@show.as_json
@click.pass_context
def diff_command(ctx: click.Context, /, file: str, as_json: bool) -> None:
    """Compare a plan with what is there now. Exit code 4 when anything differs."""
    _, found = compared(ctx, file)
    code = Code.INCOMPLETE if found.differences else Code.DONE
    if as_json:
        show.print_json({"diff": found, "exit": int(code)})
    else:
        plan_words.differences(found)
    ctx.exit(int(code))


@plan_command.command("check")
@click.argument("file", metavar="FILE|HASH")
@show.as_json
@click.pass_context
def check_command(ctx: click.Context, /, file: str, as_json: bool) -> None:
    """Check whether a plan could run as it stands: for CI, and before a window.

    Exit code 0: fine. 3: something stands against it, or is not decided. 4: it differs from what is there.
    """
    plan, found = compared(ctx, file)
    against = plan_words.against(plan)
    code = Code.DONE
    if found.blocked or against:
        code = Code.REFUSED
    elif found.differences:
        code = Code.INCOMPLETE
    if as_json:
        show.print_json({"diff": found, "fit": fit(plan), "against": against, "exit": int(code)})
    else:
        plan_words.differences(found)
        for line in against:
            show.say(line)
        plan_words.fitting(plan, show.say)
        show.say(CHECKED[code])
    ctx.exit(int(code))


CHECKED = {
    Code.DONE: "Fine: it can run as it stands.",
    Code.REFUSED: "It cannot run as it stands.",
    Code.INCOMPLETE: "Nothing stands against it, but it is not what is there any more: plan again, or know why.",
}


# --- plans -----------------------------------------------------------------------------------------


def known(ctx: click.Context, what: str) -> WindowPlan:
    """Of a file, or of the engine by its hash."""
    if not _HASH.fullmatch(what):
        return read(what)

    async def task() -> WindowPlan:
        async with engine(ctx.obj) as client:
            return await client.plan(what)

    return run(task)


def read(file: str) -> WindowPlan:
    """The plan of a file; Stop with every mistake in it."""
    try:
        raw = Path(file).read_bytes()
    except OSError as error:
        raise Stop(f"{file} cannot be read: {error.strerror or error}.", Code.USAGE) from None
    try:
        return load_plan(raw, file=file)
    except PlanFileErrors as wrong:
        count = len(wrong.errors)
        raise Stop(
            f"{file} has {count} mistake{'s' * (count > 1)}:",
            Code.USAGE,
            details=tuple(map(str, wrong.errors)),
            unaffected="Nothing was done.",
        ) from None


def compared(ctx: click.Context, file: str) -> tuple[WindowPlan, PlanDiff]:
    """A plan, and what differs from it now."""
    given = None if _HASH.fullmatch(file) else read(file)

    async def task() -> tuple[WindowPlan, PlanDiff]:
        async with engine(ctx.obj) as client:
            plan = given or await client.plan(file)
            await read_all(client, plan)
            return plan, await client.diff_plan(plan)

    return run(task)


async def read_all(client: EngineClient, plan: WindowPlan) -> None:
    """Wait until the engine has read the plan's clusters, or failed to."""
    view = await read_fleet(client)
    missing = sorted({host.cluster for host in plan.hosts} - view.clusters.keys())
    for name in missing:
        show.note(f"warning: there is no cluster {name} in this engine's config")


def policy_of(given: tuple[str, ...]) -> Policy:
    """From KEY=VALUE; Stop with every mistake."""
    fields = {field.name: field for field in msgspec.structs.fields(Policy)}
    values: dict[str, Any] = {}
    wrong = []
    for item in given:
        key, equals, text = item.partition("=")
        field = fields.get(key)
        if not equals or field is None:
            near = nearest_of(key, fields)
            wrong.append(f"{item}: " + (f"did you mean {near}?" if near else f"known: {', '.join(fields)}"))
            continue
        try:
            plain: Any = shlex.split(text) if key == "hook" else text
            values[key] = converted(plain, field.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"{item}: {in_plain_words(str(error)) or type_name(field.type)}")
        except ValueError as error:
            wrong.append(f"{item}: {error}; words are taken as a shell takes them")
    if wrong:
        raise Stop("The policy cannot be understood:", Code.USAGE, details=tuple(wrong))
    return Policy(**values)


def write(path: Path, text: str) -> None:
    """The file, replaced in one step."""
    try:
        write_private(path, text)
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror or error}.", Code.FAILED) from None


def as_plain(plan: WindowPlan) -> dict[str, Any]:
    """For scripts."""
    # As the engine takes it: no field beside the plan's own.
    return {"plan": msgspec.to_builtins(plan), "hash": plan_hash(plan), "fit": fit(plan)}
