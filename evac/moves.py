"""What became of a move: live, cold, evacuation, or of disks. Pure; `judge_move` is called by `evac.outcome.judge`."""

from __future__ import annotations

from evac.actions import Move, MoveStorage
from evac.jobs import Job, JobState
from evac.model import VM, Migration, Phase, VMState
from evac.store import Trail
from evac.verdict import GRACE, TRACELESS, Look, Verdict, own_record, own_task


class _Case:
    """Everything the rules of a move look at."""

    def __init__(self, job: Job, action: Move, *, trail: Trail, look: Look, vm: VM, odd_for: float) -> None:
        self.job, self.action, self.vm, self.look, self.odd_for = job, action, vm, look, odd_for
        self.record = own_record(job, trail, look.migrations)
        self.task = own_task(job, trail, look.tasks)
        self.target = action.to or (self.record.target if self.record else "") or job.target

    @property
    def at_source(self) -> bool:
        return self.vm.host == self.action.host

    @property
    def arrived(self) -> bool:
        """On the target; where nobody named one, anywhere but on the source."""
        if self.target and self.target != self.action.host:
            return self.vm.host == self.target
        return bool(self.vm.host) and not self.at_source

    @property
    def where(self) -> str:
        """The place the move is about, as it is now."""
        return self.vm.host or "no host"

    @property
    def busy(self) -> bool:
        return bool(self.vm.task) or self.vm.state is VMState.MIGRATING

    def verdict(self, state: JobState, reason: str = "", next_step: str = "", **more: bool) -> Verdict:
        record = self.record
        return Verdict(
            state=state,
            reason=reason,
            next_step=next_step,
            phase=record.phase if record else Phase.UNKNOWN,
            target=self.vm.host if more.get("met") else self.target,
            migration=record.id if record else self.job.migration,
            **more,
        )


class _DiskCase(_Case):
    """A move of disks: where they lie decides, and the host is right only if it is the one that was meant."""

    def __init__(
        self, job: Job, action: MoveStorage, *, trail: Trail, look: Look, vm: VM, odd_for: float
    ) -> None:
        super().__init__(job, action, trail=trail, look=look, vm=vm, odd_for=odd_for)
        self.storage, self.target = action.storage, action.to or action.host
        self.name = action.storage_name or action.storage

    @property
    def arrived(self) -> bool:
        return self.vm.host == self.target and self.vm.datastores == (self.storage,)

    @property
    def at_source(self) -> bool:
        """Nothing of it has moved, as far as can be told: a disk may have lain on the target before."""
        return self.vm.host == self.action.host and not self.arrived

    @property
    def where(self) -> str:
        if self.vm.datastores == (self.storage,):
            return f"{super().where}, its disks on {self.name}"
        return f"{super().where}, its disks on {', '.join(self.vm.datastores) or 'no datastore that is told'}"


def judge_move(job: Job, action: Move, *, trail: Trail, look: Look, vm: VM, odd_for: float) -> Verdict:
    """Where a move of `vm`, which exists, stands."""
    case = (
        _DiskCase(job, action, trail=trail, look=look, vm=vm, odd_for=odd_for)
        if isinstance(action, MoveStorage)
        else _Case(job, action, trail=trail, look=look, vm=vm, odd_for=odd_for)
    )
    record = case.record
    if record is None:
        return _without_record(case)
    if record.phase in (Phase.FAILED, Phase.CANCELLED):
        return _called_off(case, record)
    if record.phase in (Phase.COMPLETED, Phase.AWAITING_CONFIRM):
        return _claimed_done(case)
    return _under_way(case, record)


def _under_way(case: _Case, record: Migration) -> Verdict:
    if record.phase is Phase.QUEUED:
        return case.verdict(JobState.RUNNING, "queued by the cluster")
    if case.busy or not record.phase.active:
        word = (
            f"the cluster calls it {record.native}" if record.phase is Phase.UNKNOWN else record.phase.value
        )
        return case.verdict(JobState.RUNNING, word)
    # The record says it runs, but nothing is being done to the VM: normal for a moment at either end.
    if case.odd_for < TRACELESS:
        return case.verdict(JobState.RUNNING, record.phase.value, odd=True)
    return case.verdict(
        JobState.UNKNOWN,
        f"the cluster's record says {record.native or record.phase.value}, but nothing is being done to"
        f" {case.vm.name}, which is {case.vm.state.value} on {case.where}",
        "Look at the hypervisors' logs; reset-state does not end the record. Cancel the job to give it up.",
        odd=True,
    )


