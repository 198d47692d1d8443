"""`evac queue`: what is waiting and what moves; pause, resume, cancel, retry, limits, wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec

from evac.actions import describe
from evac.client import EngineClient
from evac.jobs import Job, Limits, QueueState
from tui import cells
from tui.commands import show
from tui.commands.acting import How, ended
from tui.commands.exits import Code, Stop
from tui.commands.session import View, engine, glance, run
from tui.commands.waiting import moving_words, outcome, wait
from tui.store import number


@click.group("queue", invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Ended jobs too.")
@show.as_json
@click.pass_context
def queue_command(ctx: click.Context, /, everything: bool, as_json: bool) -> None:
    """Show the queue; with a command, steer it."""
    if ctx.invoked_subcommand is None:
        view = run(lambda: look(ctx))
        tell(view, everything=everything, as_json=as_json)


@queue_command.command("pause")
@click.pass_context
def pause_command(ctx: click.Context) -> None:
    """Start nothing new; what is in flight goes on."""
    steer(ctx, lambda client: client.pause())


@queue_command.command("resume")
@click.pass_context
def resume_command(ctx: click.Context) -> None:
    """Go on after a pause."""
    steer(ctx, lambda client: client.resume())


@queue_command.command("cancel")
@click.argument("what", metavar="JOB|ORDER")
@click.pass_context
def cancel_command(ctx: click.Context, /, what: str) -> None:
    """Cancel a job, or all jobs of an order that have not ended.

    A job that waits is cancelled at once; a live migration in flight is aborted on the cluster.
    """
    code = run(lambda: cancel(ctx, what))
    ctx.exit(int(code))


@queue_command.command("retry", short_help="Try a failed job again, where that is safe.")
@click.argument("job")
@click.pass_context
def retry_command(ctx: click.Context, /, job: str) -> None:
    """Try a failed job again; refused where a second attempt is not safe."""

    async def task() -> Job:
        async with engine(ctx.obj) as client:
            return await client.retry(job)

    again = run(task)
    show.say(job_line(again))


@queue_command.command("wait")
@click.argument("order")
@click.option("--timeout", type=float, help="Stop waiting after so many seconds; the order goes on.")
@show.as_json
@click.pass_context
def wait_command(ctx: click.Context, /, order: str, timeout: float | None, as_json: bool) -> None:
    """Wait until an order has ended; the exit code says how."""

    async def task() -> Code:
        async with engine(ctx.obj) as client:
            view = await glance(client)
            if order not in view.orders:
                raise Stop(
                    f"There is no order {order!r}.", Code.USAGE, next_step="`evac queue --all` lists them."
                )
            view = await wait(ctx.obj, client, order, patience=timeout)
            return ended(view, order, How(yes=True, wait=True, timeout=timeout, as_json=as_json))

    ctx.exit(int(run(task)))


@queue_command.command("limits")
@click.option("--total", type=click.IntRange(0), help="Moves in flight in all; 0 is no limit.")
@click.option("--per-cluster", type=click.IntRange(0), help="Moves in flight in one cluster.")
@click.option("--per-source", type=click.IntRange(0), help="Moves in flight away from one host.")
@click.option("--per-target", type=click.IntRange(0), help="Moves in flight towards one host.")
@show.as_json
@click.pass_context
def limits_command(ctx: click.Context, /, as_json: bool, **changes: int | None) -> None:
    """Show the limits, or change those that are given."""
    wanted = {name: value for name, value in changes.items() if value is not None}

    async def task() -> Limits:
        async with engine(ctx.obj) as client:
            view = await glance(client)
            if not wanted:
                return view.queue.limits
            limits = msgspec.structs.replace(view.queue.limits, **wanted)
            await client.set_limits(limits)
            return limits

    limits = run(task)
    if as_json:
        show.print_json({"limits": limits})
        return
    for name, value in msgspec.structs.asdict(limits).items():
        show.say(f"{name.replace('_', ' '):<12} {value or 'no limit'}")


async def look(ctx: click.Context) -> View:
    """The queue as it is now; no cluster is waited for."""
    async with engine(ctx.obj) as client:
        return await glance(client)


def steer(ctx: click.Context, deed: Callable[[EngineClient], Awaitable[Any]]) -> None:
    """Do one thing to the queue and show it."""

    async def task() -> View:
        async with engine(ctx.obj) as client:
            await deed(client)
            return await glance(client)

    show.say(queue_line(run(task).queue))


async def cancel(ctx: click.Context, what: str) -> Code:
    """Cancel a job or an order."""
    async with engine(ctx.obj) as client:
        view = await glance(client)
        jobs = (
            [job.id for job in view.jobs_of(what) if not job.state.ended] if what in view.orders else [what]
        )
        if not jobs:
            raise Stop(
                f"{what} has ended; there is nothing to cancel.", Code.REFUSED, unaffected="Nothing was done."
            )
        for job in jobs:
            show.say(job_line(await client.cancel(job)))
        return Code.DONE


def tell(view: View, *, everything: bool, as_json: bool) -> None:
    """Jobs with their orders."""
    jobs = sorted(view.jobs.values(), key=lambda job: number(job.id))
    shown = [job for job in jobs if everything or not job.state.ended]
    open_orders = {job.order for job in shown}
    orders = [order for order in view.orders.values() if everything or order.id in open_orders]
    if as_json:
        show.print_json({"queue": view.queue, "orders": orders, "jobs": shown})
        return
    show.say(queue_line(view.queue))
    if shown:
        columns = ("JOB", "ORDER", "STATE", "WHAT", "HOW FAR OR WHY")
        show.table(
            columns, [(job.id, job.order, job.state, describe(job.action), how_far(job)) for job in shown]
        )


def queue_line(queue: QueueState) -> str:
    """The queue in one line."""
    parts = [f"{queue.in_flight} in flight, {queue.waiting} waiting"]
    parts += [f"PAUSED by {queue.paused_by or 'somebody'}"] if queue.paused else []
    parts += [f"takes no new order: {queue.refusing}"] if queue.refusing else []
    return "; ".join(parts)


def how_far(job: Job) -> str:
    """What is left while it moves, else why it is where it is."""
    if cells.how_far(job.progress) and job.state.in_flight:
        return moving_words(job).partition(" ")[2]
    return (
        job.reason if job.felt_words in job.reason else f"{job.reason}; {job.felt_words}".removeprefix("; ")
    )


def job_line(job: Job) -> str:
    """One job in one line."""
    asked = f"; {job.cancel_by} asked to stop it" if job.cancel_by and not job.state.ended else ""
    return f"{job.id} {describe(job.action)}: {outcome(job)}{asked}"
