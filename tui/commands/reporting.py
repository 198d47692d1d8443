"""`evac report`: what was done, for the change ticket. Reads; changes nothing."""

from __future__ import annotations

from pathlib import Path

import click

from tui.commands.exits import Code, Stop
from tui.commands.private_file import write_private
from tui.commands.session import engine, run

FORMS = ("md", "html", "json")


@click.command("report", short_help="Print the report of a window or a drain, for the change ticket.")
@click.argument("what", metavar="WINDOW|ORDER")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="Markdown, HTML that prints, or JSON [default: by the ending of FILE, else md].",
)
@click.option("-o", "--output", metavar="FILE", help="Write it there, with mode 0600, instead of stdout.")
@click.option(
    "--zone", default="", help="Time zone beside UTC, such as Europe/Berlin [default: the engine's]."
)
@click.pass_context
def report_command(ctx: click.Context, /, what: str, form: str | None, output: str | None, zone: str) -> None:
    """Print the report of a window (W3) or of one order such as a drain (O4), for the change ticket.

    Also while it runs: the report then says so on top.
    """
    if what[:1] not in "WwOo" or not what[1:].isdigit():
        raise Stop(
            f"{what!r} is neither a window nor an order.",
            Code.USAGE,
            next_step="Windows are named W3, orders O4; `evac queue --all` lists orders.",
        )
    chosen = form or _by_ending(output) or "md"

    async def task() -> str:
        async with engine(ctx.obj) as client:
            return await client.report(what, form=chosen, zone=zone)

    text = run(task)
    if output is None:
        click.echo(text, nl=False)
        return
    write(Path(output), text)


def write(path: Path, text: str) -> None:
    """Into a file that only its owner can read; an old one is replaced in one step."""
    try:
        write_private(path, text)
    except OSError as error:
        raise Stop(
            f"{path} cannot be written: {error.strerror or error}.",
            Code.FAILED,
            next_step="Name another file with -o.",
        ) from None


def _by_ending(output: str | None) -> str:
    ending = Path(output).suffix.removeprefix(".").lower() if output else ""
    return {"htm": "html", "markdown": "md"}.get(ending, ending if ending in FORMS else "")
