"""Real live migrations by the real engine, while the guests are pinged by somebody else too."""

from __future__ import annotations

from pathlib import Path

from evac import preflight
from evac.actions import Abort, LiveMigrate
from evac.jobs import Job, JobState
from evac.model import HostState, Outlook
from evac.probe import FeltVerdict
from tests.real.libvirt import hosts, wires
from tests.real.libvirt.guest import HOST_MODEL
from tests.real.libvirt.layout import OLD, guest_uuid
from tests.real.libvirt.pinger import Pinger, agrees
from tests.real.libvirt.rig import KVMRig, felt, measured, vm
from tests.real.libvirt.witness import HOME, Witness
from tests.real.rig import CLUSTER, named, vm_identity

WEB = [name for name, host in HOME.items() if host == "kvm01"]
"""The three guests of the host that is drained."""


def moves(jobs: object) -> list[Job]:
    """Those of a fleet that move a guest."""
    assert isinstance(jobs, tuple)
    return [job for job in jobs if isinstance(job.action, LiveMigrate)]


async def test_a_drain_empties_the_host_and_every_bracket_holds_what_a_second_pinger_saw(
    kvm: Witness, kvm_rig: KVMRig
) -> None:
    """Three guests pinged every 5 ms by a program that shares nothing with evac: its truth is in evac's record, each time."""
    await kvm_rig.start()
    await kvm_rig.read()
    with Pinger(WEB) as pinger:
        done = await kvm_rig.evac_later("drain", "kvm01", "--yes", "--reason", "DIMM 4711", patience=180)
        assert done.returncode == 0, done.stdout + done.stderr + kvm_rig.words()
    where = kvm.running()
    assert sorted(where) == sorted(HOME)
    assert all(len(found) == 1 for found in where.values()), where
    assert "kvm01" not in {found[0] for found in where.values()}
    assert kvm.defined() == where, "what is defined is defined where it runs, and nowhere else"
    jobs = moves((await kvm_rig.fresh()).jobs)
    assert sorted(job.action.name for job in jobs if isinstance(job.action, LiveMigrate)) == sorted(WEB)
    assert {(job.state, job.seen) for job in jobs} == {(JobState.DONE, 2)}
    wrong = {name: agrees(felt(jobs, name), pinger.silences(name, felt(jobs, name))) for name in WEB}
    assert set(wrong.values()) == {""}, wrong
    assert all(felt(jobs, name).answered_before and felt(jobs, name).answers_now for name in WEB)
    assert all(job.felt_words for job in jobs)


async def test_a_slow_migration_shows_its_bytes_and_ten_milliseconds_are_measured_too(
    kvm: Witness, tmp_path: Path
) -> None:
    """Total, sent and remaining are QEMU's; at a cadence of 10 ms the bracket is finer and still holds the truth."""
    kvm.last(6)
    rig = KVMRig(tmp_path / "evac", probe="cutover = 0.01")
    try:
        await rig.start()
        guest = vm(await rig.read(), "web1")
        with Pinger(["web1"]) as pinger:
            reply = await rig.order(LiveMigrate(**vm_identity(guest), to="kvm03"))
            job = await rig.job(reply.jobs[0].id, "bytes are known", has_bytes)
            assert job.progress is not None
            assert 64 << 20 < (job.progress.total or 0) < 128 << 20
            jobs = await rig.ended(reply)
        assert [(one.state, one.target) for one in jobs] == [(JobState.DONE, "kvm03")], jobs[0].reason
        assert kvm.running()["web1"] == ["kvm03"]
        told = felt(jobs, "web1")
        assert told.interval == 0.01
        assert agrees(told, pinger.silences("web1", told)) == ""
    finally:
        rig.stop()


