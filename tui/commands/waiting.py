"""Give an order and follow it to its end. The order belongs to the engine: whoever waits may leave."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence

import click

from evac.actions import Action, EnterMaintenance, describe
from evac.api import Hello, OrderRequest
from evac.client import EngineClient, EngineGone
from evac.jobs import Job, JobState, Order, OrderState
from evac.lifecycle import EngineTrouble, ensure_engine
from evac.probe import FeltVerdict
from tui import cells
from tui.commands import show
from tui.commands.exits import Code, Stop
from tui.commands.session import View
from tui.commands.start import Start
from tui.text import clean, fit

UNKNOWN_SETTLES = 60.0
"""Seconds an outcome may stay unknown, with nothing else under way, before the command gives up with code 5."""

ENGINE_BACK = 30.0
"""Seconds given to an engine that went away; it re-adopts what was in flight, so the order is still followed."""


async def give(
    client: EngineClient, title: str, actions: Sequence[Action], *, empties: str = "", ticket: str = ""
) -> str:
    """Hand the order to the engine; its id. Once this returns the order is on disk."""
    request = OrderRequest(
        title=title,
        actions=tuple(actions),
        token=secrets.token_hex(8),
        empties=empties,
        ticket=ticket,
        via="cli",
    )
    try:
        reply = await client.order(request)
    except asyncio.CancelledError:
        raise Stop(
            "Interrupted while the order was being handed over: it may have been taken.",
            Code.INTERRUPTED,
            next_step="See whether it is there: evac queue",
        ) from None
    return reply.order.id


async def wait(start: Start, client: EngineClient, order: str, *, patience: float | None = None) -> View:
    """Follow an order until it has ended, or nothing but unknown outcomes is left of it."""
    view, reporter = View(), Reporter(order)
    try:
        async with asyncio.timeout(patience):
            await until_over(follow(start, client, view), reporter, order)
    except TimeoutError:
        next_step = f"It goes on in the engine. Look: evac queue wait {order}"
        raise Stop(
            f"{order} has not ended after {patience:g} s.", Code.INCOMPLETE, next_step=next_step
        ) from None
    except asyncio.CancelledError:
        raise Stop(
            f"Stopped waiting. {order} goes on in the engine.",
            Code.INTERRUPTED,
            next_step=f"Look: evac queue   Wait again: evac queue wait {order}   Stop it: evac queue cancel {order}",
        ) from None
    finally:
        reporter.close()
    return view


async def until_over(views: AsyncIterator[View], reporter: Reporter, order: str) -> None:
    """Return when the order has ended, or when what is left of it has been unknown for a while.

    The engine goes on looking at an unknown outcome (after a crash, a lost answer), and often finds it at once.
    """
    clock = asyncio.get_running_loop().time
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as grace:
            async for view in views:
                reporter.tell(view)
                held = view.orders.get(order)
                if held is not None and held.state is not OrderState.OPEN:
                    return
                if not only_unknown_left(view.jobs_of(order)):
                    grace.reschedule(None)
                elif grace.when() is None:
                    grace.reschedule(clock() + UNKNOWN_SETTLES)


async def follow(start: Start, client: EngineClient, view: View) -> AsyncIterator[View]:
    """The view after each change; it outlives an engine that is killed and started again."""
    deadline = time.monotonic() + ENGINE_BACK
    while True:
        try:
            async for item in client.follow(view.epoch, view.rev):
                deadline = time.monotonic() + ENGINE_BACK
                if isinstance(item, Hello):
                    view.hello = item
                    continue
                view.apply(item)
                yield view
        except EngineGone:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.5)
        try:
            await ensure_engine(start.where(), read_only=start.read_only)
        except EngineTrouble:
            if time.monotonic() > deadline:
                raise


def only_unknown_left(jobs: Sequence[Job]) -> bool:
    """True when some outcome is unknown and everything else has ended: nothing of it will move by itself."""
    open_jobs = [job for job in jobs if not job.state.ended]
    return bool(open_jobs) and all(job.state is JobState.UNKNOWN for job in open_jobs)


def verdict(order: Order, jobs: Sequence[Job]) -> Code:
    """The exit code for an order that is over."""
    if order.state is OrderState.DONE:
        return Code.DONE
    if any(job.state is JobState.UNKNOWN for job in jobs):
        return Code.UNKNOWN
    if jobs and not any(job.state is JobState.DONE for job in jobs):
        return Code.FAILED
    return Code.INCOMPLETE


class Reporter:
    """Progress on stderr: a line for each job that ends; on a terminal also one line that is drawn over."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._told: set[str] = set()
        self._live = sys.stderr.isatty()
        self._drawn = False

    def tell(self, view: View) -> None:
        """What has changed since the last call."""
        jobs = view.jobs_of(self._order)
        for job in jobs:
            if job.state.ended and job.id not in self._told:
                self._told.add(job.id)
                self._line(ended_line(job))
        if self._live:
            self._draw(status_line(jobs))

    def _line(self, text: str) -> None:
        self.close()
        show.note(text)

    def _draw(self, text: str) -> None:
        columns = shutil.get_terminal_size().columns
        click.echo("\r" + fit(clean(text), columns - 1), err=True, nl=False)
        self._drawn = True

    def close(self) -> None:
        """Leave the drawn line behind, empty."""
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._drawn = False


