"""The main screen: header, one table that shows the current pane's board, the detail of its row, a footer of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.scalar import Scalar
from textual.screen import Screen
from textual.widgets import Input

from evac.model import ClusterState
from evac.window.nouns import Window
from tui import headline, window_lines, windows
from tui.board import Board
from tui.ceph_lines import storage_lines
from tui.grid import Grid
from tui.keys import key_name
from tui.look import Line, Span
from tui.panes import TABS, window_detail
from tui.panes.common import detail_of
from tui.screens.ceph import CephMap
from tui.screens.key_actions import KeyActions
from tui.text import width
from tui.widgets.lines import Lines, folded
from tui.widgets.prompt import Prompt
from tui.widgets.table import Table
from tui.window_lines import glance, nag

if TYPE_CHECKING:
    from tui.app import Console

TALL = 34
"""Terminal lines from which the detail strip gets eight lines instead of four."""


def _binding(key: str, action: str, words: str, *, show: bool = False) -> Binding:
    return Binding(key, action, words, show=show)


class MainScreen(KeyActions, Screen[None], inherit_bindings=False):
    """See the module's docstring. What an action means is in `tui.actions`; here are the keys."""

    AUTO_FOCUS = "#table"

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            _binding(str(number), f"pane('{tab.name}')", f"{tab.title} pane")
            for number, tab in enumerate(TABS, 1)
        ),
        _binding("tab,l,right", "next_pane(1)", "next pane"),
        _binding("shift+tab,h,left", "next_pane(-1)", "previous pane"),
        _binding("d", "drain", "drain", show=True),
        _binding("w", "plan_window", "plan a window", show=True),
        _binding("e", "evacuate_host", "evacuate", show=True),
        _binding("m", "maintenance", "maintenance in/out", show=True),
        _binding("f", "force_down", "force down/up", show=True),
        _binding("v", "vms_here", "its VMs", show=True),
        _binding("m", "migrate", "migrate", show=True),
        _binding("c", "cold_migrate", "cold-migrate", show=True),
        _binding("p", "preflight", "preflight", show=True),
        _binding("M", "move_storage", "move disks", show=True),
        _binding("T", "move_across", "to another cluster", show=False),
        _binding("w", "answer", "answer what it asks", show=False),
        _binding("x", "evacuate_vm", "evacuate", show=True),
        _binding("r", "reset_state", "reset-state", show=True),
        _binding("a", "abort", "abort", show=True),
        _binding("f", "force_complete", "force-complete", show=True),
        _binding("f", "freeze", "freeze/go on", show=True),
        _binding("n", "type_address", "new address", show=True),
        _binding("x", "forget_address", "drop typed", show=True),
        _binding("C", "confirm_move", "confirm move", show=False),
        _binding("B", "revert_move", "bring back (revert move)", show=False),
        _binding("o", "start_vm", "power on", show=False),
        _binding("O", "stop_vm", "power off", show=False),
        _binding("r", "retry", "retry", show=True),
        _binding("S", "stop_window", "stop", show=True),
        _binding("R", "resume_window", "resume", show=True),
        _binding("D", "step_done", "done by hand", show=True),
        _binding("r", "retry_step", "retry", show=True),
        _binding("K", "skip_step", "skip", show=True),
        _binding("L", "leave_out", "leave out", show=True),
        _binding("E", "end_window", "end", show=True),
        _binding("u", "restore_entry", "put back", show=True),
        _binding("t", "settle_entry", "settle", show=True),
        _binding("P", "pause", "pause/resume the queue", show=True),
        _binding("ctrl+r", "poll", "look at this cluster now"),
        _binding("A", "audit", "audit record", show=True),
        _binding("enter", "detail", "detail", show=True),
        _binding("slash", "filter", "filter", show=True),
        _binding("colon", "command", "command", show=True),
        _binding("ctrl+p", "palette", "command palette"),
        _binding("s", "sort", "sort by"),
        _binding("S", "reverse", "reverse the order"),
        _binding("y", "copy", "copy"),
        _binding("question_mark", "help", "help", show=True),
        _binding("escape", "back", "back"),
        _binding("q", "quit", "quit; work goes on", show=True),
    ]

    def __init__(self, console: Console) -> None:
        super().__init__(id="main")
        self.console = console
        palette = console.palette
        self.line_title = Lines(palette, id="title")
        self.line_state = Lines(palette, id="state")
        self.line_nag = Lines(palette, id="nag")
        self.line_clusters = Lines(palette, id="clusters")
        self.line_board = Lines(palette, id="board")
        self.table = Table(console.board, palette, console.painter, self.follow_cursor)
        self.map = CephMap(console, self.follow_cursor)
        self.line_storage = Lines(palette, id="storage")
        self.lines_glance = Lines(palette, id="glance")
        self.strip_detail = Lines(palette, id="detail")
        self.prompt = Prompt(palette)
        self.line_footer = Lines(palette, id="footer")
        self._stale: frozenset[str] = frozenset()
        self._footer_of = ""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self.line_title
        yield self.line_state
        yield self.line_nag
        yield self.line_clusters
        yield self.line_storage
        yield self.lines_glance
        yield self.line_board
        yield self.table
        yield self.map
        yield self.strip_detail
        yield self.prompt
        yield self.line_footer

    def on_resize(self, event: events.Resize) -> None:
        """More detail on a tall terminal."""
        self.set_class(event.size.height >= TALL, "tall")
        self.call_after_refresh(self.redraw)

    # --- drawing ---------------------------------------------------------------------------------

    @property
    def board(self) -> Board:
        """The current pane's."""
        return self.console.board

    @property
    def picture(self) -> Table | CephMap:
        """The widget that draws the current board."""
        return self.map if isinstance(self.board, Grid) else self.table

    def redraw(self) -> None:
        """Everything: after a change of pane, theme or size."""
        board = self.board
        self.set_class(board is self.console.grid, "ceph")
        self.set_class(board.pane.name == "window", "window")
        self.set_class(board.pane.name == "problems", "problems")
        if board is self.console.grid:
            self.map.redraw()
        else:
            self.table.use(board)
        if self.focused is not self.picture and not self.prompt.is_open:
            self.set_focus(self.picture)
        self.draw_header()
        self.follow_cursor()
        self.draw_footer()

    def draw_header(self) -> None:
        """What is happening, and how old the figures are. Called once a second and after news."""
        context, wide = self.console.context, self.size.width
        self.line_title.show([headline.title(context, TABS, self.board.pane.name, wide)])
        self.line_state.show([headline.state_line(context, wide)])
        self.line_clusters.show([headline.clusters_line(context, wide)])
        if isinstance(self.board, Grid):
            self.line_storage.show(storage_lines(self.board, wide, 3 if self.has_class("tall") else 2))
        self._draw_nag(wide)
        self._draw_glance(wide)
        store = context.store
        stale = frozenset(name for name in store.clusters if store.stale(name))
        if stale != self._stale or self.board.pane.name == "problems":
            self._stale = stale
            self.picture.redraw()

    def _draw_nag(self, wide: int) -> None:
        """What is switched for too long, on every pane."""
        nagging = nag(self.console.context, wide)
        self.set_class(nagging is not None, "nagging")
        self.line_nag.show([nagging] if nagging is not None else [])

    def _draw_glance(self, wide: int) -> None:
        """In the window pane, the window that the cursor is in."""
        if self.board.pane.name == "window":
            room = 8 if self.has_class("tall") else 7
            self.lines_glance.show(glance(self.console.context, self.window_here(), wide, room))

    def window_here(self) -> Window | None:
        """Of the row under the cursor; else the one that most needs to be looked at."""
        row = self.board.current() if self.board.pane.name == "window" else None
        if isinstance(row, Window):
            return row
        return row.window if isinstance(row, windows.HostRow) else windows.latest(self.console.store)

    def follow_cursor(self) -> tuple[Lines, ...]:
        """Bring what depends on the cursor up to date; returns it, so that it is painted in the same frame."""
        board, wide = self.board, self.size.width
        line = self.map.board_line(wide) if isinstance(board, Grid) else headline.board_line(board, wide)
        self.line_board.show([line])
        self._draw_glance(wide)
        self._show_detail()
        here = self.board.cursor or "" if self.board.pane.name == "window" else self.cluster_here()
        if here != self._footer_of:
            self._footer_of = here
            self.draw_footer()
        glancing = (self.lines_glance,) if self.lines_glance.display else ()
        return self.line_board, self.strip_detail, *glancing

    def _show_detail(self) -> None:
        room = 8 if self.has_class("tall") or self.has_class("problems") else 4  # as the stylesheet has it
        if self.board.pane.name not in ("window", "problems"):
            lines = self.detail_lines()
        else:  # why a step stands, what is wrong and what to do is read in full
            lines, wide = self._below_glance(), max(20, self.size.width)
            lines = [piece for line in lines[:room] for piece in folded(line, wide)]
            if len(lines) > room:  # a name without its value would be read as "not known"
                more = f" {self.console.palette.look.glyph('dot')} more: enter"
                lines = [*lines[: room - 1], (*lines[room - 1], Span(more, "dim"))]
        self.strip_detail.show(lines[:room])

    def detail_lines(self) -> list[Line]:
        """Everything known of the row under the cursor."""
        board = self.board
        return [] if board.cursor is None else detail_of(board, board.cursor)

    def _below_glance(self) -> list[Line]:
        """In the window pane, without what the block over the table tells of the same host, if it tells all of it."""
        row, context = self.board.current(), self.console.context
        if isinstance(row, windows.HostRow) and windows.foremost(row.window) == row.run:
            wide, shown = max(20, self.size.width), self.lines_glance.lines
            if all(piece in shown for piece in window_lines.told_of(row.run, context, wide)):
                lines = window_detail.beside(row, context)
                steps = window_lines.all_steps(row.window, context, wide)
                return lines[1:] if all(piece in shown for piece in steps) else lines
        return self.detail_lines()

    def draw_footer(self) -> None:
        """The notice if there is one, whole, on up to three lines; else the keys that do something here and now."""
        notice, wide = self.console.notice, self.size.width
        said = folded((Span(" "), notice), max(20, wide))[:3] if notice is not None else []
        if self.line_footer.styles.height != (height := Scalar.from_number(max(1, len(said)))):
            self.line_footer.styles.height = height
        if said:
            self.line_footer.show(said)
            return
        line, room = [Span(" ")], wide - 1
        for key, words, why_not in self.footer_keys():
            need = width(key) + width(words) + 3
            if need > room:
                break
            line += [
                Span(key, "dim" if why_not else "key"),
                Span(f" {words}  ", "dim" if why_not else "plain"),
            ]
            room -= need
        self.line_footer.show([tuple(line)])

    def footer_keys(self) -> list[tuple[str, str, str]]:
        """Keys to show, and why one does nothing here: help and the way out first, so that they are never cut off."""
        shown = [
            (
                key_name(active.binding.key),
                active.binding.description.partition(";")[0],
                self.console.unable(active.binding.action),
            )
            for active in self.active_bindings.values()
            if active.binding.show and (active.enabled or self.console.withheld(active.binding.action))
        ]
        first = [entry for name in ("help", "quit") for entry in shown if entry[1] == name]
        if self.board.pane.name == "window":  # of many keys few fit a row of it
            shown.sort(key=lambda entry: bool(entry[2]))
        return list(dict.fromkeys((*first, *shown)))

    def news(self, *, reordered: bool, keys: set[str]) -> None:
        """The current board changed."""
        self.picture.touched(reordered=reordered, keys=keys)
        if reordered or self.board.cursor in keys or not isinstance(self.board, Grid):
            self.follow_cursor()

    def refresh_ages(self) -> None:
        """Once a second: the detail names an age."""
        self.draw_header()
        self._show_detail()

    # --- which keys exist now --------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # Textual's signature
        """A key that means nothing in this pane, or that this person may not use, does not exist."""
        return self.console.allows(action) or (None if self.console.withheld(action) else False)

    def on_key(self, event: events.Key) -> None:
        """A key that is shown dim says why it does nothing."""
        active = self.active_bindings.get(event.key)
        if active is not None and self.console.withheld(active.binding.action):
            event.stop()
            self.console.say(f"Nothing was done: {self.console.unable(active.binding.action)}.", "warn")

    # --- moving about ----------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        """Show a pane."""
        self.console.show_pane(name)

    def action_next_pane(self, step: int) -> None:
        """The pane beside this one."""
        names = [tab.name for tab in TABS]
        self.console.show_pane(names[(names.index(self.board.pane.name) + step) % len(names)])

    def action_reverse(self) -> None:
        """The other way round."""
        self.board.set_sort(self.board.sort, reverse=not self.board.reverse)
        self.redraw()

    def action_back(self) -> None:
        """Marks first, then the filter, then the notice."""
        if self.board.clear_marks():
            self.redraw()
        elif self.board.filter:
            self.board.set_filter("")
            self.redraw()
        elif self.console.notice is not None:
            self.console.say("")

    def action_filter(self) -> None:
        """Edit the filter; the table follows every character."""
        self.prompt.open("/", self.board.filter)

    def action_command(self) -> None:
        """Type a command."""
        self.prompt.open(":", "", self.console.completions())

    def on_input_changed(self, event: Input.Changed) -> None:
        """A character of the filter."""
        event.stop()
        if self.prompt.lead == "/" and self.prompt.is_open:
            self.board.set_filter(event.value)
            self.picture.redraw()
            self.follow_cursor()

    def on_prompt_closed(self, event: Prompt.Closed) -> None:
        """Enter or escape in the prompt."""
        event.stop()
        self.set_focus(self.picture)
        if event.lead == "/" and event.value is None:
            self.board.set_filter(event.before)
        elif event.lead == ":" and event.value:
            self.console.command(event.value)
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """A pane's name in the title line."""
        if event.widget is not self.line_title:
            return
        name = headline.tab_at(self.line_title.lines[0] if self.line_title.lines else (), TABS, event.x)
        if name:
            self.console.show_pane(name)

    def cluster_here(self) -> str:
        """The cluster of the row under the cursor; "" where it has none."""
        row = self.board.current()
        if isinstance(row, ClusterState):
            return row.name
        return str(getattr(getattr(row, "action", None) or row, "cluster", ""))
