"""A window in the middle of which its cluster turns read-only, or vanishes from the config: it holds, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.simulation.direct import DirectBackend
from backends.simulation.things import SimSwitch
from backends.simulation.world import World
from evac import audit_check
from evac.intake import QueueRefusal
from evac.model import Host, Inventory
from evac.planning import plan_window
from evac.window.nouns import HostRun, StepKind, StepState, WindowState
from evac.window.plan import HostName, WindowPlanRequest
from tests.unit.rig import ADMIN, VIEWER
from tests.unit.window_rig import BERT, RESTARTS, WindowRig, at_home, by_a_person, homes, rack
from tests.virtualtime import now, run, wall

CHANGING = (StepKind.FENCE, StepKind.DRAIN, StepKind.HOOK, StepKind.UNFENCE, StepKind.REFILL)


class Settings:
    """What an admin writes into the config of an engine and restarts it for."""

    def __init__(self, rig: WindowRig) -> None:
        self.rig = rig
        self.clusters, self.worlds = dict(rig.backends), dict(rig.worlds)

    async def locked(self, *, locked: bool) -> None:
        await self.rig.crash()
        self.rig.read_only = {"sim"} if locked else set()
        self.rig.direct["sim"]._read_only = locked
        self.rig.machines.locked = self.rig.read_only
        await self.rig.begin()

    async def only(self, *names: str) -> None:
        await self.rig.crash()
        self.rig.backends = {name: self.clusters[name] for name in names}
        self.rig.worlds = {name: self.worlds[name] for name in names}
        await self.rig.begin()


def switched(sim: World) -> World:
    sim.switches["drs"] = SimSwitch("drs", "DRS", "balancer", "full", "manual")
    return sim


QUIET = 150.0
"""Virtual seconds without any change of a step, after which nothing more is under way."""


async def settles(rig: WindowRig) -> None:
    def shape() -> list[tuple[str, str, str]]:
        hosts = rig.the_window().hosts
        return [(one.host, step.kind.value, step.state.value) for one in hosts for step in one.steps]

    last, since = shape(), now()
    while now() - since < QUIET:
        await asyncio.sleep(5.0)
        if shape() != last:
            last, since = shape(), now()


async def begins(rig: WindowRig, kind: StepKind) -> None:
    """Wait until h0 is at the step, or about to be: the engine ends in that moment."""
    order = list(StepKind)

    def there(run_: HostRun) -> bool:
        step = run_.step
        begun = step is None or step.began is not None or kind is not StepKind.PREFLIGHT
        return begun and (step is None or order.index(step.kind) >= order.index(kind))

    await rig.until(lambda: there(rig.host_run("h0")), f"it comes to {kind.value}", within=7200)


@pytest.mark.parametrize("kind", [StepKind.DRAIN, StepKind.HOOK, StepKind.REFILL])
def test_a_window_whose_cluster_turns_read_only_writes_nothing_and_goes_on_when_it_may(
    tmp_path: Path, kind: StepKind
) -> None:
    async def main() -> None:
        sim = switched(rack(vms=1, on=("h0",)))
        before = homes(sim)
        rig = WindowRig(tmp_path, {"sim": sim})
        settings = Settings(rig)
        await rig.begin()
        await rig.window("h0")
        await begins(rig, kind)
        await settings.locked(locked=True)
        calls, ran = list(rig.direct["sim"].calls), list(rig.machines.ran)
        await rig.until(lambda: "sim is read-only" in rig.the_window().reason, "it says so")
        await settles(rig)
        assert rig.direct["sim"].calls == calls
        assert rig.machines.ran == ran
        assert rig.the_window().state is WindowState.RUNNING
        assert "fault of evac" not in rig.story()
        step = rig.host_run("h0").step
        assert step is not None
        assert step.state is not StepState.NEEDS_YOU, rig.story()
        if step.kind in CHANGING and step.state is StepState.HELD:
            assert "sim is read-only" in step.reason
            assert "restart the engine" in step.next_step
        owed = [row for row in rig.fleet.table("ledger").values() if row.state.owed and row.calls]
        assert all(row.id in rig.the_window().reason for row in owed[:3]), rig.the_window().reason
        assert owed, "the balancer at least is still switched"
        await settings.locked(locked=False)
        await rig.through()
        at_home(sim, before)
        assert max(Counter(rig.machines.ran).values()) == 1
        assert sim.switches["drs"].value == "full"
        assert not [row for row in rig.fleet.table("ledger").values() if row.state.owed]
        await rig.end()
        assert audit_check.verify(rig.path).ok

    run(main)


def test_a_command_that_had_not_begun_is_run_once_when_the_cluster_may_be_changed_again(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        rig = WindowRig(tmp_path, {"sim": sim})
        settings = Settings(rig)
        await rig.begin()
        await rig.window("h0")
        await begins(rig, StepKind.SAFE)
        await settings.locked(locked=True)
        step = await rig.stands("h0", StepKind.HOOK, StepState.HELD)
        assert step.began is None, "nothing may take it for begun"
        assert step.reason.startswith("sim is read-only: nothing new is ordered on it")
        await settings.locked(locked=True)
        await settles(rig)
        await settings.locked(locked=False)
        await rig.through()
        assert len(rig.machines.ran) == 1
        assert [wait.state for wait in rig.step("h0", StepKind.HOOK).waits] == [StepState.HELD]
        await rig.end()

    run(main)


def test_before_a_command_that_was_held_for_long_it_is_looked_again_whether_the_host_is_empty(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        rig = WindowRig(tmp_path, {"sim": sim})
        settings = Settings(rig)
        await rig.begin()
        await rig.window("h0")
        await begins(rig, StepKind.SAFE)
        await settings.locked(locked=True)
        await rig.stands("h0", StepKind.HOOK, StepState.HELD)
        await asyncio.sleep(600)
        stray = sim.add_vm("stray", "h0")
        await settings.locked(locked=False)
        step = await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
        assert step.reason == "not safe any more: 1 on it: stray"
        assert not rig.machines.ran
        await rig.windows.steps.retry("W1", "sim/h0", StepKind.DRAIN, "", ADMIN)
        await rig.through()
        assert stray.runs_on == "h0", "it came back with the others"
        assert len(rig.machines.ran) == 1
        await rig.end()

    run(main)


def test_a_person_restarts_a_host_by_hand_while_its_cluster_is_read_only(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        rig = WindowRig(tmp_path, {"sim": sim})
        settings = Settings(rig)
        await rig.begin()
        await rig.window("h0", policy=by_a_person())
        await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
        await settings.locked(locked=True)
        await asyncio.sleep(60)
        assert "SAFE TO REBOOT" in rig.step("h0", StepKind.HOOK).reason
        rig.machines.restart("sim", "h0")
        await asyncio.sleep(600)
        await rig.windows.steps.by_hand("W1", "sim/h0", StepKind.HOOK, "", ADMIN)
        step = await rig.stands("h0", StepKind.UNFENCE, StepState.HELD)
        assert "sim is read-only" in step.reason
        assert sim.hosts["h0"].maintenance
        await settings.locked(locked=False)
        await rig.through()
        await rig.end()

    run(main)


# --- a cluster, or a host, that is not there any more ------------------------------------------------


@pytest.mark.parametrize("kind", [StepKind.DRAIN, StepKind.REFILL])
def test_a_cluster_that_vanishes_from_the_config_holds_its_hosts_and_no_others(
    tmp_path: Path, kind: StepKind
) -> None:
    async def main() -> None:
        sim, other = switched(rack(vms=1, on=("h0",))), rack(vms=1, on=("g0",), letter="g")
        before = homes(sim)
        rig = WindowRig(tmp_path, {"sim": sim, "other": other})
        settings = Settings(rig)
        await rig.begin()
        await rig.window("h0")
        known = await rig.registered(rig.plan("g0", cluster="other"))
        await begins(rig, kind)
        await settings.only("other")
        await rig.until(lambda: "not in the config" in rig.the_window().reason, "it says so")
        await settles(rig)
        assert "fault of evac" not in rig.story()
        step = rig.host_run("h0").step
        assert step is not None
        if step.began is not None:
            assert step.state is StepState.HELD, rig.story()
            assert "sim is not in the config of this engine" in step.reason
            assert "Put sim back" in step.next_step
        await rig.windows.begin(known.hash, "w2", ADMIN)
        await rig.through("W2")
        await settings.only("sim", "other")
        await rig.through()
        at_home(sim, before)
        assert len(rig.machines.ran) == 2
        assert not [row for row in rig.fleet.table("ledger").values() if row.state.owed]
        await rig.end()

    run(main)


def test_hosts_of_a_cluster_that_is_lost_are_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        sim, other = switched(rack(vms=1, on=("h0",))), rack(vms=1, on=("g0",), letter="g")
        rig = WindowRig(tmp_path, {"sim": sim, "other": other})
        settings = Settings(rig)
        await rig.begin()
        named = (HostName(cluster="sim", host="h0"), HostName(cluster="other", host="g0"))
        request = WindowPlanRequest(hosts=named, title="both", policy=RESTARTS)
        known = await rig.registered(plan_window(rig.fleet, request, now=wall()))
        await rig.windows.begin(known.hash, "w", ADMIN)
        await begins(rig, StepKind.BACK)
        await settings.only("other")
        await asyncio.sleep(60)
        assert not any(step.began for step in rig.host_run("g0").steps), "one host is out at a time"
        act = rig.windows.steps
        await act.leave_out("W1", "sim/h0", "sim is gone", ADMIN)
        for kind in (StepKind.UNFENCE, StepKind.REFILL):
            await act.skip("W1", "sim/h0", kind, "sim is gone", ADMIN)
        await rig.until(lambda: rig.host_run("g0").step is None, "the other is done", within=7200)
        await rig.until(lambda: "still switched" in rig.the_window().reason, "what is owed is named")
        for row in [row for row in rig.fleet.table("ledger").values() if row.state.owed]:
            assert row.name in rig.the_window().reason
            await rig.queue.owing.settle(row.id, ADMIN, "sim is gone for good")
        await rig.through()
        await rig.end()

    run(main)


class Forgetful(DirectBackend):
    """A cluster that lists some of its hosts no more, as libvirt's does whose config was changed."""

    def __init__(self, name: str, of: World) -> None:
        super().__init__(name, of)
        self.hidden: set[str] = set()

    async def inventory(self, since: str = "") -> Inventory:
        found = await super().inventory()
        return replace(found, hosts=tuple(one for one in found.hosts if one.id not in self.hidden))

    async def host(self, host: str) -> Host | None:
        return None if host in self.hidden else await super().host(host)


