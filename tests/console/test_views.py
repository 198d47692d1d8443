"""What is on the screen: panes, filter, help, sizes, hostile and wide names, an engine that goes away."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len
from textual.geometry import Size

from evac import clock
from evac.actions import LiveMigrate
from evac.jobs import Event, Job, JobState, Order
from evac.model import VM, Migration, Phase, Problem, Progress, VMState
from tests.console.fleetsource import ADMIN, GIB, FleetSource, some_fleet
from tests.console.harness import Driver, running, until
from tui import help as help_page
from tui.board import Pane
from tui.keys import key_name
from tui.look import Look
from tui.panes import PANES
from tui.source import Attached, Lost
from tui.widgets.columns import place


def _jobs(vms: list[VM]) -> list[Job]:
    jobs = []
    for number, (vm, state) in enumerate(
        zip(
            vms,
            [JobState.DONE, JobState.RUNNING, JobState.FAILED, JobState.QUEUED, JobState.HELD],
            strict=False,
        ),
        1,
    ):
        progress = None
        if state is JobState.RUNNING:
            progress = Progress(
                phase=Phase.RUNNING,
                total=8 * GIB,
                processed=20 * GIB,
                remaining=2 * GIB,
                rate=210e6,
                verdict="will not converge: dirties faster than the link",
            )
        jobs.append(
            Job(
                id=f"J{number}",
                order="O1",
                action=LiveMigrate(cluster="prod", vm=vm.id, name=vm.name, host=vm.host),
                state=state,
                target="cmp-05",
                by=ADMIN,
                created=1e9,
                submitted=1e9,
                progress=progress,
                reason="no host has room" if state is JobState.FAILED else "",
            )
        )
    return jobs


def busy_fleet() -> FleetSource:
    """A drain half done, with one move that does not converge and one of somebody else."""
    fleet = some_fleet(vms=60)
    vms = fleet.vms_on("prod", "cmp-02")
    jobs = _jobs(vms)
    fleet.publish(
        orders=[
            Order(
                id="O1",
                title="drain cmp-02",
                by=ADMIN,
                created=1e9,
                jobs=5,
                done=1,
                failed=1,
                empties="prod/cmp-02",
            )
        ],
        jobs=jobs,
        vms=[msgspec.structs.replace(vms[1], state=VMState.MIGRATING)],
        migrations=[
            Migration(
                cluster="prod",
                id="7",
                vm=fleet.vms_on("prod", "cmp-06")[0].id,
                phase=Phase.RUNNING,
                source="cmp-06",
            )
        ],
        events=[
            Event(key=f"E{n}", at=1e9 + n, kind="job", text=f"J{n} happened", cluster="prod")
            for n in range(5)
        ],
    )
    return FleetSource(fleet)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_every_pane_has_its_header_and_rows(size: tuple[int, int]) -> None:
    async with running(busy_fleet(), size=size) as run:
        for number, pane in enumerate(PANES, 1):
            await run.press(str(number))
            text = run.text()
            assert f" {pane.title} " in text.splitlines()[3]
            assert pane.columns[0].title in text
            assert len(run.console.board.order) > 0
            assert all(cell_len(line) <= size[0] for line in text.splitlines())
            assert len(text.splitlines()) <= size[1]


async def test_the_queue_shows_phase_bytes_rate_and_words_at_80_columns() -> None:
    async with running(busy_fleet()) as run:
        await run.press("3")
        line = next(line for line in run.text().splitlines() if "└ J2" in line)
        for part in ("running", "2.0G", "M/s", "never", "will not"):
            assert part in line
        assert "theirs" in run.text()
        assert run.console.board.go_to("J2")
        await run.press("enter")
        await until(
            lambda: "dirties faster than the link" in run.text(), "the detail does not say the verdict"
        )


async def test_the_filter_follows_each_character_and_escape_takes_it_back() -> None:
    async with running(some_fleet(vms=60)) as run:
        await run.press("2", "slash", *"state:err")
        assert {vm.state for vm in map(run.console.store.vms.get, run.console.board.order) if vm} == {
            VMState.ERROR
        }
        await run.press("enter")
        assert "filter state:err" in run.text()
        assert "m migrate" in run.text().splitlines()[-1], "the footer names the table's keys again"
        await run.press("escape")
        assert len(run.console.board.order) == 60
        await run.press("slash", *"web", "escape")
        assert len(run.console.board.order) == 60


async def test_commands_complete_and_an_unknown_one_says_so() -> None:
    async with running() as run:
        await run.press("colon", *"qu", "tab", "enter")
        assert run.console.board.pane.name == "queue"
        await run.press("colon", *"drain cmp-02", "enter")
        dialog = await run.dialog()
        assert "Drain cmp-02?" in dialog.sheet.title
        await run.press("escape")
        await run.main()
        await run.press("colon", *"frobnicate", "enter")
        assert "There is no command" in run.text()
        await run.press("colon", *"drain cmp-0", "enter")
        assert "No hosts named exactly" in run.text(), "a pattern is never a name"
        await run.press("colon", *"vms state:error", "enter")
        assert run.console.board.filter == "state:error"


def snapshot(run: Driver) -> tuple[object, ...]:
    console, board = run.console, run.console.board
    return (
        run.text() if console.screen is console.main else "",
        console.main.prompt.is_open,
        type(console.screen),
        board.pane.name,
        board.cursor,
        board.sort,
        board.reverse,
        tuple(board.marks),
        board.anchor,
        tuple(run.source.calls),
        console.notice,
        console._exit,
    )


async def _prepare(run: Driver, pane: str) -> None:
    """In the middle of the rows, with something for every key to do."""
    run.console.show_pane(pane)
    board = run.console.board
    board.move_to(len(board.order) // 2)
    if pane == "vms":
        board.go_to(next(key for key, vm in run.console.store.vms.items() if vm.state is VMState.RUNNING))
    if pane == "queue":
        board.go_to("J3")
    run.console.main.redraw()
    await run.pilot.pause()


LEAVING = {"q", "ctrl+c", "ctrl+z"}
"""They end or suspend the console; tests/console/test_terminal.py presses them in a real terminal."""


@pytest.mark.parametrize("pane", PANES, ids=lambda pane: pane.name)
async def test_every_key_that_help_names_does_something(pane: Pane) -> None:
    async with running(busy_fleet()) as run:
        await _prepare(run, pane.name)
        keys = [
            key
            for key, active in run.console.main.active_bindings.items()
            if active.enabled and active.binding.description
        ]
        shown = " ".join(names for names, _, _ in help_page.active(run.console))
        assert all(key_name(key) in shown for key in keys)
        assert set(keys) > LEAVING
        already_there = str([other.name for other in PANES].index(pane.name) + 1)
        for key in keys:
            if key in LEAVING or key == already_there:
                continue
            await _prepare(run, pane.name)
            if key == "escape":
                await run.press("space")
            before = snapshot(run)
            run.tap(key)
            await until(lambda before=before: snapshot(run) != before, f"{key} does nothing here", 3)  # type: ignore[misc]
            await _back(run)


async def _back(run: Driver) -> None:
    for _ in range(20):
        await run.pilot.pause()
        run.clock.now += 1.0
        if run.console.screen is run.console.main and not run.console.main.prompt.is_open:
            break
        run.tap("escape")
    run.console.board.clear_marks()
    run.console.say("")


async def test_no_key_that_terminals_keep_for_themselves_is_bound() -> None:
    """Flow control, multiplexers' prefixes; ctrl-z only suspends."""
    async with running(busy_fleet()) as run:
        for pane in PANES:
            run.console.show_pane(pane.name)
            bound = run.console.main.active_bindings
            assert not {"ctrl+s", "ctrl+q", "ctrl+a", "ctrl+b"} & bound.keys()
            assert bound["ctrl+z"].binding.action == "suspend_process"
        await run.press("slash")
        assert not {"ctrl+s", "ctrl+q", "ctrl+a", "ctrl+b"} & run.console.main.active_bindings.keys()


