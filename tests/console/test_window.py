"""The window pane: one glance at what is happening, whether it is fine, what is next and how long; and what is owed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evac.jobs import Actor, JobState
from evac.model import Progress
from evac.storage import Health, HealthCheck, Storage
from evac.window.nouns import LedgerState, StepKind, StepState, WindowState
from tests.console.fleetsource import FleetSource, hello, some_fleet
from tests.console.harness import Driver, running
from tests.console.windowfleet import NOW, a_plan, a_window, drain_order, entry, run, steps, window_fleet
from tui import away
from tui.look import Look
from tui.panes import TABS
from tui.store import Store

LOOKS = [Look(), Look(ascii_only=True, theme="mono"), Look(theme="colour-blind"), Look(theme="light")]


def at(when: float = NOW) -> Store:
    return Store(wall=lambda: when)


def in_pane(fleet: Any = None, **more: Any) -> Any:
    source = fleet if isinstance(fleet, FleetSource) else FleetSource(fleet or window_fleet())
    return running(source, **{"store": at(), **more})


async def text_of(driver: Driver) -> str:
    await driver.press("8")
    await driver.settled()
    return driver.text()


SAID = "SAFE TO REBOOT cmp-02: guests 0, ceph ok-to-stop osd.2-3, noout(host) set"


def safe_window(said: str = SAID, **more: Any) -> Any:
    """cmp-02 is proven safe, and waits for a person to restart it; `said`: what the last look says of it."""
    next_step = "reboot cmp-02, then D"
    made = [
        msgspec.structs.replace(step, reason=SAID) if step.kind is StepKind.SAFE else step
        for step in steps(StepKind.HOOK, StepState.NEEDS_YOU, reason=said, next_step=next_step)
    ]
    return a_window(run(1, steps(None)), run(2, tuple(made)), run(5), **more)


async def test_one_line_says_what_happens_whether_it_is_fine_what_is_next_and_how_long() -> None:
    """On every pane, not only in its own."""
    async with in_pane() as driver:
        for number in range(1, len(TABS) + 1):
            await driver.press(str(number))
            await driver.settled()
            line = driver.text().splitlines()[1]
            assert line.startswith(
                " W3 ▶ drain cmp-02 14/19 · ✓ 0 failed · ✓ ceph OK · 1-3 m left · then reboot"
            )


async def test_hosts_are_shown_in_the_order_of_the_plan_with_their_steps_as_glyphs_and_words() -> None:
    async with in_pane() as driver:
        text = await text_of(driver)
        rows = [line for line in text.splitlines() if "└" in line]
        assert [row.split()[1] for row in rows] == ["cmp-01", "cmp-02", "cmp-05", "cmp-06"]
        assert "✓✓✓✓✓✓✓✓✓✓✓✓ ✓ through" in rows[0]
        assert "✓✓▶○○○○○○○○○ ▶ drain 14/19" in rows[1]
        assert "○ not begun" in rows[2]
        assert "✓ preflight ✓ fence ▶ drain 14/19 ○ empty" in text


async def test_a_failed_move_and_a_sick_ceph_are_no_longer_fine() -> None:
    async with in_pane() as driver:
        drain_order(driver.fleet, done=12, failed=2)
        driver.fleet.publish(storages=[Storage(cluster="ceph", health=Health.WARNING)])
        line = (await text_of(driver)).splitlines()[1]
        assert "drain cmp-02 12/19 · ✗ 2 failed · ▲ ceph WARN" in line


async def test_a_ceph_that_warns_of_nothing_but_the_noout_of_the_window_is_fine() -> None:
    warns = Storage(
        cluster="ceph",
        health=Health.WARNING,
        checks=(HealthCheck(code="OSD_FLAGS", summary="1 host has noout set"),),
        node_flags={"cmp-02": ("noout",)},
    )
    async with in_pane(window_fleet(ledger=(entry(8, "noout", cluster="ceph"),))) as driver:
        driver.fleet.publish(storages=[warns])
        assert "✓ ceph noout" in (await text_of(driver)).splitlines()[1]
        others = msgspec.structs.replace(warns, node_flags={"cmp-02": ("noout",), "cmp-09": ("noout",)})
        driver.fleet.publish(storages=[others])
        assert "▲ ceph WARN" in (await text_of(driver)).splitlines()[1]
        more = (*warns.checks, HealthCheck(code="OSD_DOWN", summary="1 osds down"))
        driver.fleet.publish(storages=[msgspec.structs.replace(warns, checks=more)])
        assert "▲ ceph WARN" in (await text_of(driver)).splitlines()[1]


async def test_a_move_that_does_not_get_on_is_said_on_top_before_what_is_well() -> None:
    async with in_pane() as driver:
        jobs = driver.fleet.table("jobs").values()
        moving = next(job for job in jobs if job.order == "O9" and job.state is JobState.RUNNING)
        stalled = Progress(remaining=1 << 30, verdict="stalled 232 s")
        driver.fleet.publish(jobs=[msgspec.structs.replace(moving, progress=stalled)])
        assert f"14/19 · ▲ {moving.id} stalled 232 s · " in (await text_of(driver)).splitlines()[1]


async def test_where_the_line_is_too_long_what_is_well_goes_before_what_is_next() -> None:
    window = safe_window(p50=3600.0, p90=5400.0, behind="late")
    async with in_pane(window_fleet(window)) as driver:
        line = (await text_of(driver)).splitlines()[1]
        assert "NEEDS YOU · ▲ BEHIND" in line
        assert "ceph OK" not in line
        assert line.rstrip().endswith("then ready")


async def test_the_pace_of_tonight_and_the_last_start_of_the_next_host_are_shown() -> None:
    window = a_window(basis="cmp-01 took 20 min (planned 15 min)", guess=False, last_start=NOW + 1800)
    async with in_pane(window_fleet(window)) as driver:
        assert "over by 02:46-03:16Z (tonight's pace) · end 04:00Z ✓ 43 m to spare" in await text_of(driver)
        assert driver.console.board.go_to("W3")
        driver.console.main.redraw()
        await driver.settled()
        assert "so far: cmp-01 took 20 min (planned 15 min)" in driver.text()
    async with in_pane(window_fleet(window), size=(120, 40)) as driver:
        assert "next host by 02:16Z" in await text_of(driver)


async def test_safe_to_reboot_is_a_bar_across_the_screen_and_the_first_line_that_is_copied() -> None:
    async with in_pane(window_fleet(safe_window())) as driver:
        text = await text_of(driver)
        (bar,) = [
            line for line in driver.console.main.lines_glance.lines if any(s.tone == "safe" for s in line)
        ]
        assert sum(len(span.text) for span in bar) == 80
        assert text.count(SAID) == 1
        assert "▲ hook cmp-02 NEEDS YOU" in text.splitlines()[1]
        assert "next: reboot cmp-02, then D" in text
        driver.console.board.go_to("W3/prod/cmp-02")
        assert driver.console.main.detail_lines()[0][0].text == SAID


async def test_safe_to_reboot_is_not_said_from_figures_that_are_too_old() -> None:
    async with in_pane(window_fleet(safe_window())) as driver:
        state = driver.fleet.table("clusters")["prod"]
        driver.fleet.publish(
            clusters=[msgspec.structs.replace(state, fresh_stamp=driver.console.store.stamp() - 300)]
        )
        text = await text_of(driver)
        assert "SAFE TO REBOOT" not in text
        assert "was safe to reboot, figures are STALE (5 m" in text


@pytest.mark.parametrize(
    "said",
    [
        "DO NOT RESTART IT NOW: web-0001 is on it again",
        "it does not answer: being restarted?",
        "it has been restarted",
    ],
)
async def test_safe_to_reboot_is_not_said_when_the_last_look_says_otherwise(said: str) -> None:
    """The SAFE step stays done: it was true then. What counts is what the engine sees now."""
    async with in_pane(window_fleet(safe_window(said))) as driver:
        text = await text_of(driver)
        assert "SAFE TO REBOOT" not in text
        assert said in text
        driver.console.board.go_to("W3/prod/cmp-02")
        assert not driver.console.main.detail_lines()[0][0].text.startswith("SAFE")


async def test_safe_to_reboot_is_not_said_by_a_window_that_is_stopped_and_does_not_look_again() -> None:
    async with in_pane(window_fleet(safe_window(state=WindowState.STOPPED, stopped_by="bob"))) as driver:
        assert "SAFE TO REBOOT" not in await text_of(driver)


@pytest.mark.parametrize("state", [StepState.RUNNING, StepState.DONE, StepState.UNKNOWN])
async def test_safe_to_reboot_is_not_said_any_more_once_the_restart_has_begun(state: StepState) -> None:
    made = steps(StepKind.HOOK, state)
    async with in_pane(window_fleet(a_window(run(2, made)))) as driver:
        assert "SAFE TO REBOOT" not in await text_of(driver)


async def test_behind_schedule_is_said_in_full_with_what_stopping_now_or_later_means() -> None:
    words = "p90 finish 04:12Z is after 04:00Z. Stop now leaves cmp-05, cmp-06 unpatched; stop later cannot undo before 04:00Z."
    window = a_window(behind=words, p90=8700.0)
    async with in_pane(window_fleet(window)) as driver:
        text = await text_of(driver)
        assert "▲ BEHIND" in text.splitlines()[1]
        assert " ".join(words.split()) in " ".join(text.split())
        assert "✗ 12 m too late" in text


async def test_a_stopped_window_says_who_stopped_it_and_what_is_still_in_flight() -> None:
    window = a_window(state=WindowState.STOPPED, stopped_by="bob")
    async with in_pane(window_fleet(window)) as driver:
        text = await text_of(driver)
        assert "· ‖ STOPPED, 2 in flight ·" in text.splitlines()[1]
        assert "‖ STOPPED by bob: nothing new begins, 2 in flight go on" in text


@pytest.mark.parametrize("number", range(1, len(TABS) + 1))
async def test_what_is_switched_past_its_window_is_nagged_about_on_every_pane(number: int) -> None:
    window = a_window(state=WindowState.ENDED, ended=NOW - 60)
    async with in_pane(window_fleet(window)) as driver:
        await driver.press(str(number))
        await driver.settled()
        assert "▲ STILL SWITCHED: maintenance of cmp-02 (W3), noout of cmp-02 (W3) · 8 shows" in driver.text()
        gone = [
            msgspec.structs.replace(one, state=LedgerState.RESTORED) for one in (entry(7), entry(8, "noout"))
        ]
        driver.fleet.publish(ledger=gone)
        await driver.settled()
        await driver.pilot.pause()
        assert "STILL SWITCHED" not in driver.text()


async def test_what_a_running_window_has_switched_is_no_reason_to_nag() -> None:
    async with in_pane() as driver:
        text = await text_of(driver)
        assert "STILL SWITCHED" not in text
        assert "switched: maintenance of cmp-02 (W3), noout of cmp-02 (W3)" in text


async def test_a_switch_of_no_window_is_nagged_about_when_it_is_forgotten() -> None:
    fleet = some_fleet()
    fleet.publish(
        ledger=[entry(1, "noout", window="", at=NOW - 5 * 3600), entry(2, "noout", "cmp-05", window="")]
    )
    async with in_pane(fleet) as driver:
        assert "STILL SWITCHED: noout of cmp-02 ·" in driver.text()


async def test_a_window_that_needs_somebody_comes_before_one_that_runs() -> None:
    other = a_window(run(5, steps(StepKind.STORAGE, StepState.UNKNOWN, reason="cannot be seen")), id="W4")
    async with in_pane() as driver:
        driver.fleet.publish(windows=[other])
        line = (await text_of(driver)).splitlines()[1]
        assert line.startswith(" W4 (+1 more) ? storage cmp-05 UNKNOWN")


async def test_a_second_console_that_may_only_look_sees_the_same() -> None:
    shown = []
    for greeting in (hello(), hello(role="viewer", read_only=True)):
        async with in_pane(FleetSource(window_fleet(), greeting)) as driver:
            text = await text_of(driver)
            shown.append([line for line in text.splitlines()[1:-1] if "fresh" not in line])
    assert shown[0] == shown[1]


async def test_hosts_of_a_window_that_is_over_are_no_rows_and_all_of_it_can_be_read() -> None:
    async with in_pane() as driver:
        await driver.press("8")
        driver.fleet.publish(windows=[a_window(state=WindowState.DONE, ended=NOW)], ledger=[])
        await driver.settled()
        assert not [key for key in driver.console.board.order if key.startswith("W3/")]
        driver.console.board.go_to("W3")
        await driver.press("enter")
        await driver.pilot.pause()
        assert "cmp-01  ✓ through" in driver.text()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_names_that_are_hostile_or_wide_cannot_leave_their_place(
    look: Look, size: tuple[int, int]
) -> None:
    evil = "\x1b[31m界界界\u202e\n"
    made = steps(StepKind.DRAIN, StepState.HELD, reason=f"waits {evil}", next_step=evil)
    window = a_window(run(2, made, name=evil), title=evil, ticket=evil, behind=evil, approved_by=(evil,))
    fleet = window_fleet(window, ledger=(entry(7, evil, evil, reason=evil),))
    fleet.publish(plans=[a_plan(title=evil, by=Actor(uid=1, user=evil, role="admin"))])
    async with in_pane(fleet, look=look, size=size) as driver:
        text = await text_of(driver)
        assert len(text.splitlines()) == size[1]
        assert "\x1b" not in text
        assert "\u202e" not in text
        if look.ascii_only:
            assert text.isascii()
        assert "held" in text


def since(fleet: Any, left: float) -> str:
    store = at()
    store.apply(fleet.delta(None))
    return away.summary(store, away.LastSeen(at=left))


def test_while_you_were_away_tells_of_steps_holds_needs_and_what_was_switched_back() -> None:
    fleet = window_fleet(safe_window())
    restored = entry(5, "noout", "cmp-01", state=LedgerState.RESTORED, restored_at=NOW - 500)
    fleet.publish(ledger=[restored])
    said = since(fleet, NOW - 650)
    assert "W3: cmp-01 through, cmp-02 safe done, cmp-02 hook NEEDS YOU" in said
    assert "1 switched back" in said


def test_while_you_were_away_tells_of_a_hold_even_when_nothing_ended() -> None:
    fleet = window_fleet(a_window(run(2, steps(StepKind.STORAGE, StepState.HELD))))
    assert "W3: cmp-02 storage held" in since(fleet, NOW - 10)


def test_while_you_were_away_tells_what_is_still_switched_after_a_window() -> None:
    fleet = window_fleet(a_window(state=WindowState.ENDED, ended=NOW - 100))
    assert "W3: ended" in since(fleet, NOW - 200)
    assert "2 STILL SWITCHED" in since(fleet, NOW - 200)


async def test_a_window_whose_admin_is_none_any_more_says_so_and_that_r_takes_it_over() -> None:
    orphan = "anna, in whose name it goes on, is no admin any more"
    async with in_pane(window_fleet(a_window(run(2, steps(StepKind.DRAIN)), orphan=orphan))) as driver:
        said = " ".join((await text_of(driver)).split())
        assert f"{orphan}: nothing new begins; R takes it over" in said
        await driver.press("R")
        await driver.settled()
        assert "is running" not in driver.text(), "the key is there for it"
