"""A window goes host by host from full to empty, restarted, ready and full again; and what stands in its way is said."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimSwitch
from evac import clock
from evac.actions import TurnSwitch
from evac.jobs import Limits
from evac.links import LinkLook
from evac.localtime import local_zone
from evac.model import VMState
from evac.reporter import Reporter
from evac.window.nouns import StepKind, StepState, WindowState
from evac.window.plan import Fate, Refill
from tests.unit.rig import ADMIN, refused
from tests.unit.test_journal import fill, free
from tests.unit.window_rig import (
    BERT,
    HOOK,
    RESTARTS,
    WindowRig,
    at_home,
    by_a_person,
    homes,
    rack,
)
from tests.virtualtime import run, wall


def test_two_hosts_are_emptied_restarted_and_refilled_one_after_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1")
            await rig.stands("h0", StepKind.HOOK, StepState.RUNNING)
            assert not sim.hosts["h0"].vms
            assert sim.hosts["h0"].maintenance
            assert rig.step("h1", StepKind.PREFLIGHT).state is StepState.WAITING
            assert rig.step("h0", StepKind.SAFE).reason.startswith("SAFE TO REBOOT h0: guests 0")
            window = await rig.through()
            assert window.state is WindowState.DONE
            at_home(sim, before)
            assert rig.machines.ran == [("sim", "h0", HOOK), ("sim", "h1", HOOK)]
            assert all(step.state is StepState.DONE for run in window.hosts for step in run.steps), (
                rig.story()
            )
            h0 = rig.host_run("h0")
            assert h0.before is not None
            assert h0.after is not None
            assert (h0.before.kernel, h0.after.kernel) == ("6.8.0-1", "6.8.0-2")
            assert len(h0.moved) == 4

    run(main)


def test_a_person_restarts_the_host_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert step.reason.startswith("SAFE TO REBOOT h0: guests 0")
            assert "evac window done W1 h0 hook" in step.next_step
            rig.machines.restart("sim", "h0")
            await rig.until(
                lambda: "has been restarted" in rig.step("h0", StepKind.HOOK).reason, "it is seen"
            )
            assert rig.step("h0", StepKind.HOOK).state is StepState.NEEDS_YOU, "a person may not be finished"
            await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
            await rig.through()
            at_home(sim, before)
            assert not rig.machines.ran

    run(main)


def test_a_host_without_ssh_that_goes_down_is_taken_to_be_restarting_and_not_forbidden_to(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.mute.add("h0")
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            deeds.kill(sim, "h0")
            said: set[str] = set()
            hook = StepKind.HOOK

            def down() -> bool:
                said.add(rig.step("h0", hook).reason)
                return "being restarted?" in rig.step("h0", hook).reason

            await rig.until(down, "it is said", within=120)
            await asyncio.sleep(120)
            assert down()
            assert not any("DO NOT" in reason for reason in said)
            deeds.revive(sim, "h0")
            await rig.until(lambda: "up again" in rig.step("h0", hook).reason, "that it is back", within=120)

    run(main)


def test_a_host_that_waits_for_a_person_and_is_no_longer_empty_says_do_not_restart_it(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            sim.add_vm("late", "h0")
            hook = StepKind.HOOK
            await rig.until(lambda: "DO NOT RESTART" in rig.step("h0", hook).reason, "it is said", within=120)
            assert "late" in rig.step("h0", hook).reason
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.DRAIN, "", ADMIN)
            await rig.until(
                lambda: rig.step("h0", hook).reason.startswith("SAFE TO REBOOT"), "it is safe again"
            )
            assert not sim.hosts["h0"].vms

    run(main)


def test_the_wrong_kernel_needs_a_person_and_goes_on_after_the_right_one(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.new_kernel = "6.8.0-1"
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.BACK, StepState.NEEDS_YOU)
            assert "it runs 6.8.0-1, as before; another was wanted" in step.reason
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.BACK, "", ADMIN)
            await rig.stands("h0", StepKind.BACK, StepState.NEEDS_YOU)
            rig.machines.restart("sim", "h0", kernel="6.8.0-9")
            await rig.through()
            after = rig.host_run("h0").after
            assert after is not None
            assert after.kernel == "6.8.0-9"
            assert len(rig.machines.ran) == 1

    run(main)


def test_a_connection_that_breaks_without_a_restart_is_unknown_and_the_command_is_not_run_again(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.behaves = lambda *_: "drop"
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.HOOK, StepState.UNKNOWN)
            assert "it still runs the boot it had" in step.reason
            await asyncio.sleep(3600)
            assert len(rig.machines.ran) == 1
            rig.machines.restart("sim", "h0")
            await rig.through()

    run(main)


def test_a_command_that_fails_waits_for_a_person_who_has_it_run_again(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.behaves = lambda *_: "fail"
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert "status 3" in step.reason
            assert "no space left on device" in step.reason
            await rig.journal.save()  # all that was to be written before it is on disk
            await rig.crash()
            await rig.begin()
            await asyncio.sleep(600)
            assert len(rig.machines.ran) == 1
            assert rig.step("h0", StepKind.HOOK).state is StepState.NEEDS_YOU
            assert "status 3" in rig.step("h0", StepKind.HOOK).reason
            rig.machines.behaves = lambda *_: "restart"
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.HOOK, "disk cleaned", ADMIN)
            await rig.through()
            assert len(rig.machines.ran) == 2

    run(main)


def test_a_vm_that_gets_stuck_holds_its_host_until_somebody_has_decided(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", nth=2))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1")
            step = await rig.stands("h0", StepKind.DRAIN, StepState.NEEDS_YOU)
            assert "3 of 4 are off it; 1 not" in step.reason
            await asyncio.sleep(3600)
            assert rig.step("h0", StepKind.EMPTY).state is StepState.WAITING
            assert not rig.machines.ran
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.DRAIN, "", ADMIN)
            await rig.through()
            assert len(rig.host_run("h0").moved) == 4

    run(main)


def test_a_step_is_skipped_with_a_reason_and_the_reason_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            code, words = await refused(rig.windows.steps.skip("W1", "sim/h0", StepKind.HOOK, "  ", ADMIN))
            assert (code, words) == ("bad-request", "It is not said why.")
            await rig.windows.steps.skip("W1", "sim/h0", StepKind.HOOK, "patched live", ADMIN)
            await rig.through()
            step = rig.step("h0", StepKind.HOOK)
            assert (step.state, step.skipped_by, step.skipped_why) == (
                StepState.SKIPPED,
                "anna",
                "patched live",
            )
            assert not rig.machines.boots
            records = [record for record in await rig.journal.audit() if record.kind == "window"]
            assert any(
                b"patched live" in bytes(record.body) and b"anna" in bytes(record.body) for record in records
            )

    run(main)


def test_a_host_is_left_out_and_what_was_switched_for_it_is_put_back(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        before = homes(sim)
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", nth=2))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1")
            await rig.stands("h0", StepKind.DRAIN, StepState.NEEDS_YOU)
            await rig.windows.steps.leave_out("W1", "sim/h0", "its VM is stuck", ADMIN)
            window = await rig.through()
            assert window.hosts[0].left_out == "its VM is stuck"
            assert [host for _, host, _ in rig.machines.ran] == ["h1"]
            at_home(sim, before)

    run(main)


def test_stopped_it_begins_nothing_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=6)
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}, limits=Limits(total=1)) as rig:
            await rig.window("h0")
            await rig.until(lambda: rig.fleet.queue.in_flight, "a move is under way")
            await rig.until(lambda: rig.step("h0", StepKind.DRAIN).orders, "the drain is ordered")
            await rig.windows.halt("W1", BERT)
            await asyncio.sleep(60)
            gone = 6 - len(sim.hosts["h0"].vms)
            assert gone < 6
            await rig.crash()
            await rig.begin()
            await asyncio.sleep(3600)
            assert 6 - len(sim.hosts["h0"].vms) == gone, "nothing new has begun"
            assert "stopped by bert" in rig.the_window().reason
            await rig.windows.resume("W1", BERT)
            await rig.through()
            at_home(sim, before)

    run(main)


def test_a_window_that_is_ended_leaves_what_runs_and_begins_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=6)
        async with WindowRig(tmp_path, {"sim": sim}, limits=Limits(total=1)) as rig:
            await rig.window("h0", "h1")
            await rig.until(lambda: rig.step("h0", StepKind.DRAIN).orders, "the drain is ordered")
            await rig.windows.end("W1", "called off", ADMIN)
            await rig.idle()
            assert rig.the_window().state is WindowState.ENDED
            assert rig.the_window().reason == "ended by anna: called off"
            left = len(sim.hosts["h0"].vms)
            assert left
            await asyncio.sleep(3600)
            assert len(sim.hosts["h0"].vms) == left
            assert not rig.machines.ran
            assert not rig.windows.busy

    run(main)


def test_a_cluster_that_does_not_answer_holds_the_window_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        north, south = rack(), rack()
        async with WindowRig(tmp_path, {"north": north, "south": south}) as rig:
            for cluster in ("north", "south"):
                known = await rig.registered(rig.plan("h0", cluster=cluster))
                await rig.windows.begin(known.hash, cluster, ADMIN)
            north.faults.order(Fault(kind=Kind.RESET_BEFORE, on="read", times=math.inf))
            rig.silent.add("north")
            await rig.through("W2")
            assert rig.the_window("W1").state is WindowState.RUNNING
            assert "has not answered" in rig.the_window("W1").reason
            north.faults.clear()
            rig.silent.clear()
            await rig.through("W1")

    run(main)


def test_a_target_that_takes_no_vms_any_more_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=4)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            plan = rig.plan("h0")
            target = plan.hosts[0].moves[0].to
            known = await rig.registered(plan)
            deeds.maintain(sim, target, on=True, reason="somebody else's")
            await rig.windows.begin(known.hash, "w", ADMIN)
            step = await rig.stands("h0", StepKind.PREFLIGHT, StepState.DONE)
            assert f"since {target} takes no VMs now" in step.reason
            await rig.through()
            assert sim.hosts[target].maintenance, "somebody else's fence is not ours to take down"
            assert target not in {entry.host for entry in sim.log if entry.kind == "moved"}

    run(main)


def test_a_fence_that_was_there_before_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        deeds.maintain(sim, "h0", on=True, reason="broken fan")
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=replace(RESTARTS, refill=Refill.LEAVE))
            await rig.through()
            assert sim.hosts["h0"].maintenance
            assert "broken fan" in rig.step("h0", StepKind.FENCE).reason

    run(main)


def test_vms_that_cannot_move_are_shut_down_and_started_or_left_as_decided(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=2, vms=2, on=("h0",))
        sim.hosts["h1"].memory //= 8
        for number in range(2):
            sim.add_vm(f"wide{number}", "h0", memory=sim.hosts["h1"].memory * 2)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            plan = rig.plan("h0")
            (host,) = plan.hosts
            assert {stay.name for stay in host.stays} == {"wide0", "wide1"}
            code, words = await refused(rig.window("h0"))
            assert code == "conflict"
            assert "wide0, wide1" in words
            fates = {"wide0": Fate.STOP, "wide1": Fate.LEAVE}
            stays = tuple(replace(stay, fate=fates[stay.name]) for stay in host.stays)
            known = await rig.registered(replace(plan, hosts=(replace(host, stays=stays),)))
            await rig.windows.begin(known.hash, "w", ADMIN)
            step = await rig.stands("h0", StepKind.SAFE, StepState.DONE)
            assert "guests 0 to move (stopped: wide0; left as decided: wide1)" in step.reason
            await rig.through()
            states = {vm.name: vm.state for vm in sim.vms.values()}
            assert states["wide0"] is VMState.RUNNING
            assert [sim.vms[vm].name for vm in rig.host_run("h0").stopped] == ["wide0"]

    run(main)


def test_what_came_since_the_plan_moves_too_and_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            known = await rig.registered(rig.plan("h0"))
            sim.add_vm("late", "h0")
            await rig.windows.begin(known.hash, "w", ADMIN)
            step = await rig.stands("h0", StepKind.PREFLIGHT, StepState.DONE)
            assert "1 new since the plan: late" in step.reason
            await rig.through()
            assert len(rig.host_run("h0").moved) == 5

    run(main)


def test_it_waits_for_its_hour_and_says_when_it_will_not_be_over_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            opens = wall() + 600
            plan = rig.plan("h0", "h1", starts=opens, ends=opens + 60)
            hosts = tuple(replace(host, p50=300.0, p90=600.0) for host in plan.hosts)
            known = await rig.registered(replace(plan, hosts=hosts))
            await rig.windows.begin(known.hash, "w", ADMIN)
            await asyncio.sleep(300)
            assert rig.the_window().reason.startswith("opens at ")
            assert rig.step("h0", StepKind.PREFLIGHT).state is StepState.WAITING
            await rig.stands("h0", StepKind.DRAIN, StepState.RUNNING)
            await asyncio.sleep(2)
            window = rig.the_window()
            assert "stopping now leaves h1 untouched" in window.behind
            assert "h0 is begun" in window.behind
            assert window.p90 is not None
            await rig.through()

    run(main)


def test_balancers_are_calm_before_the_first_host_and_back_after_the_last(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")
        sim.switches["bak"] = SimSwitch("bak", "backup nightly", "backup", "off", "off")
        sim.switches["ha"] = SimSwitch("ha", "HA", "ha", "on", "off", host="h0")
        sim.switches["other"] = SimSwitch(
            "other", "the watch over another host", "ha", "on", "off", host="h1"
        )
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.PREFLIGHT, StepState.RUNNING)
            assert {one.id: one.value for one in sim.switches.values()} == {
                "drs": "manual",
                "bak": "off",
                "ha": "off",
                "other": "on",
            }
            owed = {row.name for row in rig.fleet.table("ledger").values() if row.state.owed}
            assert owed == {"DRS", "HA"}
            sim.switches["ha"].value = "half"  # somebody else's hand
            await rig.until(lambda: rig.host_run("h0").step is None, "the host is through", within=7200)
            await rig.until(lambda: "NEEDS YOU" in rig.the_window().reason, "it is said that HA is owed")
            assert "of HA" in rig.the_window().reason
            assert (sim.switches["drs"].value, sim.switches["ha"].value) == ("full", "half")
            sim.switches["ha"].value = "on"
            await rig.through()

    run(main)


def test_vms_that_a_calm_balancer_goes_on_moving_are_named_before_the_first_host(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual", exempt=("db", "web"))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.PREFLIGHT, StepState.RUNNING)
            words = "DRS goes on moving db, web by itself: a level of their own"
            told = [one.severity for one in rig.fleet.table("events").values() if words in one.text]
            assert told == ["warning", "good"], "once for the window, and at the end of the job"
            turned = [job for job in rig.fleet.table("jobs").values() if isinstance(job.action, TurnSwitch)]
            assert [job.reason for job in turned] == [f"it is manual; {words}"]
            await rig.through()
            assert sim.switches["drs"].value == "full"

    run(main)


def test_what_a_calm_balancer_still_carries_out_is_waited_for_and_what_evac_cannot_see_is_told(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual", busy="DRS moves db")
        sim.switches["opt"] = SimSwitch("opt", "optimizer", "balancer", "?", "?", note="it may not be read")
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.until(lambda: "not at rest yet: DRS moves db" in rig.the_window().reason, "it is said")
            assert sim.switches["drs"].value == "manual", "it is turned all the same"
            await asyncio.sleep(3600)
            assert rig.step("h0", StepKind.PREFLIGHT).state is StepState.WAITING
            sim.switches["drs"].busy = ""
            await rig.stands("h0", StepKind.PREFLIGHT, StepState.RUNNING)
            sim.switches["drs"].busy = "DRS moves web"  # what begins later holds nothing up
            told = [one.severity for one in rig.fleet.table("events").values() if "not be read" in one.text]
            assert told == ["warning"]
            await rig.through()
            assert sim.switches["drs"].value == "full"

    run(main)


def test_a_balancer_that_cannot_be_turned_holds_the_window(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")
        sim.faults.order(Fault(kind=Kind.STATUS, status=403, on="turn_switch"))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.until(lambda: "NEEDS YOU" in rig.the_window().reason, "it is said")
            assert "evac queue retry J1 tries again" in rig.the_window().reason
            await asyncio.sleep(3600)
            assert rig.step("h0", StepKind.PREFLIGHT).state is StepState.WAITING
            await rig.queue.retry("J1", ADMIN)
            await rig.through()
            assert sim.switches["drs"].value == "full"

    run(main)


def test_what_the_platform_moves_by_itself_is_no_failure_and_comes_back_too(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=4, vms=3, on=("h0",))
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}, limits=Limits(total=1)) as rig:
            plan = rig.plan("h0")
            taken = plan.hosts[0].moves[-1]
            known = await rig.registered(plan)
            await rig.windows.begin(known.hash, "w", ADMIN)
            await rig.until(lambda: rig.step("h0", StepKind.DRAIN).orders, "the drain is ordered")
            elsewhere = next(host for host in ("h1", "h2", "h3") if host != taken.to)
            sim.live.migrate(taken.vm, elsewhere)  # as HA does when a host enters maintenance
            step = await rig.stands("h0", StepKind.DRAIN, StepState.DONE)
            assert step.reason == "3 of 3 moved"
            assert sim.vms[taken.vm].host == elsewhere
            await rig.through()
            at_home(sim, before)

    run(main)


def test_two_hosts_may_be_out_together_where_the_plan_says_so_and_the_third_waits_for_the_first(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack(hosts=5, vms=1, on=("h0", "h1", "h2"))
        before = homes(sim)
        most = 0
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", "h1", "h2", policy=replace(RESTARTS, max_unavailable=2))
            while rig.the_window().state is WindowState.RUNNING:
                most = max(most, sum(host.maintenance for host in sim.hosts.values()))
                if rig.step("h2", StepKind.PREFLIGHT).began is not None:
                    assert rig.host_run("h0").step is None
                await asyncio.sleep(0.5)
            assert most == 2
            at_home(sim, before)

    run(main)


def test_a_command_that_did_not_begin_is_tried_again_only_by_a_person(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.behaves = lambda *_: "refuse"
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert "did not begin: h0 does not let us in" in step.reason
            rig.machines.behaves = lambda *_: "restart"
            await asyncio.sleep(3600)
            assert not rig.machines.ran
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
            await rig.through()

    run(main)


def test_a_host_without_a_way_onto_it_is_restarted_by_hand(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            rig.machines.mute.add("h0")
            await rig.window("h0")
            step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert "the command cannot be run on it: no way onto h0" in step.reason
            await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
            step = await rig.stands("h0", StepKind.BACK, StepState.NEEDS_YOU)
            assert "it cannot be seen whether it was restarted" in step.reason
            await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.BACK, "seen on its console", ADMIN)
            await rig.through()
            assert not rig.machines.ran

    run(main)


def test_a_full_disk_holds_a_window_and_nothing_is_begun(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.PREFLIGHT, StepState.RUNNING)
            await fill(rig.journal)
            for _ in range(200):
                rig.journal.record("noise", {"text": "x" * 3000})
            await rig.until(lambda: rig.fleet.queue.refusing, "the disk is full")
            await asyncio.sleep(3600)
            calls = list(rig.direct["sim"].calls)
            await asyncio.sleep(3600)
            assert rig.direct["sim"].calls == calls
            assert not rig.machines.ran
            await free(rig.journal)
            await rig.through()

    run(main)


def test_a_host_that_is_left_out_while_it_is_away_stays_fenced_until_it_is_up(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            deeds.kill(sim, "h0")
            await asyncio.sleep(300)
            await rig.windows.steps.leave_out("W1", "sim/h0", "its DIMM is broken", ADMIN)
            step = await rig.stands("h0", StepKind.UNFENCE, StepState.HELD)
            assert "it stays in maintenance while it is down" in step.reason
            await asyncio.sleep(3600)
            assert sim.hosts["h0"].maintenance
            deeds.revive(sim, "h0")
            await rig.through()
            at_home(sim, before)


def test_a_step_that_needs_a_newer_answer_has_its_cluster_asked_now(tmp_path: Path) -> None:
    """Else a window on a platform that is polled every ten seconds waits for so long at each of its steps."""

    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            woken: list[str] = []
            rig.windows._tools.wake = woken.append
            await rig.window("h0")
            await rig.through()
            assert set(woken) == {"sim"}
            assert len(woken) < 12, "not again and again"

    run(main)


def test_a_guest_that_comes_after_the_drain_is_moved_too_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(hosts=3, vms=1, on=("h0",))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.until(lambda: rig.step("h0", StepKind.DRAIN).orders, "the drain is ordered")
            sim.add_vm("late", "h0")
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert not sim.hosts["h0"].vms
            assert len(rig.step("h0", StepKind.EMPTY).orders) == 1
            await rig.windows.steps.skip("W1", "sim/h0", StepKind.HOOK, "nothing to do", ADMIN)
            await rig.through()
            assert {sim.vms[vm].name for vm in sim.hosts["h0"].vms} == {"h0-vm0", "late"}

    run(main)


def test_the_report_of_a_host_that_a_second_drain_emptied_says_nothing_of_what_the_first_had_left(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack()
        sim.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", nth=2))
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await rig.stands("h0", StepKind.DRAIN, StepState.NEEDS_YOU)
            reporter = Reporter(rig.journal, rig.fleet)
            await rig.windows.steps.retry("W1", "sim/h0", StepKind.DRAIN, "", ADMIN)
            await rig.through()
            report = await reporter.window("W1", local_zone())
            assert report is not None
            assert not [line for line in report.attention if "NOT EMPTY" in line]
            orders = rig.fleet.table("orders").values()
            assert any(order.left for order in orders), "the first drain had left one"

    run(main)


def test_a_link_that_breaks_after_a_good_look_costs_a_target_and_no_vm(tmp_path: Path) -> None:
    """It is looked at when the host's turn comes, and once more just before its moves are ordered."""

    async def main() -> None:
        sim = rack()
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            plan = rig.plan("h0", policy=by_a_person())
            shut = min(move.to for move in plan.hosts[0].moves)
            ways = Ways(rig)
            known = await rig.registered(plan)
            await rig.windows.begin(known.hash, "w", ADMIN)
            await rig.until(lambda: ways.asked, "preflight has looked")
            ways.cut(("h0", shut))
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            assert ways.asked == [("h0", None, 10.0)] * 2
            assert not sim.hosts["h0"].vms
            went = {sim.vms[move.vm].host for move in plan.hosts[0].moves}
            assert went
            assert shut not in went

    run(main)