@pytest.mark.parametrize("kind", [StepKind.FENCE, StepKind.BACK, StepKind.REFILL])
def test_a_host_that_its_cluster_lists_no_more_is_told_and_taken_up_when_it_is_listed_again(
    tmp_path: Path, kind: StepKind
) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        before = homes(sim)
        forgetful = Forgetful("sim", sim)
        rig = WindowRig(tmp_path, {"sim": sim})
        rig.direct["sim"] = rig.backends["sim"] = forgetful
        await rig.begin()
        await rig.window("h0")
        await begins(rig, kind)
        forgetful.hidden.add("h0")
        await asyncio.sleep(120)
        assert "fault of evac" not in rig.story()
        assert "h0" in rig.the_window().reason
        forgetful.hidden.clear()
        await helped(rig)
        at_home(sim, before)
        await rig.end()

    run(main)


async def helped(rig: WindowRig) -> None:
    """A person retries what failed for good while the host was not there."""
    deadline = now() + 7200
    while rig.the_window().state is not WindowState.DONE:
        assert now() < deadline, rig.story()
        step = rig.host_run("h0").step
        if step is not None and step.state is StepState.NEEDS_YOU and step.orders:
            await rig.windows.steps.retry("W1", "sim/h0", step.kind, "", ADMIN)
        await asyncio.sleep(5.0)


