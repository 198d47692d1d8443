"""From what each host says of a guest to one VM: where it is, what it does, and whether it is there twice. Pure.

A guest is its UUID. During a migration two hosts have it; the source counts until it has let go. Two hosts that *run*
it are the one thing that must never be: no lock keeps libvirt from it, and it destroys the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from backends.libvirt.domainxml import Definition
from backends.libvirt.jobstats import ARRIVING, Job
from backends.libvirt.keeping import Kept, Record
from evac.model import VM, MigrationKind, Phase, Problem, VMState

RUNNING, BLOCKED, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, PMSUSPENDED = range(1, 8)
"""virDomainState; 0: no state."""

P_MIGRATION, P_IOERROR, P_STARTING, P_POSTCOPY, P_POSTCOPY_FAILED = 2, 5, 11, 12, 13
"""virDomainPausedReason"""

R_POSTCOPY, R_POSTCOPY_FAILED = 10, 11
"""virDomainRunningReason"""

_STATES = {
    0: "no state", RUNNING: "running", BLOCKED: "running, waiting", PAUSED: "paused", SHUTDOWN: "shutting down",
    SHUTOFF: "shut off", CRASHED: "crashed", PMSUSPENDED: "suspended by the guest",
}  # fmt: skip

_REASONS = {
    (RUNNING, 2): "migrated", (RUNNING, 6): "migration canceled", (RUNNING, 9): "crashed",
    (RUNNING, R_POSTCOPY): "post-copy", (RUNNING, R_POSTCOPY_FAILED): "post-copy failed",
    (PAUSED, 1): "by a user", (PAUSED, P_MIGRATION): "migrating", (PAUSED, 3): "saving", (PAUSED, 4): "dumping",
    (PAUSED, P_IOERROR): "I/O error", (PAUSED, 6): "watchdog", (PAUSED, 7): "from a snapshot", (PAUSED, 8): "shutting down",
    (PAUSED, 9): "snapshot", (PAUSED, 10): "crashed", (PAUSED, P_STARTING): "starting up",
    (PAUSED, P_POSTCOPY): "post-copy", (PAUSED, P_POSTCOPY_FAILED): "post-copy failed",
    (SHUTOFF, 1): "shut down", (SHUTOFF, 2): "destroyed", (SHUTOFF, 3): "crashed", (SHUTOFF, 4): "migrated",
    (SHUTOFF, 5): "saved", (SHUTOFF, 6): "failed",
}  # fmt: skip


class Seen(Struct, frozen=True, kw_only=True):
    """A guest on one host."""

    definition: Definition
    state: int
    reason: int = 0
    persistent: bool = True
    job: Job | None = None
    addresses: tuple[str, ...] = ()
    local: bool | None = None
    """A disk is not known to be shared; None: it has no disk."""
    snapshots: int | None = None
    """As many as there were when its definition was read; None: the driver does not say."""

    @property
    def active(self) -> bool:
        """A process of it may exist."""
        return self.state != SHUTOFF

    @property
    def runs(self) -> bool:
        """Its processor does."""
        return self.state in {RUNNING, BLOCKED, SHUTDOWN}

    @property
    def native(self) -> str:
        """Libvirt's own words: "running (migrated)"."""
        word = _STATES.get(self.state, f"state {self.state}")
        reason = _REASONS.get((self.state, self.reason))
        return f"{word} ({reason})" if reason else word

    @property
    def in_move(self) -> bool:
        """It stands as a guest stands in the middle of a migration."""
        if self.job is not None and (self.job.leaving or self.job.operation == ARRIVING):
            return True
        return (self.state, self.reason) in {
            (PAUSED, P_MIGRATION),
            (PAUSED, P_POSTCOPY),
            (PAUSED, P_STARTING),
        }


class Told(Struct, frozen=True, kw_only=True):
    """One guest, from all hosts."""

    vm: VM | None
    """None: it is nowhere, and every host that could have it has answered."""
    problem: Problem | None = None
    moving: bool = False