def ended_line(job: Job) -> str:
    """How one job ended."""
    where = f" (now on {job.target})" if job.target and job.state is JobState.DONE else ""
    became = job.state.value if job.state is JobState.DONE else outcome(job)
    felt = f"; {job.felt_words}" if job.felt_words and job.felt_words not in became else ""
    return f"{job.id} {describe(job.action)}: {became}{where}{felt}"


def outages(jobs: Sequence[Job]) -> list[str]:
    """What the guests felt: the measured ones, and how many could not be."""
    told = [job for job in jobs if job.felt_words]
    if not told:
        return []
    measured = [job for job in told if job.felt_verdict is not FeltVerdict.UNMEASURED]
    lines = [f"  what the guests felt, {len(measured)} of {len(told)} measured:"]
    lines += [
        f"    {job.action.name}: {job.felt_words}"
        for job in (*measured, *(j for j in told if j not in measured))
    ]
    return lines


def outcome(job: Job) -> str:
    """State and reason, without a word said twice ("cancelled: cancelled by anna")."""
    state, reason = job.state.value, job.reason
    if not reason or reason.startswith(state):
        return reason or state
    return f"{state}: {reason}"


def status_line(jobs: Sequence[Job]) -> str:
    """All jobs in one line: counts, then what moves."""
    done = sum(job.state.ended for job in jobs)
    moving = [job for job in jobs if job.state.in_flight]
    waiting = [job for job in jobs if job.state.waiting]
    parts = [f"{done}/{len(jobs)} ended", *(moving_words(job) for job in moving[:3])]
    if not moving and waiting:
        parts.append(f"{waiting[0].state.value}: {waiting[0].reason or 'waiting for its turn'}")
    return " · ".join(parts)


def moving_words(job: Job) -> str:
    """One job under way: bytes left, rate, time left, or why not."""
    progress = job.progress
    if progress is None or not (far := cells.how_far(progress)):
        return f"{job.action.name} {job.state.value}"
    words = [f"{job.action.name} {far}"]
    if progress.rate:
        words.append(f"{show.size(int(progress.rate))}/s")
    if progress.verdict:
        words.append(progress.verdict)
    elif progress.eta is not None:
        words.append(f"{show.span(progress.eta)} to go")
    return ", ".join(words)


def summary(order: Order, jobs: Sequence[Job]) -> list[str]:
    """What became of it, for the end of the command."""
    lines = [f"{order.id} {order.title}: {order.state.value}, {order.done} of {order.jobs} done"]
    lines += [f"  {order.reason}"] if order.reason else []
    lines += [f"  still there: {', '.join(order.left)}"] if order.left else []
    for job in jobs:
        if order.state is not OrderState.DONE and isinstance(job.action, EnterMaintenance):
            kept = (
                f"{job.action.host} stays in maintenance; out of it: evac maintenance leave {job.action.host}"
            )
            lines += [f"  {kept}"] if job.state is JobState.DONE else []
    lines += outages(jobs)
    for job in jobs:
        if job.state is not JobState.DONE:
            lines.append(f"  {ended_line(job)}")
            lines += [f"      Next: {job.next_step}"] if job.next_step else []
    return lines
