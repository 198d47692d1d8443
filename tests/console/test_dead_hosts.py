"""A host that is down with VMs on it is a line of the problems pane, until it is back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evac import clock
from evac.fleet import Fleet
from evac.jobs import Actor
from evac.model import HostState
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window
from tests.console.fleetsource import cluster, some_hosts, some_vms
from tests.console.harness import Driver, running, until

ADA = Actor(uid=1000, user="ada", role="admin", via="console")


def healthy() -> Fleet:
    fleet, hosts = Fleet(), [replace(host, state=HostState.UP, maintenance=False) for host in some_hosts(4)]
    fleet.publish(clusters=[cluster("prod", "PROD", hosts=4)], hosts=hosts, vms=some_vms(20, hosts))
    return fleet


async def set_state(run: Driver, state: HostState) -> None:
    host = run.fleet.table("hosts")["prod/cmp-02"]
    run.fleet.publish(hosts=[replace(host, state=state)])
    await run.settled()


def line(run: Driver) -> str:
    """The host's line in the table, without the strip below it."""
    return next((line for line in run.text().splitlines()[5:12] if "cmp-02" in line), "")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_dead_host_is_a_line_with_all_that_must_be_known_and_goes_when_it_is_back(
    size: tuple[int, int],
) -> None:
    async with running(healthy(), size=size) as run:
        await run.press("5")
        assert not line(run)
        await set_state(run, HostState.DOWN)
        assert "✗ cmp-02 is down with 5 VMs on" in line(run)
        assert "no other problem" in run.text(), "its cluster's own line is no all-clear beside that"
        await until(lambda: "✗ cmp-02 is down with 5 VMs" in run.text().splitlines()[1], "the head line")
        await run.press("j", "j")
        text = " ".join(run.text().split())
        for words in (
            "seen so since",
            "unaffected: Other hosts",
            "evac evacuate cmp-02 --fenced HOW",
            "VMs ",
        ):
            assert words in text
        await set_state(run, HostState.UP)
        assert "OVER: it answers again" in run.text(), "the cursor is on it: it does not vanish under it"
        await run.press("k")
        assert not line(run)
        assert "no other problem" not in run.text()
        await until(lambda: "is down" not in run.text(), "the head line")


async def test_a_dead_host_goes_from_the_list_when_its_last_vm_has_left() -> None:
    async with running(healthy()) as run:
        await run.press("5")
        await set_state(run, HostState.DOWN)
        assert "with 5 VMs" in line(run)
        vms = run.fleet.vms_on("prod", "cmp-02")
        run.fleet.publish(vms=[replace(vm, host="cmp-01") for vm in vms[1:]])
        await run.settled()
        assert "with 1 VM on" in line(run)
        run.fleet.publish(vms=[replace(vms[0], host="cmp-01")])
        await run.settled()
        assert not line(run)


async def test_a_host_that_a_window_restarts_is_told_as_expected_and_the_head_line_stays_calm() -> None:
    async with running(healthy()) as run:
        await run.press("5")
        await set_state(run, HostState.DOWN)
        vms = run.fleet.vms_on("prod", "cmp-02")
        step = Step(kind=StepKind.BACK, state=StepState.HELD)
        hosts = (HostRun(cluster="prod", host="cmp-02", name="cmp-02", steps=(step,)),)
        night = Window(id="W3", plan="x", title="night", by=ADA, created=clock.wall(), hosts=hosts)
        run.fleet.publish(vms=[replace(vm, host="cmp-01") for vm in vms], windows=[night])
        await run.settled()
        assert "· cmp-02 is down as expected" in line(run)
        await until(lambda: "✗" not in run.text(), "the head line")
