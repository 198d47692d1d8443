"""The confirm dialog: everything is named, the focus is on Cancel, and friction grows with what is at stake."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from tui.dialogs.guarded import Guarded
from tui.look import Span
from tui.sheet import Answers, Sheet
from tui.widgets.choice import Choice
from tui.widgets.lines import Lines, Palette
from tui.widgets.prompt import LineInput
from tui.widgets.reader import Scroll


class Ask(Guarded[Answers | None]):
    """Ends with the answers, or None for no."""

    AUTO_FOCUS = "#cancel"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "cancel", "cancel", show=False),
        Binding("y", "yes", "yes", show=False),
        Binding("left", "app.focus_previous", "previous", show=False),
        Binding("right", "app.focus_next", "next", show=False),
        Binding("pagedown,ctrl+d", "scroll(8)", "further down", show=False),
        Binding("pageup,ctrl+u", "scroll(-8)", "further up", show=False),
    ]

    def __init__(
        self, palette: Palette, sheet: Sheet, *, monotonic: Callable[[], float], deaf: float
    ) -> None:
        super().__init__(monotonic=monotonic, deaf=deaf)
        self.palette = palette
        self.sheet = sheet
        self._title = Lines(palette, id="asked")
        self._body = Scroll(palette, sheet.body, id="body")
        self._hint = Lines(palette, id="hint")
        self._cancel = Choice(palette, sheet.no, id="cancel")
        self._ok = Choice(palette, sheet.ok, id="ok", tone="strong_bad")
        self._inputs = {
            field.key: LineInput(id=f"field-{field.key}", takes_paste=field.pastes, hidden=field.secret)
            for field in sheet.fields
        }
        self._leads = {field.key: Lines(palette) for field in sheet.fields}

    def compose(self) -> ComposeResult:
        """Title, the world by name, what to type, Cancel and OK."""
        with Vertical(id="box"):
            yield self._title
            yield self._body
            for field in self.sheet.fields:
                with Horizontal(classes="field"):
                    lead = self._leads[field.key]
                    lead.styles.width = min(58, len(field.prompt) + 4)
                    yield lead
                    yield self._inputs[field.key]
            yield self._hint
            with Horizontal(id="buttons"):
                yield self._cancel
                yield self._ok

    def guards(self, event: events.Event) -> bool:
        """What is pasted is let into a field that takes it, once the dialog can have been read."""
        taker = isinstance(self.focused, LineInput) and self.focused.takes_paste
        if isinstance(event, events.Paste) and taker:
            return not self.hears
        return super().guards(event)

    def on_resize(self, event: events.Resize) -> None:
        """The list of names scrolls; what must be typed and the buttons are always in view."""
        around = 8 + len(self.sheet.fields)
        self._body.styles.max_height = max(3, event.size.height - around)

    def on_mount(self) -> None:
        """Fill in, and begin to count."""
        super().on_mount()
        self._title.show([(Span(self.sheet.title, "title"),)])
        for field in self.sheet.fields:
            self._inputs[field.key].value = field.value
        self._point()
        self._check()

    def on_descendant_focus(self) -> None:
        """Another field or button."""
        self._point()

    def _point(self) -> None:
        """The field that takes the keys is pointed at: an empty one shows its focus by nothing but a cursor."""
        for field in self.sheet.fields:
            here = self._inputs[field.key].has_focus
            self._leads[field.key].show(
                [(Span("> " if here else "  ", "title"), Span(field.prompt, "title"), Span(": "))]
            )

    @property
    def typed(self) -> Answers:
        """What is in the fields."""
        return {key: field.value for key, field in self._inputs.items()}

    def _check(self) -> None:
        missing = self.sheet.missing(self.typed)
        self._ok.set_ready(ready=not missing)
        if missing:
            hint = f"To go on, {missing}. Esc: cancel."
        elif self.sheet.short:
            hint = "y: yes   n or Esc: no   Tab: move"
        else:
            hint = f"Tab to [{self.sheet.ok}], then Enter. Esc: cancel."
        self._hint.show([(Span(hint, "dim"),)])

    def on_input_changed(self, event: Input.Changed) -> None:
        """A character typed."""
        event.stop()
        self._check()

    def on_choice_pressed(self, event: Choice.Pressed) -> None:
        """Enter on a button."""
        event.stop()
        if event.choice is self._ok and not self.sheet.missing(self.typed):
            self.dismiss(self.typed)
        else:
            self.dismiss(None)

    def takes(self, event: events.Key) -> bool:
        """Moving among fields and buttons, and typing while a button has the focus. Asked as soon as the key is read.

        In a widget's own turn it would be too late: what is typed next may have been given to the field left behind.
        """
        in_field = isinstance(self.focused, Input)
        if event.key in ("tab", "down") or (event.key == "enter" and in_field):
            self.focus_next()
        elif event.key in ("shift+tab", "up"):
            self.focus_previous()
        elif event.is_printable and not in_field and (field := self.sheet.invites) is not None:
            target = self._inputs[field.key]
            self.set_focus(target)
            if field.value and target.value == field.value:
                target.value = ""  # a proposal gives way to what somebody types
            target.insert_text_at_cursor(event.character or "")
        else:
            return False
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # Textual's signature
        """Where something is typed, y and n are letters."""
        if action == "yes":
            return self.sheet.short and not isinstance(self.focused, Input)
        return True

    def action_yes(self) -> None:
        """The short way, for one VM."""
        if not self.sheet.missing(self.typed):
            self.dismiss(self.typed)

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(None)

    def action_scroll(self, step: int) -> None:
        """A long list of names."""
        self._body.scroll_lines(step)
