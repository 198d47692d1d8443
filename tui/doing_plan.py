"""What the keys do about plans of windows: ask for one, go through it, decide, save it, have it looked at again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from evac.model import Host, Problem
from evac.planning import dump_plan, fate_of, plan_hash
from evac.window.plan import Fate, PlanDiff, PlannedStay, WindowPlan
from tui import intents_plan, plan_asking, windows
from tui.dialogs.ask import Ask
from tui.dialogs.plan import Key, PlanScreen
from tui.intents_plan import Act
from tui.look import Span
from tui.plan_rows import from_matrix, stay_key
from tui.sheet import Answers, Field, Sheet
from tui.source import Refused
from tui.text import clean

if TYPE_CHECKING:
    from tui.app import Console

ARRIVES = 5.0
"""Seconds within which a window that has begun is told of to the consoles."""

ABOUT = {
    "f": "of a VM that cannot go: leave it, stop it, or hold the window for it",
    "p": "ask each platform's own checker about every move",
    "c": "with what is there now",
    "w": "into a file, to keep and to change by hand",
    "R": "the engine keeps it; others see it and can approve it",
    "a": "agree to what somebody else has registered",
    "b": "run it; asks first",
}

_NEXT = {
    Fate.UNDECIDED: Fate.LEAVE,
    Fate.LEAVE: Fate.STOP,
    Fate.STOP: Fate.HOLD,
    Fate.HOLD: Fate.LEAVE,
}


async def _nothing(_source: Any, _answers: Answers) -> str:
    return ""


class PlanDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    # --- asking for one --------------------------------------------------------------------------

    def plan(self) -> None:
        """A window over the marked hosts, in the order in which they were marked; else the one under the cursor."""
        board = self.console.board
        keys = [*board.marks, *(key for key in board.marked() if key not in board.marks)]
        keys = keys or ([board.cursor] if board.cursor is not None else [])
        rows = [board.pane.row(self.console.store, key) for key in keys]
        hosts = [row for row in rows if isinstance(row, Host)]
        if len(hosts) < len(rows) or not hosts:
            self.console.say("Mark hosts that exist (space), then plan a window for them.", "warn")
            return
        self._ask(hosts, None)

    def _ask(self, hosts: list[Host], typed: Answers | None) -> None:
        console = self.console
        sheet = plan_asking.plan_sheet(hosts, console.context, _nothing, typed)

        def done(answers: Answers | None) -> None:
            if answers is None:
                console.say("Nothing was planned.")
                return
            request = plan_asking.request_of(hosts, answers, console.store.wall())
            console.say("Planning ...")

            async def planned() -> None:
                plan = await console.source.plan_window(request)
                diff = await console.source.diff_plan(plan)
                console.say("")
                if console.screen is not console.main:
                    console.say("The plan was dropped: another dialog is open.", "warn")
                    return
                self.show(plan, diff)

            console.ask_engine(planned)

        self._push(Ask(console.palette, sheet, monotonic=console.monotonic, deaf=console.deaf), done)

    def _push(self, dialog: Any, done: Callable[[Any], None]) -> None:
        self.console.doing.push(dialog, done)

    # --- going through it ------------------------------------------------------------------------

    def show(self, plan: WindowPlan, diff: PlanDiff | None) -> PlanScreen:
        """On the whole screen."""
        console = self.console
        screen = PlanScreen(
            console.palette,
            lambda: console.context,
            plan,
            diff,
            console.doing.copy,
            monotonic=console.monotonic,
            deaf=console.deaf,
        )
        screen.keys = self._keys(screen)
        screen.help = lambda lines: console.doing.read("Help: the keys of a plan", lines)
        self._push(screen, lambda _: None)
        self._judge(screen, quick=True)
        return screen

    def _judge(self, screen: PlanScreen, *, quick: bool) -> None:
        """Each VM on its planned target: by evac's rules at once (`quick`), by the platform's own checker when asked."""
        plan, source = screen.plan, self.console.source

        async def judged() -> None:
            screen.notes = ()
            for host in plan.hosts:
                if not quick:
                    screen.say(f"asking {clean(host.cluster)} about the VMs of {clean(host.name)} ...")
                keep = plan.policy.keep_free
                try:
                    matrix = await source.matrix(host.cluster, host.host, keep_free=keep, quick=quick)
                except Refused as refused:
                    screen.say(clean(f"Not judged: {refused.problem.happened}"))
                    return
                screen.judge(from_matrix(plan, matrix), () if quick else matrix.notes)
            if not quick:
                screen.say("")

        self.console.ask_engine(judged)

    def _keys(self, screen: PlanScreen) -> list[Key]:
        return [
            Key(
                key="f",
                words="fate",
                about=ABOUT["f"],
                do=lambda: self._decide(screen),
                why_not=lambda: _no_stay(screen),
            ),
            Key(key="p", words="preflight", about=ABOUT["p"], do=lambda: self._judge(screen, quick=False)),
            Key(key="c", words="compare", about=ABOUT["c"], do=lambda: self._compare(screen)),
            Key(key="w", words="write", about=ABOUT["w"], do=lambda: self._write(screen)),
            self._asks(screen, "R", intents_plan.REGISTER),
            self._asks(screen, "a", intents_plan.APPROVE),
            self._asks(screen, "b", intents_plan.BEGIN, lambda: self._begun(screen)),
        ]

    def _begun(self, screen: PlanScreen) -> None:
        """From the plan to the window that runs it."""
        sealed, console = plan_hash(screen.plan), self.console
        console.say(screen.said, "good")
        screen.dismiss(None)
        console.show_pane("window")
        cursor, until = console.board.cursor, console.monotonic() + ARRIVES

        async def shown() -> None:
            """Its row comes a moment after the answer; a cursor that was moved meanwhile, off the plan, is left alone."""
            while not (found := [one for one in windows.open_windows(console.store) if one.plan == sealed]):
                if console.monotonic() > until:
                    return
                await asyncio.sleep(0.05)
            if console.board.pane.name == "window" and console.board.cursor in {
                cursor,
                sealed,
                None,
                found[0].id,
            }:
                run = windows.foremost(found[0])
                console.windowing.show(windows.host_key(found[0], run) if run is not None else found[0].id)

        console.ask_engine(shown)

    def _asks(self, screen: PlanScreen, key: str, act: Act, after: Callable[[], None] = lambda: None) -> Key:
        """A key that asks before it hands something in about the plan as it is then."""
        context = self.console.context
        return Key(
            key=key,
            words=act.words,
            about=ABOUT[key],
            do=lambda: self.sheet(screen, act.sheet(screen.plan, context), after),
            why_not=lambda: act.why_not(screen.plan, context),
        )

    def open(self, sealed: str) -> None:
        """A plan that the engine keeps, beside what is there now."""
        console = self.console

        async def read() -> None:
            plan = await console.source.read_plan(sealed)
            diff = await console.source.diff_plan(plan)
            if console.screen is console.main:
                self.show(plan, diff)

        console.ask_engine(read)

    def _decide(self, screen: PlanScreen) -> None:
        """Leave, shut down and restart, stop here: the next of the three for the VM under the cursor."""
        row = screen.row
        if row is None or not row.stay:
            return
        plan = decided(screen.plan, row.stay)
        screen.show_plan(plan, screen.diff)
        screen.go_to(row.stay)
        self._compare(screen)

    def _compare(self, screen: PlanScreen) -> None:
        """With what is there now; an answer about a plan that was changed meanwhile is not shown."""
        plan = screen.plan

        async def compared() -> None:
            diff = await self.console.source.diff_plan(plan)
            if screen.plan is plan:
                stay = screen.row.stay if screen.row is not None else ""
                screen.show_plan(plan, diff)
                screen.go_to(stay)

        self.console.ask_engine(compared)

    def _write(self, screen: PlanScreen) -> None:
        """Into a file that people review and keep in Git."""
        plan = screen.plan
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", plan.ticket or plan.title).strip("-.").lower() or "window"
        field = Field(
            key="file", prompt="File", value=str(Path.cwd() / f"plan-{name}.toml"), least=1, pastes=True
        )

        async def run(_source: Any, answers: Answers) -> str:
            path = await asyncio.to_thread(write_new, answers["file"], dump_plan(plan))
            return f"Written to {path}. `evac plan` reads it; its hash is what is approved."

        body = (
            (Span(clean(plan.title, self.console.palette.look.ascii_only), "title"),),
            (Span("One VM a line, to be reviewed and kept in Git. A file that exists is not overwritten."),),
        )
        self.sheet(
            screen, Sheet(title="Write the plan to a file?", body=body, ok="Write", fields=(field,), run=run)
        )

    def sheet(self, screen: PlanScreen, sheet: Sheet, after: Callable[[], None] = lambda: None) -> None:
        """A confirm dialog over the plan; what came of it is said below it."""
        console = self.console

        def done(answers: Answers | None) -> None:
            if answers is None:
                screen.say("Nothing was done.")
                return

            async def handed_in() -> None:
                screen.say(await sheet.run(console.source, answers))
                after()

            console.ask_engine(handed_in)

        self._push(Ask(console.palette, sheet, monotonic=console.monotonic, deaf=console.deaf), done)


def _no_stay(screen: PlanScreen) -> str:
    row = screen.row
    return "" if row is not None and row.stay else "put the cursor on a VM that does not move"


def decided(plan: WindowPlan, key: str) -> WindowPlan:
    """With the next fate for one VM."""
    return msgspec.structs.replace(
        plan,
        hosts=tuple(
            msgspec.structs.replace(
                host,
                stays=tuple(_next(plan, stay) if stay_key(at, stay) == key else stay for stay in host.stays),
            )
            for at, host in enumerate(plan.hosts)
        ),
    )


def _next(plan: WindowPlan, stay: PlannedStay) -> PlannedStay:
    return msgspec.structs.replace(stay, fate=_NEXT[fate_of(plan, stay)])


def write_new(name: str, text: str) -> Path:
    """The file. Raises Refused: it exists, or cannot be written."""
    path = Path(name.strip()).expanduser()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Refused(
            Problem(
                happened=f"{path} exists already.",
                unaffected="It was left as it is.",
                next_step="Choose another name.",
            )
        ) from None
    except OSError as error:
        raise Refused(
            Problem(
                happened=f"{path} could not be written: {error.strerror}.", next_step="Choose another place."
            )
        ) from None
    return path
