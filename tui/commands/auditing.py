"""`evac audit verify`: the chain of the audit record, checked without the engine."""

from __future__ import annotations

import click

from evac.audit import verify
from tui.commands import show
from tui.commands.exits import Code, Stop


@click.group("audit")
def audit_command() -> None:
    """Check the record of every intent, call and answer."""


@audit_command.command("verify")
@show.as_json
@click.pass_context
def verify_command(ctx: click.Context, /, as_json: bool) -> None:
    """Check that no audit record was changed, removed or put in. Works with and without an engine.

    The head printed at the end is the seal of the newest record. Kept elsewhere (a ticket), it proves later that
    nothing before it was rewritten.
    """
    path = ctx.obj.where().journal
    if not path.exists():
        raise Stop(
            f"There is no journal at {path}: nothing was recorded there, or it was taken away.",
            Code.FAILED,
            next_step="`evac config locate` tells where it is looked for; --state names another place.",
        )
    found = verify(path)
    if as_json:
        show.print_json({"journal": path, **show.plain(found)})
    elif found.ok:
        closed = (
            f", the oldest in {found.segments} closed file{'s' * (found.segments > 1)}"
            if found.segments
            else ""
        )
        show.say(
            f"{found.records} record{'s' * (found.records != 1)}{closed}, none changed. Head: {found.head or '(none yet)'}"
        )
    else:
        place = (
            f". Record {found.broken_at} is the first that does not fit."
            if found.broken_at is not None
            else "."
        )
        show.say(f"The audit record is NOT intact: {found.why}{place} {found.records} records before it are.")
    ctx.exit(int(Code.DONE if found.ok else Code.FAILED))
