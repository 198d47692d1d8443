"""Jobs as lines of a report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from evac.actions import Carrying, ForceDown, MoveAcross, MoveStorage, describe, kind_of
from evac.felt import outage
from evac.jobs import Job, JobState
from evac.localtime import UTC_ZONE, Zone
from evac.probe import Felt
from evac.report_nouns import Done, Estimate, Measured, Moment, Moved
from evac.window.plan import PlannedMove

STAMP = "%Y-%m-%d %H:%M:%S"


class Setting(Struct, frozen=True, kw_only=True):
    """What every line needs to know."""

    zone: Zone
    vantage: str
    at: float
    """Unix seconds: when the report is made."""
    hosts: Mapping[str, str]
    """"cluster/Host.id" → name."""
    purposes: Mapping[str, str]
    """Order.id → the step it was for."""
    planned: Mapping[str, PlannedMove]
    """"cluster/VM.id" → what the plan says of it."""

    def moment(self, at: float) -> Moment:
        """A time, three ways."""
        utc = UTC_ZONE.local(at).strftime(STAMP)
        return Moment(at=at, utc=utc, local=self.zone.local(at).strftime(STAMP))

    def maybe(self, at: float | None) -> Moment | None:
        """The same of what may not have happened."""
        return None if at is None else self.moment(at)

    def host(self, cluster: str, host: str) -> str:
        """A host's name; its id where that is all there is."""
        return self.hosts.get(f"{cluster}/{host}", host)


def lines(jobs: Iterable[Job], setting: Setting) -> tuple[tuple[Moved, ...], tuple[Done, ...]]:
    """What moved, and what else was done, in the order in which it began; what never began comes last."""
    ordered = sorted(jobs, key=lambda job: (job.submitted is None, job.submitted or job.created))
    moves = tuple(_moved(job, setting) for job in ordered if isinstance(job.action, Carrying))
    others = tuple(_done(job, setting) for job in ordered if not isinstance(job.action, Carrying))
    return moves, others


def _moved(job: Job, setting: Setting) -> Moved:
    action = job.action
    assert isinstance(action, Carrying)
    to_cluster = action.to_cluster if isinstance(action, MoveAcross) else ""
    seconds = _seconds(job, setting.at)
    purpose = setting.purposes.get(job.order, "")
    planned = setting.planned.get(f"{action.cluster}/{action.vm}") if purpose in {"", "drain"} else None
    return Moved(
        job=job.id,
        order=job.order,
        purpose=purpose,
        cluster=action.cluster,
        vm=action.vm,
        name=action.name,
        how=action.verb,
        source=setting.host(action.cluster, action.host),
        target=_target(job, action, setting),
        to_cluster=to_cluster,
        state=job.state.value,
        reason=job.reason,
        note=job.note,
        began=setting.maybe(job.submitted),
        seconds=seconds,
        sent=_sent(job),
        attempts=job.attempt,
        cancelled_by=job.cancel_by,
        felt=_felt(job),
        verdict=job.felt_verdict.value if job.felt_verdict else "",
        measured=tuple(_measured(felt, setting.vantage) for felt in job.felt),
        estimate=_estimate(planned, seconds if job.state is JobState.DONE else None),
    )


def _target(job: Job, action: Carrying, setting: Setting) -> str:
    """Where it went; the datastore for disks. A target that was only wished for is none."""
    if isinstance(action, MoveStorage):
        store = action.storage_name or action.storage
        return f"{store} on {setting.host(action.cluster, action.to)}" if action.to else store
    cluster = action.to_cluster if isinstance(action, MoveAcross) else action.cluster
    # Done without a call: it had gone by itself, and not to where it was wanted.
    sent_there = job.state is JobState.DONE and job.submitted is not None
    went = job.target or (action.to if sent_there else "")
    return setting.host(cluster, went) if went else ""


def _sent(job: Job) -> int | None:
    """Bytes that the cluster counted as sent. A move that was over between two looks told none."""
    return (job.progress.processed or None) if job.progress is not None else None


def _felt(job: Job) -> str:
    """Never an empty cell for a move that was made: what was not measured says so."""
    if job.felt_words or job.submitted is None:
        return job.felt_words
    return "not measured" if job.state.ended else ""


def _measured(felt: Felt, vantage: str) -> Measured:
    gap = felt.longest
    known = not felt.unmeasured
    return Measured(
        address=felt.address,
        port=felt.port,
        method=felt.method.value,
        cadence=felt.interval,
        vantage=vantage,
        sent=felt.sent,
        lost=felt.lost,
        late=felt.late,
        least=(gap.least if gap else 0.0) if known else None,
        # Between two good answers an outage shorter than the interval may have hidden.
        most=(gap.most if gap else felt.interval) if known else None,
        words=outage(felt),
    )


def _done(job: Job, setting: Setting) -> Done:
    action = job.action
    return Done(
        job=job.id,
        order=job.order,
        purpose=setting.purposes.get(job.order, ""),
        cluster=action.cluster,
        what=describe(action)
        + (f" ({action.fenced})" if isinstance(action, ForceDown) and action.fenced else ""),
        kind=kind_of(action),
        name=action.name,
        state=job.state.value,
        reason=job.reason,
        note=job.note,
        began=setting.maybe(job.submitted),
        seconds=_seconds(job, setting.at),
        attempts=job.attempt,
    )


def _seconds(job: Job, at: float) -> float | None:
    """From the call to its end; None where no call was made. The wall clock may have been set back meanwhile."""
    if job.submitted is None:
        return None
    return max(0.0, (job.ended if job.ended is not None else at) - job.submitted)


def _estimate(planned: PlannedMove | None, took: float | None) -> Estimate | None:
    if planned is None:
        return None
    return estimate(planned.p50, planned.p90, guess=planned.guess, took=took)


def estimate(p50: float, p90: float, *, guess: bool, took: float | None) -> Estimate | None:
    """Beside what it took; None where nothing was expected."""
    if not p50:
        return None
    error = took / p50 - 1 if took is not None else None
    return Estimate(p50=p50, p90=p90, guess=guess, took=took, error=error)
