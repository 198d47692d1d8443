"""A plan of a window to go through: blockers first, then where each VM goes, then how full the targets get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Struct
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from evac.window.plan import PlanDiff, WindowPlan
from tui.board import Context
from tui.dialogs.guarded import Guarded
from tui.look import Line, Span
from tui.plan_head import head
from tui.plan_rows import Judged, PlanRow, Verdict, open_keys, rows
from tui.widgets.lines import Lines, Palette, folded
from tui.widgets.rows import Rows

ABOUT = 3
"""Lines for why a row is as it is and what to do."""


class Key(Struct, frozen=True, kw_only=True):
    """Something to be done with the plan."""

    key: str
    words: str
    about: str
    """What it does, for the help."""
    do: Callable[[], None]
    why_not: Callable[[], str] = lambda: ""
    """Why it cannot be done now; then it is dim, and pressing it says so."""


MOVING = (
    ("down j  up k", "one row"),
    ("PageDown  PageUp", "eight rows"),
    ("g  G", "first row, last row"),
    ("y", "copy all of it"),
    ("esc q", "back to the panes"),
)


def help_lines(keys: Sequence[Key]) -> list[Line]:
    """What each key does here, and why not."""
    lines: list[Line] = [(Span("With this plan:", "title"),)]
    for key in keys:
        why = key.why_not()
        tone = "dim" if why else "plain"
        lines.append(
            (Span(f"  {key.key:<20}", "dim" if why else "key"), Span(f"{key.words}: {key.about}", tone))
        )
        if why:
            lines.append((Span(f"{'':22}not now: {why}", "dim"),))
    lines.append((Span("Looking:", "title"),))
    return [*lines, *((Span(f"  {name:<20}", "key"), Span(words)) for name, words in MOVING)]


class PlanScreen(Guarded[None]):
    """Shows a plan. What is done with it is in `keys`, each of which asks before it does anything."""

    AUTO_FOCUS = "#rows"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("pagedown,ctrl+d,space", "move(8)", "page down", show=False),
        Binding("pageup,ctrl+u", "move(-8)", "page up", show=False),
        Binding("g,home", "move(-100000)", "top", show=False),
        Binding("G,end", "move(100000)", "bottom", show=False),
        Binding("y", "copy", "copy all of it", show=False),
        Binding("question_mark", "help", "help", show=False),
        *(Binding(key, f"do('{key}')", "do something with the plan", show=False) for key in "fpcwRab"),
    ]

    def __init__(
        self,
        palette: Palette,
        context: Callable[[], Context],
        plan: WindowPlan,
        diff: PlanDiff | None,
        copy: Callable[[str], None],
        *,
        monotonic: Callable[[], float],
        deaf: float,
    ) -> None:
        super().__init__(monotonic=monotonic, deaf=deaf)
        self.palette = palette
        self.plan, self.diff = plan, diff
        self.keys: Sequence[Key] = ()
        self.help: Callable[[list[Line]], None] = lambda _: None
        """Shows them."""
        self.judged: dict[str, Verdict] = {}
        self.notes: tuple[str, ...] = ()
        """What holds for all that was judged, and what nobody could."""
        self._seen_by = context
        self._copy = copy
        self._rows: list[PlanRow] = []
        self._first = open_keys(plan)
        """What was to be decided when it was opened: decided, it stays where it is, so that the next one is below."""
        self._said = ""
        self._head = Lines(palette, id="plan-head")
        self.list = Rows(palette, id="rows")
        self._about = Lines(palette, id="plan-about")
        self._hint = Lines(palette, id="hint")

    def compose(self) -> ComposeResult:
        """Head, rows, what is known of the row, keys."""
        with Vertical(id="plan"):
            yield self._head
            yield self.list
            yield self._about
            yield self._hint

    def on_mount(self) -> None:
        """Fill in; ages and approvals are kept up to date."""
        super().on_mount()
        self.set_interval(1.0, self.renew)
        self.show_plan(self.plan, self.diff)
        self.go_to(next((row.stay for row in self._rows if row.stay), ""))

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002  # Textual's signature
        """What is known of a row is folded to the width."""
        self.renew()

    def show_plan(self, plan: WindowPlan, diff: PlanDiff | None) -> None:
        """Another version of it; the cursor stays on its line."""
        self.plan, self.diff = plan, diff
        self._said = ""
        self._fill()

    def judge(self, told: Judged, notes: Sequence[str] = ()) -> None:
        """More is known of its moves."""
        self.judged |= told
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
        self._fill()

    def _fill(self) -> None:
        self._rows = rows(self.plan, self.diff, self.judged, self._seen_by(), self._first, notes=self.notes)
        self.list.show([row.line for row in self._rows], self.list.at)
        self.renew()

    def renew(self) -> None:
        """As things are now."""
        if self.is_attached:
            self._head.show(head(self.plan, self.diff, self._seen_by()))
            self._tell()

    def go_to(self, stay: str) -> None:
        """Put the cursor on a VM about which somebody decides, wherever its row is now."""
        at = next((at for at, row in enumerate(self._rows) if stay and row.stay == stay), None)
        if at is not None:
            self.list.show(self.list.lines, at)
            self._tell()

    @property
    def row(self) -> PlanRow | None:
        """Under the cursor."""
        return self._rows[self.list.at] if self._rows else None

    @property
    def said(self) -> str:
        """What was said last."""
        return self._said

    def say(self, words: str) -> None:
        """In the line of keys, until the next key."""
        self._said = words
        self._tell()

    def _tell(self) -> None:
        wide = max(20, self.size.width)
        row = self.row
        pieces = [piece for line in (row.about if row is not None else ()) for piece in folded(line, wide)]
        self._about.show(pieces[:ABOUT])
        self._hint.show([self._hints() if not self._said else (Span(self._said, "warn"),)])

    def _hints(self) -> Line:
        line: list[Span] = [Span("esc ?", "key"), Span("  ")]
        for key in self.keys:
            why = key.why_not()
            line += [
                Span(key.key, "dim" if why else "key"),
                Span(f" {key.words}  ", "dim" if why else "plain"),
            ]
        return tuple(line)

    def action_do(self, name: str) -> None:
        """One of the keys that do something with the plan. By a binding, as moving is: what was typed first comes first."""
        key = next((key for key in self.keys if key.key == name), None)
        if key is None:
            return
        why = key.why_not()
        if why:
            self.say(f"{key.words}: {why}")
        else:
            self._said = ""
            key.do()

    def action_move(self, step: int) -> None:
        """Up or down."""
        self._said = ""
        self.list.move(step)
        self._tell()

    def action_help(self) -> None:
        """Its keys, and why some do nothing now."""
        self.help(help_lines(self.keys))

    def action_copy(self) -> None:
        """Head and rows as text."""
        lines = [*head(self.plan, self.diff, self._seen_by()), *(row.line for row in self._rows)]
        self._copy("\n".join("".join(span.text for span in line).rstrip() for line in lines) + "\n")

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)
