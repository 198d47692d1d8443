"""A VM moves from one simulated Proxmox VE cluster to another, and what the other end refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from proxmoxer import ResourceException

from tests.wire.proxmox_site import Site

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture
async def both() -> AsyncIterator[tuple[Site, Site, Any, Any]]:
    here, there = Site(), Site(seed=2)
    async with here.simulator.serve(), there.simulator.serve():
        yield here, there, await here.call(here.connect), await there.call(there.connect)
    assert here.simulator.troubles == there.simulator.troubles == []


def wish(there: Site, **more: Any) -> dict[str, Any]:
    host, port = there.simulator.endpoint.split(":")
    token = f"PVEAPIToken={there.simulator.token_id}={there.simulator.token}"
    endpoint = f"host={host},port={port},apitoken={token},fingerprint={there.simulator.fingerprint}"
    given = {"target-endpoint": endpoint, "target-storage": "ceph-ssd", "target-bridge": "vmbr0", "online": 1}
    return given | more


async def test_a_running_vm_arrives_with_its_identity_under_its_new_number(
    both: tuple[Site, Site, Any, Any],
) -> None:
    here, there, api, far = both
    given = wish(there, **{"target-vmid": 500})
    upid = await here.call(lambda: api.nodes("pve1").qemu(100).remote_migrate.post(**given))
    assert await here.ended(api, upid) == "OK"
    row = await there.until_row(far, 500, name="vm0", status="running")
    config = await there.call(far.nodes(row["node"]).qemu(500).config.get)
    assert config["smbios1"] == f"uuid={here.vms[0].id}"
    assert config["scsi0"].startswith("ceph-ssd:")
    left = (await here.rows(api))[100]
    assert (left["status"], left["lock"]) == ("stopped", "migrate")
    assert any("drive-scsi0: transferred" in line for line in await here.log(api, upid))


async def test_with_delete_the_source_has_it_no_more(both: tuple[Site, Site, Any, Any]) -> None:
    here, there, api, far = both
    given = wish(there, delete=1, **{"target-vmid": 501})
    upid = await here.call(lambda: api.nodes("pve1").qemu(100).remote_migrate.post(**given))
    assert await here.ended(api, upid) == "OK"
    assert 100 not in await here.rows(api)
    assert 501 in await there.rows(far)


async def test_the_other_ends_refusals_are_told(both: tuple[Site, Site, Any, Any]) -> None:
    here, there, api, _ = both
    node = api.nodes("pve1").qemu(100)
    good = wish(there)["target-endpoint"]
    for given, words in (
        ({"target-endpoint": good.replace(there.simulator.fingerprint, "AA:BB")}, "not verified"),
        ({"target-endpoint": good.replace(there.simulator.token, "wrong")}, "invalid token value"),
        ({"target-endpoint": "host=127.0.0.1,port=1,apitoken=x"}, "Connection refused"),
        ({"target-storage": "1"}, "explicit storage mapping"),
        ({"online": 0}, "without --online"),
    ):
        with pytest.raises(ResourceException, match=words):
            await here.call(lambda given=given: node.remote_migrate.post(**wish(there, **given)))  # type: ignore[misc]
    upid = await here.call(lambda: node.remote_migrate.post(**wish(there)))
    assert await here.ended(api, upid) == "migration aborted"
    assert any("already exists on remote cluster" in line for line in await here.log(api, upid))
    row = await here.until_row(api, 100, node="pve1", status="running")
    assert "lock" not in row


async def test_a_stopped_task_leaves_it_running_here(both: tuple[Site, Site, Any, Any]) -> None:
    here, there, api, far = both
    here.world.hosts["pve1"].link = 20e6
    given = wish(there, **{"target-vmid": 502})
    upid = await here.call(lambda: api.nodes("pve1").qemu(100).remote_migrate.post(**given))
    await here.until(
        lambda: api.nodes("pve1").tasks(upid).log.get(limit=500),
        lambda lines: any("drive-scsi0: transferred" in line["t"] for line in lines),
        "bytes",
    )
    await here.call(api.nodes("pve1").tasks(upid).delete)
    assert await here.ended(api, upid) == "migration problems"
    row = await here.until_row(api, 100, node="pve1", status="running")
    assert "lock" not in row
    assert here.vms[0].runs_on == "pve1"
    assert 502 not in await there.rows(far)
