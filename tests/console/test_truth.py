"""What a tired person is told: nothing cut off that matters, nothing that has stopped being true, nothing hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evac.actions import LiveMigrate
from evac.jobs import Job, JobState, Order
from evac.model import HostState, Phase, Problem, Progress, VMState
from evac.stuck import MOVE
from tests.console.fleetsource import ADMIN, GIB, FleetSource, some_fleet
from tests.console.harness import Clock, running, until
from tests.console.test_views import busy_fleet
from tui.dialogs.reader import Reader
from tui.source import Attached, Lost, Refused
from tui.store import Store


async def test_a_refused_plan_is_not_still_being_planned() -> None:
    source = FleetSource(some_fleet())
    source.refuse = Problem(happened="The host is down.")
    async with running(source) as run:
        await run.press("d")
        await until(lambda: isinstance(run.console.screen, Reader), "the refusal was not shown")
        assert run.console.notice is None


async def test_a_long_notice_is_folded_and_not_cut_off() -> None:
    async with running() as run:
        words = "Cannot force-complete the migration of: db-orders-21: no migration of it is reported by its cluster."
        run.console.say(words, "warn")
        await run.pilot.pause()
        assert "by its cluster." in run.text()
        run.console.say("")
        await run.pilot.pause()
        assert run.console.main.line_footer.size.height == 1


async def test_a_second_orders_failures_are_not_hidden_behind_the_first() -> None:
    source = busy_fleet()
    source.fleet.publish(
        orders=[
            msgspec.structs.replace(source.fleet.table("orders")["O1"], failed=0, unknown=0),
            Order(id="O2", title="evacuate cmp-09", by=ADMIN, created=1e9, jobs=9, failed=3),
        ]
    )
    async with running(source) as run:
        await until(lambda: "+1 more" in run.text(), "the second order is not in the header")
        assert "3 failed" in run.text().splitlines()[1]


async def test_an_open_detail_goes_on_telling_the_truth() -> None:
    """An age or a byte count that stands still in an open dialog looks fresh for ever."""
    async with running(busy_fleet()) as run:
        board = run.console.board
        assert board.cursor is not None
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "no detail")
        reader = run.console.screen
        assert isinstance(reader, Reader)
        host = run.console.store.hosts[board.cursor]
        run.fleet.publish(hosts=[msgspec.structs.replace(host, state=HostState.DOWN)])
        await run.caught_up()
        reader.renew()
        assert "down" in reader.body.plain.splitlines()[0]


async def test_a_host_is_shown_with_its_tags_and_found_by_them() -> None:
    async with running(some_fleet()) as run:
        host = run.console.store.hosts["prod/cmp-02"]
        run.fleet.publish(hosts=[msgspec.structs.replace(host, tags=("rack:B12", "General:spare"))])
        await run.caught_up()
        await run.press("slash", *"tag:b12", "enter")
        assert list(run.console.board.order) == ["prod/cmp-02"]
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "no detail")
        assert isinstance(run.console.screen, Reader)
        assert "tags rack:B12, General:spare" in run.console.screen.body.plain


async def test_its_vms_are_not_those_of_a_host_whose_name_begins_alike() -> None:
    fleet = some_fleet()
    one = next(vm for vm in fleet.table("vms").values() if vm.host == "cmp-01")
    fleet.publish(vms=[msgspec.structs.replace(one, id="other", host="cmp-010")])
    async with running(fleet) as run:
        assert run.console.board.go_to("prod/cmp-01")
        await run.press("v")
        hosts = {run.console.store.vms[key].host for key in run.console.board.order}
        assert hosts == {"cmp-01"}


async def test_a_vm_on_a_dead_host_is_not_simply_called_running() -> None:
    async with running(busy_fleet()) as run:
        vm = next(vm for vm in run.console.store.vms.values() if vm.host)
        host = run.console.store.hosts[f"{vm.cluster}/{vm.host}"]
        run.fleet.publish(hosts=[msgspec.structs.replace(host, state=HostState.DOWN)])
        await run.caught_up()
        run.console.show_pane("vms")
        run.console.board.go_to(vm.key)
        run.console.main.redraw()
        await run.pilot.pause()
        assert "which is DOWN" in run.text()


async def test_a_dead_host_is_in_the_header_when_nothing_runs() -> None:
    async with running(some_fleet()) as run:
        hosts = list(run.console.store.hosts.values())
        run.fleet.publish(hosts=[msgspec.structs.replace(host, state=HostState.UP) for host in hosts])
        host = hosts[0]
        await run.caught_up()
        run.console.main.draw_header()
        assert "down" not in run.console.main.line_state.plain
        run.fleet.publish(hosts=[msgspec.structs.replace(host, state=HostState.DOWN)])
        await run.caught_up()
        run.console.main.draw_header()
        assert f"{host.name} is down with" in run.console.main.line_state.plain


class Long(FleetSource):
    """An audit record of more lines than are shown at once."""

    async def audit(self, since: int = 0, limit: int = 500) -> Sequence[Any]:
        first = 2000 - limit if since < 0 else since
        return [
            {"seq": number, "at": 1e9, "kind": "job", "body": {"job": f"J{number}"}}
            for number in range(first + 1, first + limit + 1)
        ]


async def test_the_audit_record_begins_with_what_happened_last() -> None:
    async with running(Long(some_fleet())) as run:
        await run.press("4", "A")
        await until(lambda: isinstance(run.console.screen, Reader), "the record was not shown")
        await run.pilot.pause()
        assert "J2000" in run.text()


class Ended(FleetSource):
    """Refuses to cancel one job, as the engine does for one that has ended meanwhile."""

    async def cancel(self, job: str) -> None:
        if job == "J1":
            raise Refused(Problem(happened="J1 has ended."))
        await super().cancel(job)


async def test_one_job_that_ended_does_not_keep_the_others_from_being_cancelled() -> None:
    source = Ended(some_fleet())
    vms = list(source.fleet.table("vms").values())[:3]
    jobs = [
        Job(
            id=f"J{number}",
            order="O1",
            action=LiveMigrate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host),
            state=JobState.QUEUED,
            by=ADMIN,
            created=1e9,
        )
        for number, vm in enumerate(vms, 1)
    ]
    source.fleet.publish(orders=[Order(id="O1", title="t", by=ADMIN, created=1e9, jobs=3)], jobs=jobs)
    async with running(source) as run:
        await run.press("3", "g", "a")
        await run.dialog()
        await run.press("3", "tab", "tab")
        assert "[Leave it]" in run.text()
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "the refusal was not shown")
        assert source.calls == [("cancel", "J2"), ("cancel", "J3")]
        await run.pilot.pause()
        assert "2 of 3 jobs asked to end; 1 refused: J1 has ended." in run.text()


async def test_without_the_engine_nothing_is_armed_and_nothing_is_fresh() -> None:
    source = busy_fleet()
    async with running(source, size=(120, 40)) as run:
        assert "ARMED" in run.text()
        run.console.take(Lost(Problem(happened="The engine has ended.")))
        await run.pilot.pause()
        for pane in "123456":
            await run.press(pane)
            assert " LOST " in run.text().splitlines()[0]
            assert "ARMED" not in run.text().splitlines()[0]
            assert "fresh" not in run.text()
            assert "last known" in run.text()
        run.console.take(Attached(source.greeting))
        await run.press("1")
        assert "ARMED" in run.text()
        assert "last known" not in run.text()


async def test_the_queue_at_80_columns_names_the_target_and_the_reason() -> None:
    source = busy_fleet()
    jobs = source.fleet.table("jobs")
    failed = next(job for job in jobs.values() if job.state is JobState.FAILED)
    source.fleet.publish(
        jobs=[
            msgspec.structs.replace(failed, target="cmp-09.dc1.example.org", reason="No valid host was found")
        ]
    )
    async with running(source) as run:
        await run.press("3")
        line = next(line for line in run.text().splitlines() if f" {failed.id} " in line)
        assert " cmp-09 " in line
        assert "No valid host was found" in line
        assert failed.action.name in line
        assert "q quit" in run.text().splitlines()[-1]


async def test_a_job_being_aborted_has_no_time_left() -> None:
    source = busy_fleet()
    moving = source.fleet.table("jobs")["J2"]
    progress = Progress(phase=Phase.RUNNING, total=4 * GIB, remaining=2 * GIB, rate=1e8, eta=20.0)
    for size in ((80, 24), (160, 40)):
        async with running(source, size=size) as run:
            source.fleet.publish(jobs=[msgspec.structs.replace(moving, progress=progress)])
            await run.press("3")
            await run.settled()
            assert "20s" in next(line for line in run.text().splitlines() if "└ J2" in line)
            source.fleet.publish(jobs=[msgspec.structs.replace(moving, progress=progress, cancel_by="ada")])
            await run.settled()
            line = next(line for line in run.text().splitlines() if "└ J2" in line)
            assert "aborting" in line
            assert "20s" not in line
            assert run.console.board.go_to("J2")
            run.console.main.follow_cursor()
            assert "time left" not in run.console.main.strip_detail.plain


async def test_cancelling_marked_vms_names_those_that_nothing_is_done_about() -> None:
    source = busy_fleet()
    moving = source.fleet.table("jobs")["J2"]
    theirs = next(iter(source.fleet.table("migrations").values()))
    vms = source.fleet.table("vms")
    ours = vms[f"prod/{getattr(moving.action, 'vm', '')}"]
    idle = next(vm for vm in vms.values() if vm.host == "cmp-07")
    async with running(source, size=(120, 40)) as run:
        await run.press("2")
        for vm in (ours, vms[f"prod/{theirs.vm}"], idle):
            assert run.console.board.go_to(vm.key)
            run.console.board.toggle_mark()
        await run.press("a")
        dialog = await run.dialog()
        text = run.text()
        assert "Left out: 2" in text
        assert f"{vms[f'prod/{theirs.vm}'].name}  is moved by someone else" in text
        assert f"{idle.name}  no job and no migration is at work on it" in text
        assert "Cancel J2?" in dialog.sheet.title


async def test_a_vm_left_behind_in_migrating_is_called_stuck_as_time_passes() -> None:
    fleet = some_fleet()
    one = fleet.vms_on("prod", "cmp-02")[0]
    fleet.publish(
        vms=[msgspec.structs.replace(one, state=VMState.MIGRATING, task="migrating", updated=1e9 - 60)]
    )
    wall = Clock()
    wall.now = 1e9
    async with running(FleetSource(fleet), size=(120, 40), store=Store(wall=wall)) as run:
        await run.press("2")
        assert run.console.board.go_to(one.key)
        assert "stuck" not in run.text()
        wall.now += MOVE
        await until(lambda: "▲ stuck 01:45Z" in run.text(), "the VM is not called stuck")
        await until(lambda: "Then reset its state" in run.text(), "what to do is not said")
        run.console.board.set_filter("state:stuck")
        assert run.console.board.order == [one.key]
        run.console.board.set_filter("")
        await run.press("5")
        assert f"{one.name} is stuck" in run.text()
        fleet.publish(vms=[msgspec.structs.replace(one, state=VMState.RUNNING, updated=1e9)])
        await run.settled()
        await until(lambda: "is stuck" not in run.text(), "it is still called stuck")
