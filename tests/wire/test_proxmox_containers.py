"""Containers through proxmoxer against the simulated cluster: they move with a restart only, and whose lock may be taken off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.proxmox import PLUGIN
from backends.proxmox.options import Options
from evac.backend import Settings
from evac.errors import Refused
from evac.model import VMState
from tests.wire.proxmox_site import PATIENCE, Site

CONTAINER = "105"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    async with site.simulator.serve():
        yield site
    assert site.simulator.troubles == []


@pytest.fixture
async def backend(site: Site, tmp_path: Path) -> AsyncIterator[Any]:
    simulator = site.simulator
    options = Options(
        endpoints=(simulator.endpoint,),
        fingerprints=(simulator.fingerprint,),
        username="root@pam",
        password=simulator.password,
    )
    made = PLUGIN.build(Settings(name="lab", options=options, read_only=False, state_dir=tmp_path))
    yield made
    await made.close()


def forms(site: Site, last: str) -> list[dict[str, str]]:
    return [given for method, path, given in site.simulator.forms if method != "GET" and path.endswith(last)]


async def test_a_running_container_moves_with_a_restart_and_runs_on_the_target(
    site: Site, backend: Any
) -> None:
    (before,) = [vm for vm in (await backend.inventory()).vms if vm.id == CONTAINER]
    assert (before.container, before.host, before.state) == (True, "pve2", VMState.RUNNING)
    receipt = await backend.cold_migrate(CONTAINER, "pve3")
    (form,) = forms(site, f"/nodes/pve2/lxc/{CONTAINER}/migrate")
    assert form["target"] == "pve3"
    assert form["restart"] == "1"
    assert "online" not in form
    assert ":vzmigrate:" in receipt.task
    end = time.monotonic() + PATIENCE
    while True:
        seen = (await backend.look([CONTAINER]))[CONTAINER]
        if seen.vm is not None and seen.vm.host == "pve3" and seen.vm.state is VMState.RUNNING:
            break
        assert time.monotonic() < end, f"not there yet: {seen}"
        await asyncio.sleep(0.05)


async def test_a_container_is_never_asked_to_move_live(site: Site, backend: Any) -> None:
    await backend.inventory()
    with pytest.raises(Refused) as told:
        await backend.live_migrate(CONTAINER, "pve3")
    assert "container" in told.value.problem.happened
    assert told.value.problem.next_step == "Cold-migrate it."
    assert forms(site, "/migrate") == []


async def test_the_lock_of_a_container_is_root_s_on_its_node_and_the_command_is_told(
    site: Site, backend: Any
) -> None:
    """Through the API nobody may skip it (pve-container: PUT config has no skiplock), not even root@pam."""
    site.guest(int(CONTAINER)).lock = "backup"
    await backend.inventory()
    with pytest.raises(Refused) as told:
        await backend.reset_state(CONTAINER, "active")
    assert "nobody that of a container" in told.value.problem.happened
    assert told.value.problem.next_step == f"On pve2, as root: pct unlock {CONTAINER}"
    assert forms(site, "/config") == []


async def test_a_container_without_a_lock_is_not_unlocked(site: Site, backend: Any) -> None:
    await backend.inventory()
    with pytest.raises(Refused, match="not locked"):
        await backend.reset_state(CONTAINER, "active")
    assert forms(site, "/config") == []
