"""Choose one of a few: a target host, a column to sort by, a state to reset to. What cannot be chosen says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Struct
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget

from tui.dialogs.guarded import Guarded
from tui.look import Line, Span
from tui.text import clean, fit
from tui.widgets.lines import Lines, Palette, folded, strip_of
from tui.widgets.reader import Scroll


class Option(Struct, frozen=True, kw_only=True):
    """One line to choose."""

    value: str
    words: str
    why_not: str = ""
    """Not empty: shown, and cannot be chosen."""
    mark: Span = Span("")
    """What is known of choosing it, as glyph and word."""
    about: tuple[Line, ...] = ()
    """Shown below while the cursor is on it."""


ABOUT = 4
"""Lines for what is known of the option under the cursor: with the most options, what 24 lines have room for."""

MARKED = 46
"""Cells of an option's words where something is marked behind them."""


def cut(lines: Sequence[Line], cells: int, more: str) -> list[Line]:
    """As many as there is room for; PageDown belongs to the options."""
    pieces = [piece for line in lines for piece in folded(line, max(10, cells))]
    return pieces if len(pieces) <= ABOUT else [*pieces[: ABOUT - 1], (Span(more, "key"),)]


class Options(Widget, can_focus=True):
    """The list, drawn from `options` with the cursor at `at`."""

    DEFAULT_CSS = "Options { height: auto; max-height: 16; }"

    def __init__(self, palette: Palette, options: Sequence[Option]) -> None:
        super().__init__(id="options")
        self.palette = palette
        self.options = options
        self.at = next((index for index, option in enumerate(options) if not option.why_not), 0)
        self.styles.height = min(16, max(1, len(options)))

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        high = self.size.height
        top = max(0, min(self.at - high // 2, len(self.options) - high))
        index = top + y
        if index >= len(self.options):
            return Strip.blank(self.size.width)
        option = self.options[index]
        plain = self.palette.look.ascii_only
        tone = "cursor" if index == self.at else "dim" if option.why_not else "plain"
        words = f" {clean(option.words, plain)}"
        if option.mark.text:
            lead = fit(words, MARKED, ascii_only=plain)
            tail = Span(f"  {option.mark.text}", tone if index == self.at else option.mark.tone)
            base = self.palette.styles["cursor"] if index == self.at else None
            return strip_of((Span(lead, tone), tail), self.size.width, self.palette, base)
        if option.why_not:
            words += f"   {self.palette.look.glyph('bad')} {clean(option.why_not, plain)}"
        base = self.palette.styles["cursor"] if index == self.at else None
        return strip_of((Span(words, tone),), self.size.width, self.palette, base)

    def replace(self, options: Sequence[Option]) -> None:
        """Other options; the cursor goes to the first."""
        self.options, self.at = options, 0
        self.refresh()

    def renew(self, options: Sequence[Option]) -> None:
        """The same options, with more known of them; the cursor stays on its option."""
        value = self.options[self.at].value if self.options else None
        self.options = options
        self.at = next((index for index, option in enumerate(options) if option.value == value), 0)
        self.refresh()

    def move(self, step: int) -> None:
        """Up or down."""
        self.at = max(0, min(len(self.options) - 1, self.at + step))
        self.refresh()


class Pick(Guarded[str | None]):
    """Ends with the value chosen, or None."""

    AUTO_FOCUS = "#options"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "cancel", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("pagedown,ctrl+d", "move(8)", "page down", show=False),
        Binding("pageup,ctrl+u", "move(-8)", "page up", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]

    def __init__(
        self,
        palette: Palette,
        title: str,
        options: Sequence[Option],
        *,
        monotonic: Callable[[], float],
        deaf: float,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(monotonic=monotonic, deaf=deaf)
        self._title_line = Lines(palette, id="asked")
        self._title_text = title
        self.options = Options(palette, options)
        self._notes = Scroll(palette, [(Span(note, "warn"),) for note in notes], id="body")
        self._notes.display = bool(notes)
        self._hint = Lines(palette, id="hint")
        self.more = "... and more"
        """Said where what is known has no room."""

    def compose(self) -> ComposeResult:
        """Title, options, notes, hint."""
        with Vertical(id="box"):
            yield self._title_line
            yield self.options
            yield self._notes
            yield self._hint

    def on_mount(self) -> None:
        """Fill in."""
        super().on_mount()
        self._title_line.show([(Span(self._title_text, "title"),)])
        self._hint.show([(Span("Enter: choose   Esc: cancel", "dim"),)])
        self._tell()

    def on_click(self, event: events.Click) -> None:
        """The mouse does not choose."""
        event.stop()

    def action_move(self, step: int) -> None:
        """Up or down."""
        self.options.move(step)
        self._tell()

    def renew(self, options: Sequence[Option]) -> None:
        """More is known of the options."""
        self.options.renew(options)
        self._tell()

    def _tell(self) -> None:
        """What is known of the option under the cursor; the room for it stays, so that nothing jumps."""
        if any(option.about for option in self.options.options):
            self._notes.styles.height = ABOUT
            self._notes.display = True
            self._notes.show(
                cut(self.options.options[self.options.at].about, self._notes.size.width or 70, self.more)
            )

    def action_choose(self) -> None:
        """Take it, unless it says why not."""
        if self.options.options:
            option = self.options.options[self.options.at]
            if not option.why_not:
                self.dismiss(option.value)

    def action_cancel(self) -> None:
        """None of them."""
        self.dismiss(None)
