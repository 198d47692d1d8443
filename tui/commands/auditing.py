"""`evac audit verify`: the chain of the audit record, checked without the engine."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

import click

from evac.archive import DAMAGED
from evac.audit import GENESIS
from evac.audit_check import verify
from evac.audit_range import seal_of
from tui.commands import show
from tui.commands.exits import Code, Stop


@click.group("audit")
def audit_command() -> None:
    """Check the record of every intent, call and answer."""


@audit_command.command("verify")
@click.option("--holds", metavar="N:HASH", help="Check too that record N has this hash, as a report says.")
@show.as_json
@click.pass_context
def verify_command(ctx: click.Context, /, holds: str | None, as_json: bool) -> None:
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
    held = None if holds is None else held_as(path, holds)
    kept = {} if held is None else {"holds": held.why == "", "holds_why": held.why}
    if as_json:
        show.print_json({"journal": path, **show.plain(found), **kept})
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
    if held is not None and not as_json:
        show.say(held.why or f"Record {held.seq} has that hash.")
    ctx.exit(int(Code.DONE if found.ok and (held is None or not held.why) else Code.FAILED))


class Held(NamedTuple):
    """What became of a record that a report names."""

    seq: int
    why: str
    """Why it is not as the report says; "" when it is."""


def held_as(journal: Path, given: str) -> Held:
    """Whether a record has the hash that a report gives for it."""
    number, _, sealed = given.strip().partition(":")
    if not number.isdigit() or len(sealed) != len(GENESIS):
        raise Stop(
            "--holds wants N:HASH.", Code.USAGE, next_step="Copy it from the report's last lines, as it is."
        )
    try:
        now = seal_of(journal, int(number))
    except (sqlite3.Error, *DAMAGED) as error:
        return Held(int(number), f"Record {number} cannot be read: {error}.")
    if not now:
        return Held(int(number), f"There is NO record {number}.")
    same = now == sealed.lower()
    return Held(int(number), "" if same else f"Record {number} has ANOTHER hash: {now}.")
