"""`evac notify test`: would somebody be told? Sends a test notice by each way that the config names."""

from __future__ import annotations

import click

from evac.api import NotifyReply
from tui.commands import show
from tui.commands.exits import Code
from tui.commands.session import engine, run


@click.group("notify")
def notify_command() -> None:
    """Tell people who do not look at the screen (see [notify] in the config)."""


@notify_command.command("test")
@show.as_json
@click.pass_context
def test_command(ctx: click.Context, /, as_json: bool) -> None:
    """Send a test notice by each configured way, as the engine would.

    Exit code 0: all took it; 1: one did not, and why.
    """

    async def task() -> NotifyReply:
        async with engine(ctx.obj) as client:
            return await client.test_notices()

    tried = run(task)
    code = Code.DONE if all(way.ok for way in tried.ways) else Code.FAILED
    if as_json:
        show.print_json({"ways": tried.ways, "exit": int(code)})
    else:
        for way in tried.ways:
            show.say(f"{way.way}: taken" if way.ok else f"{way.way}: NOT taken: {way.why}")
    ctx.exit(int(code))
