"""What the keys do about maintenance windows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from evac.window.nouns import LedgerEntry, Window
from tui import intents_ledger, intents_window
from tui.board import Context
from tui.commands.private_file import write_private
from tui.sheet import Sheet
from tui.windows import HostRow, Row

if TYPE_CHECKING:
    from tui.app import Console

FORMS = ("md", "html", "json")


class WindowDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def show(self, window: str) -> None:
        """Its row, under the cursor."""
        console = self.console
        console.show_pane("window")
        if not console.board.go_to(window):
            console.board.set_filter("")
            console.board.go_to(window)
        console.main.redraw()

    # --- what people decide ----------------------------------------------------------------------

    def why_not(self, action: str) -> str:
        """Why a key does nothing on the row under the cursor; "" when it does."""
        return _why_not(action, self.console.board.current())

    def decide(self, action: str) -> None:
        """Open the dialog of a key, or say why there is none."""
        console = self.console
        row = console.board.current()
        why = _why_not(action, row)
        if console.board.marks:
            console.say("One at a time: esc clears the marks.", "warn")
        elif why:
            console.say(f"Nothing was done: {why}.", "warn")
        else:
            console.doing.confirm(_sheet(action, row, console.context))

    # --- the report ------------------------------------------------------------------------------

    def report(self, subject: str, form: str) -> None:
        """Write the report of a window or an order to a file of one's own, and say where it is."""
        console = self.console
        if form not in FORMS:
            console.say(f"A report is one of: {', '.join(FORMS)}.", "warn")
            return
        if subject not in console.store.windows and subject not in console.store.orders:
            console.say(
                f"There is no window and no order {subject!r}. Try :report W3, or :report O4.", "warn"
            )
            return

        async def written() -> None:
            text = await console.source.report(subject, form)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(console.store.wall()))
            path = console.copies_dir / f"report-{subject}-{stamp}.{form}"
            await asyncio.to_thread(write_private, path, text)
            console.say(f"The report of {subject} is in {path}", "good", seconds=60.0)

        console.ask_engine(written)


def _why_not(action: str, row: Row | None) -> str:
    if action in intents_ledger.SHEETS:
        return intents_ledger.why_not(action, row)
    return intents_window.why_not(action, row)


def _sheet(action: str, row: Row | None, context: Context) -> Sheet:
    """Of an action that fits the row."""
    if isinstance(row, LedgerEntry):
        return intents_ledger.SHEETS[action](row, context)
    if isinstance(row, HostRow) and row.run.step is not None and action in intents_window.STEP_SHEETS:
        return intents_window.STEP_SHEETS[action](row, row.run.step, context)
    if isinstance(row, HostRow) and action == "leave_out":
        return intents_window.leave_out_sheet(row, context)
    window = row.window if isinstance(row, HostRow) else row
    assert isinstance(window, Window)
    return intents_window.window_sheet(action, window, context)
