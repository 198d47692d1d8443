"""The options of a migration, each seen to act: by QEMU's own words, by its bytes, by the disk that arrives."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from evac.actions import LiveMigrate
from evac.jobs import Job, JobState
from tests.real.libvirt import guest
from tests.real.libvirt.layout import MEMORY, guest_uuid
from tests.real.libvirt.rig import KVMRig, vm
from tests.real.libvirt.witness import SENT, Witness
from tests.real.rig import CLUSTER, vm_identity
from tests.real.test_kvm_moves import has_bytes

MIB = 1 << 20
DISK = 32 * MIB


@asynccontextmanager
async def moving(folder: Path, options: str, name: str = "web1") -> AsyncIterator[tuple[KVMRig, str]]:
    """An engine with these options that moves the guest from kvm01 to kvm03, and the job's id."""
    rig = KVMRig(folder / "evac", extra=f"[clusters.{CLUSTER}.migration]\n{options}")
    try:
        await rig.start()
        delta = await rig.until("it is seen", lambda one: guest_uuid(name) in {vm.id for vm in one.vms})
        reply = await rig.order(LiveMigrate(**vm_identity(vm(delta, name)), to="kvm03"))
        yield rig, reply.jobs[0].id
    finally:
        rig.stop()


async def ended(rig: KVMRig, job: str) -> Job:
    """It, once it is over."""
    return await rig.job(job, "it has ended", lambda one: one.state.ended, 120)


async def until_told(kvm: Witness, question: str, good: Callable[[Any], bool]) -> Any:
    """What the QEMU that sends says to it, once that is so."""
    end = time.monotonic() + 60
    while not good(told := await asyncio.to_thread(kvm.qemu, "kvm01", "web1", question)):
        assert time.monotonic() < end, f"{question}: {told}"
        await asyncio.sleep(0.1)
    return told


async def under_way(rig: KVMRig, job: str) -> Job:
    """Its bytes are counted."""
    return await rig.job(job, "it runs", has_bytes)


def copying(job: Job) -> bool:
    """Its disk is on its way, and its memory is still to come: QEMU counts a little more than the guest was given."""
    return has_bytes(job) and job.progress is not None and job.progress.total == DISK + MEMORY * MIB


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("storage", ["copy", "copy-incremental"])
async def test_a_disk_that_only_the_source_has_is_copied_and_its_bytes_are_shown(
    kvm: Witness, tmp_path: Path, storage: str
) -> None:
    """The disk arrives to the last bit; while it is copied its bytes are told beside those of the memory."""
    kvm.create("odd1", "kvm01", disk=DISK)
    there = guest.disk("odd1", "kvm03")
    there.parent.mkdir(exist_ok=True)
    there.write_bytes(bytes(DISK))
    async with moving(tmp_path, f'storage = "{storage}"\nbandwidth = 8', "odd1") as (rig, job):
        seen = await rig.job(job, "its disk is being copied", copying)
        done = await ended(rig, job)
    assert done.state is JobState.DONE, done.reason
    assert seen.progress is not None
    assert 0 < (seen.progress.processed or 0) <= DISK, seen.progress
    assert kvm.running()["odd1"] == ["kvm03"]
    kvm.forget("odd1", "kvm03")
    assert digest(there) == digest(guest.disk("odd1", "kvm01"))


async def test_a_target_without_the_disks_file_and_pool_is_told_with_what_to_do(
    kvm: Witness, tmp_path: Path
) -> None:
    """libvirt makes the file by itself only in the folder of a storage pool."""
    kvm.create("odd1", "kvm01", disk=DISK)
    guest.disk("odd1", "kvm03").unlink(missing_ok=True)
    async with moving(tmp_path, 'storage = "copy"', "odd1") as (rig, job):
        failed = await ended(rig, job)
    assert failed.state is JobState.FAILED
    assert "no storage pool" in failed.reason
    assert "define the pool there" in failed.next_step
    assert kvm.running()["odd1"] == ["kvm01"]


async def test_a_disk_of_the_host_is_not_taken_along_by_itself(kvm: Witness, tmp_path: Path) -> None:
    """Without the option libvirt refuses; evac says which, and the guest stays."""
    kvm.create("odd1", "kvm01", disk=DISK)
    async with moving(tmp_path, 'storage = "shared"', "odd1") as (rig, job):
        failed = await ended(rig, job)
    assert failed.state is JobState.FAILED
    assert "shared" in failed.reason + failed.next_step
    assert kvm.running()["odd1"] == ["kvm01"]


async def test_bandwidth_is_kept_to_and_the_pause_is_what_was_asked_for(kvm: Witness, tmp_path: Path) -> None:
    """QEMU itself is asked for both while it sends, and it takes as long as its bytes need at that rate."""
    began = time.monotonic()
    async with moving(tmp_path, "bandwidth = 10\nmax_downtime = 25") as (rig, job):
        await under_way(rig, job)
        told = await until_told(kvm, "query-migrate-parameters", lambda one: one.get("downtime-limit") == 25)
        assert told["max-bandwidth"] == 10 * MIB
        done = await ended(rig, job)
    assert done.state is JobState.DONE, done.reason
    assert time.monotonic() - began > SENT / 10


async def test_a_tunnelled_migration_goes_through_libvirts_own_connection(
    kvm: Witness, tmp_path: Path
) -> None:
    """QEMU on the source sends into a pipe of its libvirtd, not to the target's port."""
    kvm.last(10)
    async with moving(tmp_path, "tunnelled = true") as (rig, job):
        await under_way(rig, job)
        told = await asyncio.to_thread(kvm.sockets, "kvm01", "kvm03")
        done = await ended(rig, job)
    assert done.state is JobState.DONE, done.reason
    assert kvm.running()["web1"] == ["kvm03"]
    assert not [one for one in told if 49152 <= one <= 49215], told


async def test_a_migration_may_slow_its_guest_down_and_be_switched_to_post_copy_where_that_is_set(
    kvm: Witness, tmp_path: Path
) -> None:
    """QEMU's own abilities for this migration; that the switch is made is in the contract suite."""
    async with moving(tmp_path, "auto_converge = true\npost_copy = true\nbandwidth = 10") as (rig, job):
        await under_way(rig, job)
        told = await until_told(kvm, "query-migrate-capabilities", bool)
        done = await ended(rig, job)
    assert done.state is JobState.DONE, done.reason
    abilities = {one["capability"]: one["state"] for one in told}
    assert (abilities["auto-converge"], abilities["postcopy-ram"]) == (True, True)
    assert not abilities["multifd"]


async def test_a_parallel_migration_has_as_many_connections_as_asked_for(
    kvm: Witness, tmp_path: Path
) -> None:
    """QEMU's multifd is on, with that many channels, and they are there."""
    async with moving(tmp_path, "parallel = 3\nbandwidth = 8") as (rig, job):
        await under_way(rig, job)
        abilities = {
            one["capability"]: one["state"]
            for one in await until_told(kvm, "query-migrate-capabilities", bool)
        }
        parameters = await until_told(kvm, "query-migrate-parameters", bool)
        told = await asyncio.to_thread(kvm.sockets, "kvm01", "kvm03")
        done = await ended(rig, job)
    assert done.state is JobState.DONE, done.reason
    assert abilities["multifd"] is True
    assert parameters["multifd-channels"] == 3
    assert len([one for one in told if 49152 <= one <= 49215]) == 4, f"three and the main one: {told}"
    assert kvm.running()["web1"] == ["kvm03"]
