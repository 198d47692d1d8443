"""The map of the Ceph pane with its keys: what is counted, how far in, which cluster; may this host's OSDs stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui.ceph_lines import board_line
from tui.ceph_rows import Mode
from tui.look import Line
from tui.widgets.heatmap import Heatmap, head_line

if TYPE_CHECKING:
    from tui.app import Console


class CephMap(Heatmap):
    """See the module's docstring."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mode(1)", "count", show=True, tooltip="count: acting, up, primary, moving, deviation"),
        Binding("M", "mode(-1)", "count", show=False, tooltip="the same backwards"),
        Binding("z", "zoom(1)", "zoom in", show=True, tooltip="zoom in: racks, hosts, OSDs"),
        Binding("Z", "zoom(-1)", "out", show=True, tooltip="zoom out"),
        Binding("plus", "zoom(1)", "zoom in", show=False, tooltip="zoom in: racks, hosts, OSDs"),
        Binding("minus", "zoom(-1)", "out", show=False, tooltip="zoom out"),
        Binding(
            "o",
            "may_stop",
            "may it stop?",
            show=True,
            tooltip="may the OSDs of its host stop now?",
        ),
        Binding("n", "noout", "noout", show=True, tooltip="set noout for its host, or take it back"),
        Binding(
            "enter", "open", "open", show=True, tooltip="open the rack or host; list the PGs of an OSD's cell"
        ),
        Binding(
            "escape,backspace",
            "leave",
            "back",
            show=False,
            tooltip="out of the rack or host; then the filter",
        ),
        Binding("p", "pin", "pin", show=False, tooltip="keep the pool at the left, or let it go"),
        Binding("c", "colour", "colour by fair share or by the highest", show=False),
        Binding("right_square_bracket", "cluster(1)", "next Ceph cluster", show=False),
        Binding("left_square_bracket", "cluster(-1)", "previous Ceph cluster", show=False),
    ]

    def __init__(self, console: Console, on_change: Callable[[], Sequence[Widget]]) -> None:
        super().__init__(console.grid, console.palette, console.painter, on_change)
        self.owner = console

    def board_line(self, wide: int) -> Line:
        """The line above."""
        return board_line(self.grid, self.palette.depth, wide, head_line(self))

    def on_resize(self) -> None:
        """Other columns may fit, and the line above says which."""
        super().on_resize()
        self.owner.main.follow_cursor()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # Textual's signature
        """A key that this person may not use does not exist."""
        if action == "cluster":
            return len(self.owner.store.storages) > 1
        return self.owner.allows(action)

    def _all_new(self) -> None:
        self.owner.main.redraw()

    def action_mode(self, step: int) -> None:
        """Acting, up, primary, moving, deviation."""
        modes = list(Mode)
        self.grid.set_mode(modes[(modes.index(self.grid.mode) + step) % len(modes)])
        self._all_new()

    def action_colour(self) -> None:
        """Against the fair share, or against the pool's fullest row."""
        self.grid.by_most = not self.grid.by_most
        words = "the highest number of each pool" if self.grid.by_most else "the distance from the fair share"
        self.owner.say(f"Colours show {words}.")
        self._all_new()

    def action_zoom(self, step: int) -> None:
        """Finer or coarser rows."""
        if not self.grid.step_zoom(step):
            self.owner.say("These are the single OSDs." if step > 0 else "These are the racks already.")
        self._all_new()

    def action_open(self) -> None:
        """A rack or host: what lies in it. An OSD: its PGs."""
        if self.grid.open():
            self._all_new()
        else:
            self.owner.ceph.groups()

    def action_leave(self) -> None:
        """Out of the rack or host; else as everywhere."""
        if self.grid.leave():
            self._all_new()
        else:
            self.owner.main.action_back()

    def action_pin(self) -> None:
        """Keep this pool's column at the left, or let it go."""
        self.grid.toggle_pin()
        self._all_new()

    def action_cluster(self, step: int) -> None:
        """Another Ceph cluster."""
        names = sorted(self.owner.store.storages)
        at = names.index(self.grid.cluster) if self.grid.cluster in names else 0
        self.owner.ceph.show(names[(at + step) % len(names)])

    def action_may_stop(self) -> None:
        """Ask the cluster, now."""
        self.owner.ceph.may_stop()

    def action_noout(self) -> None:
        """Set, or take back."""
        self.owner.ceph.noout()
