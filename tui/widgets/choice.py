"""A button for the keyboard: the mouse can put the focus on it and never presses it."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.look import Span
from tui.text import width
from tui.widgets.lines import Palette, strip_of


class Choice(Widget, can_focus=True):
    """As "[ Cancel ]": enter or space presses it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "press", show=False)]

    class Pressed(Message):
        """Enter on a choice."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            """The choice pressed."""
            return self.choice

    def __init__(self, palette: Palette, label: str, *, id: str, tone: str = "plain") -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.palette = palette
        self.label = label
        self.tone = tone
        self.ready = True
        """False: drawn dim, and enter does nothing."""

    def set_ready(self, *, ready: bool) -> None:
        """Allow or refuse pressing."""
        if ready != self.ready:
            self.ready = ready
            self.refresh()

    def action_press(self) -> None:
        """Tell the screen."""
        if self.ready:
            self.post_message(self.Pressed(self))

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002  # Textual's signature
        """Label and brackets."""
        return width(self.label) + 4

    def on_focus(self) -> None:
        """Draw as focused."""
        self.refresh()

    def on_blur(self) -> None:
        """Draw as not focused."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's Line API."""
        lead = ">" if self.has_focus else " "
        tone = "cursor" if self.has_focus else self.tone if self.ready else "dim"
        text = f"{lead}[{self.label}]{'<' if self.has_focus else ' '}" if y == 0 else ""
        return strip_of((Span(text, tone),), self.size.width, self.palette)
