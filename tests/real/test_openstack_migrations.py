"""Moving VMs on a real Nova, through the real engine process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from evac.actions import Abort, ForceComplete, LiveMigrate
from evac.jobs import Job, JobState
from evac.model import Phase
from tests.real.rig import Rig, named, vm_identity, vms_on
from tests.real.world import World, once_each


async def test_a_drain_empties_the_host_and_moves_every_vm_exactly_once(world: World, rig: Rig) -> None:
    """`evac drain` ends with 0 only when Nova, the hypervisors and the `openstack` command agree that the host is empty."""
    world.last(0)
    world.arrange({"cmp01": 8})
    world.last(1)
    before = world.on("cmp01")
    began = time.time()
    done = await rig.evac_later("drain", "cmp01", "--yes", "--reason", "firmware 4711", patience=240)
    assert done.returncode == 0, done.stdout + done.stderr + rig.words()
    assert world.on("cmp01") == {}
    once_each(world.migrations(began), before)
    assert sorted(move["vm"] for move in world.moves(began)) == sorted(before)
    service = world.service("cmp01")
    assert (service["status"], "firmware 4711" in service["disabled_reason"]) == ("disabled", True), service
    delta = await rig.fresh()
    assert {vm.id: vm.host for vm in delta.vms} == world.openstack_hosts()
    assert {job.state for job in delta.jobs} == {JobState.DONE}
    assert {job.seen for job in delta.jobs if isinstance(job.action, LiveMigrate)} == {2}
    verdict = await rig.evac_later("audit", "verify")
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


async def test_a_migration_shows_its_bytes_and_goes_where_it_was_told(world: World, rig: Rig) -> None:
    """Total, sent and remaining bytes are Nova's; done means seen twice on the target."""
    world.last(6)
    await rig.start()
    vm = vms_on(await rig.read(), "cmp01")[0]
    reply = await rig.order(LiveMigrate(**vm_identity(vm), to="cmp03"))
    job = await rig.job(reply.jobs[0].id, "bytes are known", _has_bytes)
    assert job.progress is not None
    assert (job.progress.total, job.target) == (vm.memory, "cmp03")
    assert 0 < (job.progress.remaining or 0) <= (vm.memory or 0)
    (job,) = await rig.ended(reply)
    assert (job.state, job.target, world.servers()[vm.id]["host"]) == (JobState.DONE, "cmp03", "cmp03")
    assert world.running_on()[vm.id] == ["cmp03"]


async def test_an_abort_leaves_the_vm_where_it_was(world: World, rig: Rig) -> None:
    """Abort as an order of its own, and cancel of the running job: both end in Nova's "cancelled"."""
    world.last(90)
    await rig.start()
    delta = await rig.read()
    began = time.time()
    first, second = vms_on(delta, "cmp01")[0], vms_on(delta, "cmp02")[0]
    moving = await rig.order(LiveMigrate(**vm_identity(first)), LiveMigrate(**vm_identity(second)))
    jobs = [await rig.job(job.id, "it runs", _has_bytes) for job in moving.jobs]
    await rig.carry_out(Abort(**vm_identity(first), migration=jobs[0].migration))
    async with rig.client() as client:
        await client.cancel(jobs[1].id)
    ended = await rig.ended(moving)
    assert [job.state for job in ended] == [JobState.CANCELLED, JobState.CANCELLED], [
        job.reason for job in ended
    ]
    assert {row["status"] for row in world.migrations(began)} == {"cancelled"}
    hosts = world.servers()
    assert (hosts[first.id]["host"], hosts[second.id]["host"]) == ("cmp01", "cmp02")


async def test_force_complete_ends_a_migration_that_would_go_on_for_minutes(world: World, rig: Rig) -> None:
    """120 s of copying end at once; the VM is on the target."""
    world.last(120)
    await rig.start()
    vm = vms_on(await rig.read(), "cmp02")[0]
    moving = await rig.order(LiveMigrate(**vm_identity(vm), to="cmp04"))
    job = await rig.job(moving.jobs[0].id, "it runs", _has_bytes)
    began = time.monotonic()
    await rig.carry_out(ForceComplete(**vm_identity(vm), migration=job.migration))
    (job,) = await rig.ended(moving)
    assert (job.state, world.servers()[vm.id]["host"]) == (JobState.DONE, "cmp04")
    assert time.monotonic() - began < 60


