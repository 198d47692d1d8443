"""What is only shown or chosen: dialogs to read and to pick from, help, the palette, the audit record, copying."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.dom import DOMNode

from evac.model import Problem
from evac.window.nouns import KnownPlan
from tui import clipboard
from tui.audit_lines import audit_lines
from tui.dialogs.palette import Commands
from tui.dialogs.pick import Option, Pick
from tui.dialogs.reader import Reader
from tui.help import active, help_lines
from tui.look import Line, Span
from tui.panes.common import detail_of
from tui.text import clean

if TYPE_CHECKING:
    from tui.app import Console

KEY = "key "
"""Marks a palette entry that stands for a key's action."""


class Showing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def push(self, dialog: Any, done: Callable[[Any], None]) -> None:
        """Open a dialog; while it is open no order changes."""
        console = self.console
        hold = f"dialog {id(dialog)}"  # one may open the next before it has gone
        for board in console.boards.values():
            board.hold(hold)

        def closed(result: Any) -> None:
            done(result)
            for board in console.boards.values():
                board.release(hold)
            console.main.redraw()

        console.push_screen(dialog, closed)

    def pick(self, title: str, options: list[Option], done: Callable[[str], None]) -> Pick:
        """Let one be chosen."""
        console = self.console
        dialog = Pick(console.palette, title, options, monotonic=console.monotonic, deaf=console.deaf)
        self.push(dialog, lambda value: done(value) if value is not None else None)
        return dialog

    def read(
        self,
        title: str,
        lines: list[Line],
        *,
        tone: str = "title",
        again: Callable[[], list[Line]] | None = None,
    ) -> None:
        """Something to read; `again` gives the text as it is now."""
        console = self.console
        console.push_screen(Reader(console.palette, title, lines, self.copy, tone=tone, again=again))

    def problem(self, problem: Problem) -> None:
        """What happened, what is unaffected, what to do next."""
        look = self.console.palette.look
        lines: list[Line] = [(Span(clean(problem.happened, look.ascii_only)),)]
        if problem.unaffected:
            lines.append((Span("Unaffected: ", "dim"), Span(clean(problem.unaffected, look.ascii_only))))
        if problem.next_step:
            lines.append((Span("Next: ", "dim"), Span(clean(problem.next_step, look.ascii_only))))
        self.read(f"{look.glyph('bad')} Not done", lines, tone="bad")

    def sort(self) -> None:
        """Choose the column to order by."""
        board = self.console.board
        options = [
            Option(value=column.key, words=column.title or column.key)
            for column in board.pane.columns
            if column.sort
        ]

        def chosen(key: str) -> None:
            board.set_sort(key, reverse=False)

        self.pick("Sort by", options, chosen)

    def detail(self) -> None:
        """Everything known of the row."""
        main, board = self.console.main, self.console.board
        row, key = board.current(), board.cursor
        if isinstance(row, KnownPlan):
            self.console.planning.open(row.hash)
            return
        if key is not None and main.detail_lines():
            label = board.pane.label(row) if row is not None else "gone"
            title = clean(f"{board.pane.title.rstrip('s')}: {label}", self.console.palette.look.ascii_only)
            self.read(title, main.detail_lines(), again=lambda: detail_of(board, key))

    def help(self) -> None:
        """What the keys do here and now."""
        self.read("Help: the keys that do something here", help_lines(self.console))

    def palette(self) -> None:
        """Everything that can be done here, to be found by its words."""
        console = self.console
        options = [
            Option(value=f"{KEY}{action}", words=f"{words}  ({keys})", why_not=console.unable(action))
            for keys, words, action in active(console)
            if action != "palette" and self._target(action) is not None
        ]
        options += [Option(value=line, words=f":{line}") for line in console.completions()]

        def chosen(value: str | None) -> None:
            if value is None:
                return
            if value.startswith(KEY):
                action = value.removeprefix(KEY)
                console.call_later(console.run_action, action, self._target(action))
            else:
                console.command(value)

        console.push_screen(Commands(console.palette, options), chosen)

    def _target(self, action: str) -> DOMNode | None:
        """Who does an action: the main screen, or what draws the pane where it has keys of its own."""
        main, name = self.console.main, f"action_{action.partition('(')[0]}"
        own = main.map if main.picture is main.map else main
        return next((node for node in (main, own) if hasattr(node, name)), None)

    def audit(self) -> None:
        """The audit record's last lines."""

        async def fetch() -> None:
            records = await self.console.source.audit(since=-1)
            self.read(
                "Audit record (evac audit verify checks the chain)",
                audit_lines(records, self.console.palette.look),
            )

        self.console.ask_engine(fetch)

    def poll(self) -> None:
        """Look at the cluster of the row now."""
        cluster = self.console.main.cluster_here()
        if cluster:
            self.console.say(f"Looking at {cluster} now.")
            self.console.ask_engine(lambda: self.console.source.poll(cluster))

    def copy_row(self) -> None:
        """Name and everything known, for the ticket."""
        lines = self.console.main.detail_lines()
        if lines:
            self.copy("\n".join("".join(span.text for span in line) for line in lines) + "\n")

    def copy(self, text: str) -> None:
        """By OSC 52, else into a file."""
        sequence = clipboard.osc52(text, os.environ)
        if sequence is not None and sys.__stdout__ is not None and sys.__stdout__.isatty():
            self.console.write_terminal(sequence)
            self.console.say(f"Copied {len(text)} characters to the terminal's clipboard.", "good")
            return
        path = clipboard.to_file(text, self.console.copies_dir)
        self.console.say(f"Written to {path}", "good")
