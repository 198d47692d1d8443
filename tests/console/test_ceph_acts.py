"""What the Ceph pane asks and does: PGs of a cell, may the OSDs of a host stop, noout for exactly one host."""

from __future__ import annotations

import msgspec
import pytest

from evac.actions import SetNoout, UnsetNoout
from evac.model import Capability, Finding, Problem
from evac.storage import PG, StopAnswer, StopVerdict
from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import FleetSource, cluster, hello
from tests.console.harness import Driver, running, until
from tui import help as help_page
from tui.ceph_rows import Zoom
from tui.dialogs.reader import Reader
from tui.keys import key_name


def verdict(answer: StopAnswer) -> StopVerdict:
    return StopVerdict(
        cluster="ceph1",
        host="node02",
        osds=(3, 4, 5),
        answer=answer,
        findings=(
            Finding(
                check="ok-to-stop",
                ok=answer is StopAnswer.SAFE,
                passes=answer is StopAnswer.NOT_YET,
                detail="12 PGs would stop",
                fix="wait",
            ),
            Finding(check="mon quorum", ok=True, detail="3 of 3, 2 stay"),
            Finding(check="osd perf", ok=None, detail="the mgr did not answer"),
        ),
        wait=240.0 if answer is StopAnswer.NOT_YET else None,
        at=1e9,
    )


async def read(run: Driver) -> str:
    """What a reader that opened says."""
    await until(lambda: isinstance(run.console.screen, Reader), f"nothing to read: {run.console.notice}")
    await run.pilot.pause()
    return run.text()


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (StopAnswer.SAFE, "SAFE: stop the 3 OSDs of node02?"),
        (StopAnswer.NOT_YET, "NOT YET: stop the 3 OSDs of node02?"),
        (StopAnswer.NO, "NO: stop the 3 OSDs of node02?"),
        (StopAnswer.UNKNOWN, "UNKNOWN: stop the 3 OSDs of node02?"),
    ],
)
async def test_the_verdict_on_a_host_is_a_word_with_every_reason_those_against_it_first(
    answer: StopAnswer, title: str
) -> None:
    source = FleetSource(ceph_fleet())
    source.verdict = verdict(answer)
    async with running(source) as run:
        await run.press("6", "down", "down", "down", "down", "o")
        text = await read(run)
        assert title in text
        assert ("not yet  ok-to-stop" in text) is (answer is StopAnswer.NOT_YET)
        assert ("against  ok-to-stop" in text) is (answer in {StopAnswer.NO, StopAnswer.UNKNOWN})
        assert source.calls == [("may_stop", "ceph1/node02")]
        assert "osd.3, osd.4, osd.5" in text
        assert ("ask again in about 4 m 00 s" in text) is (answer is StopAnswer.NOT_YET)
        assert text.index("ok-to-stop") < text.index("mon quorum") or answer is StopAnswer.SAFE
        assert "not seen" in text
        assert not source.changed_anything


async def test_a_verdict_that_cannot_be_had_is_told_in_words() -> None:
    source = FleetSource(ceph_fleet())
    async with running(source) as run:
        await run.press("6")
        source.refuse = Problem(happened="ceph1 does not answer.", next_step="Try again when it does.")
        await run.press("o")
        text = await read(run)
        assert "ceph1 does not answer." in text
        assert "Try again when it does." in text


async def test_on_a_rack_there_is_no_single_host_to_judge_or_to_flag() -> None:
    source = FleetSource(ceph_fleet())
    async with running(source) as run:
        await run.press("6", "Z", "Z")
        assert run.console.grid.zoom is Zoom.RACK
        for key in "on":
            await run.press(key)
            assert "Zoom in (z) to a host first." in run.text()
        assert not source.calls


async def test_noout_is_set_for_exactly_the_host_of_the_row_after_a_dialog_that_names_it() -> None:
    source = FleetSource(ceph_fleet())
    async with running(source) as run:
        await run.press("6", "n")
        dialog = await run.dialog()
        assert dialog.sheet.title == "Set noout for node01?"
        body = "\n".join("".join(span.text for span in line) for line in dialog.sheet.body)
        assert "3 of 3 OSDs up: osd.0, osd.1, osd.2" in body
        assert "ceph1" in body
        await run.press("tab", "enter")
        await until(lambda: bool(source.orders), "nothing was ordered")
        assert source.orders[0].actions == (SetNoout(cluster="ceph1", host="node01", name="node01"),)


async def test_where_noout_is_set_the_same_key_takes_it_back_and_warns_of_osds_that_are_down() -> None:
    source = FleetSource(ceph_fleet())
    async with running(source) as run:
        await run.press("6", "down", "down", "down", "n")
        dialog = await run.dialog()
        assert dialog.sheet.title == "Unset noout for node02?"
        body = "\n".join("".join(span.text for span in line) for line in dialog.sheet.body)
        assert "1 of its OSDs is down now" in body
        await run.press("escape")
        await run.main()
        assert not source.orders
        await run.press("n")
        await run.dialog()
        await run.press("tab", "enter")
        await until(lambda: bool(source.orders), "nothing was ordered")
        assert source.orders[0].actions == (UnsetNoout(cluster="ceph1", host="node02", name="node02"),)


