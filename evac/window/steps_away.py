"""The steps while a host is away: hook → back → ready. Nothing here has an end in time; late is said, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from evac.errors import BackendError
from evac.model import Finding, HostState
from evac.window.at import At
from evac.window.guests import PATIENCE
from evac.window.hooking import Hook
from evac.window.nouns import HostFacts, StepKind, StepState
from evac.window.ready import is_ready, judge_back, look_ready, rebooted
from evac.window.steps_out import safe_line
from evac.window.told import LATER, Halt, Told, done, held, needs, running, unknown

GRACE = 180.0
"""Seconds after which a host whose command lost its connection, and that still runs the old boot, is not on its way down."""

RECHECK = 30.0
"""Seconds between two looks whether a host that waits for a person is still safe to restart."""


async def may_run(at: At) -> Told:
    """Before a command is written down as begun: it may be run at all, and the host is still safe to restart."""
    if not at.policy.hook:
        return done("a person does it")
    at.may_begin()
    at.fresh(at.planned.cluster)
    safe = at.other(StepKind.SAFE)
    if safe.state is StepState.DONE and at.tools.wall() - (safe.ended or 0.0) > RECHECK:
        await safe_line(at, since=at.since)
    return done("it may be run")


async def hook(at: At) -> Told:
    """It is changed and restarted: by the plan's command, or by a person who says when it is done."""
    if not at.policy.hook:
        return await _by_hand(at)
    token = at.token()
    run = at.tools.hooks.get(token)
    if run is not None:
        return await _judge_hook(at, run)
    if not at.begun_here:
        return await _begun_elsewhere(at)
    at.may_begin()
    refused: Told | None = at.notes.get("refused")
    if refused is not None:
        return refused  # a person says when to try again
    why = at.tools.reach.why_not_run(at.planned.cluster, at.planned.host)
    if why:
        step = "Restart it by hand, then: done; or set up SSH and retry the step."
        at.notes["refused"] = told = needs(f"the command cannot be run on it: {why}", step)
        return told
    # The step is on disk as running: whoever comes after a crash knows that it may have begun.
    limit = at.policy.hook_timeout
    at.tools.hooks.start(token, at.planned.cluster, at.planned.host, at.policy.hook, timeout=limit)
    return running(f"runs on it: {_words(at)}")


def _words(at: At) -> str:
    return " ".join(at.policy.hook)[:80]


async def _judge_hook(at: At, run: Hook) -> Told:
    if run.ended is None:
        said = f'; it says: "{run.line}"' if run.line else ""
        return running(f"runs on it: {_words(at)}{said}")
    said = f'; its last line: "{run.line}"' if run.line else ""
    if run.refused:
        return needs(
            f"the command did not begin: {run.refused}", "Retry the step, or restart it by hand, then: done."
        )
    if run.status == 0:
        return done(f"the command ended well{said}")
    if run.status is not None:
        step = "Look on the host; then retry the step, or say done when it is done by hand."
        return needs(f"the command ended with status {run.status}{said}", step)
    return await _look_at_boot(
        at, f"the connection ended while the command ran ({run.broken}){said}", run.ended
    )


async def _begun_elsewhere(at: At) -> Told:
    """It may have run, or be running yet. It is never run again by itself."""
    if at.step.state is StepState.NEEDS_YOU and at.step.reason:
        return needs(
            at.step.reason, at.step.next_step or "Retry the step, or restart it by hand, then: done."
        )
    words = "the engine ended while the command was begun; it is not run again"
    return await _look_at_boot(at, words, at.since)


async def _look_at_boot(at: At, words: str, since: float) -> Told:
    now, silence = await facts_of(at)
    if now is None:
        return running(f"{words}; the host does not answer: it may be restarting ({silence})", again=LATER)
    again = rebooted(at.run.before, now)
    if again:
        return done(f"{words}; another boot than before answers")
    if again is None:
        return unknown(
            f"{words}, and nobody can tell whether it was restarted",
            "Look on the host; then: done, or retry.",
        )
    if at.tools.now() - since < GRACE:
        return running(f"{words}; it still runs the boot it had", again=LATER)
    step = (
        "Look on the host whether it still works; then: done, or retry. It goes on by itself after a restart."
    )
    return unknown(f"{words}; it still runs the boot it had", step)