async def test_a_migration_that_fails_says_so_and_can_be_tried_again(world: World, rig: Rig) -> None:
    """Nova answers 202 and its action log says Success; the VM is still on the source, and that is what counts."""
    world.last(3)
    world.fail_migrations(True)
    await rig.start()
    vm = vms_on(await rig.read(), "cmp03")[0]
    reply = await rig.order(LiveMigrate(**vm_identity(vm), to="cmp01"))
    (job,) = await rig.ended(reply)
    assert job.state is JobState.FAILED
    assert job.reason
    assert job.next_step
    assert world.servers()[vm.id]["host"] == "cmp03"
    world.fail_migrations(False)
    async with rig.client() as client:
        again = await client.retry(job.id)
    job = await rig.job(
        again.id, "the second try has ended", lambda one: one.state.ended and one.attempt >= again.attempt
    )
    assert (job.state, world.servers()[vm.id]["host"]) == (JobState.DONE, "cmp01"), job.reason


async def test_what_nova_queues_is_shown_as_queued_and_can_be_cancelled(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nova moves one VM at a time away from a host: the others wait in its queue, which is said in words."""
    world.last(10)
    rig = Rig(tmp_path_factory.mktemp("queued"), extra="[limits]\nper_source = 0\nper_target = 0\n")
    try:
        await rig.start()
        vms = vms_on(await rig.read(), "cmp04")[:3]
        began = time.time()
        reply = await rig.order(*(LiveMigrate(**vm_identity(vm)) for vm in vms))

        def waits(job: Job) -> bool:
            return job.progress is not None and job.progress.phase is Phase.QUEUED and bool(job.migration)

        mine = {job.id for job in reply.jobs}
        delta = await rig.until(
            "two of three wait in Nova's queue",
            lambda delta: sum(waits(job) for job in delta.jobs if job.id in mine) == 2,
        )
        queued = [job for job in delta.jobs if job.id in mine and waits(job)]
        assert all("queue" in job.reason.lower() for job in queued), [job.reason for job in queued]
        async with rig.client() as client:
            await client.cancel(queued[-1].id)
        states = {job.id: job.state for job in await rig.ended(reply)}
        assert states.pop(queued[-1].id) is JobState.CANCELLED
        assert set(states.values()) == {JobState.DONE}
        assert sorted(row["status"] for row in world.migrations(began)) == [
            "cancelled",
            "completed",
            "completed",
        ]
    finally:
        rig.stop()


@pytest.fixture
def crowded(world: World) -> Iterator[list[str]]:
    """One server of 120,000 MiB on each host: none of them fits beside another."""
    compute = world.cloud.compute
    flavor = compute.find_flavor("evac.huge") or compute.create_flavor(
        name="evac.huge", ram=120_000, vcpus=1, disk=1
    )
    assert flavor is not None
    made = [world.create(f"evac-huge-{number}", f"cmp0{number}", "evac.huge") for number in range(1, 5)]
    try:
        world.calm()
        yield made
    finally:
        for server in made:
            world.delete(server)
        compute.delete_flavor(flavor.id)


async def test_a_silent_refusal_by_the_scheduler_is_found_and_explained(
    world: World, crowded: list[str], rig: Rig
) -> None:
    """202, then nothing: the server stays ACTIVE without a fault. The reason stands in Nova's action log only."""
    await rig.start()
    vm = named((await rig.fresh()).vms, "evac-huge-1")
    (job,) = await rig.ended(await rig.order(LiveMigrate(**vm_identity(vm))))
    assert job.state is JobState.FAILED
    assert "No valid host" in job.reason
    assert world.servers()[crowded[0]]["host"] == "cmp01"


def _has_bytes(job: Job) -> bool:
    progress = job.progress
    return progress is not None and bool(progress.total) and bool(progress.processed) and bool(job.migration)