def test_vms_behind_a_link_that_broke_while_the_host_was_out_come_back_when_it_is_mended(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack(on=("h0",))
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            ways = Ways(rig)
            await rig.window("h0")
            await rig.stands("h0", StepKind.READY, StepState.RUNNING)
            ways.cut(("h1", "h0"))
            behind = [vm for vm in sim.vms.values() if vm.host == "h1"]
            step = await rig.stands("h0", StepKind.REFILL, StepState.HELD)
            assert step.reason.startswith(f"{len(behind)} VMs on h1 stay there: ")
            assert "goes on by itself" in step.next_step
            assert {vm.host for vm in sim.vms.values() if vm not in behind} == {"h0"}
            assert ("h1", "h0") in [(source, to[0]) for source, to, _ in ways.asked if to]
            ways.mend()
            await rig.through()
            at_home(sim, before)

    run(main)


class Ways:
    """Stands in for whoever looks at links: what it sees is what the test has cut."""

    def __init__(self, rig: WindowRig) -> None:
        self.rig, self.bad = rig, frozenset[tuple[str, str]]()
        self.asked: list[tuple[str, Sequence[str] | None, float]] = []
        rig.windows._tools.links = self.look

    def cut(self, *ways: tuple[str, str]) -> None:
        self.bad = frozenset(ways)

    def mend(self) -> None:
        self.bad = frozenset()

    async def look(
        self, cluster: str, sources: Sequence[str], targets: Sequence[str] | None = None, *, lately: float
    ) -> None:
        self.asked += [(source, targets, lately) for source in sources]
        look = LinkLook(mtu=9000, size=9000, answered=True, passed=False, at=clock.wall())
        pairs = [pair for one, other in self.bad for pair in ((one, other), (other, one))]
        self.rig.fleet.links = {(cluster, *pair): look for pair in pairs}