def _claimed_done(case: _Case) -> Verdict:
    vm, name = case.vm, case.vm.name
    if vm.state is VMState.ERROR:
        return case.verdict(
            JobState.FAILED,
            f"{name} is in error on {case.where} after the move" + (f": {vm.fault}" if vm.fault else ""),
            "Look at the guest before reset-state.",
            over=True,
        )
    if case.busy:
        doing = vm.task or vm.state.value
        return case.verdict(
            JobState.VERIFYING, f"the move is over, but the cluster still shows {name} as {doing}", over=True
        )
    if case.arrived:
        return _arrived(case)
    return _contradiction(case)


def _arrived(case: _Case) -> Verdict:
    vm = case.vm
    if vm.state is VMState.AWAITING_CONFIRM:
        return case.verdict(
            JobState.DONE,
            f"on {vm.host}, waits for confirm or revert",
            "Confirm it once the guest is well: until then the source keeps its disk and memory reserved.",
            met=True,
            over=True,
        )
    return case.verdict(JobState.DONE, f"{vm.state.value} on {case.where}", met=True, over=True)


def _contradiction(case: _Case) -> Verdict:
    vm = case.vm
    if not vm.host:
        if case.odd_for < GRACE:
            return case.verdict(
                JobState.VERIFYING, "called completed; the cluster shows it on no host", odd=True, over=True
            )
        return case.verdict(
            JobState.UNKNOWN,
            f"the cluster calls the move completed, but shows {vm.name} on no host",
            "Find the guest on the hypervisors before doing anything with it.",
            odd=True,
            over=True,
        )
    where = f"still on {case.where}" if case.at_source else f"on {case.where}, not on {case.target}"
    if case.odd_for < GRACE:
        return case.verdict(
            JobState.VERIFYING, f"called completed, but {where}: looking again", odd=True, over=True
        )
    return case.verdict(
        JobState.FAILED,
        f"the cluster calls the move completed, but {vm.name} is {where}",
        "Believe the host, not the record. Look at the hypervisor's log, then try again.",
        odd=True,
        over=True,
    )


def _called_off(case: _Case, record: Migration) -> Verdict:
    vm, why = case.vm, _why(case)
    if case.busy:
        doing = vm.task or vm.state.value
        return case.verdict(
            JobState.RUNNING,
            f"the cluster calls it {record.phase.value} and is still clearing up ({doing})",
            over=True,
        )
    if not case.at_source:
        return case.verdict(
            JobState.FAILED,
            f"the cluster calls the move {record.phase.value}, yet {vm.name} is {vm.state.value} on"
            f" {case.where}{why}",
            "Check the guest there, and that the source no longer runs it.",
            over=True,
        )
    if vm.state is VMState.ERROR:
        return case.verdict(
            JobState.FAILED,
            f"the move {record.phase.value} and left {vm.name} in error on {case.where}{why}",
            "Look at the guest before reset-state.",
            over=True,
        )
    if record.phase is Phase.CANCELLED:
        by = (
            f"by {case.job.cancel_by}" if case.job.cancel_by else "on the cluster (nobody cancelled this job)"
        )
        return case.verdict(JobState.CANCELLED, f"aborted {by}; {vm.name} stays on {case.where}", over=True)
    return case.verdict(
        JobState.FAILED,
        f"the move failed; {vm.name} stays on {case.where}{why or ', the cluster gives no reason'}",
        "The hypervisor's log has more. Trying again is safe.",
        over=True,
    )


def _why(case: _Case) -> str:
    message = case.task.message if case.task else ""
    return f": {message}" if message else ""


def _without_record(case: _Case) -> Verdict:
    vm = case.vm
    if case.task is not None and case.task.failed and case.at_source and not case.busy:
        return case.verdict(
            JobState.FAILED,
            f"the cluster gave up before it moved {vm.name}{_why(case) or ' and gives no reason'}",
            "Nothing was moved. Trying again is safe once the reason is gone.",
            over=True,
        )
    if case.busy:
        doing = vm.task or vm.state.value
        return case.verdict(
            JobState.RUNNING, f"the cluster shows {vm.name} as {doing}, without a record of a move"
        )
    if vm.state is VMState.ERROR and not case.at_source:
        return _claimed_done(case)
    if case.arrived:
        return _arrived(case)
    return _no_trace(case) if case.at_source else _contradiction(case)


def _no_trace(case: _Case) -> Verdict:
    if case.odd_for < TRACELESS:
        return case.verdict(case.job.state, "accepted; the cluster shows nothing of it yet", odd=True)
    return case.verdict(
        JobState.UNKNOWN,
        f"accepted, but the cluster shows nothing of it; {case.vm.name} is {case.vm.state.value} on {case.where}",
        "It may still start. See whether the platform's scheduler and message bus are well. Cancel the job to give it up.",
        odd=True,
    )
