"""The command palette: type a few letters of what you want to do, and choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui.dialogs.pick import Option, Options
from tui.look import Span
from tui.widgets.lines import Lines, Palette
from tui.widgets.prompt import LineInput


def matching(options: Sequence[Option], typed: str) -> list[Option]:
    """Those that hold every word typed, in any order."""
    words = typed.lower().split()
    return [option for option in options if all(word in option.words.lower() for word in words)]


class Commands(ModalScreen[str | None], inherit_bindings=False):
    """Ends with the value of the entry chosen, or None. What it leads to asks for itself."""

    AUTO_FOCUS = "#palette-input"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("up", "move(-1)", "up", show=False),
        Binding("pagedown", "move(8)", "page down", show=False),
        Binding("pageup", "move(-8)", "page up", show=False),
    ]

    def __init__(self, palette: Palette, options: Sequence[Option]) -> None:
        super().__init__()
        self._palette = palette
        self._all = options
        self.options = Options(palette, options)
        self._input = LineInput(id="palette-input")
        self._hint = Lines(palette, id="hint")

    def compose(self) -> ComposeResult:
        """What is typed, and what fits it."""
        with Vertical(id="box"):
            yield self._input
            yield self.options
            yield self._hint

    def on_mount(self) -> None:
        """Fill in."""
        self.options.can_focus = False
        self._hint.show([(Span("Type to narrow it down   Enter: choose   Esc: cancel", "dim"),)])

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow it down."""
        event.stop()
        self.options.replace(matching(self._all, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the one under the cursor, unless it says why not."""
        event.stop()
        found = self.options.options
        if not found or not found[self.options.at].why_not:
            self.dismiss(found[self.options.at].value if found else None)

    def on_click(self, event: events.Click) -> None:
        """The mouse does not choose."""
        event.stop()

    def action_move(self, step: int) -> None:
        """Up or down."""
        self.options.move(step)

    def action_cancel(self) -> None:
        """None of them."""
        self.dismiss(None)
