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
from backends.proxmox.options import Shell as ShellOptions
from backends.proxmox.simulator_shell import Door, Shell
from evac.actions import ResetState
from evac.api import OrderRequest
from evac.backend import Settings
from evac.errors import Refused
from evac.jobs import Job, JobState
from evac.model import VMState
from tests.unit.housing import house
from tests.unit.playing import until
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
    made = built(site, tmp_path)
    yield made
    await made.close()


def built(site: Site, tmp_path: Path, door: Door | None = None) -> Any:
    """The backend, with SSH where there is a door."""
    simulator = site.simulator
    shell = None
    if door is not None:
        shell = ShellOptions(
            user=door.user,
            port=door.port,
            agent=False,
            identity=str(door.identity),
            known_hosts=str(door.known_hosts),
        )
    options = Options(
        endpoints=(simulator.endpoint,),
        fingerprints=(simulator.fingerprint,),
        username="root@pam",
        password=simulator.password,
        ssh=shell,
    )
    return PLUGIN.build(Settings(name="lab", options=options, read_only=False, state_dir=tmp_path))


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


# --- over SSH, to the end -----------------------------------------------------------------------------------------


def stuck(site: Site, vmid: int, *, state: VMState) -> None:
    """A move broke off and left its lock; the guest is in that state."""
    guest = site.guest(vmid)
    guest.lock, guest.vm.state = "migrate", state
    site.world.touch(guest.vm)


async def reset(site: Site, tmp_path: Path, vmid: int, door: Door) -> Job:
    """That job when it has ended, through an engine."""
    backend = built(site, tmp_path, door)
    async with house(tmp_path, backend) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("lab", str(vmid)), "the first poll")
        vm = here.engine.fleet.vm("lab", str(vmid))
        assert vm is not None
        assert (vm.locked, vm.task) == (True, "migrate")
        action = ResetState(cluster="lab", vm=vm.id, name=vm.name, host=vm.host)
        await client.order(OrderRequest(title="unlock", actions=(action,), token="t"))
        jobs = here.engine.fleet.table("jobs")
        await until(lambda: jobs["J1"].state.ended, "the end of the job", seconds=PATIENCE)
        job: Job = jobs["J1"]
        return job


@pytest.mark.parametrize(
    ("vmid", "state", "line"),
    [
        (105, VMState.STOPPED, "pct unlock 105"),
        (105, VMState.RUNNING, "pct unlock 105"),
        (101, VMState.STOPPED, ""),
    ],
)
async def test_a_guest_whose_lock_was_taken_off_is_a_success_whether_it_runs_or_is_off(
    site: Site, tmp_path: Path, vmid: int, state: VMState, line: str
) -> None:
    site.world.hosts["pve2"].address = "127.0.0.1"
    stuck(site, vmid, state=state)
    shell = Shell(site.simulator, node="pve2")
    async with shell.serve(tmp_path) as door:
        job = await reset(site, tmp_path, vmid, door)
    assert job.state is JobState.DONE, job.reason
    assert job.reason.startswith("no longer locked; the cluster shows it as")
    assert list(shell.lines) == ([line] if line else [])
    assert site.guest(vmid).lock == ""
    assert site.guest(vmid).vm.state is state


async def test_an_unlock_that_pct_refuses_is_a_failure_in_its_words(site: Site, tmp_path: Path) -> None:
    """The door leads to another node than the container's."""
    site.world.hosts["pve2"].address = "127.0.0.1"
    stuck(site, 105, state=VMState.STOPPED)
    async with Shell(site.simulator, node="pve1").serve(tmp_path) as door:
        job = await reset(site, tmp_path, 105, door)
    assert job.state is JobState.FAILED
    assert "nodes/pve1/lxc/105.conf' does not exist" in job.reason
    assert site.guest(105).lock == "migrate"


async def test_a_command_that_says_yes_and_takes_no_lock_off_is_no_success(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.world.hosts["pve2"].address = "127.0.0.1"
    stuck(site, 105, state=VMState.STOPPED)
    monkeypatch.setattr("evac.outcome.GRACE", 0.5)
    monkeypatch.setattr(Shell, "_unlock", lambda *_: None)
    async with Shell(site.simulator, node="pve2").serve(tmp_path) as door:
        job = await reset(site, tmp_path, 105, door)
    assert job.state is JobState.FAILED
    assert "the cluster took the call, but" in job.reason
