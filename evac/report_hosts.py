"""A window's hosts as parts of its report: steps, holds, versions before and after, estimate against what it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evac.report_jobs import Setting, estimate
from evac.report_nouns import Estimate, Held, HostPart, StepLine
from evac.window import pace
from evac.window.nouns import HostRun, Step, StepKind, StepState, Wait, Window
from evac.window.plan import PlannedHost, WindowPlan


def host_part(
    run: HostRun,
    planned: PlannedHost | None,
    names: Mapping[str, str],
    went: Iterable[str],
    setting: Setting,
) -> HostPart:
    """One host. `names`: "cluster/VM.id" → name. `went`: VM.id of those that its drain has moved so far."""
    return HostPart(
        cluster=run.cluster,
        host=run.host,
        name=run.name,
        outcome=_outcome(run),
        left_out=run.left_out,
        before=run.before,
        after=run.after,
        steps=tuple(_step(step, setting) for step in run.steps),
        left=tuple(names.get(f"{run.cluster}/{vm}", vm) for vm in dict.fromkeys((*run.moved, *went))),
        stopped=tuple(names.get(f"{run.cluster}/{vm}", vm) for vm in run.stopped),
        emptied=_emptied(run, planned),
    )


def in_all(hosts: Iterable[HostPart]) -> Estimate | None:
    """To empty all hosts, of which each was estimated; beside what it took where all are empty."""
    told = [host.emptied for host in hosts if not host.left_out]
    known = [one for one in told if one is not None]
    if not known or len(known) < len(told):
        return None
    took = [one.took for one in known if one.took is not None]
    return estimate(
        sum(one.p50 for one in known),
        # The 90th percentile of a sum is below the sum of the 90th percentiles: this errs to the long side.
        sum(one.p90 for one in known),
        guess=any(one.guess for one in known),
        took=sum(took) if len(took) == len(known) else None,
    )


def _outcome(run: HostRun) -> str:
    if run.left_out:
        return f"left out: {run.left_out}"
    step = run.step
    if step is None:
        skipped = [one.kind.value for one in run.steps if one.state is StepState.SKIPPED]
        return f"through, without {', '.join(skipped)}" if skipped else "through"
    if all(one.state is StepState.WAITING for one in run.steps):
        return "not begun"
    return f"at {step.kind.value}: {step.state.value}"


def _emptied(run: HostRun, planned: PlannedHost | None) -> Estimate | None:
    if planned is None:
        return None
    drain = next((step for step in run.steps if step.kind is StepKind.DRAIN), None)
    took = _length(drain) if drain is not None and drain.state is StepState.DONE else None
    return estimate(planned.p50, planned.p90, guess=planned.guess, took=took)


def whole(window: Window, run: HostRun, plan: WindowPlan, now: float) -> Estimate | None:
    """All of a host, from its preflight until its VMs are back. `now`: Unix seconds."""
    planned = next((host for host in plan.hosts if host.key == run.key), None)
    if planned is None or not planned.p90 or run.left_out:
        return None
    p50, p90 = pace.whole(planned, plan)
    return estimate(p50, p90, guess=planned.guess, took=pace.took(window, run, now))


def _length(step: Step) -> float | None:
    if step.began is None or step.ended is None:
        return None
    return max(0.0, step.ended - step.began)


def _step(step: Step, setting: Setting) -> StepLine:
    return StepLine(
        kind=step.kind.value,
        state=step.state.value,
        reason=step.reason,
        began=setting.maybe(step.began),
        seconds=_length(step),
        attempts=step.attempt,
        held=tuple(_held(wait, setting) for wait in step.waits),
        held_dropped=step.waits_dropped,
        skipped_by=step.skipped_by,
        skipped_why=step.skipped_why,
        orders=step.orders,
    )


def _held(wait: Wait, setting: Setting) -> Held:
    return Held(
        state=wait.state.value,
        since=setting.moment(wait.since),
        seconds=None if wait.until is None else max(0.0, wait.until - wait.since),
        why=wait.why,
    )
