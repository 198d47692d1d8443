"""The real `evac` as a subprocess, its engine, openstacksdk and a simulated cloud on the wire."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.simulation.faults import Fault, Kind
from evac.lifecycle import holder
from evac.paths import paths
from tests.wire.cli_site import HOSTS, Site, changes, on, running, site, until, world


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    """One cloud: cmp-1, cmp-2 and cmp-10 with three VMs each."""
    async with site(tmp_path, {"fra": world(HOSTS, 3)}) as made:
        yield made


async def test_hosts_and_vms_are_listed_for_people_and_for_scripts(fra: Site) -> None:
    hosts = await fra.evac("hosts")
    assert hosts.code == 0
    assert [line.split()[1] for line in hosts.out.splitlines()[1:]] == sorted(HOSTS)
    body = (await fra.evac("vms", "--json")).json
    assert body["complete"] is True
    assert [cluster["name"] for cluster in body["clusters"]] == ["fra"]
    assert len(body["vms"]) == 9
    assert {"key", "name", "host", "state", "memory", "addresses"} <= set(body["vms"][0])
    filtered = (await fra.evac("vms", "host:cmp-2", "!vm0", "--json")).json["vms"]
    assert {vm["name"] for vm in filtered} == {"cmp-2-vm1", "cmp-2-vm2"}


async def test_without_yes_a_drain_is_a_plan_and_not_one_changing_request(fra: Site) -> None:
    plan = await fra.evac("drain", "cmp-1", "--plan", "--json")
    assert plan.code == 0, plan.err
    body = plan.json
    assert body["done"] is False
    assert [action["kind"] for action in body["plan"]["actions"]] == [
        "enter_maintenance",
        *["live_migrate"] * 3,
    ]
    assert {action["host"] for action in body["plan"]["actions"]} == {"cmp-1"}
    human = await fra.evac("drain", "cmp-1")
    assert human.code == 0
    assert all(name in human.out for name in on(fra, "cmp-1"))
    assert "Nothing has been done" in human.out
    assert changes(fra) == []


async def test_a_drain_ends_with_0_when_the_host_is_seen_empty(fra: Site) -> None:
    drained = await fra.evac("drain", "cmp-1", "--yes", "--json", "--reason", "firmware", "--ticket", "CHG-1")
    assert drained.code == 0, drained.out + drained.err
    body = drained.json
    assert body["exit"] == 0
    assert body["order"]["state"] == "done"
    assert body["order"]["ticket"] == "CHG-1"
    assert {job["state"] for job in body["jobs"]} == {"done"}
    assert on(fra, "cmp-1") == set()
    assert len(on(fra, "cmp-10")) + len(on(fra, "cmp-2")) == 9
    assert fra.clouds["fra"].world.hosts["cmp-1"].reason
    told = [line for line in drained.err.splitlines() if ": done" in line]
    assert len(told) == 4, "a line for each step that ended"
    moved = [request for request in changes(fra) if request.endswith("/action")]
    assert len(moved) == 3, "none was asked for twice"


async def test_a_host_is_named_exactly_or_nothing_happens(fra: Site) -> None:
    """The trap of `nova host-evacuate-live cmp-1`, which drains cmp-10 too."""
    for name in ("cmp", "cmp-", "CMP-1", "cmp-*", "cmp-3"):
        refused = await fra.evac("drain", name, "--yes")
        assert refused.code == 2, name
        assert "There is no host" in refused.err
    assert changes(fra) == []


async def test_a_vm_goes_to_the_host_that_was_named(fra: Site) -> None:
    moved = await fra.evac("migrate", "cmp-1-vm0", "cmp-1-vm0", "--to", "cmp-10", "--yes")
    assert moved.code == 0, moved.out + moved.err
    assert "cmp-1-vm0" in on(fra, "cmp-10")
    assert "1 of 1 done" in moved.out
    assert (await fra.evac("migrate", "cmp-1-vm1", "--to", "cmp-1x", "--yes")).code == 2


async def test_an_order_that_fails_ends_with_1_and_the_reason(fra: Site) -> None:
    fra.clouds["fra"].world.faults.order(Fault(kind=Kind.NO_VALID_HOST, on="live_migrate", times=math.inf))
    failed = await fra.evac("migrate", "cmp-1-vm0", "--yes")
    assert failed.code == 1, failed.out + failed.err
    assert "No valid host" in failed.out
    assert "cmp-1-vm0" in on(fra, "cmp-1")


async def test_an_order_of_which_some_fails_ends_with_4(fra: Site) -> None:
    place = fra.clouds["fra"].world
    victim = place.add_vm("big", "cmp-1", memory=64 << 30)
    place.faults.order(Fault(kind=Kind.FAILS, on="live_migrate", vm=victim.id, times=math.inf))
    partly = await fra.evac("drain", "cmp-1", "--yes", "--json")
    assert partly.code == 4, partly.out + partly.err
    assert partly.json["order"]["left"] == ["big"]
    assert on(fra, "cmp-1") == {"big"}


@pytest.mark.parametrize("how", ["config", "flag"])
async def test_read_only_refuses_with_3_and_sends_nothing(fra: Site, how: str) -> None:
    if how == "config":
        fra.write_config("read_only = true\n")
    flag = ["--read-only"] if how == "flag" else []
    for words in (
        ["drain", "cmp-1"],
        ["migrate", "cmp-1-vm0"],
        ["stop", "cmp-1-vm0"],
        ["reset-state", "cmp-1-vm0"],
    ):
        refused = await fra.evac(*flag, *words, "--yes")
        assert refused.code == 3, (words, refused.out, refused.err)
        assert "read" in refused.err.lower()
    assert (await fra.evac(*flag, "hosts")).code == 0
    assert changes(fra) == []


async def test_evacuate_of_a_living_host_is_refused_with_3(fra: Site) -> None:
    refused = await fra.evac("evacuate", "cmp-1", "--fenced", "powered off by IPMI", "--yes")
    assert refused.code == 3, refused.out + refused.err
    assert changes(fra) == []


async def test_ctrl_c_ends_the_waiting_and_not_the_order(fra: Site) -> None:
    process = await fra.start("drain", "cmp-1", "--yes")
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    order = line.split()[0]
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert f"{order} goes on in the engine" in err.decode()
    assert f"evac queue wait {order}" in err.decode()
    waited = await fra.evac("queue", "wait", order)
    assert waited.code == 0, waited.out + waited.err
    assert on(fra, "cmp-1") == set()


async def test_no_wait_and_timeout_leave_the_order_to_the_engine(fra: Site) -> None:
    taken = await fra.evac("migrate", "cmp-1-vm0", "--yes", "--no-wait", "--json")
    assert taken.code == 0
    assert taken.json["waited"] is False
    assert (await fra.evac("queue", "wait", taken.json["order"]["id"])).code == 0
    fra.clouds["fra"].world.faults.order(Fault(kind=Kind.STUCK, on="live_migrate"))
    late = await fra.evac("migrate", "cmp-1-vm1", "--yes", "--timeout", "1")
    assert late.code == 4
    assert "goes on in the engine" in late.err


async def test_waiting_survives_an_engine_that_is_killed(fra: Site) -> None:
    """`kill -9` in the middle of a drain: the command starts the next engine and ends with 0, nothing is moved twice."""
    process = await fra.start("drain", "cmp-1", "--yes", "--json")
    await until(lambda: any(path.endswith("/action") for path in changes(fra)), "a first migration")
    held = holder(paths(fra.config, fra.state).lock)
    assert held is not None
    os.kill(held.pid, signal.SIGKILL)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode() + err.decode()
    assert json.loads(out)["order"]["state"] == "done"
    assert on(fra, "cmp-1") == set()
    assert len([path for path in changes(fra) if path.endswith("/action")]) == 3


async def test_the_queue_is_shown_and_steered(fra: Site) -> None:
    assert "PAUSED" in (await fra.evac("queue", "pause")).out
    order = (await fra.evac("migrate", "cmp-1-vm0", "--yes", "--no-wait", "--json")).json["order"]["id"]
    body = (await fra.evac("queue", "--json")).json
    assert body["queue"]["paused"] is True
    (job,) = body["jobs"]
    assert job["order"] == order
    assert changes(fra) == []
    cancelled = await fra.evac("queue", "cancel", order)
    assert cancelled.code == 0
    assert "cancelled" in cancelled.out
    assert (await fra.evac("queue", "cancel", order)).code == 3
    assert (await fra.evac("queue", "cancel", "J999")).code == 2
    assert "PAUSED" not in (await fra.evac("queue", "resume")).out
    limits = (await fra.evac("queue", "limits", "--per-source", "5", "--json")).json["limits"]
    assert limits["per_source"] == 5
    assert (await fra.evac("queue", "limits", "--json")).json["limits"] == limits
    assert "no one" not in (await fra.evac("queue", "--all")).out
    assert any("cancel" in event["text"] for event in (await fra.evac("events", "--json")).json["events"])


async def test_engine_status_and_stop(fra: Site) -> None:
    assert (await fra.evac("engine", "status")).code == 6
    assert (await fra.evac("engine", "stop")).code == 6
    await fra.evac("queue")
    status = (await fra.evac("engine", "status", "--json")).json
    assert status["running"] is True
    assert running(status["pid"])
    assert (await fra.evac("engine", "stop")).code == 0
    await until(lambda: not running(status["pid"]), "the engine's end")


async def test_a_second_engine_is_refused_and_the_holder_named(fra: Site) -> None:
    await fra.evac("queue")
    pid = (await fra.evac("engine", "status", "--json")).json["pid"]
    second = await fra.evac("engine")
    assert second.code == 1
    assert f"process {pid}" in second.err
