"""A simulated Proxmox VE with a proxmoxer client; every answer it gives is held against Proxmox VE's own schema."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web
from proxmoxer import ProxmoxAPI

from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_site import Pace
from backends.proxmox.simulator_wire import Answer, Ask, Route
from backends.simulation.clocks import fast
from backends.simulation.things import GIB
from backends.simulation.world import World
from tests.pve_schema import answer_troubles

T = TypeVar("T")

FASTER = 30.0
PATIENCE = 20.0


class Judged(PveSimulator):
    """Notes every answer that Proxmox VE's schema would not have."""

    def __init__(self, world: World, **more: Any) -> None:
        super().__init__(world, **more)
        self.troubles: list[str] = []
        self.judged = 0
        self.forms: list[tuple[str, str, dict[str, str]]] = []
        """What was asked: (method, path, parameters)."""

    async def _answer(self, request: web.Request, ask: Ask, route: Route | None) -> Answer:
        self.forms.append((ask.method, ask.path, dict(ask.given)))
        answer = await super()._answer(request, ask, route)
        if answer.status == 200 and route is not None:
            self.judged += 1
            call = f"{ask.method} {ask.path}"
            self.troubles += [f"{call}: {one}" for one in answer_troubles(ask.method, ask.path, answer.data)]
        return answer


class Site:
    """Four nodes and eight guests, 100 to 107 on pve1 and pve2 in turn. 103 has a local disk, 105 is a container."""

    def __init__(self, pace: Pace | None = None, *, seed: int = 1) -> None:
        self.world = World(seed=seed, now=fast(FASTER))
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
        self.simulator = Judged(self.world, pace=pace)
        self.simulator.guest(self.vms[5].id).kind = "lxc"

    def guest(self, vmid: int) -> Any:
        return self.simulator.site.guests[vmid]

    def connect(self, user: str = "root@pam", **more: Any) -> Any:
        host, port = self.simulator.endpoint.split(":")
        given = {"password": self.simulator.password} | more
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a self-signed certificate: pinning is the backend's business
            return ProxmoxAPI(host, port=int(port), user=user, verify_ssl=False, timeout=10, **given)

    async def call(self, act: Callable[[], T]) -> T:
        """proxmoxer blocks, and the simulator serves in this thread."""
        return await asyncio.to_thread(act)

    async def until(self, act: Callable[[], T], good: Callable[[T], bool], what: str) -> T:
        end = time.monotonic() + PATIENCE
        while True:
            found = await self.call(act)
            if good(found):
                return found
            assert time.monotonic() < end, f"waited for {what}; last seen: {found}"
            await asyncio.sleep(0.02)

    async def pass_time(self, api: Any, seconds: float) -> None:
        """Until so much of the world's time has gone by."""
        began = self.world.time
        read = api.nodes("pve1").time.get
        await self.until(lambda: (read(), self.world.time)[1], lambda now: now > began + seconds, "time")

    async def ended(self, api: Any, upid: str) -> str:
        """How a task ended."""
        task = api.nodes(upid.split(":")[1]).tasks(upid)
        found: dict[str, Any] = await self.until(
            task.status.get, lambda one: one["status"] == "stopped", f"the end of {upid}"
        )
        return str(found["exitstatus"])

    async def log(self, api: Any, upid: str) -> list[str]:
        lines = await self.call(lambda: api.nodes(upid.split(":")[1]).tasks(upid).log.get(limit=1000))
        return [line["t"] for line in lines]

    async def rows(self, api: Any) -> dict[int, dict[str, Any]]:
        """/cluster/resources, guests by number."""
        return {row["vmid"]: row for row in await self.call(lambda: api.cluster.resources.get(type="vm"))}

    async def until_row(self, api: Any, vmid: int, **wanted: Any) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            rows: list[dict[str, Any]] = api.cluster.resources.get(type="vm")
            return next(row for row in rows if row["vmid"] == vmid)

        return await self.until(
            read,
            lambda row: all(row.get(key) == value for key, value in wanted.items()),
            f"{vmid} to be {wanted}",
        )
