"""The steps that empty a host and make sure that it may go: preflight → fence → drain → empty → storage → noout → safe.

Each looks at what is there and says where it stands; what it changes, it orders from the queue, once per attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from evac.able import able
from evac.actions import Action, ConfirmMove, EnterMaintenance, SetNoout, StopVM, VMAction
from evac.backend import JudgesStop
from evac.errors import BackendError
from evac.jobs import Job, JobState, Order
from evac.limits import at_dead_ends
from evac.model import VM, Finding, HostState, VMState
from evac.planner import PlanRefused
from evac.storage import StopAnswer, StopVerdict
from evac.window.at import At
from evac.window.crush import seen_host
from evac.window.guests import PATIENCE, counted, guests_on, in_the_way
from evac.window.judging import judge_ended, judge_moves, judge_order
from evac.window.moving import Moving, listed, moves_now
from evac.window.nouns import HostFacts, StepKind
from evac.window.plan import Fate, StorageHost
from evac.window.told import LATER, Halt, Told, done, held, needs, running

ASKS = 30.0
"""Seconds at most between two questions whether OSDs may stop."""


def moving(at: At) -> Moving:
    """What the plan comes to now. Raises Halt."""
    at.fresh(at.planned.cluster)
    try:
        return moves_now(at.tools.fleet, at.planned, at.policy, now=at.tools.wall())
    except PlanRefused as refused:
        raise Halt(needs(refused.problem.happened, refused.problem.next_step)) from None


async def preflight(at: At) -> Told:
    """The plan against what is there: the same machine, up, and a way out or a decision for each of its VMs."""
    planned = at.planned
    at.fresh(planned.cluster)
    if not at.polled(planned.cluster, at.since):
        return running(f"{planned.cluster} is being read anew")
    host = at.host()
    if host is None:
        return needs(
            f"{planned.cluster} knows no host {planned.host} now", "Look for it by name; or leave it out."
        )
    if host.name != planned.name or (planned.uuid and host.uuid and planned.uuid != host.uuid):
        return needs(
            f"{planned.host} is not the machine that was planned: its identity changed", "Leave it out."
        )
    if host.state is not HostState.UP or host.forced_down:
        word = "declared down by force" if host.forced_down else host.state.value
        return needs(
            f"{planned.name} is {word}: nothing can be migrated off it", "Bring it up, or leave it out."
        )
    await at.links([planned.host])
    now = moving(at)
    if now.undecided:
        first = now.undecided[0]
        names = listed(stay.name for stay in now.undecided)
        step = first.fix or "Move it, or shut it down, by hand; then retry the step."
        return needs(
            f"{len(now.undecided)} cannot be moved, and nothing is decided: {names}: {first.why}", step
        )
    going = tuple(move.vm for move in now.moves)
    if going != at.run.going:
        await at.note(going=going)
    return done(
        "; ".join((f"{len(now.moves)} to move, {len(now.stays)} stay", *(now.words or ("as planned",))))
    )


async def fence(at: At) -> Told:
    """Nothing new is placed on it."""
    given = await at.given()
    if given is not None:
        return judge_order(*given, "nothing new is placed on it")
    planned = at.planned
    at.fresh(planned.cluster)
    host, cluster = at.host(), at.tools.fleet.cluster(planned.cluster)
    if host is None or cluster is None:
        return needs(
            f"{planned.cluster} knows no host {planned.host} now", "Look for it by name; or leave it out."
        )
    if host.maintenance and at.step.orders:
        return done("it is in maintenance, by this window")
    if host.maintenance:
        why = f': "{host.reason}"' if host.reason else ""
        return done(f"it is in maintenance already{why}, and stays so afterwards")
    can, why_not = able(cluster, "enter_maintenance")
    if not can:
        return done(f"it cannot be fenced off: {why_not or 'the platform has nothing for it'}")
    window = at.window
    reason = f"evac {window.id}: {' '.join(filter(None, (window.ticket, window.title)))}"[:200]
    enter = EnterMaintenance(
        cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid, reason=reason
    )
    return judge_order(*await at.order([enter], f"fence {host.name}"), "nothing new is placed on it")


async def drain(at: At) -> Told:
    """Every VM that goes is where the plan has it."""
    given = await at.given()
    if given is None:
        at.may_begin()
        await at.links([at.planned.host])
        now = moving(at)
        if now.undecided:
            names = listed(stay.name for stay in now.undecided)
            return needs(f"nothing is decided for {names}: {now.undecided[0].why}", now.undecided[0].fix)
        if not now.moves:
            return done("there is nothing to move")
        empties = "" if any(stay.fate is not Fate.UNDECIDED for stay in now.stays) else at.key
        given = await at.order(now.moves, f"drain {at.planned.name}", empties=empties)
    told = _drained(at, *given)
    return (await _confirm(at, given[1]) or told) if told.state.over else told


def _drained(at: At, order: Order, jobs: Sequence[Job]) -> Told:
    if not order.ended:
        return judge_moves(order, jobs, at.planned.name, at_dead_ends(jobs, at.tools.fleet))
    here = {vm.id for vm in at.vms()}
    short = [job for job in jobs if job.state is not JobState.DONE]
    if not short:
        return done(f"{len(jobs)} of {len(jobs)} moved")
    # An engine that has just started has read nothing yet: a host that looks empty is none.
    known = at.polled(at.planned.cluster, at.since)
    stuck = [
        job for job in short if isinstance(job.action, VMAction) and (job.action.vm in here or not known)
    ]
    if stuck:
        head = f"{len(jobs) - len(stuck)} of {len(jobs)} are off it"
        return judge_ended(stuck, head, at.planned.name)
    # Somebody else moved, or deleted, what we could not; or the guest felt more of the move than it should.
    names = listed(job.action.name for job in short if isinstance(job.action, VMAction))
    return done(f"{len(jobs)} are off it, {len(short)} of them not as ordered: {names}: {short[0].reason}")


async def _confirm(at: At, jobs: Sequence[Job]) -> Told | None:
    """Nova keeps what was moved cold on both hosts until it is confirmed: the source must not go before that."""
    moved = [job.action for job in jobs if job.state is JobState.DONE and isinstance(job.action, VMAction)]
    waiting = [
        vm
        for action in moved
        if (vm := at.tools.fleet.vm(action.cluster, action.vm)) is not None
        and vm.state is VMState.AWAITING_CONFIRM
    ]
    given = await at.given("confirm")
    if given is None:
        if not waiting:
            return None
        actions = [ConfirmMove(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host) for vm in waiting]
        given = await at.order(actions, f"confirm the moves off {at.planned.name}", part="confirm")
    told = judge_order(*given, "confirmed")
    return None if told.state.over else told


async def empty(at: At) -> Told:
    """Seen twice, by different reads: what is still on it may be on it. Shuts down what was to be shut down."""
    now = moving(at)
    told = await _stop(at, [stay.vm for stay in now.stays if stay.fate is Fate.STOP])
    if told is not None:
        return told
    there = await guests_on(at, since=at.notes.setdefault("since", at.tools.now()))
    blocking, by_hand = in_the_way(there, now.stays)
    if by_hand:
        names = listed(vm.name for vm in by_hand)
        return held(f"the plan holds here until somebody has moved {names}")
    if blocking:
        return await _late(at, now, blocking)
    return done(f"{counted(there)}, seen twice")


async def _late(at: At, now: Moving, blocking: Sequence[VM]) -> Told:
    """Guests that came after the drain was ordered, or came back (HA does that), are moved too: once, by themselves."""
    given = await at.given("late")
    if given is None and not at.other(StepKind.DRAIN).skipped_by:
        failed = {
            job.action.vm
            for job in await at.jobs_of(StepKind.DRAIN)
            if isinstance(job.action, VMAction) and job.state in (JobState.FAILED, JobState.CANCELLED)
        }
        late = {vm.id for vm in blocking} - failed
        moves = [move for move in now.moves if move.vm in late]
        if moves:
            given = await at.order(moves, f"drain {at.planned.name} of what came since", part="late")
    if given is not None and not given[0].ended:
        at.notes.pop("since", None)  # what it changes is to be read anew
        return judge_moves(*given, at.planned.name, at_dead_ends(given[1], at.tools.fleet))
    names = listed(vm.name for vm in blocking)
    step = f"{at.command('retry', StepKind.DRAIN)} moves them too; or move them by hand."
    return needs(f"{len(blocking)} still on it: {names}", step)


async def _stop(at: At, vms: Sequence[str]) -> Told | None:
    """What is to be shut down is; None when it is."""
    given = await at.given("stop")
    if given is None:
        found = [vm for vm in at.vms() if vm.id in vms and vm.state in (VMState.RUNNING, VMState.PAUSED)]
        if not found:
            return None
        stopped = tuple(dict.fromkeys((*at.run.stopped, *(vm.id for vm in found))))
        if stopped != at.run.stopped:
            at.may_begin()
            await at.note(stopped=stopped)
        actions = [StopVM(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host) for vm in found]
        given = await at.order(actions, f"shut down what stays on {at.planned.name}", part="stop")
    told = judge_order(*given, "shut down")
    return None if told.state.over else told


# --- storage ---------------------------------------------------------------------------------------


async def storage(at: At) -> Told:
    """Its OSDs may stop, says each storage cluster of the machine itself."""
    if not at.planned.storage:
        return done("no OSDs are on it")
    verdicts = [await _may_stop(at, one) for one in at.planned.storage]
    worst = next((verdict for verdict in verdicts if verdict.answer is not StopAnswer.SAFE), None)
    if worst is None:
        return done("; ".join(_safe_words(verdict) for verdict in verdicts))
    again = min(max(worst.wait or LATER, 1.0), ASKS)
    return held(_why_not(worst), _fix(worst), again=again)


async def _may_stop(at: At, where: StorageHost) -> StopVerdict:
    backend = at.backend(where.cluster)
    if not isinstance(backend, JudgesStop):
        raise Halt(
            needs(
                f"{where.cluster} cannot say whether its OSDs may stop", "Skip the step and say how you know."
            )
        )
    try:
        async with asyncio.timeout(PATIENCE):
            return await backend.may_stop(where.host)
    except BackendError as error:
        raise Halt(held(f"cannot see whether OSDs may stop: {error.problem.happened}")) from None
    except TimeoutError:
        raise Halt(held(f"{where.cluster} did not answer within {PATIENCE:g} s")) from None


def _why_not(verdict: StopVerdict) -> str:
    against = [finding for finding in verdict.findings if finding.ok is not True]
    words = "; ".join(finding.detail for finding in against[:2]) or "it gives no reason"
    how = {StopAnswer.NOT_YET: "may not stop yet", StopAnswer.UNKNOWN: "may not stop: it is not known"}
    return f"OSDs on {verdict.host} ({verdict.cluster}) {how.get(verdict.answer, 'may not stop')}: {words}"


def _fix(verdict: StopVerdict) -> str:
    fixes = [finding.fix for finding in verdict.findings if finding.ok is False and finding.fix]
    if verdict.answer is StopAnswer.NO and fixes:
        return f"{fixes[0]} It goes on by itself then."
    return "It goes on by itself when they may."


def _osds(verdict: StopVerdict) -> str:
    numbers = sorted(verdict.osds)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"osd.{numbers[0]}-{numbers[-1]}"
    return ",".join(f"osd.{number}" for number in numbers) or "none"


def _safe_words(verdict: StopVerdict) -> str:
    return f"{verdict.cluster} ok-to-stop {_osds(verdict)} yes"


def _quorum(findings: Sequence[Finding]) -> str:
    said = [finding.detail for finding in findings if finding.check == "monitors"]
    return f", {said[0]}" if said else ""


async def noout(at: At) -> Told:
    """Its OSDs stay in while they are down. A flag that was there before is left, and stays."""
    if not at.planned.storage or not at.policy.noout:
        return done("no OSDs are on it" if not at.planned.storage else "not wanted, says the plan")
    words = []
    for where in at.planned.storage:
        told = await _set_noout(at, where)
        if not told.state.over:
            return told
        words.append(told.reason)
    return done("; ".join(words))


async def _set_noout(at: At, where: StorageHost) -> Told:
    given = await at.given(where.cluster)
    if given is None:
        at.fresh(where.cluster)
        host = seen_host(at.tools.fleet, where.cluster, where.host)
        if host is None:
            return needs(f"{where.cluster} knows no host {where.host} now", "Retry the step when it does.")
        if "noout" in host.flags:
            return done(f"noout was set on {where.cluster} already, and stays")
        action: Action = SetNoout(cluster=where.cluster, host=host.id, name=host.name, uuid=host.uuid)
        given = await at.order([action], f"noout for {host.name}", part=where.cluster)
    return judge_order(*given, f"noout set on {where.cluster}")


# --- safe ------------------------------------------------------------------------------------------


async def safe(at: At) -> Told:
    """All of it once more, just before: the line that a person may act on."""
    line = await safe_line(at, since=at.since)
    facts = await _facts(at)
    if facts is not None and facts != at.run.before:
        await at.note(before=facts)
    return done(line)


async def safe_line(at: At, *, since: float) -> str:
    """SAFE TO REBOOT, with what was seen. Raises Halt while it is not."""
    planned = at.planned
    there = await guests_on(at, since=since)
    blocking, _ = in_the_way(there, moving(at).stays)
    skipped = bool(at.other(StepKind.EMPTY).skipped_by)
    if blocking and not skipped:
        names = listed(vm.name for vm in blocking)
        step = f"{at.command('retry', StepKind.DRAIN)} moves them; or move them by hand."
        raise Halt(needs(f"not safe any more: {len(blocking)} on it: {names}", step))
    _still_fenced(at)
    words = [counted(vm for vm in there if vm not in blocking)]
    if blocking:
        words = [f"{len(blocking)} guests still on it: {at.other(StepKind.EMPTY).skipped_why}"]
    for where in planned.storage:
        words.append(await _still_stoppable(at, where))
    return f"SAFE TO REBOOT {planned.name}: {', '.join(words)}"


def _still_fenced(at: At) -> None:
    host, fenced = at.host(), at.other(StepKind.FENCE)
    if fenced.orders and not fenced.skipped_by and (host is None or not host.maintenance):
        step = f"{at.command('retry', StepKind.FENCE)}; or see who took it out of maintenance."
        raise Halt(needs("not safe any more: it is not in maintenance", step))


async def _still_stoppable(at: At, where: StorageHost) -> str:
    if at.other(StepKind.STORAGE).skipped_by:
        return f"{where.cluster} not asked ({at.other(StepKind.STORAGE).skipped_why})"
    verdict = await _may_stop(at, where)
    if verdict.answer is not StopAnswer.SAFE:
        raise Halt(held(f"not safe any more: {_why_not(verdict)}", _fix(verdict), again=LATER))
    host = seen_host(at.tools.fleet, where.cluster, where.host)
    flagged = host is not None and "noout" in host.flags
    wanted = at.policy.noout and not at.other(StepKind.NOOUT).skipped_by
    if wanted and not flagged:
        raise Halt(held(f"noout is not seen on {where.cluster} for {where.host}", again=2.0))
    return (
        f"{_safe_words(verdict)}{', noout set' if flagged else ', noout not set'}{_quorum(verdict.findings)}"
    )


async def _facts(at: At) -> HostFacts | None:
    """What it says of itself before it goes; None where nobody tells."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await at.tools.reach.facts(at.planned.cluster, at.planned.host)
    except (BackendError, TimeoutError):
        return None
