"""A cluster that is read-only gets no changing request: not from evac, not from the SDK below it, to no service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.openstack import PLUGIN
from backends.openstack.backend import OpenStackBackend
from backends.openstack.options import Options
from backends.openstack.simulator import NovaSimulator
from backends.openstack.simulator_masakari import watch
from backends.simulation.clocks import ManualClock
from backends.simulation.world import World
from evac.backend import Call, Settings
from evac.errors import BackendError, ReadOnly

READS = {"inventory", "look", "host", "tasks", "switches", "capabilities", "examine", "close"}
"""What of the backend changes nothing. Whatever else it has is taken for a change, also what will be added later."""

ID = "6f1c0b9a-0000-4000-8000-000000000001"

ALLOWED: list[tuple[str, str, str, object]] = [
    ("compute", "POST", f"/servers/{ID}/action", {"os-stop": None}),
    ("compute", "POST", f"/servers/{ID}/migrations/1/action", {"force_complete": None}),
    ("compute", "DELETE", f"/servers/{ID}/migrations/1", None),
    ("compute", "PUT", f"/os-services/{ID}", {"forced_down": True}),
    ("instance-ha", "PUT", f"/segments/{ID}/hosts/{ID}", {"host": {"on_maintenance": True}}),
    (
        "infra-optim",
        "PATCH",
        f"/v1/audits/{ID}",
        [{"op": "replace", "path": "/state", "value": "SUSPENDED"}],
    ),
]
"""What the guard lets through where evac may write."""

FOREIGN: list[tuple[str, str, str, object]] = [
    (service, method, path, {"x": {}})
    for service in ("compute", "instance-ha", "infra-optim", "placement", "image", "identity")
    for method in ("POST", "PUT", "PATCH", "DELETE")
    for path in ("/servers", f"/things/{ID}")
]


@asynccontextmanager
async def cloud(*, read_only: bool) -> AsyncIterator[tuple[Any, NovaSimulator, list[Call]]]:
    world = World(seed=7, now=ManualClock())
    for name in ("cmp01", "cmp02"):
        world.add_host(name)
    world.add_vm("vm-1", "cmp01")
    watch(world, world.hosts)
    simulator, calls = NovaSimulator(world), list[Call]()
    simulator.watcher.audit("even")
    async with simulator.serve() as url:
        options = Options(auth_url=url, username="admin", password="admin", project_name="admin")
        settings = Settings(name="lab", options=options, read_only=read_only, record=calls.append)
        backend = PLUGIN.build(settings)
        try:
            yield backend, simulator, calls
        finally:
            await backend.close()


def changing(simulator: NovaSimulator) -> list[tuple[str, str]]:
    """Requests that reached the cloud and are neither a read nor a login."""
    return [
        (method, path)
        for method, path, _ in simulator.requests
        if method not in {"GET", "HEAD"} and not path.endswith("/v3/auth/tokens")
    ]


def methods() -> dict[str, Callable[..., Any]]:
    named = inspect.getmembers(OpenStackBackend, inspect.iscoroutinefunction)
    return {name: method for name, method in named if not name.startswith("_") and name not in READS}


async def test_whatever_is_not_known_to_read_is_refused_before_a_single_request() -> None:
    assert {"turn", "live_migrate", "force_down"} <= set(methods())
    async with cloud(read_only=True) as (backend, simulator, calls):
        await backend.inventory()
        watch, *_, audit = await backend.switches()
        assert (watch.kind, audit.kind) == ("ha", "balancer")
        asked = len(simulator.requests)
        for name, method in methods().items():
            given: dict[str, object] = dict.fromkeys(list(inspect.signature(method).parameters)[1:], "cmp01")
            for switch in (watch, audit) if name == "turn" else (None,):
                if switch is not None:
                    given = {"switch": switch.id, "was": switch.value, "to": switch.calm}
                with pytest.raises(ReadOnly) as error:
                    await getattr(backend, name)(**given)
                assert "read-only" in error.value.problem.happened, name
        assert len(simulator.requests) == asked, "nothing is read either on behalf of what cannot be"
        assert calls == []


def sent(backend: Any, service: str, method: str, path: str, body: object) -> Any:
    """As a proxy of the SDK sends it."""
    return backend.client.connection.session.request(
        path, method, json=body, endpoint_filter={"service_type": service}, raise_exc=False, connect_retries=0
    )


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "may write"])
async def test_below_the_sdk_nothing_passes_but_what_is_listed_and_that_only_where_evac_may_write(
    read_only: bool,
) -> None:
    async with cloud(read_only=read_only) as (backend, simulator, _):
        await backend.inventory()
        for call in FOREIGN:
            with pytest.raises(BackendError, match="not sent"):
                await asyncio.to_thread(sent, backend, *call)
        assert changing(simulator) == []
        for call in ALLOWED:
            if read_only:
                with pytest.raises(ReadOnly):
                    await asyncio.to_thread(sent, backend, *call)
            else:
                await asyncio.to_thread(sent, backend, *call)
        assert len(changing(simulator)) == (0 if read_only else len(ALLOWED))
