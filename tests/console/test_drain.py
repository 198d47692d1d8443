"""Draining a host from the keyboard: the plan by name, the friction, the order that results."""

from __future__ import annotations

from evac.actions import EnterMaintenance, LiveMigrate
from evac.model import Problem
from tests.console.fleetsource import FleetSource, some_fleet
from tests.console.harness import Driver, running, until


async def _open_drain(run: Driver, host: str = "cmp-02") -> None:
    assert run.console.board.go_to(f"prod/{host}")
    await run.press("d")


async def test_the_dialog_names_the_cluster_every_vm_and_what_stays() -> None:
    async with running(size=(120, 60)) as run:
        await _open_drain(run)
        await run.dialog()
        text = run.text()
        assert "Drain cmp-02?" in text
        assert "prod [PROD]" in text
        for vm in run.fleet.vms_on("prod", "cmp-02"):
            assert vm.name in text
            assert vm.id in text
        assert "What stays" in text
        assert "power it on, or cold-migrate it" in text
        assert "2 s old" in text


async def test_the_name_must_be_typed_and_the_order_carries_what_was_shown() -> None:
    async with running() as run:
        await _open_drain(run)
        await run.dialog()
        await run.press("enter")
        await run.main()
        assert not run.source.changed_anything, "Enter on the dialog as it opens is Cancel"

        await _open_drain(run)
        await run.dialog()
        await run.press(*"cmp-02", "tab", "tab", "enter")
        await until(lambda: bool(run.source.orders), "the order never arrived")
        (order,) = run.source.orders
        assert isinstance(order.actions[0], EnterMaintenance)
        assert order.empties == "prod/cmp-02"
        assert order.via == "console"
        assert {action.host for action in order.actions if isinstance(action, LiveMigrate)} == {"cmp-02"}


async def test_a_wrong_name_does_not_go() -> None:
    async with running() as run:
        await _open_drain(run)
        await run.dialog()
        await run.press(*"cmp-01", "tab", "tab", "enter")
        await run.pilot.pause()
        assert not run.source.changed_anything
        await run.press("escape")
        await run.main()
        assert not run.source.changed_anything


async def test_evacuate_needs_the_statement_how_the_host_was_fenced() -> None:
    async with running() as run:
        assert run.console.board.go_to("prod/cmp-03")
        await run.press("e")
        dialog = await run.dialog()
        dialog.set_focus(dialog.query_one("#field-name"))
        await run.press(*"cmp-03")
        dialog.set_focus(dialog.query_one("#ok"))
        await run.press("enter")
        await run.pilot.pause()
        assert not run.source.changed_anything, "no statement, no evacuation"
        dialog.set_focus(dialog.query_one("#field-fenced"))
        await run.press(*"IPMI power off")
        dialog.set_focus(dialog.query_one("#ok"))
        await run.press("enter")
        await until(lambda: bool(run.source.orders), "the order never arrived")
        assert {getattr(action, "fenced", None) for action in run.source.orders[0].actions} == {
            "IPMI power off"
        }


async def test_a_refusal_is_told_in_words_and_nothing_is_ordered() -> None:
    source = FleetSource(some_fleet())
    source.refuse = Problem(happened="cmp-02 is locked by another drain.", next_step="Wait for O3.")
    async with running(source) as run:
        await _open_drain(run)
        await until(lambda: "locked by another drain" in run.text(), "the refusal was not shown")
        assert "Wait for O3." in run.text()
        assert not source.orders