def tell(
    cluster: str,
    seen: Mapping[str, Seen],
    *,
    kept: Kept | None,
    away: Sequence[str],
    record: Record | None,
) -> Told:
    """`seen`: host → what it says; `away`: hosts that do not answer; `record`: what evac is doing to it."""
    active = {host: one for host, one in seen.items() if one.active}
    if not active:
        return _inactive(cluster, seen, kept=kept, away=away, record=record)
    if len(active) == 1:
        (host, one), *_ = active.items()
        moving = _leaving(one) or (record is not None and record.kind is MigrationKind.LIVE and one.in_move)
        return Told(vm=_vm(cluster, host, one, record, moving=moving), moving=moving)
    return _several(cluster, active, record)


def _leaving(one: Seen) -> bool:
    return one.job is not None and one.job.leaving


def _several(cluster: str, active: Mapping[str, Seen], record: Record | None) -> Told:
    running = [host for host, one in active.items() if one.runs]
    failed = [host for host, one in active.items() if (one.state, one.reason) == (PAUSED, P_POSTCOPY_FAILED)]
    source = _source(active, record)
    one = active[source]
    name, hosts = one.definition.name, " and ".join(sorted(active))
    in_move = record is not None or any(each.in_move for each in active.values())
    if len(running) > 1 and not in_move:
        vm = _vm(cluster, source, one, record, moving=False)
        fault = f"runs on {' and '.join(sorted(running))} at the same time"
        broken = replace(vm, state=VMState.ERROR, fault=fault)
        return Told(vm=broken, problem=_twice(cluster, name, running))
    if failed:
        other = next((host for host in active if host not in failed), failed[0])
        vm = _vm(cluster, other, active[other], record, moving=False)
        fault = f"post-copy failed: half of it is on {failed[0]}"
        broken = replace(vm, state=VMState.ERROR, fault=fault)
        return Told(vm=broken, problem=_half(cluster, name, failed[0], other))
    if in_move:
        return Told(vm=_vm(cluster, source, one, record, moving=True), moving=True)
    vm = _vm(cluster, source, one, record, moving=False)
    problem = Problem(
        happened=f"{cluster}: {name} is active on {hosts} at the same time, and no migration is under way.",
        unaffected="Only one of them runs at the moment.",
        next_step="Find out which one is the real one, and destroy the other before anybody resumes it.",
    )
    return Told(vm=vm, problem=problem)


def _source(active: Mapping[str, Seen], record: Record | None) -> str:
    """The host that counts: the one it leaves, as its job, its state or our own record says."""
    for test in (_leaving, _let_go):
        found = [host for host, one in active.items() if test(one)]
        if len(found) == 1:
            return found[0]
    if record is not None and record.source in active:
        return record.source
    return next((host for host, one in sorted(active.items()) if one.runs), min(active))


def _let_go(one: Seen) -> bool:
    """Stands still because it is sent away; one that arrives stands still as well."""
    arriving = one.job is not None and one.job.operation == ARRIVING
    return one.state == PAUSED and one.reason in {P_MIGRATION, P_POSTCOPY} and not arriving


def _twice(cluster: str, name: str, hosts: Sequence[str]) -> Problem:
    return Problem(
        happened=f"{cluster}: {name} RUNS TWICE, on {' and '.join(sorted(hosts))}: both write to the same disks.",
        unaffected="Other guests are not affected.",
        next_step="Destroy one of them at once (virsh destroy), then check its file systems.",
    )


def _half(cluster: str, name: str, source: str, target: str) -> Problem:
    return Problem(
        happened=f"{cluster}: post-copy of {name} broke: its memory is partly on {source}, partly on {target}.",
        unaffected="Other guests are not affected.",
        next_step=f"Once the two hosts reach each other it may go on by itself. Else: virsh -c URI-of-{source} migrate --postcopy-resume. Do not destroy either before.",
    )


def _inactive(
    cluster: str,
    seen: Mapping[str, Seen],
    *,
    kept: Kept | None,
    away: Sequence[str],
    record: Record | None,
) -> Told:
    if kept is not None and not kept.gone and kept.host in away and (kept.active or not seen):
        return Told(vm=_unseen(cluster, kept, kept.host, f"{kept.host} does not answer", record))
    if seen:
        home = _home(seen, kept, record)
        vm = _vm(cluster, home, seen[home], record, moving=False)
        return Told(vm=vm, problem=_defined_twice(cluster, vm.name, seen) if record is None else None)
    if kept is None or kept.gone:
        return Told(vm=None)
    if record is not None:
        return Told(vm=_unseen(cluster, kept, kept.host, "between two hosts", record))
    if away:
        why = f"gone from {kept.host}; {', '.join(sorted(away)[:3])} not answering"
        return Told(vm=_unseen(cluster, kept, "", why, record))
    return Told(vm=None)


