"""From a key of the window pane to the intent that arrives: named in full, asked first, refused to those who only look."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from evac.jobs import Actor
from evac.model import Problem
from evac.planning import plan_hash
from evac.window.nouns import Approval, StepKind, StepState, WindowState
from evac.window.plan import WindowPlanRequest
from tests.console.fleetsource import ADMIN, FleetSource, hello, some_fleet
from tests.console.harness import Driver, running, until
from tests.console.test_identity import storm
from tests.console.test_window import at
from tests.console.test_window_plan import pinned_fleet, planned
from tests.console.windowfleet import a_plan, a_window, run, steps, window_fleet
from tui import intents_ledger
from tui.allowed import WINDOW_ACTIONS
from tui.dialogs.ask import Ask
from tui.dialogs.plan import PlanScreen
from tui.dialogs.reader import Reader

HOST = "W3/prod/cmp-02"
WHY = "the vendor says so"


def waiting(
    kind: StepKind = StepKind.HOOK, state: StepState = StepState.NEEDS_YOU, **more: Any
) -> FleetSource:
    """cmp-02 stands at a step that does not go on by itself."""
    window = a_window(run(1, steps(None)), run(2, steps(kind, state, reason="because")), run(5), **more)
    return FleetSource(window_fleet(window))


async def on(driver: Driver, key: str = HOST) -> None:
    await driver.press("8")
    assert driver.console.board.go_to(key)
    driver.console.main.redraw()
    await driver.pilot.pause()


async def answered(driver: Driver, **typed: str) -> None:
    """What is typed into the dialog that opens, and OK."""
    ask = await driver.dialog()
    for key, value in typed.items():
        ask._inputs[key].value = value
    await driver.pilot.pause()
    assert ask._ok.ready, driver.text()
    ask._ok.focus()
    await driver.press("enter")


async def called(driver: Driver) -> tuple[str, str]:
    """The one call that arrived."""
    await until(lambda: driver.source.changed_anything, f"nothing arrived: {driver.console.notice}")
    return driver.source.calls[-1]


KEYS: dict[str, tuple[str, dict[str, str], tuple[str, str]]] = {
    "S": ("stop_window", {}, ("window stop", "W3")),
    "R": ("resume_window", {}, ("window resume", "W3")),
    "E": ("end_window", {"why": WHY, "id": "W3"}, ("window end", f"W3 {WHY}")),
    "D": ("step_done", {"why": "patched"}, ("done", f"{HOST}/hook patched")),
    "r": ("retry_step", {}, ("retry", f"{HOST}/hook")),
    "K": ("skip_step", {"why": WHY}, ("skip", f"{HOST}/hook {WHY}")),
    "L": ("leave_out", {"why": WHY, "name": "cmp-02"}, ("leave out", f"{HOST} {WHY}")),
    "u": ("restore_entry", {"name": "cmp-02"}, ("restore", "L7")),
    "t": ("settle_entry", {"why": WHY, "id": "L7"}, ("settle", f"L7 {WHY}")),
}
"""Key → its action, what is typed, what arrives at the engine."""


ROWS = {"u": "L7", "t": "L7"}
"""Key → its row, where that is not the host."""


def stopped() -> FleetSource:
    made = steps(StepKind.HOOK, StepState.NEEDS_YOU, reason="because")
    return FleetSource(window_fleet(a_window(run(2, made), state=WindowState.STOPPED, stopped_by="bob")))


def fresh(key: str) -> FleetSource:
    return stopped() if key == "R" else FleetSource(window_fleet()) if key in "Sut" else waiting()


def test_every_decision_about_a_window_has_its_key_here() -> None:
    assert {action for action, *_ in KEYS.values()} == set(WINDOW_ACTIONS)


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_asks_names_window_cluster_host_and_step_and_hands_in_exactly_that(key: str) -> None:
    action, typed, arrives = KEYS[key]
    source = fresh(key)
    async with running(source, store=at()) as driver:
        await on(driver, ROWS.get(key, HOST))
        await driver.press(key)
        ask = await driver.dialog()
        assert ask.focused is ask._cancel
        text = driver.text()
        assert "W3" in text
        if action in intents_ledger.SHEETS:
            for words in ("maintenance of cmp-02", "prod [PROD]", "Was enabled", "by ada"):
                assert words in text
        else:
            assert "Kernel patch" in text
        if action in ("skip_step", "step_done", "retry_step", "leave_out"):
            for words in ("cmp-02", "prod [PROD]", "hook", "because"):
                assert words in text
        await answered(driver, **typed)
        assert await called(driver) == arrives


@pytest.mark.parametrize("key", KEYS)
async def test_enter_typed_ahead_does_nothing_and_escape_hands_nothing_in(key: str) -> None:
    source = fresh(key)
    async with running(source, store=at()) as driver:
        await on(driver, ROWS.get(key, HOST))
        driver.tap(key, "enter", "y", "enter")
        await until(lambda: isinstance(driver.console.screen, Ask), "no dialog")
        await driver.pilot.pause()
        assert isinstance(driver.console.screen, Ask), "keys typed before it could be read reached it"
        await driver.listening(Ask)
        await driver.press("enter")  # on Cancel
        await driver.main()
        assert not source.changed_anything


@pytest.mark.parametrize(
    "greeting", [hello(read_only=True), hello(role="viewer")], ids=["read-only", "viewer"]
)
@pytest.mark.parametrize("key", KEYS)
async def test_who_may_only_look_sees_the_keys_dim_with_the_reason_and_they_do_nothing(
    key: str, greeting: Any
) -> None:
    source = fresh(key)
    source.greeting = greeting
    async with running(source, store=at(), size=(160, 40)) as driver:
        await on(driver, ROWS.get(key, HOST))
        entries = {shown: why for shown, _, why in driver.console.main.footer_keys()}
        assert entries[key] == "this console is read-only"
        await driver.press(key)
        await driver.pilot.pause()
        assert driver.console.screen is driver.console.main
        assert not source.changed_anything
        await driver.press("question_mark")
        await driver.pilot.pause()
        assert "not here: this console is read-only" in driver.text()


async def test_the_order_is_frozen_while_a_dialog_is_open_and_the_host_confirmed_is_the_one_that_was_chosen() -> (
    None
):
    source = waiting()
    async with running(source, store=at()) as driver:
        await on(driver)
        await driver.press("K")
        await driver.dialog()
        order = list(driver.console.board.order)
        storm(driver.fleet, random.Random(3), spare="")
        newer = a_window(run(5), run(1, steps(None)), run(2, steps(StepKind.READY, StepState.HELD)))
        driver.fleet.publish(windows=[newer, msgspec.structs.replace(newer, id="W1")])
        await driver.settled()
        assert driver.console.board.order == order
        await answered(driver, why=WHY)
        assert await called(driver) == ("skip", f"{HOST}/hook {WHY}"), (
            "the step that was shown, not the newer one"
        )


async def test_stopping_says_what_is_in_flight_and_that_it_is_not_touched() -> None:
    async with running(FleetSource(window_fleet()), store=at()) as driver:
        await on(driver)
        await driver.press("S")
        await driver.dialog()
        text = driver.text()
        assert "Running moves are never killed" in text
        assert "In flight, and not touched: 2" in text
        flying = [job for job in driver.console.store.jobs.values() if job.state.in_flight]
        assert all(job.id in text for job in flying)
        await driver.press("y")
        assert await called(driver) == ("window stop", "W3")
        await until(lambda: "2 in flight go on" in str(driver.console.notice), "it was not said what goes on")


@pytest.mark.parametrize("kind", [StepKind.EMPTY, StepKind.STORAGE, StepKind.SAFE, StepKind.READY])
async def test_skipping_a_proof_takes_a_reason_and_the_hosts_name(kind: StepKind) -> None:
    source = waiting(kind, StepState.HELD)
    async with running(source, store=at()) as driver:
        await on(driver)
        await driver.press("K")
        ask = await driver.dialog()
        ask._inputs["why"].value = "short"
        await driver.pilot.pause()
        assert not ask._ok.ready
        ask._inputs["why"].value = WHY
        await driver.pilot.pause()
        assert not ask._ok.ready
        await answered(driver, name="cmp-02")
        assert await called(driver) == ("skip", f"{HOST}/{kind.value} {WHY}")


async def test_whether_a_drain_is_done_is_not_said_by_a_person() -> None:
    async with running(FleetSource(window_fleet()), store=at()) as driver:
        await on(driver)
        await driver.press("D")
        await driver.pilot.pause()
        assert "whether drain is done is seen on the cluster, not said" in driver.text()
        assert not driver.source.changed_anything


@pytest.mark.parametrize(
    ("key", "row", "words"),
    [
        ("K", "W3", "put the cursor on a host"),
        ("R", "W3", "W3 is running"),
        ("r", HOST, "there is nothing to try again"),
        ("K", "W3/prod/cmp-01", "cmp-01 is through"),
        ("S", "L7", "put the cursor on a window"),
        ("u", HOST, "put the cursor on something that is still switched"),
    ],
)
async def test_a_key_that_does_not_fit_the_row_says_why(key: str, row: str, words: str) -> None:
    async with running(FleetSource(window_fleet()), store=at()) as driver:
        await on(driver, row)
        await driver.press(key)
        await driver.pilot.pause()
        assert words in " ".join(driver.text().split())
        assert driver.console.screen is driver.console.main


async def test_what_the_engine_refuses_is_told() -> None:
    source = waiting()
    source.refuse = Problem(happened="cmp-02 stands at back, not at hook.")
    async with running(source, store=at()) as driver:
        await on(driver)
        await driver.press("D")
        await answered(driver)
        await until(lambda: isinstance(driver.console.screen, Reader), "no refusal")
        await driver.pilot.pause()
        assert "cmp-02 stands at back, not at hook." in driver.text()


# --- plans that are kept -------------------------------------------------------------------------

BOB = Actor(uid=1001, user="bob", role="admin", via="cli")


def footer(screen: PlanScreen) -> dict[str, str]:
    return {key.words: key.why_not() for key in screen.keys}


async def test_a_plan_is_registered_approved_by_somebody_else_and_begun() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as driver:
        screen = await planned(driver, title="Kernel patch", approvals="1")
        sealed = plan_hash(screen.plan)
        assert footer(screen)["begin"] == "register it first (R)"
        await driver.press("R")
        await driver.dialog()
        for words in ("Kernel patch", sealed[:16], "cmp-01", "cmp-02", "prod [PROD]"):
            assert words in driver.text()
        await driver.press("y")
        await until(lambda: ("register", sealed) in source.calls, "not registered")
        await until(lambda: footer(screen)["register"] != "", "the console never saw the plan")
        assert footer(screen)["approve"] == "you registered it yourself: somebody else has to approve it"
        assert footer(screen)["begin"] == "it needs 1 approvals of others and has 0"
        known = driver.fleet.table("plans")[sealed]
        driver.fleet.publish(plans=[msgspec.structs.replace(known, approvals=(Approval(by=BOB, at=1.0),))])
        await driver.settled()
        screen.renew()
        await driver.pilot.pause()
        assert "approved by bob (1 of 1)" in driver.text()
        await driver.press("b")
        ask = await driver.dialog()
        assert not ask._ok.ready
        await answered(driver, count="2")
        await until(lambda: ("begin", sealed) in source.calls, "not begun")
        await driver.main()
        await until(lambda: "W9 has begun" in driver.text(), "it was not said")
        assert driver.console.board.pane.name == "window"
        first = f"W9/{plan_key(screen)}"
        await until(lambda: driver.console.board.cursor == first, "the cursor is not on its first host")


def plan_key(screen: PlanScreen) -> str:
    return screen.plan.hosts[0].key


async def test_the_cursor_goes_to_a_window_that_has_begun_also_where_the_pane_was_never_looked_at() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as driver:
        screen = await planned(driver, title="Kernel patch")
        await driver.press("R")
        await driver.dialog()
        await driver.press("y")
        await until(lambda: footer(screen)["begin"] == "", "the console never saw the plan")
        windows = source.fleet.table("windows")
        publish = source.fleet.publish
        source.fleet.publish = lambda **tables: None  # type: ignore[method-assign,assignment]  # the news comes late
        await driver.press("b")
        await answered(driver, count="2")
        await until(lambda: any(call[0] == "begin" for call in source.calls), "not begun")
        await driver.main()
        source.fleet.publish = publish  # type: ignore[method-assign]
        assert not windows
        made = a_window(id="W9", plan=plan_hash(screen.plan))
        publish(windows=[made])
        await until(
            lambda: driver.console.board.cursor == f"W9/{made.hosts[1].key}", "the cursor is somewhere else"
        )


async def opened(driver: Driver, source: FleetSource, by: Actor) -> PlanScreen:
    """A kept plan, from its row in the window pane."""
    plan = await source.plan_window(
        msgspec.convert({"hosts": [{"cluster": "prod", "host": "cmp-01"}], "title": "T"}, WindowPlanRequest)
    )
    sealed = plan_hash(plan)
    source.bodies[sealed] = plan
    driver.fleet.publish(plans=[a_plan(sealed, by=by, approvals=(), title="T", hosts=1)])
    await driver.settled()
    await on(driver, sealed)
    await driver.press("enter")
    await until(lambda: isinstance(driver.console.screen, PlanScreen), f"no plan: {driver.console.notice}")
    screen = driver.console.screen
    assert isinstance(screen, PlanScreen)
    await until(lambda: screen.painted, "never painted")
    driver.clock.now += 1.0
    return screen


async def test_somebody_else_opens_a_kept_plan_sees_hash_and_differences_and_approves_by_the_hash() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as driver:
        screen = await opened(driver, source, BOB)
        sealed = plan_hash(screen.plan)
        text = driver.text()
        for words in (sealed[:16], "registered by bob", "nobody has approved it", "as planned"):
            assert words in text
        await driver.press("a")
        ask = await driver.dialog()
        assert sealed in driver.text().replace("\n", "").replace(" ", "").replace("│", "")
        assert not ask._ok.ready
        await answered(driver, hash=sealed[:4])
        await until(lambda: ("approve", sealed) in source.calls, "not approved")
        await driver.settled()
        assert footer(screen)["approve"] == "you have approved it already"


async def test_nobody_approves_his_own_plan() -> None:
    source = FleetSource(some_fleet())
    async with running(source) as driver:
        await opened(driver, source, ADMIN)
        await driver.press("a")
        await driver.pilot.pause()
        assert "somebody else has to approve it" in driver.text()
        assert not source.changed_anything


@pytest.mark.parametrize("key", ["R", "a", "b"])
async def test_who_may_only_look_can_read_a_plan_and_do_nothing_with_it(key: str) -> None:
    source = FleetSource(some_fleet(), hello(role="viewer", read_only=True))
    async with running(source) as driver:
        await opened(driver, source, BOB)
        await driver.press(key)
        await driver.pilot.pause()
        assert "this console is read-only" in driver.text()
        assert not source.changed_anything


async def test_a_plan_that_leaves_something_open_does_not_begin() -> None:
    source = FleetSource(pinned_fleet())
    async with running(source) as driver:
        screen = await planned(driver, "j", "k")
        assert footer(screen)["begin"] == "2 VMs still to be decided (f)"
        await driver.press("b")
        await driver.pilot.pause()
        assert "begin: 2 VMs still to be decided (f)" in driver.text()


async def test_a_change_after_the_approval_is_another_plan() -> None:
    source = FleetSource(pinned_fleet())
    async with running(source) as driver:
        screen = await planned(driver, "j", "k")
        await driver.press("R")
        await driver.dialog()
        await driver.press("y")
        await until(lambda: footer(screen)["register"] != "", "the console never saw the plan")
        await driver.press("f")
        await driver.pilot.pause()
        assert "not registered" in driver.text()
        assert footer(screen)["register"] == ""
