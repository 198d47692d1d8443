"""High availability on the simulated Proxmox VE: requests that are carried out later, maintenance, dead nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from proxmoxer import ResourceException

from backends.proxmox.simulator_shell import Shell
from backends.proxmox.simulator_site import Pace
from backends.simulation import deeds
from tests.wire.proxmox_site import Site

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site(Pace(crm=10.0, fence=60.0))
    for vmid in (100, 102, 105):
        found.simulator.manager.manage(found.guest(vmid))
    async with found.simulator.serve():
        yield found
    assert found.simulator.troubles == []


@pytest.fixture
async def api(site: Site) -> Any:
    return await site.call(site.connect)


def tasks_of(site: Site, vmid: int) -> list[str]:
    return [task.type for task in site.simulator.tasks.all.values() if task.id == str(vmid)]


async def states(site: Site, api: Any) -> dict[str, Any]:
    status = await site.call(api.cluster.ha.status.manager_status.get)
    found: dict[str, Any] = status["manager_status"]
    return found


async def test_a_migration_of_a_managed_guest_is_a_request_first_and_the_managers_task_later(
    site: Site, api: Any
) -> None:
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "OK"
    assert upid.split(":")[5] == "hamigrate"
    assert "Requesting HA migration for VM 100 to node pve3" in await site.log(api, upid)
    assert (await site.rows(api))[100]["node"] == "pve1"
    await site.until_row(api, 100, node="pve3", hastate="started")
    assert tasks_of(site, 100) == ["hamigrate", "qmigrate"]
    mover = next(task for task in site.simulator.tasks.all.values() if task.type == "qmigrate")
    assert (mover.user, mover.status) == ("root@pam", "OK")


async def test_ha_itself_is_asked_to_migrate_or_to_relocate(site: Site, api: Any) -> None:
    answer = await site.call(lambda: api.cluster.ha.resources("vm:102").migrate.post(node="pve3"))
    assert answer["requested-node"] == "pve3"
    await site.until_row(api, 102, node="pve3", hastate="started")
    await site.call(lambda: api.cluster.ha.resources("ct:105").relocate.post(node="pve4"))
    await site.until_row(api, 105, node="pve4", hastate="started", status="running")
    with pytest.raises(ResourceException, match="no such resource 'vm:104'"):
        await site.call(lambda: api.cluster.ha.resources("vm:104").migrate.post(node="pve3"))


async def test_maintenance_by_the_nodes_shell_moves_managed_guests_away_and_back(
    site: Site, api: Any, tmp_path: Path
) -> None:
    async with Shell(site.simulator).serve(tmp_path) as door:
        client = await asyncssh.connect(
            door.host,
            door.port,
            username=door.user,
            client_keys=[str(door.identity)],
            known_hosts=str(door.known_hosts),
            agent_path=None,
        )
        async with client:
            line = "ha-manager crm-command node-maintenance"
            assert (await client.run(f"{line} enable pve1")).exit_status == 0
            for vmid in (100, 102):
                await site.until(
                    lambda vmid=vmid: next(  # type: ignore[misc]
                        row["node"] for row in api.cluster.resources.get(type="vm") if row["vmid"] == vmid
                    ),
                    lambda node: node != "pve1",
                    f"{vmid} to leave",
                )
            assert (await states(site, api))["node_status"]["pve1"] == "maintenance"
            told = await site.call(api.cluster.ha.status.current.get)
            lrm = next(row for row in told if row["id"] == "lrm:pve1")
            assert "maintenance mode" in lrm["status"]
            assert site.guest(104).vm.host == "pve1"
            assert (await client.run(f"{line} disable pve1")).exit_status == 0
            await site.until_row(api, 100, node="pve1", hastate="started")
            await site.until_row(api, 102, node="pve1", hastate="started")
            assert (await client.run(f"{line} enable pve9")).exit_status != 0
            assert (await client.run("reboot")).exit_status == 127
            site.guest(105).lock = "backup"
            assert (await client.run("sudo -n pct unlock 105")).exit_status == 0
            assert site.guest(105).lock == ""
            site.guest(104).lock = "backup"
            by_pvesh = "sudo -n -- pvesh set /nodes/pve1/qemu/104/config --delete lock --skiplock 1"
            assert (await client.run(by_pvesh)).exit_status == 0
            assert site.guest(104).lock == ""


async def test_of_a_dead_node_managed_guests_start_elsewhere_and_the_others_stay_unknown(
    site: Site, api: Any
) -> None:
    deeds.kill(site.world, "pve1")
    with pytest.raises(ResourceException) as error:
        await site.call(api.nodes("pve1").status.get)
    assert error.value.status_code == 595
    await site.until_row(api, 104, node="pve1", status="unknown")
    await site.until_row(api, 100, hastate="fence")
    for vmid in (100, 102):
        await site.until_row(api, vmid, hastate="started", status="running")
        assert site.guest(vmid).vm.host != "pve1"
        assert site.guest(vmid).vm.runs_on == site.guest(vmid).vm.host
    assert (await states(site, api))["node_status"]["pve1"] == "fence"
    nodes = {row["node"]: row["status"] for row in await site.call(api.nodes.get)}
    assert nodes == {"pve1": "offline", "pve2": "online", "pve3": "online", "pve4": "online"}
    assert (await site.rows(api))[104]["status"] == "unknown"
    assert site.world.evacuations.split_brains == []


async def test_a_task_on_a_node_that_died_ends_unexpectedly_and_leaves_the_lock(site: Site, api: Any) -> None:
    site.world.hosts["pve1"].link = 5e6
    upid = await site.call(lambda: api.nodes("pve1").qemu(104).migrate.post(target="pve3", online=1))
    await site.until_row(api, 104, lock="migrate")
    deeds.kill(site.world, "pve1")
    await site.until_row(api, 104, status="unknown")
    deeds.revive(site.world, "pve1")
    assert await site.ended(api, upid) == "unexpected status"
    await site.until_row(api, 104, node="pve1", status="running", lock="migrate")
    with pytest.raises(ResourceException, match=r"VM is locked \(migrate\)"):
        await site.call(lambda: api.nodes("pve1").qemu(104).migrate.post(target="pve3", online=1))


async def test_without_a_majority_nothing_moves(site: Site, api: Any) -> None:
    for name in ("pve3", "pve4"):
        deeds.kill(site.world, name)
    await site.pass_time(api, 5)
    with pytest.raises(ResourceException, match="no quorum"):
        await site.call(lambda: api.nodes("pve1").qemu(104).migrate.post(target="pve2", online=1))
    told = await site.call(api.cluster.ha.status.current.get)
    assert next(row for row in told if row["type"] == "quorum")["quorate"] == 0