async def _by_hand(at: At) -> Told:
    """Waits for a person. Meanwhile it is looked at again and again whether the host may still be restarted."""
    now, silence = await facts_of(at)
    before = at.run.before
    step = f"When it is patched and restarted: {at.command('done', StepKind.HOOK)}"
    if before is not None and before.boot:
        if now is None:
            return needs(f"it does not answer: being restarted? ({silence})", step)
        if rebooted(before, now):
            return needs("it has been restarted: another boot than before answers", step)
    host = at.host()
    if host is not None and host.state is HostState.DOWN:
        at.notes["down"] = True
        return needs(f"{at.planned.cluster} says that it is down: being restarted?", step)
    if at.notes.get("down"):
        return needs("it was down and is up again: restarted?", step)
    at_next: float = at.notes.setdefault("recheck", at.tools.now() + RECHECK)
    if at.tools.now() >= at_next:
        at.notes["recheck"] = at.tools.now() + RECHECK
        at.notes["unsafe"] = await _unsafe(at, at.tools.now() - RECHECK)
    if unsafe := at.notes.get("unsafe", ""):
        return needs(f"DO NOT RESTART IT NOW: {unsafe}", "It is looked at again; or retry an earlier step.")
    return needs(
        at.other(StepKind.SAFE).reason or "patch and restart it now", f"Patch and restart it. {step}"
    )


async def _unsafe(at: At, since: float) -> str:
    try:
        await safe_line(at, since=since)
    except Halt as halt:
        return halt.told.reason
    return ""


async def facts_of(at: At) -> tuple[HostFacts | None, str]:
    """What the host says of itself; or None and why nobody could tell."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await at.tools.reach.facts(at.planned.cluster, at.planned.host), ""
    except BackendError as error:
        return None, error.problem.happened
    except TimeoutError:
        return None, f"no answer within {PATIENCE:g} s"


# --- back ------------------------------------------------------------------------------------------


async def back(at: At) -> Told:
    """Another boot than before answers, with the kernel that was wanted."""
    now, silence = await facts_of(at)
    late = _late(at)
    if now is None:
        if at.run.before is None:
            step = f"When it is back: {at.command('done', StepKind.BACK)}"
            return needs(f"it cannot be seen whether it was restarted: {silence}", step)
        return running(f"waits for it to come back{late} ({silence})", again=LATER)
    if now != at.run.after:
        await at.note(after=now)
    findings = judge_back(at.run.before, now, at.policy)
    if at.other(StepKind.HOOK).state is StepState.SKIPPED:
        return done(f"it answers; it was not restarted by the window: {at.other(StepKind.HOOK).skipped_why}")
    return _judge(findings, late) or done("; ".join(finding.detail for finding in findings if finding.detail))


def _judge(findings: Iterable[Finding], late: str) -> Told | None:
    against = [finding for finding in findings if finding.ok is not True]
    # While it still runs the old boot, the kernel says nothing yet.
    first = next((finding for finding in against if finding.passes), None) or next(iter(against), None)
    if first is None:
        return None
    if first.passes:
        return running(f"waits for it to restart: {first.detail}{late}", again=LATER)
    return needs(first.detail, first.fix or "Say done when you have looked at it.")


def _late(at: At) -> str:
    began = at.other(StepKind.HOOK).ended or at.step.began
    out = at.tools.wall() - began if began else 0.0
    within = at.policy.back_within
    if out < within:
        return ""
    return f"; LATE: it should have been back within {within / 60:.0f} min. See its console"


# --- ready -----------------------------------------------------------------------------------------


async def ready(at: At) -> Told:
    """Every check passes, so many times in a row."""
    policy, needed = at.policy, at.policy.ready_passes
    findings = await look_ready(
        at.run,
        at.planned.storage,
        policy,
        fleet=at.tools.fleet,
        backends=at.tools.backends,
        reach=at.tools.reach,
        since=at.since,
    )
    against = [finding for finding in findings if finding.ok is False]
    if is_ready(findings):
        passes = at.step.passes + 1 if "looked" in at.notes else 1
        at.notes["looked"] = True
        words = (
            f"{passes} of {needed} in a row: {', '.join(sorted({one.check for one in findings if one.ok}))}"
        )
        state = StepState.DONE if passes >= needed else StepState.RUNNING
        return Told(state=state, reason=words, passes=passes, needed=needed, again=policy.ready_every)
    at.notes["looked"] = True
    hard = next((finding for finding in against if not finding.passes), None)
    first = hard or against[0]
    more = f" (and {len(against) - 1} more)" if len(against) > 1 else ""
    words = f"not ready: {first.check}: {first.detail}{more}"
    if hard is not None:
        told = needs(words, first.fix or "See to it; it is looked at again.", again=policy.ready_every)
    else:
        told = held(words, first.fix or "It goes on by itself.", again=policy.ready_every)
    return Told(
        state=told.state, reason=told.reason, next_step=told.next_step, again=told.again, needed=needed
    )