def _home(seen: Mapping[str, Seen], kept: Kept | None, record: Record | None) -> str:
    if record is not None and record.source in seen:
        return record.source
    return kept.host if kept is not None and kept.host in seen else min(seen)


def _defined_twice(cluster: str, name: str, seen: Mapping[str, Seen]) -> Problem | None:
    if len(seen) < 2:
        return None
    return Problem(
        happened=f"{cluster}: {name} is defined on {' and '.join(sorted(seen))}, and runs on none of them.",
        unaffected="Nothing keeps it from being started on both.",
        next_step="Undefine it where it does not belong (virsh undefine).",
        severity="warning",
    )


def _unseen(cluster: str, kept: Kept, host: str, why: str, record: Record | None) -> VM:
    """As it was last seen."""
    one = Seen(definition=kept.definition, state=0, persistent=kept.persistent)
    vm = _vm(cluster, host, one, record, moving=False)
    return replace(vm, state=VMState.UNKNOWN, native=why, power="")


_VM_STATES = {
    RUNNING: VMState.RUNNING,
    BLOCKED: VMState.RUNNING,
    PAUSED: VMState.PAUSED,
    SHUTDOWN: VMState.RUNNING,
    SHUTOFF: VMState.STOPPED,
    CRASHED: VMState.ERROR,
    PMSUSPENDED: VMState.SUSPENDED,
}

_FAULTS = {
    (PAUSED, P_IOERROR): "paused: its disk gave an I/O error",
    (PAUSED, P_POSTCOPY_FAILED): "paused: post-copy failed",
    (RUNNING, R_POSTCOPY_FAILED): "post-copy failed: part of its memory is missing",
    (PAUSED, 10): "paused: the guest crashed",
}


def _vm(cluster: str, host: str, one: Seen, record: Record | None, *, moving: bool) -> VM:
    definition = one.definition
    fault = _FAULTS.get((one.state, one.reason), "crashed" if one.state == CRASHED else "")
    state = VMState.ERROR if fault else _VM_STATES.get(one.state, VMState.UNKNOWN)
    return VM(
        cluster=cluster,
        id=definition.uuid,
        name=definition.name,
        host=host,
        state=VMState.MIGRATING if moving else state,
        native=one.native,
        task=_task(one, record, moving=moving),
        power=_STATES.get(one.state, ""),
        vcpus=definition.vcpus or None,
        memory=definition.memory or None,
        addresses=one.addresses,
        volumes=tuple(disk.source for disk in definition.disks if disk.source),
        local_disk=one.local,
        macs=definition.macs,
        machine_id=definition.uuid.lower(),
        cpu=definition.cpu_name,
        devices=definition.devices,
        media=definition.media,
        snapshots=one.snapshots,
        tags=() if one.persistent else ("transient",),
        fault=fault,
    )


def _task(one: Seen, record: Record | None, *, moving: bool) -> str:
    if moving:
        return "migrating"
    if record is not None:
        return record.action
    if one.job is not None:
        return one.job.word
    return "shutting down" if one.state == SHUTDOWN else ""


def left_behind(
    cluster: str, records: Sequence[Record], hosts: Mapping[str, Mapping[str, Seen]]
) -> list[Problem]:
    """Guests that were evacuated from a host which is back and still has their definition: it could start them again.

    `hosts`: host that answers → its guests by UUID.
    """
    problems = []
    for record in {one.vm: one for one in records if one.action == "evacuation" and not one.open}.values():
        one = hosts.get(record.source, {}).get(record.vm)
        if record.phase is not Phase.COMPLETED or one is None or one.active:
            continue
        name = one.definition.name
        problems.append(
            Problem(
                happened=f"{cluster}: {name} was evacuated to {record.target}, and is still defined on {record.source}.",
                unaffected=f"It is {one.native} there.",
                next_step=f"Undefine it on {record.source} (virsh undefine), before anything starts it there.",
                severity="warning",
            )
        )
    return problems
