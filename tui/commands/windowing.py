"""`evac window` and `evac approve`: a registered plan at work. The window belongs to the engine: whoever waits may leave."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import click

from evac.client import EngineClient
from evac.planning import plan_hash
from evac.window.nouns import HostRun, StepKind, Window, WindowState
from evac.window.plan import PlanDiff, WindowPlan
from tui.commands import plan_words, show, window_words
from tui.commands.exits import Code, Stop
from tui.commands.planning import as_plain, compared
from tui.commands.session import View, engine, glance, run
from tui.commands.start import Start
from tui.commands.waiting import follow

STEPS = tuple(kind.value for kind in StepKind)

why_needed = click.option("--why", required=True, help="Why: it is recorded, and the report says it again.")
why_welcome = click.option("--why", default="", help="Why: it is recorded, and the report says it again.")
through = click.option("--through", is_flag=True, help="Go on waiting while a person is needed.")
patience = click.option(
    "--timeout", type=float, help="Stop waiting after so many seconds; the window goes on."
)


@click.group("window", invoke_without_command=True, short_help="Run a maintenance window by its plan.")
@show.as_json
@click.pass_context
def window_command(ctx: click.Context, /, as_json: bool) -> None:
    """Run a maintenance window by its plan, see where it stands, and decide what it cannot.

    With no command: the windows there are, those that are open first.
    """
    if ctx.invoked_subcommand is not None:
        return

    async def task() -> list[Window]:
        async with engine(ctx.obj) as client:
            return list((await glance(client)).windows.values())

    found = sorted(run(task), key=lambda one: (not window_words.is_open(one), -one.created))
    if as_json:
        show.print_json({"windows": found})
    elif found:
        show.table(
            ("ID", "STATE", "TITLE", "TICKET", "HOSTS", "NOW"), [window_words.row(one) for one in found]
        )
    else:
        show.say("There was no window yet. Make a plan: evac plan new HOST... -o plan.toml")
    ctx.exit(int(Code.NEEDS_YOU if any(map(window_words.needs_you, found)) else Code.DONE))


@window_command.command("start")
@click.argument("what", metavar="FILE|HASH")
@click.option("--yes", is_flag=True, help="Do it. Without this the plan is shown and nothing is done.")
@click.option(
    "--wait/--no-wait", "wait_for_it", default=False, help="Wait for the end [default: do not wait]."
)
@through
@patience
@show.as_json
@click.pass_context
def start_command(ctx: click.Context, /, what: str, **options: Any) -> None:
    """Start the window of a plan: of a file, which is registered first, or by its hash.

    Without --yes the whole plan is shown, and what is otherwise by now.
    """
    plan, differences = compared(ctx, what)
    if not options["yes"]:
        ctx.exit(int(_shown(plan, differences, as_json=options["as_json"])))

    async def task() -> Window:
        async with engine(ctx.obj) as client:
            known = await client.register_plan(plan)
            window = await client.begin_window(known.hash, secrets.token_hex(8))
            if not options["wait_for_it"]:
                return window
            show.note(f"{window.id} {window.title}: started")
            return await _wait(ctx.obj, client, window.id, **_waits(options))

    window = run(task)
    _tell(ctx, window, as_json=options["as_json"], waited=options["wait_for_it"])


def _shown(plan: WindowPlan, differences: PlanDiff, *, as_json: bool) -> Code:
    against = plan_words.against(plan)
    code = Code.REFUSED if against or differences.blocked else Code.DONE
    if as_json:
        show.print_json({**as_plain(plan), "diff": differences, "against": against, "done": False})
        return code
    plan_words.whole(plan)
    plan_words.differences(differences)
    for line in against:
        show.say(line)
    show.say(f"Hash: {plan_hash(plan)}")
    show.say("Nothing has been done. Add --yes to start it.")
    return code


def _waits(options: dict[str, Any]) -> dict[str, Any]:
    return {"through": options["through"], "patience": options["timeout"]}


@window_command.command("show")
@click.argument("window", metavar="WINDOW")
@show.as_json
@click.pass_context
def show_command(ctx: click.Context, /, window: str, as_json: bool) -> None:
    """Show one window: what happens, is it fine, what is next, how long, and each host's steps.

    Exit code 7 while it needs a person.
    """

    async def task() -> Window:
        async with engine(ctx.obj) as client:
            return await client.window(window.upper())

    _tell(ctx, run(task), as_json=as_json)


@window_command.command("wait")
@click.argument("window", metavar="WINDOW")
@through
@patience
@show.as_json
@click.pass_context
def wait_command(ctx: click.Context, /, window: str, **options: Any) -> None:
    """Wait until a window is over, or needs a person (exit code 7)."""

    async def task() -> Window:
        async with engine(ctx.obj) as client:
            return await _wait(ctx.obj, client, window.upper(), **_waits(options))

    _tell(ctx, run(task), as_json=options["as_json"])


async def _wait(
    start: Start, client: EngineClient, window: str, *, through: bool, patience: float | None
) -> Window:
    view, told = View(), ""
    try:
        async with asyncio.timeout(patience):
            async for _ in follow(start, client, view):
                found = view.windows.get(window)
                if found is None:
                    return await client.window(window)
                if found.reason != told:
                    told = found.reason
                    show.note(f"{window} {told}")
                if not window_words.is_open(found) or (window_words.needs_you(found) and not through):
                    return found
    except TimeoutError:
        next_step = f"It goes on in the engine. Look: evac window wait {window}"
        raise Stop(
            f"{window} is not over after {patience:g} s.", Code.INCOMPLETE, next_step=next_step
        ) from None
    except asyncio.CancelledError:
        raise Stop(
            f"Stopped waiting. {window} goes on in the engine.",
            Code.INTERRUPTED,
            next_step=f"Wait again: evac window wait {window}   Stop it: evac window stop {window}",
        ) from None
    raise Stop("The engine sent nothing.", Code.UNREACHABLE, next_step="Look at `evac engine status`.")


def _tell(ctx: click.Context, window: Window, *, as_json: bool, waited: bool = True) -> None:
    code = _code(window) if waited else Code.DONE
    if as_json:
        show.print_json({"window": window, "exit": int(code)})
    else:
        for line in window_words.whole(window):
            show.say(line)
    ctx.exit(int(code))


def _code(window: Window) -> Code:
    if window_words.needs_you(window):
        return Code.NEEDS_YOU
    return Code.INCOMPLETE if window.state is WindowState.ENDED else Code.DONE


# --- what a person decides -------------------------------------------------------------------------


def _changed(ctx: click.Context, window: str, verb: str, why: str, *, as_json: bool) -> None:
    async def task() -> Window:
        async with engine(ctx.obj) as client:
            return await client.change_window(window.upper(), verb, why)

    _answer(run(task), as_json=as_json)


def _answer(window: Window, *, as_json: bool) -> None:
    if as_json:
        show.print_json({"window": window})
    else:
        show.say(f"{window.id} {window.title}: {window.state.value}: {window.reason}")


@window_command.command("stop")
@click.argument("window", metavar="WINDOW")
@show.as_json
@click.pass_context
def stop_command(ctx: click.Context, /, window: str, as_json: bool) -> None:
    """Begin nothing new: no step, no move, no command. What runs goes on."""
    _changed(ctx, window, "stop", "", as_json=as_json)


@window_command.command("resume")
@click.argument("window", metavar="WINDOW")
@show.as_json
@click.pass_context
def resume_command(ctx: click.Context, /, window: str, as_json: bool) -> None:
    """Go on after a stop; or in your name, where its admin is none any more."""
    _changed(ctx, window, "resume", "", as_json=as_json)


@window_command.command("end")
@click.argument("window", metavar="WINDOW")
@why_needed
@show.as_json
@click.pass_context
def end_command(ctx: click.Context, /, window: str, why: str, as_json: bool) -> None:
    """Give a window up as it stands. What runs goes on; what it switched stays so until `evac restore`."""
    _changed(ctx, window, "end", why, as_json=as_json)


def _decided(ctx: click.Context, verb: str, window: str, host: str, step: str | None, **rest: Any) -> None:
    async def task() -> Window:
        async with engine(ctx.obj) as client:
            found = _host(await client.window(window.upper()), host)
            if verb == "leave":
                return await client.leave_out(window.upper(), found, rest["why"])
            kind = StepKind(step) if step else _stands(found)
            return await client.decide(window.upper(), found, kind, verb, rest["why"])

    _answer(run(task), as_json=rest["as_json"])


def _host(window: Window, name: str) -> HostRun:
    found = [one for one in window.hosts if name in (one.name, one.host, one.key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Stop(
            f"{name} is not unique in {window.id}.",
            Code.USAGE,
            details=tuple(one.key for one in found),
            next_step="Name it cluster/id.",
        )
    names = ", ".join(one.name for one in window.hosts)
    raise Stop(f"{window.id} has no host {name}.", Code.USAGE, next_step=f"Its hosts: {names}.")


def _stands(host: HostRun) -> StepKind:
    if host.step is None:
        raise Stop(f"{host.name} is through.", Code.REFUSED, unaffected="Nothing was changed.")
    return host.step.kind


at_host = click.argument("host", metavar="HOST")
at_step = click.argument("step", type=click.Choice(STEPS), required=False, metavar="[STEP]")


def _deciding(verb: str, why: Callable[[Any], Any], text: str) -> click.Command:
    """A command about one step of a host: the one it stands at, where none is named."""

    @window_command.command(verb, help=text)
    @click.argument("window", metavar="WINDOW")
    @at_host
    @at_step
    @why
    @show.as_json
    @click.pass_context
    def command(ctx: click.Context, /, window: str, host: str, step: str | None, **rest: Any) -> None:
        _decided(ctx, verb, window, host, step, **rest)

    return command


skip_command = _deciding("skip", why_needed, "Go on without the step at which a host stands.")
done_command = _deciding(
    "done",
    why_welcome,
    "Say that a host was patched and restarted by hand (hook), or that it is back (back).",
)
retry_command = _deciding(
    "retry",
    why_welcome,
    "Do a step again, and all that came after it.\n\nNothing that lies before a restart is done again after it.",
)


@window_command.command("leave")
@click.argument("window", metavar="WINDOW")
@at_host
@why_needed
@show.as_json
@click.pass_context
def leave_command(ctx: click.Context, /, window: str, host: str, **rest: Any) -> None:
    """Leave a host out, and put back what was switched for it.

    The VMs that left it for the window come back; nothing more is done to it, and the window goes on with the next.
    """
    _decided(ctx, "leave", window, host, None, **rest)


# --- approving -------------------------------------------------------------------------------------


@click.command("approve", short_help="Approve a plan that somebody else has registered.")
@click.argument("sealed", metavar="HASH")
@click.option("--yes", is_flag=True, help="Do it. Without this the plan is shown and nothing is done.")
@show.as_json
@click.pass_context
def approve_command(ctx: click.Context, /, sealed: str, yes: bool, as_json: bool) -> None:
    """Approve a plan by its hash. A plan that is changed afterwards has another hash, and no approval."""
    plan, differences = compared(ctx, sealed)
    if not yes:
        code = _shown(plan, differences, as_json=as_json)
        ctx.exit(int(code))

    async def task() -> Any:
        async with engine(ctx.obj) as client:
            return await client.approve(sealed)

    known = run(task)
    if as_json:
        show.print_json({"plan": known})
        return
    names = ", ".join(one.by.user for one in known.approvals)
    show.say(f"{known.hash[:12]} {known.title}: approved by {names}")
