"""Shown while something is asked that may take a while: what is known so far, and the ways out. Every key is heard meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui.dialogs.guarded import Guarded
from tui.look import Line, Span
from tui.widgets.lines import Lines, Palette
from tui.widgets.reader import Scroll


class Waiting(Guarded[bool]):
    """Ends with True when the answer is there or nobody wants to wait for it, with False for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "end(False)", "cancel", show=False),
        Binding("enter", "end(True)", "do not wait", show=False),
    ]

    def __init__(
        self,
        palette: Palette,
        title: str,
        lines: Sequence[Line],
        *,
        monotonic: Callable[[], float],
        deaf: float,
    ) -> None:
        super().__init__(monotonic=monotonic, deaf=deaf)
        self._title_line = Lines(palette, id="asked")
        self._title_text = title
        self._body = Scroll(palette, lines, id="body")
        self._hint = Lines(palette, id="hint")
        self._over = self._answered = False

    def compose(self) -> ComposeResult:
        """Title, what is known, the ways out."""
        with Vertical(id="box"):
            yield self._title_line
            yield self._body
            yield self._hint

    def on_mount(self) -> None:
        """Fill in."""
        super().on_mount()
        self._title_line.show([(Span(self._title_text, "title"),)])
        self._hint.show([(Span("Enter: go on without the answer   Esc: cancel", "dim"),)])

    def tell(self, lines: Sequence[Line]) -> None:
        """More is known."""
        if self.is_attached:
            self._body.renew(lines)

    def finish(self) -> None:
        """The answer is there; if something lies over the dialog, as soon as it does no more."""
        self._answered = True
        self.action_end(True)

    def on_screen_resume(self) -> None:
        """It is on top, for the first time or again."""
        if self._answered:
            self.call_after_refresh(self.action_end, True)

    def action_end(self, go_on: bool) -> None:
        """Once: the answer may come in the moment in which somebody gives up."""
        if not self._over and self.is_attached and self.is_current:
            self._over = True
            self.dismiss(go_on)
