"""The line for `:` commands and `/` filters, with completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from tui.look import Span
from tui.text import clean
from tui.widgets.lines import Lines, Palette

LONGEST = 1_000
"""Characters of a field: a terminal without bracketed paste types what is pasted, and each key costs what the field holds."""

PASTED = 200
"""Characters of one paste."""


class Words(Suggester):
    """Completes the whole line from a list."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._words = words

    def complete(self, value: str) -> list[str]:
        """Every word that begins with what is typed."""
        return [word for word in self._words if value and word.startswith(value) and word != value]

    async def get_suggestion(self, value: str) -> str | None:
        """The first of them."""
        return next(iter(self.complete(value)), None)


class LineInput(Input, inherit_bindings=False):
    """A one-line input without the keys that terminals and multiplexers keep for themselves (ctrl-a, -b, -q, -s, -z)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cursor_left", "left", show=False),
        Binding("right", "cursor_right", "right, or take the completion", show=False),
        Binding("home", "home", "start", show=False),
        Binding("end", "end", "end", show=False),
        Binding("backspace,ctrl+h", "delete_left", "delete", show=False),
        Binding("delete", "delete_right", "delete right", show=False),
        Binding("ctrl+w", "delete_left_word", "delete a word", show=False),
        Binding("ctrl+u", "delete_left_all", "delete all", show=False),
        Binding("enter", "submit", "go", show=False),
    ]

    def __init__(self, *, id: str | None = None, takes_paste: bool = True, hidden: bool = False) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, compact=True, select_on_focus=False, password=hidden, max_length=LONGEST)
        self.cursor_blink = False
        self.takes_paste = takes_paste

    def restricted(self) -> None:
        """Full: what is typed more is left out, and the terminal's bell stays for what needs somebody."""

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if self.takes_paste and self.password:
            # Exactly: nobody sees it, and a line's end from the clipboard is not part of a secret.
            self._put(next(iter(event.text.strip().splitlines()), ""))
        elif self.takes_paste:
            self._put(clean(event.text.strip())[:PASTED])

    def _put(self, text: str) -> None:
        """As much of it as there is room for: Textual leaves out all of what is too long."""
        self.insert_text_at_cursor(text[: max(0, LONGEST - len(self.value))])


class Prompt(Horizontal):
    """Hidden until `open`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", show=False),
        Binding("tab", "complete", "complete", show=False),
    ]

    class Closed(Message):
        """Enter (`value`) or escape (`value` None); `before` is what it was opened with."""

        def __init__(self, lead: str, value: str | None, before: str) -> None:
            super().__init__()
            self.lead = lead
            self.value = value
            self.before = before

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="prompt")
        self._lead_line = Lines(palette, id="prompt-lead")
        self.input = LineInput(id="prompt-input")
        self.lead = ""
        self._before = ""
        self._words = Words(())

    def compose(self) -> ComposeResult:
        """Lead character and input."""
        yield self._lead_line
        yield self.input

    @property
    def is_open(self) -> bool:
        """Whether it is on show."""
        return self.screen.has_class("prompting")

    def open(self, lead: str, value: str, words: Sequence[str] = ()) -> None:
        """Show it and take the keys."""
        self.lead, self._before = lead, value
        self._words = Words(words)
        self.input.suggester = self._words
        self.screen.add_class("prompting")
        self._lead_line.show([(Span(lead, "key"),)])
        with self.input.prevent(Input.Changed):
            self.input.value = value
        self.input.cursor_position = len(value)
        # Not `focus()`: that waits its turn, and what was typed meanwhile would be keys of the table: "/d" drains.
        self.screen.set_focus(self.input)

    def type(self, text: str) -> None:
        """What was typed before it was open arrives late."""
        self.input.insert_text_at_cursor(text)

    def _close(self, value: str | None) -> None:
        self.screen.remove_class("prompting")
        self.post_message(self.Closed(self.lead, value, self._before))

    def action_cancel(self) -> None:
        """As if it had never been opened."""
        self._close(None)

    def action_complete(self) -> None:
        """Take the first completion."""
        found = self._words.complete(self.input.value)
        if found:
            self.input.value = found[0]
            self.input.cursor_position = len(found[0])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self._close(event.value)