async def test_below_80x24_a_plain_message_takes_the_keys() -> None:
    async with running() as run:
        await run.pilot.resize_terminal(79, 24)
        await until(lambda: "80x24" in run.text(), "no message")
        assert "79x24" in run.text()
        await run.press("d")
        assert not run.source.changed_anything
        await run.pilot.resize_terminal(100, 30)
        await until(lambda: "cmp-01" in run.text(), "the console did not come back")


async def test_a_dialog_survives_a_resize_storm() -> None:
    async with running() as run:
        assert run.console.board.go_to("prod/cmp-02")
        await run.press("d")
        dialog = await run.dialog()
        for wide, high in ((200, 60), (40, 10), (80, 24), (81, 25), (300, 100), (80, 24)):
            await run.pilot.resize_terminal(wide, high)
        await until(lambda: run.console.screen is dialog, "the dialog is gone")
        assert run.console.size == Size(80, 24)
        text = run.text()
        assert "[Drain]" in text
        assert "[Cancel]" in text
        assert "cmp-02" in text


HOSTILE = "\x1b]0;owned\x07[red]evil[/]\u202egnp\u200b\n"


async def test_hostile_names_are_shown_and_harmless_everywhere() -> None:
    fleet = some_fleet(vms=4)
    vm = VM(
        cluster="prod",
        id="zz-9",
        name=HOSTILE,
        host="cmp-01",
        state=VMState.RUNNING,
        tags=(HOSTILE,),
        fault=HOSTILE,
    )
    fleet.publish(
        vms=[vm], events=[Event(key="E1", at=clock.wall(), kind="job", text=HOSTILE, cluster=HOSTILE)]
    )
    async with running(fleet, size=(120, 40)) as run:
        for pane in ("2", "4"):
            await run.press(pane)
            run.console.board.go_to(vm.key)
            run.console.main.redraw()
            await run.pilot.pause()
            assert "[red]evil[/]" in run.text()
        await run.press("2")
        for key in ("enter", "O"):
            run.console.board.go_to(vm.key)
            await run.press(key)
            await until(lambda: run.console.screen is not run.console.main, "nothing opened")
            await run.pilot.pause()
            text = run.text()
            assert "[red]evil[/]" in text
            assert not set(text) & {"\x1b", "\x07", "\u202e", "\u200b"}
            run.clock.now += 1
            await run.press("escape")
            await run.main()