# --- whoever started it is no admin any more ---------------------------------------------------------


@pytest.mark.parametrize("kind", [StepKind.DRAIN, StepKind.REFILL])
def test_a_window_whose_admin_is_none_any_more_begins_nothing_until_he_is_one_again(
    tmp_path: Path, kind: StepKind
) -> None:
    async def main() -> None:
        sim = switched(rack(vms=1, on=("h0",)))
        before = homes(sim)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await begins(rig, kind)
            rig.roles[ADMIN.uid] = "viewer"
            await rig.until(lambda: rig.the_window().orphan, "it is seen")
            calls = list(rig.direct["sim"].calls)
            await settles(rig)
            sent = list(rig.direct["sim"].calls[len(calls) :])
            assert len(sent) <= 1, "what was on its way when it was seen, and no more"
            assert "anna, in whose name it goes on, is no admin any more" in rig.the_window().reason
            del rig.roles[ADMIN.uid]
            await rig.through()
            at_home(sim, before)

    run(main)


def test_another_admin_takes_over_a_window_whose_admin_is_none_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=2)
        before = homes(sim)
        rig = WindowRig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.window("h0")
        await begins(rig, StepKind.EMPTY)
        rig.roles[ADMIN.uid] = ""
        await rig.until(lambda: rig.the_window().orphan, "it is seen")
        await rig.crash()
        await rig.begin()
        await rig.until(lambda: "is no admin any more" in rig.the_window().orphan, "it is seen again")
        with pytest.raises(QueueRefusal):
            await rig.windows.resume("W1", VIEWER)
        await rig.windows.resume("W1", BERT)
        await rig.through()
        at_home(sim, before)
        found = rig.the_window()
        assert (found.by.user, found.taken_over and found.taken_over.user) == ("anna", "bert")
        orders = rig.fleet.table("orders").values()
        assert {order.by.user for order in orders} == {"anna", "bert"}
        await rig.end()

    run(main)


def test_a_directory_that_does_not_answer_stops_no_window(tmp_path: Path) -> None:
    async def main() -> None:
        sim = rack(vms=1)
        async with WindowRig(tmp_path, {"sim": sim}) as rig:
            await rig.window("h0")
            await begins(rig, StepKind.EMPTY)
            rig.silent_directory = True
            await rig.through()

    run(main)
