"""What is still switched: to have it put back, or to say that it is taken care of. Each dialog names cluster, subject and what."""

from __future__ import annotations

from evac.window.nouns import LedgerEntry, LedgerState
from tui import cells
from tui import window_cells as w
from tui.board import Context
from tui.intents_window import WHY
from tui.look import Line, Span
from tui.panes.common import label_of
from tui.sheet import Answers, Field, Sheet
from tui.source import Source
from tui.text import clean


def why_not(action: str, entry: object) -> str:
    """Why a key does nothing on this row; "" when it does."""
    if not isinstance(entry, LedgerEntry):
        return "put the cursor on something that is still switched"
    if action == "restore_entry" and entry.state is LedgerState.RESTORING:
        return f"{entry.id} is being put back"
    return ""


def _world(entry: LedgerEntry, context: Context) -> list[Line]:
    look = context.look
    lines: list[Line] = [
        (
            Span(f"{entry.id} ", "title"),
            Span(w.owed_words(entry, plain=look.ascii_only), "title"),
            Span("  cluster "),
            Span(label_of(entry.cluster, context), "label"),
            Span("  "),
            w.ledger_state(entry, look),
        ),
        (
            Span("Was ", "dim"),
            Span(clean(entry.was, look.ascii_only) or "not told"),
            Span("  now ", "dim"),
            Span(clean(entry.now, look.ascii_only) or "not told"),
            Span(
                f"  switched {cells.clock_time(entry.at, date=True)} by {clean(entry.by.user, look.ascii_only)}"
            ),
        ),
    ]
    if entry.reason:
        lines.append((cells.plain(entry.reason, look),))
    window = context.store.windows.get(entry.window)
    if window is not None and window.ended is None:
        words = f"{window.id} is under way and puts it back itself when its turn comes."
        lines.append((Span(f"{look.glyph('warn')} {words}", "warn"),))
    return lines


def restore_sheet(entry: LedgerEntry, context: Context) -> Sheet:
    """Put it back as it was; done when the cluster shows it."""
    name = clean(entry.name, context.look.ascii_only)
    thing = w.owed_thing(entry, plain=context.look.ascii_only)

    async def run(source: Source, _: Answers) -> str:
        reply = await source.restore_entry(entry.id)
        return f"{entry.id}: {reply.order.id} {clean(reply.order.title)} is in the queue (3 shows it)."

    words = (
        "It is put back as it was before, by an order in the queue. Done is when the cluster shows it, twice."
    )
    return Sheet(
        title=f"Put {thing} back?",
        body=(*_world(entry, context), (Span(words),)),
        ok="Put it back",
        fields=(Field(key="name", prompt=f"Type its name ({name})", expect=name),),
        run=run,
    )


def settle_sheet(entry: LedgerEntry, context: Context) -> Sheet:
    """A person says that it is taken care of; nothing is done to the cluster."""
    thing = w.owed_thing(entry, plain=context.look.ascii_only)

    async def run(source: Source, answers: Answers) -> str:
        await source.settle_entry(entry.id, answers["why"].strip())
        return f"{entry.id} is settled: nothing was changed on {clean(entry.cluster)}."

    words = "NOTHING IS PUT BACK: evac stops reminding of it. Who said so and why is on record."
    return Sheet(
        title=f"Is {thing} taken care of?",
        body=(*_world(entry, context), (Span(f"{context.look.glyph('warn')} {words}", "warn"),)),
        ok="Settle it",
        fields=(WHY, Field(key="id", prompt=f"Type its id ({entry.id})", expect=entry.id)),
        run=run,
    )


SHEETS = {"restore_entry": restore_sheet, "settle_entry": settle_sheet}
