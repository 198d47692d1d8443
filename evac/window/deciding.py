"""What people decide about single steps: skip, done by hand, retry; and to leave a host out. With who and why, on record."""

from __future__ import annotations

from msgspec.structs import replace

from evac.intake import refuse
from evac.jobs import Actor
from evac.window import admitting
from evac.window.asked import Desk, written
from evac.window.nouns import HostRun, Step, StepKind, StepState, Window

ORDER = tuple(StepKind)

BY_HAND = (StepKind.HOOK, StepKind.BACK)
"""Steps of which a person may say that they are done."""

UNDOING = (StepKind.UNFENCE, StepKind.REFILL)
"""What is still done for a host that is left out."""


class Deciding:
    """Each raises QueueRefusal, and then nothing was changed. `key`: HostRun.key, or its name."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def skip(self, window: str, key: str, kind: StepKind, why: str, actor: Actor) -> Window:
        """Go on without the step, or without what is left of it."""
        async with self._desk.asked(f"skip a step of {window}", actor):
            admitting.check_why(why)
            run, step = self._step(window, key, kind)
            admitting.check_turn(run, step)
            await self._end_step(window, run.key, _ended(step, StepState.SKIPPED, why, actor), actor)
            await self._desk.call_off(step.orders, actor)
            return self._desk.book.windows[window]

    async def by_hand(self, window: str, key: str, kind: StepKind, why: str, actor: Actor) -> Window:
        """A person says that it is done."""
        async with self._desk.asked(f"say that a step of {window} is done", actor):
            if kind not in BY_HAND:
                raise refuse(
                    "bad-request",
                    f"Whether {kind.value} is done is seen on the cluster, not said.",
                    "Skip it, and say why.",
                )
            run, step = self._step(window, key, kind)
            admitting.check_turn(run, step)
            await self._end_step(
                window, run.key, _ended(step, StepState.DONE, why or "done by hand", actor), actor
            )
            return self._desk.book.windows[window]

    async def _end_step(self, window: str, key: str, step: Step, actor: Actor) -> None:
        at = self._desk.book.wall()
        fresh = replace(step, began=step.began or at, ended=at)
        why = step.skipped_why or step.reason
        trouble = await self._desk.book.put_step(window, key, fresh, who={"by": actor.user, "why": why})
        self._desk.kick(window)
        written(trouble)

    async def retry(self, window: str, key: str, kind: StepKind, why: str, actor: Actor) -> Window:
        """Do a step again from its beginning, with all that came after it."""
        async with self._desk.asked(f"retry a step of {window}", actor):
            run, step = self._step(window, key, kind)
            admitting.check_retry(run, step)
            await self._desk.call_off(step.orders, actor)
            last = ORDER.index(run.step.kind) if run.step is not None else len(ORDER) - 1
            again = [one for one in run.steps if ORDER.index(kind) <= ORDER.index(one.kind) <= last]
            for one in again:
                await self._again(window, run.key, one, why, actor)
            self._desk.kick(window)
            return self._desk.book.windows[window]

    async def _again(self, window: str, key: str, step: Step, why: str, actor: Actor) -> None:
        fresh = Step(
            kind=step.kind, orders=step.orders, attempt=step.attempt + 1, waits=step.waits,
            waits_dropped=step.waits_dropped, reason=f"tried again by {actor.user}",
        )  # fmt: skip
        more = {"why": why.strip()} if why.strip() else {}
        written(await self._desk.book.put_step(window, key, fresh, who={"by": actor.user, **more}))

    async def leave_out(self, window: str, key: str, why: str, actor: Actor) -> Window:
        """Do no more to a host than put back what was switched for it, and go on with the others."""
        async with self._desk.asked(f"leave a host out of {window}", actor):
            admitting.check_why(why)
            run = self._host(window, key)
            if run.step is None:
                raise refuse("conflict", f"{run.name} is over already.")
            written(await self._desk.book.put_run(window, replace(run, left_out=why.strip())))
            # The last first: while this is written down, the host must not go on to a step that is left out as well.
            for step in reversed(run.steps):
                if not step.state.over and step.kind not in UNDOING:
                    await self._end_step(
                        window, run.key, _ended(step, StepState.SKIPPED, f"left out: {why}", actor), actor
                    )
                    await self._desk.call_off(step.orders, actor)
            return self._desk.book.windows[window]

    def _host(self, window: str, key: str) -> HostRun:
        found = next((run for run in self._desk.open(window).hosts if key in (run.key, run.name)), None)
        if found is None:
            raise refuse(
                "not-found", f"{window} has no host {key[:80]}.", f"evac window show {window} lists them."
            )
        return found

    def _step(self, window: str, key: str, kind: StepKind) -> tuple[HostRun, Step]:
        run = self._host(window, key)
        return run, next(step for step in run.steps if step.kind is kind)


def _ended(step: Step, state: StepState, why: str, actor: Actor) -> Step:
    skipped = state is StepState.SKIPPED
    return replace(
        step,
        state=state,
        reason=f"{why.strip()} ({actor.user})",
        next_step="",
        skipped_by=actor.user if skipped else "",
        skipped_why=why.strip() if skipped else "",
    )
