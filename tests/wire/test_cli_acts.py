"""Each changing verb once, by the real `evac`, and what became of it in the simulated cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from backends.simulation import deeds
from backends.simulation.things import SimVM
from evac.model import VMState
from tests.wire.cli_site import HOSTS, Ran, Site, changes, on, site, world

FENCED = ("--fenced", "powered off by IPMI 03:12")


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    """One cloud: cmp-1, cmp-2 and cmp-10 with two VMs each."""
    async with site(tmp_path, {"fra": world(HOSTS, 2)}) as made:
        yield made


def vm(made: Site, name: str) -> SimVM:
    place = made.clouds["fra"].world
    place.advance()
    return next(each for each in place.vms.values() if each.name == name)


async def done(made: Site, *words: str) -> Ran:
    """Run with --yes; it must end with 0."""
    ran = await made.evac(*words, "--yes")
    assert ran.code == 0, f"{words}: {ran.code}\n{ran.out}\n{ran.err}"
    return ran


async def test_maintenance_is_entered_with_a_reason_and_left(fra: Site) -> None:
    assert (await fra.evac("maintenance", "enter", "cmp-2", "--yes")).code == 2, "a reason is needed"
    planned = await fra.evac("maintenance", "enter", "cmp-2", "--reason", "DIMM B2")
    assert planned.code == 0
    assert changes(fra) == [], "no --yes, no change"
    await done(fra, "maintenance", "enter", "cmp-2", "--reason", "DIMM B2")
    host = fra.clouds["fra"].world.hosts["cmp-2"]
    assert (host.maintenance, "DIMM B2" in host.reason) == (True, True)
    assert "DIMM B2" in (await fra.evac("hosts")).out
    await done(fra, "maintenance", "leave", "cmp-2")
    assert host.maintenance is False
    assert on(fra, "cmp-2") == {"cmp-2-vm0", "cmp-2-vm1"}, "maintenance moves no guest"


async def test_a_dead_host_is_declared_down_and_evacuated(fra: Site) -> None:
    place = fra.clouds["fra"].world
    place.advance()
    deeds.kill(place, "cmp-1")
    await done(fra, "force-down", "cmp-1", *FENCED)
    assert place.hosts["cmp-1"].forced_down
    plan = await fra.evac("evacuate", "cmp-1", *FENCED)
    assert plan.code == 0, plan.out + plan.err
    assert "evacuate cmp-1-vm0" in plan.out
    await done(fra, "evacuate", "cmp-1", *FENCED, "--to", "cmp-10")
    assert on(fra, "cmp-1") == set()
    assert on(fra, "cmp-10") == {f"cmp-{number}-vm{each}" for number in (1, 10) for each in (0, 1)}
    record = (fra.state / "journal.db").read_bytes() + b"".join(
        path.read_bytes() for path in fra.state.glob("journal.db-wal")
    )
    assert b"powered off by IPMI 03:12" in record, "the statement is kept"
    refused = await fra.evac("force-down", "cmp-1", "--undo", "--yes")
    assert refused.code == 1, "Nova wants the host's agent back first, which deletes what was evacuated"
    assert "Next: Restart its nova-compute" in refused.out
    deeds.revive(place, "cmp-1")
    await done(fra, "force-down", "cmp-1", "--undo")
    assert not place.hosts["cmp-1"].forced_down


async def test_a_cold_migration_is_confirmed_or_reverted(fra: Site) -> None:
    for name, verb, home in (("cmp-1-vm0", "confirm", "cmp-2"), ("cmp-1-vm1", "revert", "cmp-1")):
        moved = await done(fra, "migrate", name, "--cold", "--to", "cmp-2")
        assert "1 of 1 done" in moved.out
        assert vm(fra, name).state is VMState.AWAITING_CONFIRM
        await done(fra, verb, name)
        assert vm(fra, name).host == home
        assert vm(fra, name).state is VMState.RUNNING


async def test_power_off_and_on(fra: Site) -> None:
    await done(fra, "stop", "cmp-1-vm0", "cmp-1-vm1")
    assert {vm(fra, name).state for name in on(fra, "cmp-1")} == {VMState.STOPPED}
    await done(fra, "start", "cmp-1-vm0")
    assert vm(fra, "cmp-1-vm0").state is VMState.RUNNING
    assert vm(fra, "cmp-1-vm1").state is VMState.STOPPED


async def test_a_stuck_state_is_overwritten(fra: Site) -> None:
    stuck = vm(fra, "cmp-1-vm0")
    stuck.state = VMState.ERROR
    fra.clouds["fra"].world.touch(stuck)
    assert "error" in (await fra.evac("vms", "cmp-1-vm0")).out
    await done(fra, "reset-state", "cmp-1-vm0")
    assert vm(fra, "cmp-1-vm0").state is VMState.RUNNING
    assert (await fra.evac("reset-state", "cmp-1-vm0", "--to", "happy", "--yes")).code == 2


async def endless(made: Site) -> SimVM:
    """A VM that writes faster than the link, being migrated."""
    place = made.clouds["fra"].world
    hot = place.add_vm("hot", "cmp-1", memory=32 << 30, dirty_rate=5e9, working_set=30e9)
    taken = await made.evac("migrate", "hot", "--yes", "--no-wait")
    assert taken.code == 0, taken.err
    for _ in range(40):
        listed = (await made.evac("queue", "--json")).json["jobs"]
        if listed and listed[0]["state"] == "running" and listed[0]["progress"]:
            return hot
    raise AssertionError(f"it is not under way: {listed}")


async def test_a_migration_under_way_is_aborted_and_the_vm_stays(fra: Site) -> None:
    hot = await endless(fra)
    await until_seen(fra)
    await done(fra, "abort", "hot")
    assert (await fra.evac("queue", "wait", "O1")).code in (1, 4), "the order it belonged to did not get done"
    assert vm(fra, "hot").host == "cmp-1"
    assert (hot.task, hot.move) == ("", 0)


async def test_a_migration_that_does_not_converge_is_forced(fra: Site) -> None:
    await endless(fra)
    await until_seen(fra)
    await done(fra, "force-complete", "hot")
    assert (await fra.evac("queue", "wait", "O1")).code == 0
    assert vm(fra, "hot").host != "cmp-1"


async def until_seen(made: Site) -> None:
    """The poller has seen the migration, too; abort and force-complete name it by its id."""
    for _ in range(40):
        if (await made.evac("abort", "hot")).code == 0:
            return
    raise AssertionError("the migration never showed in the fleet")


async def test_nothing_to_abort_is_refused(fra: Site) -> None:
    refused = await fra.evac("abort", "cmp-1-vm0", "--yes")
    assert refused.code == 3
    assert "not being migrated" in refused.err
    assert changes(fra) == []
