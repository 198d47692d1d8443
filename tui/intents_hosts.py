"""From hosts and jobs to intents: drain, evacuate, maintenance, force down; cancel, retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from evac.actions import (
    Action,
    EnterMaintenance,
    ForceDown,
    HostAction,
    LeaveMaintenance,
    VMAction,
    describe,
)
from evac.api import DrainPlan
from evac.jobs import Job
from evac.model import VM, Host, HostState, Migration, Problem
from tui import cells
from tui.board import Context
from tui.intents import FENCE, Refusal, how_many, left_out_lines, moved, submit
from tui.look import Line, Span
from tui.panes.common import label_of
from tui.sheet import Answers, Field, Sheet
from tui.source import Refused, Source
from tui.text import clean


def host_line(host: Host, context: Context) -> Line:
    """A host by name, id, cluster with label, state and count."""
    look = context.look
    return (
        Span("Host ", "dim"),
        Span(clean(host.name, look.ascii_only), "title"),
        Span(f"  {'' if host.id == host.name else clean(host.id, look.ascii_only) + '  '}cluster "),
        Span(label_of(host.cluster, context), "label"),
        Span("  "),
        cells.host_state(host, look),
        Span(f"  {context.store.count_on(host.key)} VMs"),
    )


def plan_sheet(plan: DrainPlan, host: Host, context: Context, *, dead: bool) -> Sheet:
    """A drain (or, `dead`, an evacuation) as the engine planned it: who goes where, who stays and why."""
    look = context.look
    moves = moved(plan.actions)
    verb = "Evacuate" if dead else "Drain"
    stay = f", {len(plan.stays)} stay" if plan.stays else ""
    age = cells.span_of_time(plan.age)
    body: list[Line] = [
        host_line(host, context),
        (
            Span(f"{'1 VM moves' if len(moves) == 1 else f'{len(moves)} VMs move'}{stay}", "title"),
            Span(f"  {cells.size(plan.memory)} of guest memory  figures {age} old"),
        ),
        *(
            (Span(f"{look.glyph('warn')} {clean(words, look.ascii_only)}", "warn"),)
            for words in plan.warnings
        ),
    ]
    body += _drain_risk(context, dead=dead)
    body += _stays(plan, context)
    usual = max((action.verb for action in moves), key=[action.verb for action in moves].count, default="")
    body += [
        _action_line(action, context, usual) for action in plan.actions if isinstance(action, HostAction)
    ]
    if moves:
        chosen = f"{usual.capitalize()} from {clean(host.name, look.ascii_only)}"
        body.append((Span(f"{chosen} to the scheduler's choice, where no target is named:", "title"),))
    body += [_action_line(action, context, usual, plan.restarts) for action in moves]
    return Sheet(
        title=f"{verb} {clean(host.name, look.ascii_only)}?",
        body=tuple(body),
        ok=verb,
        fields=_plan_fields(plan, host, context, dead=dead),
        run=submit(plan.title, plan.actions, empties=plan.empties),
    )


def _stays(plan: DrainPlan, context: Context) -> list[Line]:
    look = context.look
    body: list[Line] = []
    if plan.stays:
        body.append((Span(f"What stays: {len(plan.stays)}", "warn"),))
        for stays in plan.stays:
            fix = f"  fix: {clean(stays.fix, look.ascii_only)}" if stays.fix else ""
            body.append(
                (
                    Span(f"  {look.glyph('off')} "),
                    Span(clean(stays.name, look.ascii_only), "title"),
                    Span(f"  {clean(stays.vm, look.ascii_only)}", "dim"),
                    Span(f"  {clean(stays.why, look.ascii_only)}{fix}"),
                )
            )
    return body


def _plan_fields(plan: DrainPlan, host: Host, context: Context, *, dead: bool) -> tuple[Field, ...]:
    fields: list[Field] = []
    if dead:
        fields.append(FENCE)
    entering = next((action for action in plan.actions if isinstance(action, EnterMaintenance)), None)
    if entering is not None:
        fields.append(Field(key="reason", prompt="Reason for maintenance", value=entering.reason))
    fields.append(Field(key="ticket", prompt="Change ticket (may be empty)"))
    if plan.restarts:
        count = str(len(plan.restarts))
        fields.append(
            Field(key="restarts", prompt=f"Type how many containers RESTART ({count})", expect=count)
        )
    name = clean(host.name, context.look.ascii_only)
    fields.append(Field(key="name", prompt=f"Type the host's name ({name})", expect=name))
    return tuple(fields)


def _action_line(action: Action, context: Context, usual: str, restarts: Sequence[str] = ()) -> Line:
    look = context.look
    if not isinstance(action, VMAction):
        return (Span("  "), Span(clean(describe(action), look.ascii_only)))
    to = clean(str(getattr(action, "to", "")), look.ascii_only)
    target = f"  {look.glyph('arrow')} {to}" if to else ""
    verb = "" if action.verb == usual else f"  {action.verb}"
    if action.vm in restarts:
        verb = "  RESTARTS there"
    return (
        Span("  "),
        Span(clean(action.name, look.ascii_only), "title"),
        Span(f"  {clean(action.vm, look.ascii_only)}", "dim"),
        Span(f"{verb}{target}"),
    )


def _drain_risk(context: Context, *, dead: bool) -> list[Line]:
    glyph = context.look.glyph("warn")
    if dead:
        return [
            (
                Span(
                    f"{glyph} If the host still runs a guest, TWO COPIES WRITE ONE DISK and destroy it. NOT reversible.",
                    "warn",
                ),
            )
        ]
    return [
        (
            Span(
                f"{glyph} A guest that does not converge needs a decision; nothing is force-completed by itself.",
                "warn",
            ),
        ),
        (
            Span(
                "Reversible: migrate back; m takes the host out of maintenance. You may quit: the engine goes on."
            ),
        ),
    ]


def maintenance_sheet(hosts: Sequence[Host], context: Context, *, user: str) -> Sheet:
    """Into maintenance, or out of it: the first host decides which way."""
    leave = hosts[0].maintenance
    same = [host for host in hosts if host.maintenance is leave]
    actions: list[Action] = [
        LeaveMaintenance(cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid)
        if leave
        else EnterMaintenance(
            cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid, reason=f"by {user}"
        )
        for host in same
    ]
    what = "out of maintenance" if leave else "into maintenance"
    name = clean(same[0].name, context.look.ascii_only)
    subject = name if len(same) == 1 else f"{len(same)} hosts"
    words = (
        "The scheduler may place VMs here again."
        if leave
        else "The scheduler places nothing new here. It moves no guest: d drains."
    )
    reason = () if leave else (Field(key="reason", prompt="Reason", value=f"by {user}"),)
    fields = (*reason, *how_many(len(same), "hosts"))
    skipped = len(hosts) - len(same)
    body = [*(host_line(host, context) for host in same), (Span(words),), (Span("Reversible with m."),)]
    if skipped:
        body.append((Span(f"Left out: {skipped} already {'in' if not leave else 'out'}", "warn"),))
    return Sheet(
        title=f"Take {subject} {what}?",
        body=tuple(body),
        ok="Leave" if leave else "Enter",
        fields=fields,
        run=submit(f"{subject} {what}", actions),
    )


def force_down_sheet(host: Host, context: Context) -> Sheet:
    """Declare a host dead, or take that back."""
    look = context.look
    down = not host.forced_down
    action = ForceDown(cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid, down=down)
    name = clean(host.name, look.ascii_only)
    glyph = look.glyph("warn")
    if down:
        alive = host.state is HostState.UP
        words = (
            f"{glyph} The cluster will believe the host is dead, and allow its VMs to be started elsewhere."
        )
        body: list[Line] = [host_line(host, context), (Span(words, "warn"),)]
        if alive:
            body.append((Span(f"{glyph} ITS AGENT STILL ANSWERS: this host looks alive.", "strong_bad"),))
    else:
        body = [host_line(host, context), (Span("The cluster will believe the host's own reports again."),)]
    body.append((Span("Reversible with f."),))
    fields = [Field(key="name", prompt=f"Type the host's name ({name})", expect=name)]
    return Sheet(
        title=f"Force {name} down?" if down else f"Take back the force-down of {name}?",
        body=tuple(body),
        ok="Force down" if down else "Take back",
        fields=(FENCE, *fields) if down else tuple(fields),
        run=submit(describe(action), [action]),
    )


async def _each(jobs: Sequence[Job], call: Callable[[str], Awaitable[None]], done: str) -> str:
    """One call for each job. A refused one, such as a job that has ended meanwhile, does not keep the others from it."""
    refused: list[Problem] = []
    for job in jobs:
        try:
            await call(job.id)
        except Refused as error:
            if len(jobs) == 1:
                raise
            refused.append(error.problem)
    count = len(jobs) - len(refused)
    if not refused:
        return f"{count} job{'s' * (count != 1)} {done}."
    words = f"{count} of {len(jobs)} jobs {done}; {len(refused)} refused: {refused[0].happened}"
    raise Refused(Problem(happened=words, next_step=refused[0].next_step))


def not_cancelled(rows: Sequence[object], context: Context) -> list[Refusal]:
    """Of the rows marked, those that cancelling jobs of ours does nothing about, and why."""
    store = context.store
    theirs = "is moved by someone else: mark such VMs alone and press a to abort their migrations"
    out: list[Refusal] = []
    for row in rows:
        if isinstance(row, VM) and store.job_on(row.key) is None:
            moving = store.migration_of(row.key) is not None
            out.append(
                Refusal(name=row.name, why=theirs if moving else "no job and no migration is at work on it")
            )
        elif isinstance(row, Job) and row.state.ended:
            out.append(Refusal(name=row.id, why=f"has ended: {row.state.value}"))
        elif isinstance(row, Migration):
            vm = store.vms.get(f"{row.cluster}/{row.vm}")
            why = "is moved by someone else: clear the marks and press a on it alone"
            out.append(Refusal(name=vm.name if vm else row.vm, why=why))
    return out


def _job_line(job: Job, context: Context) -> Line:
    words = clean(describe(job.action), context.look.ascii_only)
    what = f"{words}  {label_of(job.action.cluster, context)}  "
    return (Span(f"  {job.id} ", "title"), Span(what), cells.job_state(job, context.look))


def cancel_sheet(
    jobs: Sequence[Job],
    context: Context,
    *,
    whose: str = "",
    left_out: Sequence[Refusal] = (),
    ghosts: int = 0,
) -> Sheet:
    """Cancel what waits, abort what is in flight; name what is marked and not cancelled by this."""
    flying = [job for job in jobs if job.state.in_flight]
    body = [_job_line(job, context) for job in jobs]
    if flying:
        body.append(
            (Span(f"{len(flying)} in flight: the cluster is asked to abort; the VM stays where it is."),)
        )
    if len(flying) < len(jobs):
        body.append(
            (
                Span(
                    f"{len(jobs) - len(flying)} waiting: taken out of the queue; the cluster never hears of it."
                ),
            )
        )
    body += left_out_lines(left_out, ghosts, context)
    count = len(jobs)
    subject = whose or (jobs[0].id if count == 1 else f"{count} jobs")

    async def run(source: Source, _: Answers) -> str:
        return await _each(jobs, source.cancel, "asked to end")

    ok = "Cancel the job" if count == 1 else f"Cancel {count} jobs"
    return Sheet(
        title=f"Cancel {subject}?",
        body=tuple(body),
        ok=ok,
        no="Leave it",
        fields=how_many(count, "jobs"),
        run=run,
    )


def retry_sheet(jobs: Sequence[Job], context: Context) -> Sheet:
    """Try again; the engine refuses where that is not safe."""
    look = context.look
    body: list[Line] = [
        (*_job_line(job, context), Span(f"  {clean(job.reason, look.ascii_only)}")) for job in jobs
    ]
    body.append((Span("The engine looks at the VM first, and refuses where a second try is not safe."),))
    count = len(jobs)

    async def run(source: Source, _: Answers) -> str:
        return await _each(jobs, source.retry, "queued again")

    return Sheet(
        title=f"Retry {jobs[0].id if count == 1 else f'{count} jobs'}?",
        body=tuple(body),
        ok="Retry",
        fields=how_many(count, "jobs"),
        run=run,
    )
