"""What is shown instead of everything while the terminal is smaller than the console needs."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import ModalScreen

from tui.look import Span
from tui.widgets.lines import Lines, Palette

LEAST = Size(80, 24)


def fits(size: Size) -> bool:
    """Whether the console can be read at this size."""
    return size.width >= LEAST.width and size.height >= LEAST.height


class TooSmall(ModalScreen[None], inherit_bindings=False):
    """On top of everything, so that no key reaches a dialog that cannot be read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.quit", "quit", show=False)]

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._lines = Lines(palette, id="small")
        self._lines.styles.height = 3

    def compose(self) -> ComposeResult:
        """The message."""
        yield self._lines

    def on_resize(self) -> None:
        """Say the size at hand and the size needed."""
        size = self.app.size
        self._lines.show(
            [
                (Span(f"evac needs {LEAST.width}x{LEAST.height}.", "title"),),
                (Span(f"This is {size.width}x{size.height}."),),
                (Span("Enlarge it, or q: quit."),),
            ]
        )
