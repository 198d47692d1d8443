"""The real `evac` as a subprocess, its engine, openstacksdk and a simulated cloud on the wire."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from backends.simulation.faults import Fault, Kind
from evac.lifecycle import holder
from evac.paths import paths
from tests.wire.cli_site import EVAC, PASSWORD, Site, running, site, world

HOSTS = ("cmp-1", "cmp-2", "cmp-10")


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    """One cloud: cmp-1, cmp-2 and cmp-10 with three VMs each."""
    async with site(tmp_path, {"fra": world(HOSTS, 3)}) as made:
        yield made


async def until(condition: Callable[[], bool], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s"
        await asyncio.sleep(0.05)


def on(made: Site, host: str, cloud: str = "fra") -> set[str]:
    """Names of the VMs that truly are on a host."""
    place = made.clouds[cloud].world
    place.advance()
    return {vm.name for vm in place.vms.values() if vm.host == host}


def changes(made: Site, cloud: str = "fra") -> list[str]:
    """Requests that could have changed something."""
    return [
        f"{method} {path}"
        for method, path, _ in made.clouds[cloud].requests
        if method not in ("GET", "HEAD") and not path.endswith("/auth/tokens")
    ]


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


async def test_the_audit_record_is_intact_until_somebody_touches_it(fra: Site) -> None:
    assert (await fra.evac("migrate", "cmp-1-vm0", "--yes")).code == 0
    good = (await fra.evac("audit", "verify", "--json")).json
    assert good["ok"] is True
    assert good["records"] > 3
    await fra.stop_engine()
    with sqlite3.connect(paths(fra.config, fra.state).journal) as db:
        db.execute(
            "UPDATE audit SET body = replace(body, 'cmp-1', 'cmp-9') WHERE seq = 2 OR body LIKE '%cmp-1%'"
        )
    bad = await fra.evac("audit", "verify")
    assert bad.code == 1
    assert "NOT intact" in bad.out


async def test_a_secret_appears_nowhere(fra: Site) -> None:
    """The password of the cloud, in a file by reference: not in any output, log, journal or audit record."""
    secret = fra.folder / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    fra.config.write_text(
        f'[clusters.fra]\nkind = "openstack"\nauth_url = "{fra.clouds["fra"].auth_url}"\nusername = "admin"\n'
        'password = "file:secret"\nproject_name = "admin"\nuser_domain_name = "Default"\n'
        'project_domain_name = "Default"\nregion = "RegionOne"\n'
    )
    texts = []
    for words in (
        ["hosts", "--json"],
        ["vms"],
        ["doctor", "--json"],
        ["config", "show", "--origin"],
        ["migrate", "cmp-1-vm0", "--yes", "--json"],
        ["problems", "--json"],
        ["events", "--json"],
        ["engine", "status", "--json"],
    ):
        ran = await fra.evac(*words)
        texts += [ran.out, ran.err]
    assert "cmp-1-vm0" in on(fra, "cmp-2") | on(fra, "cmp-10"), "the password was really used"
    await fra.stop_engine()
    for file in fra.state.iterdir():
        if file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
    assert not any(PASSWORD in text for text in texts)


async def test_doctor_finds_a_good_cloud_good(fra: Site) -> None:
    examined = await fra.evac("doctor", "--json")
    body = examined.json
    bad = [finding for part in body["sections"] for finding in part["findings"] if finding["ok"] is False]
    assert bad == []
    assert examined.code == 0
    assert {part["section"] for part in body["sections"]} >= {
        "config",
        "terminal",
        "state directory",
        "cluster fra",
    }
    assert changes(fra) == [], "doctor looks and never touches"


async def test_doctor_finds_each_broken_thing_and_says_what_to_do(tmp_path: Path) -> None:
    """A wrong password, a port nobody listens on, an account without rights: three bad clouds do not hide a good one."""
    worlds = {name: world(("cmp-1",), 1) for name in ("good", "wrong", "poor")}
    async with site(tmp_path, worlds) as made:
        made.clouds["wrong"].keystone.accounts["admin"].password = "changed-since"
        entries = {
            "good": made.clouds["good"].cloud(),
            "wrong": made.clouds["wrong"].cloud()
            | {"auth": made.clouds["wrong"].cloud()["auth"] | {"password": "x"}},
            "poor": made.clouds["poor"].cloud("demo"),
            "away": made.clouds["good"].cloud()
            | {"auth": {**made.clouds["good"].cloud()["auth"], "auth_url": "http://127.0.0.1:9/v3"}},
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": entries}))
        made.config.write_text(
            "".join(
                f'[clusters.{name}]\nkind = "openstack"\ncloud = "{name}"\nclouds_file = "clouds.yaml"\n'
                for name in entries
            )
        )
        examined = await made.evac("doctor", "--json")
        assert examined.code == 1
        parts = {part["section"]: part["findings"] for part in examined.json["sections"]}
        assert all(finding["ok"] is not False for finding in parts["cluster good"])
        for name in ("wrong", "poor", "away"):
            bad = [finding for finding in parts[f"cluster {name}"] if finding["ok"] is False]
            assert bad, name
            assert all(finding["fix"] for finding in bad), bad
        human = await made.evac("doctor", "away")
        assert human.code == 1
        assert "Fix:" in human.out
        assert (await made.evac("doctor", "nowhere")).code == 2


async def test_namesakes_are_refused_and_listed(tmp_path: Path) -> None:
    """A host in two clusters, and two VMs of one name in one."""
    one, two = world(("cmp-1", "cmp-2"), 1), world(("cmp-1",), 0)
    one.add_vm("web", "cmp-1")
    one.add_vm("web", "cmp-2")
    async with site(tmp_path, {"fra": one, "ams": two}) as made:
        hosts = await made.evac("drain", "cmp-1", "--yes")
        assert hosts.code == 2
        assert "cluster ams" in hosts.err
        assert "cluster fra" in hosts.err
        assert (await made.evac("drain", "cmp-1", "--cluster", "fra")).code == 0
        vms = await made.evac("migrate", "web", "--yes", "--json")
        assert vms.code == 2
        details = json.loads(vms.err)["error"]["details"]
        ids = {vm.id for vm in one.vms.values() if vm.name == "web"}
        assert len(details) == 2
        assert all(any(number in line for line in details) for number in ids)
        assert changes(made) == []
        assert (await made.evac("migrate", ids.pop(), "--yes")).code == 0


async def test_a_cloud_that_is_away_is_told_and_hides_nothing_of_the_others(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(("cmp-1", "cmp-2"), 1)}) as made:
        with made.config.open("a") as file:
            file.write(
                '[clusters.away]\nkind = "openstack"\nauth_url = "http://127.0.0.1:9/v3"\nusername = "u"\n'
                'password = "env:HOME"\nproject_name = "p"\n'
            )
        hosts = await made.evac("hosts", "--json")
        assert hosts.code == 4
        assert len(hosts.json["hosts"]) == 2
        assert hosts.json["complete"] is False
        assert (await made.evac("hosts", "--cluster", "fra")).code == 0
        assert (await made.evac("hosts", "--cluster", "away")).code == 6
        assert (await made.evac("hosts", "--cluster", "nowhere")).code == 2
        problems = await made.evac("problems")
        assert problems.code == 4
        assert "away" in problems.out
        assert (await made.evac("migrate", "cmp-1-vm0", "--yes")).code == 0


async def test_hostile_names_reach_scripts_exactly_and_terminals_harmlessly(tmp_path: Path) -> None:
    place = world(("cmp-1", "cmp-2"), 0)
    name = "\x1b[2J\x1b]0;owned\x07web\u202e"
    place.add_vm(name, "cmp-1", memory=64 << 20)
    async with site(tmp_path, {"fra": place}) as made:
        shown = await made.evac("vms")
        assert "\x1b" not in shown.out
        assert "\u202e" not in shown.out
        (vm,) = (await made.evac("vms", "--json")).json["vms"]
        assert vm["name"] == name
        moved = await made.evac("migrate", vm["id"], "--yes")
        assert moved.code == 0
        assert "\x1b" not in moved.out + moved.err


async def test_an_import_from_clouds_yaml_leads_to_a_fleet_that_can_only_be_looked_at(fra: Site) -> None:
    fra.config.unlink()
    dry = await fra.evac("import", "--dry-run")
    assert dry.code == 0
    assert not fra.config.exists()
    assert (await fra.evac("import")).code == 0
    assert stat.S_IMODE(fra.config.stat().st_mode) == 0o600
    text = fra.config.read_text()
    assert "read_only = true" in text
    assert PASSWORD not in text + dry.out
    assert (await fra.evac("hosts")).code == 0
    assert (await fra.evac("drain", "cmp-1", "--yes")).code == 3
    assert changes(fra) == []


async def test_a_config_with_ten_mistakes_stops_every_verb_with_all_ten(fra: Site) -> None:
    mistakes = "".join(f"wrong_{number} = {number}\n" for number in range(10))
    fra.config.write_text(mistakes + fra.config.read_text())
    check = await fra.evac("config", "check")
    assert check.code == 1
    assert len(check.out.splitlines()) == 10
    hosts = await fra.evac("hosts")
    assert hosts.code == 6
    assert all(re.search(rf"wrong_{number}\b", hosts.err) for number in range(10))


async def test_completion_knows_hosts_and_vms_of_a_running_engine_only(fra: Site) -> None:
    async def completed(words: str) -> list[str]:
        environment = {
            **fra.environment(),
            "_EVAC_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split())),
            "EVAC_CONFIG": str(fra.config),
            "EVAC_STATE_DIR": str(fra.state),
        }
        process = await asyncio.create_subprocess_exec(
            str(EVAC), env=environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        return [line.split(",", 1)[1] for line in out.decode().splitlines() if line]

    assert await completed("evac drain ") == []
    assert not fra.state.exists(), "a tab starts no engine"
    await fra.evac("hosts")
    assert await completed("evac drain ") == sorted(HOSTS)
    assert "cmp-1-vm0" in await completed("evac migrate ")
    assert "drain" in await completed("evac ")


async def test_no_engine_can_be_started_and_the_command_says_why(fra: Site) -> None:
    fra.state.write_text("a file where the state directory should be")
    ran = await fra.evac("hosts")
    assert ran.code == 6
    assert str(fra.state) in ran.err
