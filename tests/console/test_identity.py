"""The cursor, the marks and the intent belong to rows, not to places on the screen."""

from __future__ import annotations

import random

import msgspec
import pytest

from evac.fleet import Fleet
from evac.model import VM, VMState
from tests.console.fleetsource import FleetSource, cluster, some_fleet, some_hosts, some_vms
from tests.console.harness import Driver, running, until
from tui.board import Board, Context
from tui.dialogs.ask import Ask
from tui.dialogs.pick import Pick
from tui.look import Look
from tui.panes.vms import VMS
from tui.store import Store


def storm(fleet: Fleet, dice: random.Random, spare: str = "") -> None:
    """One burst of changes: renames, re-sorts, inserts and deletes, never of the row `spare`."""
    rows = [vm for key, vm in fleet.table("vms").items() if key != spare]
    changed = [
        msgspec.structs.replace(
            vm,
            name=f"{dice.choice('abcxyz')}-{dice.randrange(10_000)}" if dice.random() < 0.5 else vm.name,
            state=dice.choice([VMState.RUNNING, VMState.ERROR, VMState.STOPPED]),
            memory=dice.randrange(1, 64) * 1024**3,
        )
        for vm in dice.sample(rows, min(12, len(rows)))
    ]
    dead = [
        vm.key for vm in dice.sample(rows, min(4, len(rows))) if vm.key not in {row.key for row in changed}
    ]
    born = [
        VM(
            cluster="prod",
            id=f"new-{dice.randrange(10**9)}",
            name=f"{dice.choice('abcxyz')}-new",
            host="cmp-01",
        )
        for _ in range(dice.randrange(6))
    ]
    fleet.publish(vms=[*changed, *born], gone={"vms": dead})


def boarded(fleet: Fleet) -> tuple[Store, Board]:
    store = Store()
    store.apply(fleet.delta(None))
    return store, Board(VMS, Context(store, Look()))


def feed(fleet: Fleet, store: Store, board: Board) -> None:
    changes = store.apply(fleet.delta(store.rev))
    board.touch(board.pane.touched(store, changes))


@pytest.mark.parametrize("sort", ["name", "state", "memory"])
def test_the_cursor_stays_on_its_row_through_200_storms(sort: str) -> None:
    fleet = some_fleet(vms=80)
    store, board = boarded(fleet)
    board.set_sort(sort)
    dice = random.Random(sort)
    for _ in range(200):
        board.move_to(dice.randrange(len(board.order)))
        key = board.cursor
        assert key is not None
        for _ in range(dice.randrange(1, 4)):
            storm(fleet, dice)
            feed(fleet, store, board)
        assert board.cursor == key
        assert board.order[board.at] == key
        if key not in store.vms:
            assert board.gone(key)
            assert board.current() is None, "a row that is gone is no target"
        alive = [row for row in board.order if row != key or key in store.vms]
        assert sorted(alive) == sorted(store.vms)


async def test_200_storms_between_the_key_and_enter_hit_no_wrong_target() -> None:
    """Key down on one VM, the list is turned over, Enter: the VM is the one that was under the cursor."""
    source = FleetSource(some_fleet(vms=80))
    dice = random.Random(7)
    async with running(source) as run:
        await run.press("2")
        board = run.console.board
        for count in range(1, 201):
            board.set_sort(dice.choice(["name", "state", "memory", "host"]))
            running_now = [key for key, vm in run.fleet.table("vms").items() if vm.state is VMState.RUNNING]
            key = dice.choice(running_now)
            assert board.go_to(key)
            vm = run.fleet.table("vms")[key]
            storm(run.fleet, dice, spare=key)
            run.tap("O")
            storm(run.fleet, dice, spare=key)
            dialog = await run.dialog()
            storm(run.fleet, dice, spare=key)
            await run.caught_up()
            assert vm.id in "".join(span.text for line in dialog.sheet.body for span in line)
            run.tap("y")
            await until(lambda count=count: len(run.source.orders) == count, "the order never arrived")  # type: ignore[misc]
            assert run.source.targets[-1] == vm.id
            run.fleet.publish(
                gone={"jobs": list(run.fleet.table("jobs")), "orders": list(run.fleet.table("orders"))}
            )
            await until(lambda: run.console.screen is run.console.main, "the dialog never closed")
            await run.caught_up()
        assert len(run.source.targets) == 200


