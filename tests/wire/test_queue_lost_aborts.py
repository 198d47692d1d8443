"""An abort whose answer is lost, on the platforms whose log tells of none: sent again if it never arrived, else not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from backends import proxmox, vsphere
from backends.proxmox.options import Options as ProxmoxOptions
from backends.proxmox.simulator import PveSimulator
from backends.simulation.clocks import fast
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from backends.vsphere.options import Options as VsphereOptions
from backends.vsphere.simulator import ADMIN as VSPHERE_ADMIN
from backends.vsphere.simulator import PASSWORD, VCenterSimulator
from evac.actions import Abort, LiveMigrate
from evac.api import OrderRequest
from evac.backend import Backend, Settings
from evac.jobs import JobState
from evac.journal import Journal
from evac.model import VM, Host
from tests.wire.test_queue_on_nova import ADMIN, Engine

Platform = Callable[[World, Path], AbstractAsyncContextManager[Backend]]

LARGE = 400 << 30
"""Bytes: a move of it outlasts the test."""


def settings(options: object, folder: Path) -> Settings:
    return Settings(name="lab", options=options, read_only=False, read_timeout=2.0, state_dir=folder)


@asynccontextmanager
async def on_proxmox(world: World, folder: Path) -> AsyncIterator[Backend]:
    simulator = PveSimulator(world)
    async with simulator.serve():
        options = ProxmoxOptions(
            endpoints=(simulator.endpoint,),
            fingerprints=(simulator.fingerprint,),
            username="root@pam",
            password=simulator.password,
        )
        yield proxmox.PLUGIN.build(settings(options, folder))


@asynccontextmanager
async def on_vsphere(world: World, folder: Path) -> AsyncIterator[Backend]:
    simulator = VCenterSimulator(world)
    async with simulator.serve():
        options = VsphereOptions(
            server=simulator.endpoint,
            username=VSPHERE_ADMIN,
            password=PASSWORD,
            fingerprint=simulator.fingerprint,
        )
        yield vsphere.PLUGIN.build(settings(options, folder))


@pytest.mark.parametrize("platform", [on_proxmox, on_vsphere])
@pytest.mark.parametrize(
    ("kind", "attempts", "told"),
    [
        (Kind.RESET_BEFORE, 2, "the call never reached the cluster"),
        (Kind.RESET_AFTER, 1, "is cancelled: whether the call had arrived no longer matters"),
    ],
)
async def test_an_abort_whose_answer_is_lost_stops_the_move(
    tmp_path: Path, platform: Platform, kind: Kind, attempts: int, told: str
) -> None:
    world = World(now=fast(8))
    for name in ("h1", "h2"):
        world.add_host(name)
    guest = world.add_vm("db", "h1", memory=LARGE, dirty_rate=1e6)
    journal = await Journal.open(tmp_path / "journal.db")
    async with platform(world, tmp_path) as backend:
        engine = Engine(backend, journal)
        await engine.poll()
        await engine.queue.start()
        vm: VM = next(iter(engine.fleet.table("vms").values()))
        jobs = engine.fleet.table("jobs")
        move = LiveMigrate(cluster="lab", vm=vm.id, name="db", host=vm.host, to=host_named(engine, "h2"))
        await engine.queue.order(OrderRequest(title="move", actions=(move,), token="t1"), ADMIN)
        await engine.until(
            lambda: jobs["J1"].state is JobState.RUNNING and jobs["J1"].migration, "it is on its way"
        )
        world.faults.order(Fault(kind=kind, on="abort"))
        abort = Abort(cluster="lab", vm=vm.id, name="db", host=vm.host, migration=jobs["J1"].migration)
        await engine.queue.order(OrderRequest(title="abort", actions=(abort,), token="t2"), ADMIN)
        await engine.until(
            lambda: jobs["J2"].state.ended and jobs["J1"].state is JobState.CANCELLED, "the move is stopped"
        )
        assert (jobs["J2"].state, jobs["J2"].attempt) == (JobState.DONE, attempts)
        assert told in jobs["J2"].note
        await engine.queue.stop()
        await backend.close()
    await journal.close()
    assert guest.runs_on == "h1"


def host_named(engine: Engine, name: str) -> str:
    hosts: list[Host] = list(engine.fleet.table("hosts").values())
    return next(host.id for host in hosts if host.name == name)
