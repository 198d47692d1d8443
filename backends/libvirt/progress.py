"""A migration of the contract, from evac's record of it and what libvirt says of the guest. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from backends.libvirt import jobstats
from backends.libvirt.jobstats import Job
from backends.libvirt.keeping import Record
from backends.libvirt.view import P_POSTCOPY, PAUSED, Seen
from evac.model import Migration, Phase


def shown(cluster: str, record: Record, job: Job, one: Seen | None) -> Migration:
    """`record` is of a move; `one`: the guest on the host it leaves, where it is seen there."""
    assert record.kind is not None
    phase, native = record.phase, record.message
    if record.open and record.action == "live-migration":
        post_copy = one is not None and (one.state, one.reason) == (PAUSED, P_POSTCOPY)
        phase = Phase.FINISHING if post_copy else Phase.RUNNING if job.counted else Phase.PREPARING
        native = jobstats.words(job, post_copy=post_copy)
    if job.copying and one is not None:  # libvirt tells the memory's bytes once their turn has come
        memory = one.definition.memory
        job = replace(job, memory_total=memory, memory_processed=0, memory_remaining=memory)
    return Migration(
        cluster=cluster,
        id=record.id,
        vm=record.vm,
        kind=record.kind,
        phase=phase,
        native=native,
        source=record.source,
        target=record.target,
        created=record.started,
        updated=record.ended,
        memory_total=job.memory_total,
        memory_processed=job.memory_processed,
        memory_remaining=job.memory_remaining,
        disk_total=job.disk_total,
        disk_processed=job.disk_processed,
        disk_remaining=job.disk_remaining,
    )