async def test_marks_follow_their_vms_and_the_order_stands_still_meanwhile() -> None:
    async with running(some_fleet(vms=40)) as run:
        await run.press("2", "space", "space", "space")
        board = run.console.board
        marked = board.marked()
        order = list(board.order)
        assert len(marked) == 3
        dice = random.Random(3)
        for _ in range(20):
            storm(run.fleet, dice)
            await run.settled()
        assert board.order == order
        assert board.marked() == marked
        assert "changes held" in run.text()
        await run.press("escape")
        assert sorted(key for key in board.order if not board.gone(key)) == sorted(run.console.store.vms)
        assert "held" not in run.text()


async def test_a_marked_vm_that_is_gone_is_left_out_and_said_so() -> None:
    async with running(some_fleet(vms=40)) as run:
        await run.press("2", "slash", *"state:running", "enter", "space", "space", "space")
        board = run.console.board
        gone, *_ = board.marked()
        run.fleet.publish(gone={"vms": [gone]})
        await run.settled()
        await run.press("m")
        await run.listening(Pick)
        await run.press("enter")
        dialog = await run.dialog()
        assert "Left out: 1" in run.text()
        assert "no longer exist" in run.text()
        assert dialog.sheet.missing({"count": "2"}) == ""


async def test_a_vm_that_vanishes_under_the_cursor_is_shown_as_gone_and_is_no_target() -> None:
    async with running() as run:
        await run.press("2", "down", "down")
        board = run.console.board
        key = board.cursor
        assert key is not None
        run.fleet.publish(gone={"vms": [key]})
        await run.settled()
        assert board.cursor == key
        assert "GONE" in run.text()
        await run.press("m")
        await run.pilot.pause()
        assert not isinstance(run.console.screen, (Pick, Ask))
        assert "gone" in run.text()
        await run.press("down")
        assert key not in board.order


async def test_a_row_that_a_new_engine_has_not_read_yet_is_not_called_gone() -> None:
    async with running() as run:
        await run.press("2", "down")
        key = run.console.board.cursor
        assert key is not None
        state = run.fleet.cluster(run.fleet.table("vms")[key].cluster)
        assert state is not None
        unread = msgspec.structs.replace(state, fresh_stamp=None)
        run.fleet.publish(clusters=[unread], gone={"vms": [key]})
        await run.settled()
        assert "GONE" not in run.text()
        assert f"NOT READ YET: this engine has not heard from {state.name}" in run.text()
        await run.press("m")
        await run.pilot.pause()
        assert not isinstance(run.console.screen, (Pick, Ask))


async def test_two_vms_of_one_name_in_two_clusters_stay_apart() -> None:
    fleet = some_fleet(vms=4)
    twin = msgspec.structs.replace(some_vms(1, [fleet.host("prod", "cmp-01")])[0], cluster="lab")  # type: ignore[list-item]
    fleet.publish(vms=[twin])
    async with running(fleet) as run:
        await run.press("2")
        assert run.console.board.go_to(twin.key)
        storm(run.fleet, random.Random(5), spare=twin.key)
        await run.settled()
        current = run.console.board.current()
        assert current is not None
        assert current.cluster == "lab"


def held(run: Driver) -> int:
    return len(run.console.board.held)


async def test_the_order_is_frozen_while_a_dialog_is_open() -> None:
    async with running(some_fleet(vms=40)) as run:
        await run.press("2", "slash", *"state:running", "enter", "O")
        await run.dialog()
        order = list(run.console.board.order)
        storm(run.fleet, random.Random(9))
        await run.settled()
        assert run.console.board.order == order
        assert held(run) > 0
        await run.press("escape")
        await run.main()
        assert held(run) == 0


async def test_while_first_answers_pour_in_there_is_no_cursor_to_be_carried_away() -> None:
    fleet = Fleet(epoch="e1")
    fleet.publish(clusters=[cluster("prod"), cluster("lab", fresh_stamp=None)], hosts=some_hosts(3))
    async with running(fleet) as run:
        assert run.console.board.cursor is None
        await run.press("d")
        assert run.console.screen is run.console.main
        fleet.publish(clusters=[cluster("lab")], hosts=some_hosts(3, name="lab"))
        await run.settled()
        assert run.console.board.cursor == run.console.board.order[0]


async def test_a_cursor_put_by_hand_while_answers_pour_in_stays() -> None:
    fleet = Fleet(epoch="e1")
    fleet.publish(clusters=[cluster("prod"), cluster("aaa", fresh_stamp=None)], hosts=some_hosts(3))
    async with running(fleet) as run:
        await run.press("down")
        assert run.console.board.cursor == "prod/cmp-01"
        fleet.publish(clusters=[cluster("aaa")], hosts=some_hosts(3, name="aaa"))
        await run.settled()
        assert run.console.board.cursor == "prod/cmp-01"
