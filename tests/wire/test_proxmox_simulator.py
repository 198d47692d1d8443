"""Unmodified proxmoxer against the simulated Proxmox VE: login, inventory, moves, tasks, refusals in PVE's own words."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException

from backends.proxmox.simulator import CODE, PveSimulator
from backends.simulation.clocks import fast
from backends.simulation.things import GIB
from backends.simulation.world import World

FASTER = 30.0


class Site:
    """A cluster of four nodes with eight guests, and a client of it. 103 has a local disk, 105 is a container."""

    def __init__(self) -> None:
        self.world = World(seed=1, now=fast(FASTER))
        for number in range(4):
            self.world.add_host(f"pve{number + 1}")
        self.vms = [
            self.world.add_vm(
                f"vm{number}",
                f"pve{number % 2 + 1}",
                memory=2 * GIB,
                dirty_rate=5e6,
                working_set=50e6,
                local_disk=number == 3,
                tags=("prod", "db") if number == 1 else (),
                addresses=(f"10.1.0.{number + 1}",),
            )
            for number in range(8)
        ]
        self.simulator = PveSimulator(self.world)
        self.simulator.guest(self.vms[5].id).kind = "lxc"

    def connect(self, user: str = "root@pam", **more: Any) -> Any:
        host, port = self.simulator.endpoint.split(":")
        given = {"password": self.simulator.password} | more
        return ProxmoxAPI(host, port=int(port), user=user, verify_ssl=False, timeout=10, **given)

    async def call(self, act: Callable[[], Any]) -> Any:
        """proxmoxer blocks, and the simulator serves in this thread."""
        return await asyncio.to_thread(act)

    async def until(self, act: Callable[[], Any], good: Callable[[Any], bool], what: str) -> Any:
        end = time.monotonic() + 15
        while True:
            found = await self.call(act)
            if good(found):
                return found
            assert time.monotonic() < end, f"waited for {what}; last seen: {found}"
            await asyncio.sleep(0.02)

    async def ended(self, api: Any, node: str, upid: str) -> dict[str, Any]:
        task = api.nodes(node).tasks(upid)
        found: dict[str, Any] = await self.until(
            task.status.get, lambda one: one["status"] == "stopped", f"the end of {upid}"
        )
        return found

    async def log(self, api: Any, node: str, upid: str) -> list[str]:
        lines = await self.call(lambda: api.nodes(node).tasks(upid).log.get(limit=1000))
        return [line["t"] for line in lines]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    async with found.simulator.serve():
        yield found


async def test_its_certificate_is_the_one_whose_fingerprint_it_tells(site: Site) -> None:
    host, port = site.simulator.endpoint.split(":")
    pem = await site.call(lambda: ssl.get_server_certificate((host, int(port))))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert site.simulator.fingerprint.replace(":", "") == digest
    assert ssl.PEM_cert_to_DER_cert(site.simulator.pem) == ssl.PEM_cert_to_DER_cert(pem)


async def test_a_password_a_token_and_a_second_factor_open_it_and_wrong_ones_do_not(site: Site) -> None:
    token: dict[str, Any] = {"token_name": "evac", "token_value": site.simulator.token, "password": None}
    for more in ({}, token):
        api = await site.call(partial(site.connect, **more))
        assert (await site.call(api.version.get))["version"].startswith("9.")
    factor = await site.call(lambda: site.connect("totp@pve", otp=CODE))
    assert await site.call(factor.version.get)
    with pytest.raises(AuthenticationError, match="401"):
        await site.call(lambda: site.connect(password="wrong"))
    with pytest.raises(AuthenticationError, match="Two Factor"):
        await site.call(lambda: site.connect("totp@pve"))
    liar = await site.call(lambda: site.connect(token_name="evac", token_value="no", password=None))
    with pytest.raises(ResourceException) as refusal:
        await site.call(liar.version.get)
    assert refusal.value.status_code == 401


async def test_a_live_migration_is_logged_second_by_second_and_the_guest_is_on_the_target(site: Site) -> None:
    api = await site.call(site.connect)
    site.world.hosts["pve1"].link = 400e6
    before = await site.call(api.nodes("pve1").qemu(100).migrate.get)
    assert before["allowed_nodes"] == ["pve2", "pve3", "pve4"]
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    with pytest.raises(ResourceException, match=r"VM is locked \(migrate\)"):
        await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert (await site.ended(api, "pve1", upid))["exitstatus"] == "OK"
    lines = await site.log(api, "pve1", upid)
    assert len([line for line in lines if "migration active, transferred" in line]) > 3
    assert any("average migration speed: " in line and " - downtime " in line for line in lines)
    assert lines[-1] == "TASK OK"
    rows = {row["vmid"]: row for row in await site.call(lambda: api.cluster.resources.get(type="vm"))}
    assert (rows[100]["node"], rows[100]["status"], "lock" in rows[100]) == ("pve3", "running", False)
    assert site.vms[0].runs_on == "pve3"
