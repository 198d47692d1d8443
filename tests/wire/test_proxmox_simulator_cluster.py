"""The simulated Proxmox VE as a cluster: endpoints of several nodes, figures that are up to 10 s old, many guests at once."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from proxmoxer import ProxmoxAPI
from requests import ConnectionError  # noqa: A004

from backends.proxmox.simulator_site import Pace
from backends.simulation import deeds
from tests.wire.proxmox_site import Site

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


async def test_each_node_has_an_endpoint_of_its_own_which_dies_with_it() -> None:
    site = Site()
    async with site.simulator.serve(nodes=("pve1", "pve2")) as served:
        assert list(served.endpoints) == ["pve1", "pve2"]

        def connect(node: str) -> Any:
            host, port = served.endpoints[node].split(":")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ProxmoxAPI(host, port=int(port), user="root@pam", password="secret", verify_ssl=False)

        first, second = [await site.call(lambda node=node: connect(node)) for node in served.endpoints]  # type: ignore[misc]
        for node, api in (("pve1", first), ("pve2", second)):
            told = await site.call(api.cluster.status.get)
            assert [row["name"] for row in told if row.get("local")] == [node]
        deeds.kill(site.world, "pve1")
        with pytest.raises(ConnectionError):
            await site.call(first.version.get)
        assert await site.call(second.version.get)
    assert site.simulator.troubles == []


async def test_a_status_is_seen_with_the_next_round_of_pvestatd_but_a_lock_at_once() -> None:
    site = Site(Pace(refresh=60.0))
    async with site.simulator.serve():
        api = await site.call(site.connect)
        assert (await site.rows(api))[100]["status"] == "running"
        upid = await site.call(api.nodes("pve1").qemu(100).status.stop.post)
        assert await site.ended(api, upid) == "OK"
        assert (await site.rows(api))[100]["status"] == "running"
        site.guest(102).lock = "backup"
        assert (await site.rows(api))[102]["lock"] == "backup"
        await site.until_row(api, 100, status="stopped")


@pytest.mark.parametrize("bulk", [False, True])
async def test_all_guests_of_a_node_move_by_one_task(*, bulk: bool) -> None:
    site = Site()
    async with site.simulator.serve():
        api = await site.call(site.connect)
        numbers = [vmid for vmid in site.simulator.site.guests if site.guest(vmid).vm.host == "pve2"]
        many = {"target": "pve3", "max-workers": 2, "with-local-disks": 1}
        if bulk:
            act = api.cluster("bulk-action").guest.migrate
            upid = await site.call(lambda: act.post(vms=",".join(map(str, numbers)), online=1, **many))
        else:
            upid = await site.call(lambda: api.nodes("pve2").migrateall.post(**many))
        assert await site.ended(api, upid) == "OK"
        assert {site.guest(vmid).vm.host for vmid in numbers} == {"pve3"}
    assert site.simulator.troubles == []
