"""What the keys do about maintenance windows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tui.commands.private_file import write_private

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