async def test_a_cluster_that_cannot_take_noout_says_why_and_opens_no_dialog() -> None:
    fleet = ceph_fleet()
    why = "evac's key may only read: it needs mon 'allow command \"osd set-group\"'."
    fleet.publish(
        clusters=[
            cluster(
                "ceph1", kind="ceph", capabilities=(Capability(action="set_noout", able=False, why_not=why),)
            )
        ]
    )
    async with running(FleetSource(fleet)) as run:
        await run.press("6", "n")
        assert "evac's key may only read" in run.text()
        assert run.console.screen is run.console.main


@pytest.mark.parametrize(
    "greeting", [hello(read_only=True), hello(role="viewer")], ids=["read-only", "viewer"]
)
async def test_without_the_right_to_write_the_noout_key_does_not_exist_and_looking_works(
    greeting: object,
) -> None:
    source = FleetSource(ceph_fleet(), greeting)  # type: ignore[arg-type]
    source.verdict = verdict(StopAnswer.SAFE)
    async with running(source) as run:
        await run.press("6")
        assert "noout" not in " ".join(words for _, words, _ in help_page.active(run.console))
        before = run.text()
        await run.press("n")
        assert run.console.screen is run.console.main
        assert run.text().splitlines()[6:] == before.splitlines()[6:]
        await run.press("o")
        assert "SAFE" in await read(run)
        assert not source.changed_anything


async def test_enter_on_an_osd_lists_the_pgs_of_the_cell_with_their_part_and_state() -> None:
    source = FleetSource(ceph_fleet())
    source.placed = [
        PG(id="2.1f", state="active+clean", up=(0, 4, 8), acting=(0, 4, 8), acting_primary=0),
        PG(id="2.3a", state="active+remapped+backfilling", up=(0, 4, 8), acting=(7, 4, 8), acting_primary=7),
        PG(id="2.40", state="active+remapped", up=(7, None, 8), acting=(7, 0, 8), acting_primary=7),
    ]
    async with running(source, size=(120, 40)) as run:
        await run.press("6", "right", "enter")
        text = await read(run)
        assert source.calls == [("groups", "ceph1/0/2")]
        assert "osd.0 in pool volumes: 3 PGs" in text
        lines = {line.split()[1]: line for line in text.splitlines() if " 2." in line}
        assert "primary" in lines["2.1f"]
        assert "arriving" in lines["2.3a"]
        assert "leaving" in lines["2.40"]
        assert "[7,-,8] / [7,0,8]" in lines["2.40"]


async def test_every_key_that_help_names_does_something_in_the_ceph_pane() -> None:
    fleet = ceph_fleet(osds=60)
    source = FleetSource(fleet)
    source.verdict = verdict(StopAnswer.SAFE)
    async with running(source) as run:
        await _prepare(run)
        keys = [
            key
            for key, active in run.console.main.active_bindings.items()
            if active.enabled and active.binding.description
        ]
        shown = " ".join(names for names, _, _ in help_page.active(run.console))
        assert all(key_name(key) in shown for key in keys)
        for key in keys:
            if key in {"q", "ctrl+c", "ctrl+z", "6", "z", "plus", "escape", "backspace"}:
                continue  # they leave, or have nothing to do here: those are pressed elsewhere
            await _prepare(run)
            before = _state(run)
            run.tap(key)
            await until(lambda before=before: _state(run) != before, f"{key} does nothing here", 3)  # type: ignore[misc]
            await _back(run)


def _state(run: Driver) -> tuple[object, ...]:
    console, grid = run.console, run.console.grid
    return (
        run.text() if console.screen is console.main else "",
        console.main.prompt.is_open,
        type(console.screen),
        console.board.pane.name,
        (grid.cursor, grid.pool, grid.sort, grid.reverse, grid.mode, grid.zoom, grid.by_most),
        dict(grid.pins),
        tuple(run.source.calls),
        console.notice,
    )


async def _prepare(run: Driver) -> None:
    run.console.show_pane("ceph")
    grid = run.console.grid
    grid.set_zoom(Zoom.OSD, scopes=())
    grid.move_to(30)
    grid.to_column(7)
    run.console.main.redraw()
    await run.pilot.pause()


async def _back(run: Driver) -> None:
    for _ in range(20):
        await run.pilot.pause()
        run.clock.now += 1.0
        if run.console.screen is run.console.main and not run.console.main.prompt.is_open:
            break
        run.tap("escape")
    run.console.say("")


async def test_the_palette_finds_the_keys_of_the_map() -> None:
    source = FleetSource(ceph_fleet())
    source.verdict = verdict(StopAnswer.SAFE)
    async with running(source) as run:
        await run.press("6", "ctrl+p", *"may", "enter")
        assert "SAFE" in await read(run)


async def test_a_stale_cluster_still_shows_its_counts_and_how_old_they_are() -> None:
    fleet = ceph_fleet()
    held = fleet.cluster("ceph1")
    assert held is not None
    fleet.publish(clusters=[msgspec.structs.replace(held, fresh_stamp=(held.fresh_stamp or 0) - 300)])
    async with running(fleet) as run:
        await run.press("6")
        assert "STALE 5 m" in run.text()
        assert "osd.0" in run.text()