async def test_east_asian_wide_names_stay_aligned() -> None:
    fleet = some_fleet(vms=0)
    fleet.publish(
        vms=[
            VM(cluster="prod", id=str(n), name=name, host="cmp-01", state=VMState.RUNNING)
            for n, name in enumerate(
                [
                    "日本語のとても長い名前のサーバーです",
                    "ascii",
                    "e\u0301te\u0301",
                    "한국어",
                    "🙂-vm",
                    "混ざったmixed名前",
                ]
            )
        ]
    )
    async with running(fleet) as run:
        await run.press("2")
        lines = [line for line in run.text().splitlines() if "running" in line and "cmp-01" in line][:6]
        assert len(lines) == 6
        columns = {cell_len(line[: line.index("▶")]) for line in lines}
        assert len(columns) == 1, f"the state column is not aligned: {columns}"


async def test_ascii_mode_draws_nothing_else() -> None:
    async with running(busy_fleet(), look=Look(ascii_only=True)) as run:
        for number in range(1, 6):
            await run.press(str(number))
            assert run.text().isascii()
        await run.press("question_mark")
        await run.pilot.pause()
        assert run.text().isascii()
        await run.press("escape", "1")
        run.console.board.go_to("prod/cmp-02")
        await run.press("d")
        await run.dialog()
        assert run.text().isascii()


async def test_a_lost_engine_is_said_at_the_top_and_again_when_it_is_back() -> None:
    async with running() as run:
        run.console.take(Lost(Problem(happened="The engine has ended.", next_step="Trying again.")))
        await run.pilot.pause()
        assert "ENGINE LOST" in run.text().splitlines()[1]
        assert "cmp-01" in run.text(), "what was known stays on show"
        run.console.take(Attached(run.source.greeting))
        await run.pilot.pause()
        assert "ENGINE LOST" not in run.text()


def test_columns_go_by_priority_when_there_is_no_room() -> None:
    for pane in PANES:
        for wide in range(77, 250):
            placed = place(pane.columns, wide)
            assert sum(entry.cells + 1 for entry in placed) - 1 <= wide, pane.name
            shown = {entry.column.key for entry in placed}
            assert {column.key for column in pane.columns if column.priority == 0} <= shown