async def test_an_abort_leaves_the_guest_where_it_was_and_nobody_noticed(
    kvm: Witness, kvm_rig: KVMRig
) -> None:
    """By an order of its own and by cancelling the job; the second pinger saw no silence worth a word."""
    kvm.last(60)
    await kvm_rig.start()
    delta = await kvm_rig.read()
    first, second = vm(delta, "web1"), vm(delta, "cache1")
    with Pinger(["web1", "cache1"]) as pinger:
        moving = await kvm_rig.order(
            LiveMigrate(**vm_identity(first), to="kvm02"), LiveMigrate(**vm_identity(second), to="kvm03")
        )
        jobs = [await kvm_rig.job(job.id, "it runs", has_bytes) for job in moving.jobs]
        await kvm_rig.carry_out(Abort(**vm_identity(first), migration=jobs[0].migration))
        async with kvm_rig.client() as client:
            await client.cancel(jobs[1].id)
        ended = await measured(kvm_rig, await kvm_rig.ended(moving))
    assert {job.state for job in ended} == {JobState.CANCELLED}, [job.reason for job in ended]
    where = kvm.running()
    assert (where["web1"], where["cache1"]) == (["kvm01"], ["kvm02"])
    for name in ("web1", "cache1"):
        told = felt(ended, name)
        assert agrees(told, pinger.silences(name, told)) == ""


async def test_a_guest_whose_cpu_the_target_lacks_is_refused_in_words_before_anything_moves(
    kvm: Witness, kvm_rig: KVMRig
) -> None:
    """One host has an older QEMU. libvirt would find out during the migration; evac asks the target before."""
    hosts.power_off("kvm03")
    hosts.power_on("kvm03", qemu=OLD)
    hosts.answering("kvm03")
    kvm.create("odd1", "kvm01", cpu=HOST_MODEL)
    await kvm_rig.start()
    delta = await kvm_rig.until("it is seen", lambda one: guest_uuid("odd1") in {vm.id for vm in one.vms})
    (job,) = await kvm_rig.ended(
        await kvm_rig.order(LiveMigrate(**vm_identity(vm(delta, "odd1")), to="kvm03"))
    )
    assert job.state is JobState.FAILED
    assert "CPU" in job.reason
    assert "rdseed" in job.reason, "the features that are missing are named"
    assert job.next_step
    await kvm_rig.until("kvm03 is seen to be up", lambda one: named(one.hosts, "kvm03").state is HostState.UP)
    told = await _foretold(kvm_rig, vm(delta, "odd1").id)
    assert told["kvm03"] == (Outlook.FAIL, "cpu")
    assert told["kvm02"][0] is Outlook.OK
    portable = vm(delta, "web1")
    (job,) = await kvm_rig.ended(await kvm_rig.order(LiveMigrate(**vm_identity(portable), to="kvm03")))
    assert job.state is JobState.DONE, f"another guest may go there: {job.reason}"
    where = kvm.running()
    assert (where["odd1"], where["web1"]) == (["kvm01"], ["kvm03"])


async def test_a_guest_that_answers_no_more_has_not_been_moved_well_whatever_libvirt_says(
    kvm: Witness, tmp_path: Path
) -> None:
    """libvirt: success, running on the target. Its network there leads nowhere: "migrated, guest silent", and not done."""
    rig = KVMRig(tmp_path / "evac", probe="reachable_within = 4")
    wires.deafen("kvm03", "web1")
    try:
        await rig.start()
        guest = vm(await rig.read(), "web1")
        reply = await rig.order(LiveMigrate(**vm_identity(guest), to="kvm03"))
        (job,) = await measured(rig, await rig.ended(reply))
        assert kvm.running()["web1"] == ["kvm03"]
        assert job.felt_verdict is FeltVerdict.SILENT, job.felt_words
        assert job.state is JobState.FAILED
        assert "migrated, guest silent" in job.reason + job.felt_words
        assert job.next_step
    finally:
        wires.hear("kvm03", "web1")
        rig.stop()
    kvm.until("it answers again", lambda: kvm.answers("web1"))


async def _foretold(rig: KVMRig, guest: str) -> dict[str, tuple[Outlook, str]]:
    """Host → the worst that is said of a move there, and by which rule: libvirt is asked, nothing is moved."""
    async with rig.client() as client:
        answer = await client.preflight(CLUSTER, guest, [])
    said = {target: preflight.about(answer.checks, target)[0] for target in answer.targets}
    assert {one.why for one in said.values() if one.outlook is Outlook.FAIL} <= {said["kvm03"].why}
    assert "rdseed" in said["kvm03"].why
    return {target: (one.outlook, one.rule) for target, one in said.items()}


def has_bytes(job: Job) -> bool:
    """Its migration is under way and counted."""
    progress = job.progress
    return progress is not None and bool(progress.total) and bool(progress.processed) and bool(job.migration)
