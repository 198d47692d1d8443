"""`evac engine`: the engine itself, in the foreground for a service manager; and `stop`, `status`."""

from __future__ import annotations

import asyncio
import time

import click

from evac.api import Hello
from evac.client import EngineClient, EngineGone, EngineRefusal
from tui.commands import show
from tui.commands.exits import Code, Stop
from tui.commands.session import run


@click.group("engine", invoke_without_command=True)
@click.option(
    "--foreground", is_flag=True, help="The default when no command follows; for clarity in unit files."
)
@click.pass_context
def engine_command(ctx: click.Context, /, foreground: bool) -> None:  # noqa: ARG001  # it is the only way to run here
    """Run the engine in the foreground; or stop or ask the one that runs.

    It runs until SIGTERM or ctrl-c. The console and every verb start an engine by themselves. Run it as a service when several admins share it.
    """
    if ctx.invoked_subcommand is not None:
        return
    from evac.engine import main as be_the_engine  # noqa: PLC0415  # only the engine needs all of it

    where = ctx.obj.where()
    words = [
        "--config",
        str(where.config),
        "--state",
        str(where.state),
        "--socket",
        str(where.socket),
        "--foreground",
    ]
    ctx.exit(be_the_engine([*words, *(["--read-only"] if ctx.obj.read_only else [])]))


@engine_command.command("status")
@show.as_json
@click.pass_context
def status_command(ctx: click.Context, /, as_json: bool) -> None:
    """Say whether an engine runs, and which. Exit code 6 when none does."""
    where = ctx.obj.where()

    async def task() -> Hello:
        async with EngineClient(where.socket, via="cli") as client:
            return await client.hello()

    try:
        hello = run(task)
    except Stop as stop:
        if stop.exit_code != Code.UNREACHABLE:
            raise
        if as_json:
            show.print_json({"running": False, "socket": where.socket, "state_dir": where.state})
        else:
            show.say(f"No engine runs for {where.state}.")
        ctx.exit(int(Code.UNREACHABLE))
    if as_json:
        show.print_json({"running": True, "socket": where.socket, **show.plain(hello)})
        return
    show.say(f"Engine {hello.version}, process {hello.pid}, up {show.span(time.time() - hello.started)}")
    show.say(f"State {hello.state_dir}, config {hello.config or 'none'}")
    right = f"READ-ONLY: {hello.read_only_why or 'as configured'}" if hello.read_only else "may act"
    show.say(f"You are {hello.you.user} ({hello.you.role}), {right}")


@engine_command.command("stop")
@click.pass_context
def stop_command(ctx: click.Context) -> None:
    """End the engine. What is in flight on the clusters goes on, and the next engine takes it up again."""
    where = ctx.obj.where()

    async def task() -> None:
        async with EngineClient(where.socket, via="cli") as client:
            await client.stop_engine()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    await client.hello()
                except EngineGone:
                    return
                except EngineRefusal as refused:
                    if not refused.again:
                        raise
                await asyncio.sleep(0.1)
            raise Stop(
                "The engine was told to end and still answers.", Code.FAILED, next_step=f"Log: {where.log}"
            )

    run(task)
    show.say("The engine has ended.")
