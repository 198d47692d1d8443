"""Moves of disks, and answers to what a platform asks: admitted, limited, judged and found again like all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.actions import AnswerQuestion, LiveMigrate, MoveStorage, describe
from evac.admission import Ground, admit
from evac.adopt import trace
from evac.claims import claims_on
from evac.jobs import Actor, Job, JobState, Limits
from evac.limits import LimitRules, Window
from evac.model import (
    VM,
    Choice,
    Datastore,
    Host,
    HostState,
    Migration,
    MigrationKind,
    Phase,
    Question,
    VMState,
)
from evac.outcome import judge
from evac.store import Trail
from evac.verdict import GRACE, Look
from tests.unit.rig import Rig, first, live, refused, small
from tests.virtualtime import run

BY = Actor(uid=0, user="anna", role="admin")
STORE = Datastore(cluster="c", id="ds-2", name="slow", hosts=("a", "b"))
ASKED = Question(
    id="7", text="Moved or copied?", choices=(Choice(key="0", label="Cancel"), Choice(key="1", label="Moved"))
)


def disks(**more: Any) -> MoveStorage:
    fields = {
        "cluster": "c",
        "vm": "v",
        "name": "db",
        "host": "a",
        "storage": "ds-2",
        "storage_name": "slow",
    } | more
    return MoveStorage(**fields)


def reply(**more: Any) -> AnswerQuestion:
    fields = {
        "cluster": "c",
        "vm": "v",
        "name": "db",
        "host": "a",
        "question": "7",
        "choice": "1",
        "label": "Moved",
    }
    return AnswerQuestion(**(fields | more))


def vm(**more: Any) -> VM:
    fields: dict[str, Any] = {"host": "a", "state": VMState.RUNNING, "datastores": ("ds-1",)}
    return VM(cluster="c", id="v", name="db", **(fields | more))


def job(action: Any, **more: Any) -> Job:
    return Job(
        id="J1", order="O1", action=action, by=BY, created=0.0, **({"state": JobState.ACCEPTED} | more)
    )


def move(phase: Phase, **more: Any) -> Migration:
    fields: dict[str, Any] = {"id": "9", "kind": MigrationKind.STORAGE, "source": "a", "target": "a"}
    return Migration(cluster="c", vm="v", phase=phase, native=phase.value, **(fields | more))


# --- admitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "seen", "store", "words", "passing"),
    [
        (disks(), vm(), STORE, "", False),
        (disks(), vm(state=VMState.STOPPED), STORE, "", False),
        (disks(), vm(), None, "knows no datastore ds-2", False),
        (disks(storage_name="old"), vm(), STORE, "is now called slow, confirmed was old", False),
        (disks(storage_name=""), vm(), STORE, "", False),
        (disks(), vm(datastores=("ds-2",)), STORE, "already", False),
        (disks(), vm(datastores=("ds-1", "ds-2")), STORE, "", False),
        (disks(), vm(), Datastore(cluster="c", id="ds-2", name="slow", hosts=("a",), usable=False), "cannot be used", True),
        (disks(), vm(), Datastore(cluster="c", id="ds-2", name="slow", hosts=("b",)), "a does not see", False),
        (disks(to="b"), vm(), Datastore(cluster="c", id="ds-2", name="slow", hosts=("a",)), "b does not see", False),
        (disks(to="b"), vm(datastores=("ds-2",)), STORE, "", False),
        (disks(), vm(task="relocating"), STORE, "busy", True),
        (disks(), vm(state=VMState.ERROR), STORE, "not possible in this state", False),
        (disks(), vm(host="b"), STORE, "confirmed was a", False),
        (disks(), vm(question=ASKED), STORE, "until somebody answers", True),
    ],
)  # fmt: skip
def test_disks_move_only_to_a_datastore_that_is_known_usable_and_seen_by_the_host(
    action: MoveStorage, seen: VM, store: Datastore | None, words: str, passing: bool
) -> None:
    target = Host(cluster="c", id="b", name="b", state=HostState.UP)
    obstacle = admit(action, Ground(vm=seen, target=target, datastore=store))
    assert (obstacle is None) is (not words)
    if obstacle is not None:
        assert words in obstacle.reason
        assert obstacle.passing is passing


@pytest.mark.parametrize(
    ("action", "asked", "words"),
    [
        (reply(), ASKED, ""),
        (reply(label=""), ASKED, ""),
        (reply(), None, "asks nothing any more"),
        (reply(question="6"), ASKED, "asks something else by now"),
        (reply(choice="5"), ASKED, "none of the answers"),
        (reply(label="Copied"), ASKED, 'now says "Moved"'),
    ],
)
def test_an_answer_goes_only_to_the_question_that_was_shown(
    action: AnswerQuestion, asked: Question | None, words: str
) -> None:
    obstacle = admit(action, Ground(vm=vm(question=asked, task="powering-on")))
    assert (obstacle is None) is (not words)
    assert obstacle is None or (words in obstacle.reason and not obstacle.passing)


def test_a_vm_that_asks_something_is_not_migrated_until_it_is_answered() -> None:
    action = LiveMigrate(cluster="c", vm="v", name="db", host="a")
    obstacle = admit(action, Ground(vm=vm(question=ASKED)))
    assert obstacle is not None
    assert obstacle.passing
    assert "evac answer db" in obstacle.next_step


# --- limits and plans ----------------------------------------------------------------------------


def test_a_move_of_disks_counts_against_the_limits_of_its_host() -> None:
    rules = LimitRules(default=Limits(per_source=1, per_target=1))
    live_move = job(LiveMigrate(cluster="c", vm="w", name="w", host="a", to="b"))
    assert "off a" in Window(rules, [job(disks())]).why_not(live_move)
    assert "to b" in Window(rules, [job(disks(host="x", to="b"))]).why_not(live_move)


def test_only_a_move_of_disks_that_takes_the_host_along_leaves_a_drain_nothing_to_do(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            (one, two), host = list(world.vms)[:2], rig.fleet.host("sim", "h0")
            assert host is not None
            await rig.order(order(world, one), order(world, two, to="h1"))
            assert claims_on(rig.fleet, host, rig.fleet.vms_on("sim", "h0")).vms == {two}

    run(main)


def test_words_name_the_datastore_and_the_answer() -> None:
    assert describe(disks()) == "move the disks of db to slow"
    assert describe(disks(to="b")) == "move the disks of db to slow, a→b"
    assert describe(reply()) == 'answer the question of db with "Moved"'


# --- judging -------------------------------------------------------------------------------------


def see(action: Any, seen: VM, moves: tuple[Migration, ...], odd_for: float) -> tuple[JobState, str]:
    verdict = judge(job(action), Trail(accepted=True), Look(vm=seen, migrations=moves), odd_for=odd_for)
    return verdict.state, verdict.reason


@pytest.mark.parametrize(
    ("action", "look", "state", "words"),
    [
        (disks(), (vm(datastores=("ds-2",)), (move(Phase.COMPLETED),), 0), JobState.DONE, "its disks on slow"),
        (disks(), (vm(datastores=("ds-2",)), (), 0), JobState.DONE, "its disks on slow"),
        (disks(to="b"), (vm(host="b", datastores=("ds-2",)), (), 0), JobState.DONE, "on b, its disks on slow"),
        (disks(), (vm(datastores=("ds-2",), task="relocate"), (move(Phase.COMPLETED),), 0), JobState.VERIFYING, "relocate"),
        (disks(), (vm(datastores=("ds-1", "ds-2")), (move(Phase.COMPLETED),), 0), JobState.VERIFYING, "still on a"),
        (disks(), (vm(datastores=("ds-1", "ds-2")), (move(Phase.COMPLETED),), GRACE), JobState.FAILED, "ds-1, ds-2"),
        (disks(to="b"), (vm(datastores=("ds-2",)), (move(Phase.COMPLETED, target="b"),), GRACE), JobState.FAILED, "still on a"),
        (disks(to="b"), (vm(host="b"), (move(Phase.COMPLETED, target="b"),), GRACE), JobState.FAILED, "its disks on ds-1"),
        (disks(), (vm(host="z", datastores=("ds-2",)), (move(Phase.COMPLETED),), GRACE), JobState.FAILED, "on z"),
        (disks(), (vm(), (move(Phase.FAILED),), 0), JobState.FAILED, "the move failed; db stays"),
        (disks(), (vm(), (move(Phase.RUNNING),), 0), JobState.RUNNING, ""),
        (disks(), (vm(), (), 0), JobState.ACCEPTED, "nothing of it yet"),
        (reply(), (vm(question=ASKED), (), 0), JobState.RUNNING, "nothing to be seen yet"),
        (reply(), (vm(question=ASKED), (), GRACE), JobState.FAILED, "took the call"),
        (reply(), (vm(task="powering-on"), (), 0), JobState.DONE, "answered"),
        (reply(), (vm(question=Question(id="8", text="Sure?")), (), 0), JobState.DONE, "asks another by now"),
    ],
)  # fmt: skip
def test_where_the_disks_lie_and_what_is_asked_decides_not_what_was_claimed(
    action: Any, look: tuple[VM, tuple[Migration, ...], float], state: JobState, words: str
) -> None:
    got, reason = see(action, *look)
    assert got is state
    assert words in reason


def test_a_lost_call_is_found_by_what_it_did() -> None:
    def lost(action: Any, seen: VM) -> tuple[bool, bool]:
        found = trace(job(action, state=JobState.UNKNOWN), Trail(), Look(vm=seen))
        return bool(found.found), found.clean

    assert lost(disks(), vm(datastores=("ds-2",))) == (True, False)
    assert lost(disks(), vm()) == (False, True)
    assert lost(disks(), vm(task="relocate")) == (False, False)
    assert lost(reply(), vm()) == (True, False)
    assert lost(reply(), vm(question=ASKED, task="powering-on")) == (False, True)


# --- through the queue ---------------------------------------------------------------------------


def placed() -> World:
    world = small(3, 4)
    fast = world.placing.add("fast")
    world.placing.add("slow")
    for vm_id in world.vms:
        world.placing.put(vm_id, fast.id)
    return world


def order(world: World, vm_id: str, *, to: str = "", storage: str = "ds-2") -> MoveStorage:
    sim = world.vms[vm_id]
    return MoveStorage(
        cluster="sim", vm=vm_id, name=sim.name, host=sim.host, storage=storage, storage_name="slow", to=to
    )


@pytest.mark.parametrize("to", ["", "h2"])
def test_disks_arrive_and_that_is_seen_twice(tmp_path: Path, to: str) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            vm_id = first(world)
            await rig.order(order(world, vm_id, to=to))
            running = await rig.reached("J1", JobState.RUNNING)
            await rig.until(lambda: rig.job("J1").progress is not None, "its bytes are told")
            assert running.migration
            done = await rig.ended("J1")
            assert (done.state, done.seen) == (JobState.DONE, 2)
            assert world.vms[vm_id].datastores == ("ds-2",)
            assert world.vms[vm_id].host == (to or "h0")
            assert rig.direct["sim"].calls == [("move_storage", vm_id)]

    run(main)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Kind.LIES_COMPLETED, "calls the move completed, but"), (Kind.FAILS, "I/O error")],
)
def test_disks_that_did_not_move_are_told_as_failed(tmp_path: Path, kind: Kind, words: str) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            world.faults.order(Fault(kind=kind, on="move_storage"))
            await rig.order(order(world, first(world)))
            ended = await rig.ended("J1")
            assert ended.state is JobState.FAILED
            assert words in ended.reason
            assert world.vms[first(world)].datastores == ("ds-1",)

    run(main)


def test_a_move_of_disks_in_flight_is_aborted_on_the_cluster(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            await rig.order(order(world, first(world)))
            await rig.until(lambda: rig.job("J1").migration, "it runs")
            await rig.queue.cancel("J1", BY)
            ended = await rig.ended("J1")
            assert ended.state is JobState.CANCELLED
            assert world.vms[first(world)].datastores == ("ds-1",)

    run(main)


@pytest.mark.parametrize("kind", [Kind.RESET_BEFORE, Kind.RESET_AFTER])
def test_a_call_whose_answer_was_lost_is_carried_out_once(tmp_path: Path, kind: Kind) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            world.faults.order(Fault(kind=kind, on="move_storage"))
            await rig.order(order(world, first(world)))
            ended = await rig.ended("J1")
            assert ended.state is JobState.DONE
            assert len([move for move in world.moves.values() if move.kind is MigrationKind.STORAGE]) == 1

    run(main)


def test_a_crash_in_the_middle_ends_in_one_move_and_its_truth(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        rig = Rig(tmp_path, {"sim": world})
        await rig.begin()
        await rig.order(order(world, first(world)))
        await rig.until(lambda: rig.job("J1").migration, "it runs")
        await rig.crash()
        await rig.begin()
        try:
            ended = await rig.ended("J1")
            assert ended.state is JobState.DONE
            assert "re-adopted" in ended.note
            assert len(world.moves) == 1
        finally:
            await rig.end()

    run(main)


def test_a_question_is_answered_once_beside_the_job_it_holds_up_and_in_a_paused_queue(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            vm_id = first(world)
            asked = world.placing.ask(vm_id, "Moved or copied?", "Cancel", "Moved")
            await rig.poll("sim")
            await rig.order(live(world, vm_id, to="h1"))
            held = await rig.reached("J1", JobState.HELD)
            assert "until somebody answers" in held.reason
            await rig.queue.pause(BY)
            answer = AnswerQuestion(
                cluster="sim",
                vm=vm_id,
                name=held.action.name,
                host="h0",
                question=asked.id,
                choice="1",
                label="Moved",
            )
            await rig.order(answer)
            assert (await rig.ended("J2")).state is JobState.DONE
            await rig.queue.resume(BY)
            assert (await rig.ended("J1")).state is JobState.DONE
            assert [call for call, _ in rig.direct["sim"].calls] == ["answer", "live_migrate"]

    run(main)


def test_a_question_that_was_replaced_meanwhile_is_not_answered(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            vm_id = first(world)
            asked = world.placing.ask(vm_id, "Moved or copied?", "Cancel", "Moved")
            world.placing.ask(vm_id, "Erase it?", "Yes", "No")
            await rig.order(
                AnswerQuestion(
                    cluster="sim",
                    vm=vm_id,
                    name=world.vms[vm_id].name,
                    host="h0",
                    question=asked.id,
                    choice="0",
                )
            )
            ended = await rig.ended("J1")
            assert ended.state is JobState.FAILED
            assert "Erase it?" in ended.reason
            assert rig.direct["sim"].calls == []

    run(main)


def test_an_order_to_the_host_it_is_on_says_what_to_write_instead(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            code, words = await refused(rig.order(order(world, first(world), to="h0")))
            assert code == "bad-request"
            assert "already" in words

    run(main)


def test_datastores_come_and_go_with_the_polls(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            rev = rig.fleet.rev
            assert {store.name for store in rig.fleet.table("datastores").values()} == {"fast", "slow"}
            del world.placing.datastores["ds-2"]
            await rig.poll("sim")
            delta = rig.fleet.delta(rev)
            assert delta.gone["datastores"] == ("sim/ds-2",)
            assert rig.fleet.datastore("sim", "ds-2") is None

    run(main)


def test_a_dead_host_lets_no_disks_go(tmp_path: Path) -> None:
    async def main() -> None:
        world = placed()
        async with Rig(tmp_path, {"sim": world}) as rig:
            action = order(world, first(world))
            deeds.force_down(world, "h0", down=True)
            await rig.poll("sim")
            await rig.order(action)
            held = await rig.reached("J1", JobState.HELD)
            assert "h0 is down" in held.reason

    run(main)
