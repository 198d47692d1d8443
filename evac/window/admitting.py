"""Whether what a person wants of a window may be done: checks in words. Pure; each raises QueueRefusal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac.fleet import Fleet
from evac.intake import refuse
from evac.jobs import Actor
from evac.window.moving import listed
from evac.window.nouns import HostRun, KnownPlan, Step, StepKind, StepState, Window
from evac.window.plan import Fate, PlannedHost, WindowPlan

LEAST = 8
"""Characters of a hash that name a plan."""

MOST_HOSTS = 500

LONGEST_WHY = 500

ORDER = tuple(StepKind)


def check_plan(plan: WindowPlan) -> None:
    """It has hosts, each once."""
    keys = [host.key for host in plan.hosts]
    if not 0 < len(keys) <= MOST_HOSTS:
        raise refuse("bad-request", f"A plan holds 1 to {MOST_HOSTS} hosts, not {len(keys)}.")
    if len(set(keys)) < len(keys):
        raise refuse("bad-request", f"{listed({key for key in keys if keys.count(key) > 1})} is named twice.")


def check_approval(known: KnownPlan, actor: Actor) -> None:
    """Nobody approves his own plan."""
    if actor.uid == known.by.uid:
        raise refuse(
            "conflict",
            f"{actor.user} has registered this plan: somebody else has to approve it.",
            "Another user of this engine, by a login of his own, runs: evac approve " + known.hash[:12],
        )


def check_approvals(known: KnownPlan, plan: WindowPlan, actor: Actor, least: int) -> None:
    """As many others as the plan and the config (`least`) want have approved it; who starts it does not count."""
    needed = max(plan.policy.approvals, least)
    others = {one.by.uid for one in known.approvals} - {actor.uid}
    if len(others) < needed:
        raise refuse(
            "conflict",
            f"The plan needs {needed} approval(s) of other people, and has {len(others)}.",
            f"They run: evac approve {known.hash[:12]}",
        )


def check_start(fleet: Fleet, plan: WindowPlan, open_windows: Iterable[Window]) -> None:
    """It is decided, of clusters that may be changed and that no other window is at."""
    _decided(plan)
    clusters = _clusters(plan.hosts)
    for name in clusters:
        _writable(fleet, name)
    for window in open_windows:
        both = sorted({run.cluster for run in window.hosts} & set(clusters))
        if both:
            step = f"Let it end, or end it: evac window end {window.id}"
            raise refuse("conflict", f"{window.id} ({window.title}) is open on {listed(both)}.", step)


def _decided(plan: WindowPlan) -> None:
    open_ones = [
        stay
        for host in plan.hosts
        for stay in host.stays
        if not stay.harmless and stay.fate is Fate.UNDECIDED and plan.policy.fates is Fate.UNDECIDED
    ]
    if open_ones:
        names = listed(stay.name for stay in open_ones)
        raise refuse(
            "conflict",
            f"{len(open_ones)} cannot be moved, and the plan does not decide what becomes of them: {names}.",
            'Write fate = "leave", "stop" or "hold" for each into the plan, or policy.fates for all.',
        )


def _clusters(hosts: Sequence[PlannedHost]) -> list[str]:
    return list(dict.fromkeys(name for host in hosts for name in host.clusters))


def _writable(fleet: Fleet, name: str) -> None:
    cluster = fleet.cluster(name)
    if cluster is None:
        raise refuse("not-found", f"There is no cluster {name}.", "GET /v1/clusters lists them.")
    if cluster.read_only:
        why = f" ({cluster.read_only_why})" if cluster.read_only_why else ""
        raise refuse(
            "read-only", f"{name} is read-only{why}.", "Nothing is ever changed on it by this engine."
        )


def check_why(why: str) -> None:
    """It is said why, and the report says it again."""
    if not why.strip():
        raise refuse(
            "bad-request", "It is not said why.", "Give the reason in a few words: the report tells it."
        )
    if len(why) > LONGEST_WHY:
        raise refuse("bad-request", f"The reason is longer than {LONGEST_WHY} characters.")


def check_turn(run: HostRun, step: Step) -> None:
    """Only the step at which a host stands is decided upon."""
    if step.state.over:
        raise refuse("conflict", f"{step.kind.value} of {run.name} is {step.state.value} already.")
    now = run.step
    if now is not None and now.kind is not step.kind:
        raise refuse("conflict", f"{run.name} stands at {now.kind.value}, not at {step.kind.value}.")


def check_retry(run: HostRun, step: Step) -> None:
    """What was done is done again, but nothing before a restart once that has begun."""
    here = ORDER.index(run.step.kind) if run.step is not None else len(ORDER)
    there, hook = ORDER.index(step.kind), ORDER.index(StepKind.HOOK)
    if run.step is None:
        raise refuse("conflict", f"{run.name} is over already.")
    if there > here:
        raise refuse("conflict", f"{run.name} stands at {run.step.kind.value}, before {step.kind.value}.")
    if there == here and step.state in (StepState.WAITING, StepState.RUNNING):
        raise refuse(
            "conflict", f"{step.kind.value} of {run.name} is {step.state.value}: there is nothing to retry."
        )
    if there < hook <= here and not _before_restart(run):
        raise refuse(
            "conflict",
            f"{run.name} may have been restarted since: {step.kind.value} is not done again.",
            "Go on with the step it stands at.",
        )


def _before_restart(run: HostRun) -> bool:
    """The hook waits for a person or has not begun: nothing was run, and the earlier steps may be looked at again."""
    now = run.step
    return (
        now is not None
        and now.kind is StepKind.HOOK
        and (now.state is StepState.NEEDS_YOU or now.began is None)
    )
