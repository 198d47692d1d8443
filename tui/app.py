"""Wiring: values from the source go to the store, the boards and the screen; keys become intents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from evac.api import Delta
from evac.model import Problem
from tui import away
from tui.allowed import WINDOW_ACTIONS, allowed, unable, withheld
from tui.board import Board, Context
from tui.commandline import completions, run_command
from tui.dialogs.ask import Ask
from tui.dialogs.reader import Reader
from tui.doing import Doing
from tui.doing_across import AcrossDoing
from tui.doing_ceph import CephDoing
from tui.doing_ping import PingDoing
from tui.doing_placing import PlacingDoing
from tui.doing_window import WindowDoing
from tui.grid import Grid
from tui.look import Look, Span
from tui.paint import Painter, paint_all
from tui.panes import CEPH, PANES, PING, WINDOW
from tui.ramps import Depth, depth_of
from tui.ringing import Ringer
from tui.screens.main import MainScreen
from tui.screens.small import TooSmall, fits
from tui.slices import PAUSE, sliced
from tui.source import Attached, Lost, News, Refused, Source
from tui.still import StillBoard
from tui.store import Store
from tui.terminal import Driver
from tui.text import clean
from tui.turns import Turns
from tui.widgets.lines import Palette

if TYPE_CHECKING:
    from tui.doing_plan import PlanDoing

log = logging.getLogger(__name__)

GUARD = 0.5
"""Seconds after a dialog has appeared during which keys are ignored: they were typed before it was seen."""

NOTICE_SECONDS = 12.0


class Console(App[int], inherit_bindings=False):
    """One console. It quits at any time without stopping anything: the engine does the work."""

    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "evac"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "quit; work goes on", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "suspend this console", show=False, priority=True),
        Binding("ctrl+l", "repaint", "paint the screen anew", show=False, priority=True),
    ]

    def __init__(
        self,
        source: Source,
        *,
        look: Look,
        store: Store | None = None,
        state_dir: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        deaf: float = GUARD,
        complaint: str = "",
        bell: bool = True,
        depth: Depth | None = None,
    ) -> None:
        super().__init__(driver_class=Driver, ansi_color=True)
        self.theme = "ansi-dark"
        self.source = source
        self.store = store or Store()
        self.palette = Palette(look, depth or depth_of(self.console))
        self.painter, self.turns = Painter(), Turns(monotonic)
        self.context = Context(self.store, look)
        self.grid = Grid(self.context)
        self.ping = StillBoard(PING, self.context)
        self.boards = {pane.name: Board(pane, self.context) for pane in (*PANES, WINDOW)} | {
            CEPH.name: self.grid,
            PING.name: self.ping,
        }
        self.board = self.boards["hosts"]
        self.notice: Span | None = None
        self.doing, self.ceph = Doing(self), CephDoing(self)
        self.placing, self.across, self.pinging = PlacingDoing(self), AcrossDoing(self), PingDoing(self)
        self.windowing = WindowDoing(self)
        self.monotonic, self.deaf = monotonic, deaf
        self.copies_dir = (state_dir or Path.home()) / "copies"
        self._state_dir = state_dir
        self._last_seen = away.load(away.file_of(state_dir)) if state_dir else None
        self._said_away = self._pane_chosen = False
        self._stuck: frozenset[str] = frozenset()
        self._notice_until = 0.0
        self._complaint, self._ringer = complaint, Ringer(enabled=bell)
        self._following: asyncio.Task[None] | None = None

    @cached_property
    def planning(self) -> PlanDoing:
        """Plans of windows. Imported when the first one is asked for: the planner is a tenth of a start."""
        from tui.doing_plan import PlanDoing  # noqa: PLC0415  # see above

        return PlanDoing(self)

    # --- life ------------------------------------------------------------------------------------

    def get_default_screen(self) -> MainScreen:
        """The main screen."""
        self.main = MainScreen(self)
        return self.main

    def on_mount(self) -> None:
        """Paint first; then, and only then, look for the engine."""
        self.set_class(self.palette.look.ascii_only, "-ascii")
        self.app_resume_signal.subscribe(self, lambda _: self.call_after_refresh(self.action_repaint))
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        if self._complaint:
            self.say(self._complaint, "warn")
        self._following = asyncio.create_task(self._follow(), name="follow the engine")
        self.set_interval(1.0, self._tick)

    async def on_unmount(self) -> None:
        """Remember when we left."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        self.remember()
        await self.source.close()
        self.turns.hand_back()

    def remember(self) -> None:
        """Write down what has been seen, for "while you were away"."""
        if self._state_dir is not None and self.store.rev >= 0:
            away.save(away.file_of(self._state_dir), self.store)

    def on_resize(self, event: events.Resize) -> None:
        """Below 80x24 a plain message takes the screen, and the keys with it."""
        small = isinstance(self.screen, TooSmall)
        if fits(event.size) and small:
            self.pop_screen()
        elif not fits(event.size) and not small:
            self.push_screen(TooSmall(self.palette))

    # --- values in -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            async for news in self.source.follow():
                if not isinstance(news, Delta):
                    self.take(news)
                    continue
                for part in sliced(news, self.store):
                    await self.turns.news()
                    self.take(part)
                    if part is not news:
                        self.turns.sweep()
                        await asyncio.sleep(PAUSE)
                if news.full:
                    self.call_after_refresh(self.turns.take_over)
        except asyncio.CancelledError:
            raise
        except Exception:  # the console stays up to say that it is our bug
            log.exception("following the engine ended")
            self.take(
                Lost(
                    Problem(
                        happened="The console stopped following: a bug in evac.",
                        next_step="Restart the console.",
                    )
                )
            )

    def take(self, news: News) -> None:
        """One piece of news."""
        if isinstance(news, Attached):
            self.store.hello, self.store.lost = news.hello, None
            self._redraw_all()
        elif isinstance(news, Lost):
            self.store.lost = news.problem
            if self.main.is_attached:
                self.main.draw_header()
        else:
            self._apply(news)

    def _apply(self, delta: Delta) -> None:
        first = self.store.rev < 0
        changes = self.store.apply(delta)
        for name, board in self.boards.items():
            self._touch(name, board.pane.touched(self.store, changes))
            if board.settle() and name == self.board.pane.name and self.main.is_attached:
                self.main.redraw()
        self._open_on_storage()
        if first or changes["clusters"]:
            self._redraw_all()
        elif self.main.is_attached and (
            delta.queue is not None
            or any(changes[table] for table in ("orders", "jobs", "windows", "ledger"))
        ):
            self.main.draw_header()
        if not self._said_away:
            self._said_away = True
            summary = away.summary(self.store, self._last_seen)
            if summary:
                self.say(summary, "title", seconds=60.0)

    def _open_on_storage(self) -> None:
        """Where all clusters are storage systems there will never be a host to see: unless another pane was asked for."""
        clusters = self.store.clusters.values()
        if not self._pane_chosen and clusters and all(state.stores for state in clusters):
            self.show_pane("ceph")

    def _touch(self, name: str, keys: set[str]) -> None:
        """Rows of a pane show something else."""
        board = self.boards[name]
        reordered, dirty = board.touch(keys) if keys else (False, set())
        if name == self.board.pane.name and self.main.is_attached:
            self.main.news(reordered=reordered, keys=dirty)

    def _redraw_all(self) -> None:
        if self.main.is_attached:
            self.main.draw_header()
            self.main.draw_footer()

    def _tick(self) -> None:
        if self.notice is not None and self.monotonic() > self._notice_until:
            self.say("")
        self._look_for_stuck()
        if self._ringer.rings(self.store, self.monotonic()):
            self.write_terminal("\a")
        self.turns.sweep()
        self.turns.rest()
        if self.main.is_attached and self.main.is_current:
            self.main.refresh_ages()

    def _look_for_stuck(self) -> None:
        """A VM becomes stuck by nothing happening, so no delta tells of it."""
        found = frozenset(self.store.all_stuck())
        changed, self._stuck = found ^ self._stuck, found
        if changed:
            self._touch("vms", set(changed))

    # --- looks -----------------------------------------------------------------------------------

    def show_pane(self, name: str) -> None:
        """Another pane in the table."""
        self._pane_chosen = True
        self.board = self.boards[name]
        if self.main.is_attached:
            self.main.redraw()

    def freeze(self) -> None:
        """The ping pane stands still, or goes on."""
        self.ping.freeze()
        self.main.redraw()

    def use_look(self, look: Look) -> None:
        """Another theme."""
        self.palette.change(look)
        self.context = Context(self.store, look)
        for board in self.boards.values():
            board.look(look)
        self.main.redraw()
        self.screen.refresh()

    def say(self, text: str, tone: str = "plain", *, seconds: float = NOTICE_SECONDS) -> None:
        """One line instead of the footer, for a while."""
        self.notice = Span(clean(text, self.palette.look.ascii_only), tone) if text else None
        self._notice_until = self.monotonic() + seconds
        if self.main.is_attached:
            self.main.draw_footer()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual's last step before the terminal (tests/console/test_paint.py)."""
        super()._display(screen, self.painter.frame(renderable))
        self.turns.framed()

    def renew_reader(self) -> bool:
        """What is being read has changed; whether anything is being read."""
        if isinstance(self.screen, Reader):
            self.screen.renew()
        return isinstance(self.screen, Reader)

    def write_terminal(self, sequence: str) -> None:
        """Something for the terminal itself, such as its clipboard."""
        if self._driver is not None:
            self._driver.write(sequence)
            self._driver.flush()

    # --- intents out -----------------------------------------------------------------------------

    def allows(self, action: str) -> bool:
        """Whether an action exists in this pane and for this person."""
        return allowed(action, self.board.pane.name, may_write=self.store.may_write)

    def withheld(self, action: str) -> bool:
        """Whether a key is shown though this person may not use it."""
        return withheld(action, self.board.pane.name, may_write=self.store.may_write)

    def unable(self, action: str) -> str:
        """Why the cluster of the row under the cursor cannot do this, or the row cannot take it; "" when it can."""
        if self.withheld(action):
            return "this console is read-only"
        if action in WINDOW_ACTIONS:
            return self.windowing.why_not(action)
        cluster = self.main.cluster_here()
        return unable(action, (cluster,) if cluster in self.store.clusters else (), self.store.able)

    def completions(self) -> list[str]:
        """What `:` can complete."""
        return completions(self)

    def command(self, line: str) -> None:
        """What was typed after `:`."""
        run_command(self, line)

    def ask_engine(self, call: Callable[[], Any]) -> None:
        """Run a call to the engine beside the keys; a refusal is shown in words."""
        self.run_worker(self._asked(call), exit_on_error=False)

    async def _asked(self, call: Callable[[], Any]) -> None:
        try:
            await call()
        except Refused as refused:
            self.say("")  # "Planning …" is no longer true
            self.doing.problem(refused.problem)

    def post_message(self, message: Message) -> bool:
        """A key is noted as soon as it is here, several turns of the loop before its action."""
        if isinstance(message, events.Key) and not message.is_forwarded:
            self.turns.key()
        return super().post_message(message)

    async def on_event(self, event: events.Event) -> None:
        """Keys and pastes that arrive before a dialog can have been read do not reach it."""
        guarded = (
            getattr(self.screen, "guards", None) if isinstance(event, (events.Key, events.Paste)) else None
        )
        if guarded is not None and guarded(event):
            return
        if isinstance(event, events.Key) and (self._typed_ahead(event) or self._taken(event)):
            return
        await super().on_event(event)

    def _typed_ahead(self, event: events.Key) -> bool:
        """A key that the table was given before "/" opened the prompt has come back unused: it belongs to the prompt."""
        prompt = self.main.prompt
        if not (event.is_forwarded and event.is_printable and self.screen is self.main and prompt.is_open):
            return False
        prompt.type(event.character or "")
        return True

    def _taken(self, event: events.Key) -> bool:
        """A dialog moves among its fields at once: what is typed after Tab belongs to the next one."""
        return isinstance(self.screen, Ask) and not event.is_forwarded and self.screen.takes(event)

    def action_repaint(self) -> None:
        """Whatever the terminal shows: line noise, or what another program wrote over it."""
        paint_all(self.screen)

    async def action_quit(self) -> None:
        """Leave; the engine goes on."""
        self.exit(0)
