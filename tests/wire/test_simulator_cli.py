"""The `openstack` command line, unmodified and as a process of its own, works against the simulated cloud.

`server migration show` is left out: python-openstackclient 10.5 itself swaps the ids of server and migration there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backends.openstack.simulator import NovaSimulator
from backends.simulation.things import GIB, SimVM, Timing
from backends.simulation.world import World
from evac.model import VMState

OPENSTACK = Path(sys.executable).with_name("openstack")
AT_2_80 = ("--os-compute-api-version", "2.80")


class Shell:
    """Runs `openstack …` as an admin with OS_* variables would."""

    def __init__(self, simulator: NovaSimulator) -> None:
        self.simulator = simulator
        self.world = simulator.world
        self.vm: SimVM = next(iter(self.world.vms.values()))

    async def run(self, *words: str, user: str = "admin") -> tuple[int, str]:
        account = self.simulator.keystone.accounts[user]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        mine = {
            "OS_AUTH_URL": self.simulator.auth_url,
            "OS_USERNAME": account.name,
            "OS_PASSWORD": account.password,
            "OS_PROJECT_NAME": account.project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": self.simulator.region,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_CLIENT_CONFIG_FILE": os.devnull,
        }
        process = await asyncio.create_subprocess_exec(
            str(OPENSTACK),
            *words,
            env=clean | mine,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, output.decode()

    async def good(self, *words: str) -> str:
        code, output = await self.run(*words)
        assert code == 0, output
        return output

    async def table(self, *words: str) -> list[dict[str, Any]]:
        output = await self.good(*words, "-f", "json")
        rows: list[dict[str, Any]] = json.loads(output[output.index("[") :])
        return rows

    async def until(self, check: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 20
        while not check():
            assert time.monotonic() < end, f"not within 20 s: {what}"
            await asyncio.sleep(0.02)
            self.world.advance()


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    world = World(seed=4, timing=Timing(live_per_source=0, service_down=5.0))
    for number in range(1, 4):
        world.add_host(f"cmp0{number}", link=1e9, aggregates=("gen-a",))
    # 600 s on this link: it is certainly still running when the next command looks
    world.add_vm("big", "cmp01", memory=100 * GIB, dirty_rate=5e9, working_set=100.0 * GIB, project="admin")
    world.add_vm("small", "cmp01", memory=GIB, project="admin", local_disk=True, disk=GIB)
    simulator = NovaSimulator(world)
    async with simulator.serve():
        yield Shell(simulator)


async def test_what_there_is_can_be_listed(shell: Shell) -> None:
    servers, hypervisors, services, images, flavors, token = await asyncio.gather(
        shell.table("server", "list", "--all-projects", "--long"),
        shell.table("--os-compute-api-version", "2.53", "hypervisor", "list", "--long"),
        shell.table("compute", "service", "list", "--long"),
        shell.table("image", "list"),
        shell.table("flavor", "list"),
        shell.good("token", "issue"),
    )
    assert {(row["Name"], row["Status"], row["Host"]) for row in servers} == {
        ("big", "ACTIVE", "cmp01"),
        ("small", "ACTIVE", "cmp01"),
    }
    assert [(row["Hypervisor Hostname"], row["State"], row["vCPUs"]) for row in hypervisors] == [
        ("cmp01", "up", 64),
        ("cmp02", "up", 64),
        ("cmp03", "up", 64),
    ]
    assert {row["Binary"] for row in services} == {"nova-compute", "nova-conductor", "nova-scheduler"}
    assert [row["Name"] for row in images] == ["debian-13"]
    assert [row["Name"] for row in flavors] == ["m1.small"]
    assert "gAAAAA" in token


async def test_one_hypervisor_server_and_aggregate_can_be_shown(shell: Shell) -> None:
    host, server, aggregates, zones = await asyncio.gather(
        shell.good("hypervisor", "show", "cmp02", "-f", "json"),
        shell.good("server", "show", "small", "-f", "json"),
        shell.table("aggregate", "list"),
        shell.table("availability", "zone", "list"),
    )
    assert json.loads(host)["hypervisor_hostname"] == "cmp02"
    assert json.loads(server)["OS-EXT-SRV-ATTR:host"] == "cmp01"
    assert [row["Name"] for row in aggregates] == ["gen-a"]
    assert [row["Zone Name"] for row in zones] == ["nova"]


async def test_a_service_is_disabled_with_a_reason_and_enabled(shell: Shell) -> None:
    await shell.good(
        "compute", "service", "set", "--disable", "--disable-reason", "new DIMMs", "cmp03", "nova-compute"
    )
    assert (shell.world.hosts["cmp03"].maintenance, shell.world.hosts["cmp03"].reason) == (True, "new DIMMs")
    await shell.good("compute", "service", "set", "--enable", "cmp03", "nova-compute")
    assert not shell.world.hosts["cmp03"].maintenance


async def test_a_live_migration_is_started_listed_aborted_and_forced(shell: Shell) -> None:
    vm = shell.vm
    await shell.good(*AT_2_80, "server", "migrate", "--live-migration", "--host", "cmp02", vm.id)
    await shell.until(lambda: shell.world.moves[1].status == "running", "it runs")
    (row,) = await shell.table(*AT_2_80, "server", "migration", "list", "--server", vm.id)
    assert (row["Source Compute"], row["Dest Compute"], row["Status"]) == ("cmp01", "cmp02", "running")
    await shell.good(*AT_2_80, "server", "migration", "abort", vm.id, "1")
    assert (shell.world.moves[1].status, vm.host) == ("cancelled", "cmp01")
    await shell.good(*AT_2_80, "server", "migrate", "--live-migration", vm.id)
    await shell.until(lambda: shell.world.moves[2].status == "running", "it runs again")
    await shell.good(*AT_2_80, "server", "migration", "force", "complete", vm.id, "2")
    assert [entry.kind for entry in shell.world.log if entry.move == 2][-2:] == ["forced", "paused"]


async def test_a_cold_migration_is_confirmed(shell: Shell) -> None:
    await shell.good("server", "migrate", "--wait", "small")
    await shell.good("server", "migration", "confirm", "small")
    small = list(shell.world.vms.values())[1]
    assert (small.state, small.host != "cmp01") == (VMState.RUNNING, True)


async def test_evacuate_reset_state_and_power(shell: Shell) -> None:
    small = list(shell.world.vms.values())[1]
    code, output = await shell.run("server", "evacuate", small.id)
    assert code != 0
    assert "Compute service of cmp01 is still in use." in output
    await shell.good("compute", "service", "set", "--down", "cmp01", "nova-compute")
    await shell.good("server", "evacuate", small.id)
    await shell.until(lambda: small.host != "cmp01" and not small.task, "it arrives")
    await shell.good("server", "set", "--state", "error", "--auto-approve", small.id)
    assert small.state is VMState.ERROR
    await shell.good("server", "set", "--state", "active", "--auto-approve", small.id)
    await shell.good("server", "stop", small.id)
    await shell.until(lambda: small.state is VMState.STOPPED, "it stops")
    (event, *_) = await shell.table("server", "event", "list", small.id)
    assert event["Action"] == "stop"


async def test_a_plain_user_is_refused(shell: Shell) -> None:
    code, output = await shell.run("compute", "service", "list", user="demo")
    assert code != 0
    assert "Policy doesn't allow os_compute_api:os-services:list to be performed." in output
