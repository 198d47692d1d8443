"""Something to read: the detail of a row, help, a problem, the audit record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.look import Line, Span
from tui.widgets.lines import Lines, Palette
from tui.widgets.reader import Scroll


class Reader(ModalScreen[None], inherit_bindings=False):
    """Scrolls, copies, closes. Nothing in it does anything, so it need not be guarded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "close", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("up,k", "scroll(-1)", "up", show=False),
        Binding("pagedown,ctrl+d,space", "scroll(10)", "page down", show=False),
        Binding("pageup,ctrl+u", "scroll(-10)", "page up", show=False),
        Binding("g,home", "scroll(-100000)", "top", show=False),
        Binding("G,end", "scroll(100000)", "bottom", show=False),
        Binding("y", "copy", "copy all of it", show=False),
    ]

    def __init__(
        self,
        palette: Palette,
        title: str,
        lines: Sequence[Line],
        copy: Callable[[str], None],
        *,
        tone: str = "title",
        again: Callable[[], Sequence[Line]] | None = None,
    ) -> None:
        super().__init__()
        self._head = Lines(palette, id="asked")
        self._title_span = Span(title, tone)
        self.body = Scroll(palette, lines, id="body")
        self._hint = Lines(palette, id="hint")
        self._copy = copy
        self._again = again
        """Asked once a second for the text as it is now: an age or a byte count must not stand still."""

    def compose(self) -> ComposeResult:
        """Title, text, hint."""
        with Vertical(id="box"):
            yield self._head
            yield self.body
            yield self._hint

    def on_resize(self, event: events.Resize) -> None:
        """The hint stays in view."""
        self.body.styles.max_height = max(3, event.size.height - 4)

    def on_mount(self) -> None:
        """Fill in."""
        self._head.show([(self._title_span,)])
        self._hint.show([(Span("Esc: close   y: copy   PageDown, PageUp: scroll", "dim"),)])
        if self._again is not None:
            self.set_interval(1.0, self.renew)

    def renew(self) -> None:
        """The text as it is now, where the reader is in it."""
        lines = self._again() if self._again is not None else []
        if lines:
            self.body.renew(lines)

    def action_scroll(self, step: int) -> None:
        """Up or down."""
        self.body.scroll_lines(step)

    def action_copy(self) -> None:
        """The whole text."""
        self._copy(f"{self._title_span.text}\n{self.body.plain}\n")

    def action_close(self) -> None:
        """Done reading."""
        self.dismiss(None)
