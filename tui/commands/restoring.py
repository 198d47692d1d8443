"""`evac restore`: what evac switched and somebody has to switch back; putting it back, or settling it with a reason."""

from __future__ import annotations

from typing import Any

import click

from evac.actions import StopVM, describe
from evac.client import EngineClient
from evac.window.debts import undo
from evac.window.nouns import LedgerEntry
from evac.window.owed import phrase
from tui import cells
from tui.commands import show
from tui.commands.acting import How, acting_options, ended, how
from tui.commands.exits import Code, Stop
from tui.commands.session import View, engine, glance, run
from tui.commands.start import Start
from tui.commands.waiting import wait

SETTLE = "settle"


@click.command("restore", short_help="What evac switched and must be switched back; put it back.")
@click.argument("what", metavar="[settle] [ENTRY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Put back all that is owed.")
@click.option("--why", default="", help="With settle: how it is taken care of. The report tells it.")
@acting_options
@click.pass_context
def restore_command(
    ctx: click.Context, /, what: tuple[str, ...], everything: bool, why: str, **options: Any
) -> None:
    """List what evac switched and must be switched back (exit code 4 when there is anything); with ENTRY put it back.

    `evac restore settle ENTRY --why TEXT` takes it off the list: somebody has taken care of it in another way.
    """
    way = how(options)
    if what[:1] == (SETTLE,):
        task = _settle(ctx.obj, what[1:], why, way)
    elif why:
        raise click.UsageError("--why belongs to: evac restore settle ENTRY --why TEXT")
    elif what and everything:
        raise click.UsageError("Name entries, or give --all.")
    elif what or everything:
        task = _restore(ctx.obj, what, way)
    else:
        task = _list(ctx.obj, way)
    ctx.exit(int(run(lambda: task)))


async def _list(start: Start, way: How) -> Code:
    async with engine(start, nag=False) as client:
        view = await glance(client)
    owed = _owed(view)
    if way.as_json:
        show.print_json({"ledger": owed})
    elif not owed:
        show.say("Nothing is owed: evac has left nothing switched.")
    else:
        _table(owed)
        show.say("Put it back: evac restore ENTRY --yes, or evac restore --all --yes")
    return Code.INCOMPLETE if owed else Code.DONE


def _owed(view: View) -> list[LedgerEntry]:
    found = [entry for entry in view.ledger.values() if entry.state.owed]
    return sorted(found, key=lambda entry: int(entry.id[1:]))


def _table(owed: list[LedgerEntry]) -> None:
    show.table(
        ("ENTRY", "CLUSTER", "WHAT", "WAS", "STATE", "SINCE", "BY", "WINDOW"),
        [
            (
                entry.id,
                entry.cluster,
                phrase(entry),
                entry.was,
                entry.state.value if entry.calls else "not begun",
                cells.clock_time(entry.at, date=True),
                entry.by.user,
                entry.window,
            )
            for entry in owed
        ],
    )
    for entry in owed:
        if entry.reason:
            show.wrapped(f"{entry.id}: {entry.reason}", indent=4)


async def _restore(start: Start, names: tuple[str, ...], way: How) -> Code:
    async with engine(start, nag=False) as client:
        view = await glance(client)
        chosen = list(names) or [entry.id for entry in _owed(view) if entry.calls]
        if not way.yes:
            return _plan(view, chosen, way)
        orders = list(dict.fromkeys([(await client.restore(name)).order.id for name in chosen]))
        if not orders:
            show.note("Nothing is owed.")
        codes = [await _one(start, client, order, way) for order in orders]
    return max(codes, default=Code.DONE)


async def _one(start: Start, client: EngineClient, order: str, way: How) -> Code:
    if not way.wait:
        show.say(f"{order} is taken by the engine. Wait for it: evac queue wait {order}")
        return Code.DONE
    return ended(await wait(start, client, order, patience=way.timeout), order, way)


def _plan(view: View, names: list[str], way: How) -> Code:
    entries = [_named(view, name) for name in names]
    steps = [(entry, _words(view, entry)) for entry in entries]
    if way.as_json:
        plan = [{"entry": entry.id, "cluster": entry.cluster, "step": words} for entry, words in steps]
        show.print_json({"plan": plan, "done": False})
        return Code.DONE
    show.table(("ENTRY", "CLUSTER", "STEP"), [(entry.id, entry.cluster, words) for entry, words in steps])
    show.say("Nothing has been done. Add --yes to do it.")
    return Code.DONE


def _words(view: View, entry: LedgerEntry) -> str:
    did = entry.did
    vm = view.vms.get(f"{did.cluster}/{did.vm}") if isinstance(did, StopVM) else None
    action = undo(entry, vm)
    return describe(action) if action is not None else "cannot be told: the cluster does not show it"


def _named(view: View, name: str) -> LedgerEntry:
    entry = view.ledger.get(name)
    if entry is None or not entry.state.owed:
        words = f"{name} is {entry.state.value} already." if entry else f"The ledger has no {name!r}."
        raise Stop(words, Code.USAGE, next_step="`evac restore` lists what is owed.")
    return entry


async def _settle(start: Start, names: tuple[str, ...], why: str, way: How) -> Code:
    if len(names) != 1 or not why.strip():
        raise click.UsageError("Say which entry and why: evac restore settle ENTRY --why TEXT")
    async with engine(start, nag=False) as client:
        entry = await client.settle(names[0], why)
    if way.as_json:
        show.print_json({"entry": entry})
    else:
        show.say(f"{entry.id} ({phrase(entry)}) is settled: {entry.settled_why}")
    return Code.DONE
