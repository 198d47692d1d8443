"""A move between two vCenters through the engine's queue, over both wires: done when one shows it and the other no longer does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backends.vsphere import PLUGIN
from backends.vsphere.options import Options
from backends.vsphere.simulator import ADMIN, PASSWORD, VCenterSimulator
from backends.vsphere.simulator_wire import Account
from evac import clock
from evac.across import Credential, Vault
from evac.actions import MoveAcross
from evac.api import OrderRequest
from evac.backend import Settings
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState
from evac.journal import Journal
from evac.model import VM, ClusterState
from evac.queue import LimitRules, Pace, Queue
from tests.wire.test_vsphere_across import SECRET, USER, far_world
from tests.wire.vsphere_site import small_world

ANNA = Actor(uid=0, user="anna", role="admin")
PACE = Pace(tick_min=0.05, tick=0.1, settle=2.0, hold=0.5, goal_wait=0.2)


class Engine:
    """Journal, fleet, vault and queue over two vCenters, both polled while something is waited for."""

    def __init__(self, journal: Journal, simulators: dict[str, VCenterSimulator]) -> None:
        self.fleet, self.vault, self.journal = Fleet(), Vault(), journal
        self.backends: dict[str, Any] = {
            name: self._backend(name, simulator) for name, simulator in simulators.items()
        }
        self.queue = Queue(
            journal=journal,
            fleet=self.fleet,
            backends=self.backends,
            rules=LimitRules(),
            pace=PACE,
            vault=self.vault,
        )

    def _backend(self, name: str, simulator: VCenterSimulator) -> Any:
        options = Options(
            server=simulator.endpoint, username=ADMIN, password=PASSWORD, fingerprint=simulator.fingerprint
        )
        settings = Settings(
            name=name,
            options=options,
            read_only=False,
            record=lambda call: self.journal.record("call", {"call": call}),
        )
        return PLUGIN.build(settings)

    async def poll(self) -> None:
        for name, backend in self.backends.items():
            began = clock.stamp()
            inventory = await backend.inventory()
            state = ClusterState(
                name=name, kind="vsphere", fresh_stamp=clock.stamp(), stale_after=600, skew=inventory.skew
            )
            self.fleet.absorb(state, inventory, began=began)

    def vms(self, cluster: str) -> dict[str, VM]:
        return {vm.uuid: vm for vm in self.fleet.table("vms").values() if vm.cluster == cluster}

    async def sent(self, action: MoveAcross) -> Job:
        """That job, when it is over."""
        await self.queue.order(OrderRequest(title="across", actions=(action,), token="t"), ANNA)
        deadline = time.monotonic() + 60
        while True:
            await self.poll()
            job: Job = self.fleet.table("jobs")["J1"]
            if job.state.ended:
                return job
            assert time.monotonic() < deadline, f"not within 60 s: {job.state}: {job.reason}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def engine(path: Path) -> AsyncIterator[Engine]:
    here, there = VCenterSimulator(small_world()), VCenterSimulator(far_world())
    here.peers.append(there)
    there.add_account(Account(USER, SECRET, True))
    async with here.serve(), there.serve():
        journal = await Journal.open(path / "journal.db")
        made = Engine(journal, {"near": here, "far": there})
        await made.poll()
        await made.queue.start()
        try:
            yield made
        finally:
            await made.queue.stop()
            for backend in made.backends.values():
                await backend.close()
            await journal.close()


def order(vm: VM, handle: str) -> MoveAcross:
    return MoveAcross(
        cluster="near",
        vm=vm.id,
        name=vm.name,
        host=vm.host,
        uuid=vm.uuid,
        to_cluster="far",
        to="cmp02",
        credential=handle,
    )


def written(folder: Path) -> list[bytes]:
    """What is in the files below a folder."""
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


async def test_a_move_to_another_vcenter_is_done_when_both_show_it_and_its_secret_is_on_no_disk(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path) as run:
        vm = next(iter(run.vms("near").values()))
        handle, _ = run.vault.put(Credential(user=USER, secret=SECRET), ANNA.uid)
        job = await run.sent(order(vm, handle))
        assert job.state is JobState.DONE, job.reason
        assert "running on cmp02 of far, gone from near" in job.reason
        assert vm.uuid not in run.vms("near")
        assert run.vms("far")[vm.uuid].host == "cmp02"
    texts = await asyncio.to_thread(written, tmp_path)
    assert any(b"RelocateVM_Task" in text for text in texts), "the call itself is on record"
    assert not any(b"c0rrect" in text for text in texts)


async def test_a_wrong_password_fails_the_job_in_words_and_the_vm_stays(tmp_path: Path) -> None:
    async with engine(tmp_path) as run:
        vm = next(iter(run.vms("near").values()))
        handle, _ = run.vault.put(Credential(user=USER, secret="not the password"), ANNA.uid)
        job = await run.sent(order(vm, handle))
        assert job.state is not JobState.DONE
        assert f"refuses the login of {USER}" in job.reason
        assert run.vms("near")[vm.uuid].host == vm.host
        assert run.vms("far") == {}
