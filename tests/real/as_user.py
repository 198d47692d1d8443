"""as_user.py UID GID SOCKET: try everything on an engine as somebody else; prints what came of it as JSON.

Everything is imported before the rights are dropped: the other user may not be able to read this checkout.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import aiohttp.connector

from evac.api import EvacuatePlanRequest, OrderRequest, PlanRequest
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.jobs import Limits
from evac.model import VM
from tests.real.intents import FENCED, every_action

_LOADED = (aiohttp, aiohttp.connector)


async def tell(asked: Awaitable[object]) -> str:
    """ "ok", or the refusal's code, or "gone"."""
    try:
        await asked
    except EngineRefusal as refused:
        return refused.refusal.code
    except EngineGone:
        return "gone"
    return "ok"


async def everything(client: EngineClient) -> dict[str, str]:
    """What each request came to."""
    out = {"hello": await tell(client.hello()), "snapshot": await tell(client.snapshot())}
    if out["hello"] != "ok":
        return out
    hello, delta = await client.hello(), await client.snapshot()
    out |= {"user": hello.you.user, "role": hello.you.role, "rows": str(len(delta.vms))}
    host, vm = delta.hosts[0], next(vm for vm in delta.vms if vm.host == delta.hosts[0].id)
    for action in every_action(vm, host, "1"):
        request = OrderRequest(title="not mine to give", actions=(action,), token=uuid.uuid4().hex)
        out[type(action).__name__] = await tell(client.order(request))
    out |= await steering(client, vm)
    out["hello again"] = await tell(client.hello())
    return out


async def steering(client: EngineClient, vm: VM) -> dict[str, str]:
    """Everything that is no order; the two plans are reads."""
    drain = PlanRequest(cluster=vm.cluster, host=vm.host)
    evacuate = EvacuatePlanRequest(cluster=vm.cluster, host=vm.host, fenced=FENCED)
    return {
        "plan a drain": await tell(client.plan_drain(drain)),
        "plan an evacuation": await tell(client.plan_evacuate(evacuate)),
        "cancel": await tell(client.cancel("J1")),
        "retry": await tell(client.retry("J1")),
        "pause": await tell(client.pause()),
        "resume": await tell(client.resume()),
        "set limits": await tell(client.set_limits(Limits(total=1))),
        "stop the engine": await tell(client.stop_engine()),
    }


async def main(socket: Path) -> None:
    """One client, everything."""
    async with EngineClient(socket, via="test") as client:
        print(json.dumps(await everything(client)))


if __name__ == "__main__":
    user, group = int(sys.argv[1]), int(sys.argv[2])
    os.chdir("/")
    os.setgroups([group])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    asyncio.run(main(Path(sys.argv[3])))
