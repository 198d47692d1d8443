"""What people decide about a window while it runs: each dialog names the window, cluster, host and step, and what it means."""

from __future__ import annotations

from evac.window.nouns import HostRun, Step, StepKind, StepState, Window, WindowState
from tui import cells, windows
from tui import window_cells as w
from tui.board import Context
from tui.look import Line, Span
from tui.panes.common import label_of
from tui.sheet import Answers, Field, Sheet
from tui.source import Source
from tui.text import clean
from tui.windows import HostRow, Row

WHY = Field(key="why", prompt="Why (the report tells it)", least=8)

BY_HAND = (StepKind.HOOK, StepKind.BACK)
"""Steps of which a person may say that they are done; of the others the cluster tells."""

TRIES = (StepState.HELD, StepState.NEEDS_YOU, StepState.UNKNOWN)

_SKIPPED = {
    StepKind.PREFLIGHT: "Whether the plan still fits what is there is not looked at.",
    StepKind.FENCE: "New VMs may be placed on the host while it is being emptied.",
    StepKind.DRAIN: "What is still on the host is not moved. VMs that run on it GO DOWN with it.",
    StepKind.EMPTY: "Nobody has proven that the host is empty. A VM that is still on it GOES DOWN with it.",
    StepKind.STORAGE: "Ceph was not asked, or said no: stopping these OSDs may make data UNAVAILABLE.",
    StepKind.NOOUT: "Ceph may begin to copy the data of the host's OSDs while it restarts.",
    StepKind.SAFE: "The last look before the restart is left out.",
    StepKind.HOOK: "The host is not changed and not restarted by this window.",
    StepKind.BACK: "Whether it has restarted, and with which kernel, is not looked at.",
    StepKind.READY: "VMs may come back to a host that is not ready, and the next host may go down too early.",
    StepKind.UNFENCE: "What was switched for the host STAYS SWITCHED, and is owed until somebody puts it back.",
    StepKind.REFILL: "The VMs stay where they are.",
}
"""What it means to go on without a step."""

_GRAVE = (StepKind.DRAIN, StepKind.EMPTY, StepKind.STORAGE, StepKind.SAFE, StepKind.READY)
"""Steps whose absence can cost data or take guests down: the host's name is typed as well."""


def why_not(action: str, row: Row | None) -> str:
    """Why a key of the window pane does nothing on this row; "" when it does."""
    window = row if isinstance(row, Window) else row.window if isinstance(row, HostRow) else None
    if action in ("stop_window", "resume_window", "end_window"):
        return _window_why_not(action, window)
    if not isinstance(row, HostRow):
        return "put the cursor on a host of a window that is under way"
    return _step_why_not(action, row.run)


def _window_why_not(action: str, window: Window | None) -> str:
    if window is None:
        return "put the cursor on a window"
    if not windows.is_open(window):
        return f"{window.id} is over"
    if action == "stop_window" and window.state is WindowState.STOPPED:
        return f"{window.id} is stopped already: R resumes it"
    if action == "resume_window" and window.state is WindowState.RUNNING and not window.orphan:
        return f"{window.id} is running"
    return ""


def _step_why_not(action: str, run: HostRun) -> str:
    step = run.step
    if step is None:
        return f"{run.name} is through"
    if action == "leave_out" and run.left_out:
        return f"{run.name} is left out already"
    if action == "step_done" and step.kind not in BY_HAND:
        return f"whether {step.kind.value} is done is seen on the cluster, not said"
    if action == "retry_step" and step.state not in TRIES:
        return f"{step.kind.value} of {run.name} is {step.state.value}: there is nothing to try again"
    return ""


def _window_line(window: Window, context: Context) -> Line:
    plain = context.look.ascii_only
    ticket = f"  [{clean(window.ticket, plain)}]" if window.ticket else ""
    return (
        Span(f"{window.id} ", "title"),
        Span(clean(window.title, plain), "title"),
        Span(f"{ticket}  "),
        w.window_state(window, context.look),
        Span(f"  {w.hosts_through(window)} through"),
    )


def _host_lines(window: Window, run: HostRun, context: Context) -> list[Line]:
    """The host with its cluster, the step with its reason."""
    look = context.look
    lines: list[Line] = [
        _window_line(window, context),
        (
            Span("Host ", "dim"),
            Span(clean(run.name, look.ascii_only), "title"),
            Span(f"  {'' if run.host == run.name else clean(run.host, look.ascii_only) + '  '}cluster "),
            Span(label_of(run.cluster, context), "label"),
            Span(f"  {context.store.count_on(run.key)} VMs"),
        ),
    ]
    if run.step is not None:
        reason = f"  {clean(run.step.reason, look.ascii_only)}" if run.step.reason else ""
        lines.append((Span("Step ", "dim"), w.step(run.step, context), Span(reason)))
    return lines


def _flying(window: Window, context: Context) -> list[Line]:
    """What goes on all the same, by name."""
    store, look = context.store, context.look
    jobs = [
        job
        for order in windows.orders_of(store, window)
        for job in store.jobs_of(order.id)
        if job.state.in_flight
    ]
    lines: list[Line] = [(Span(f"In flight, and not touched: {len(jobs)}", "title"),)]
    for job in jobs:
        name = clean(str(getattr(job.action, "name", "")), look.ascii_only)
        lines.append((Span(f"  {job.id} ", "dim"), Span(name), Span("  "), cells.job_state(job, look)))
    return lines


def _switched(window: Window, context: Context) -> list[Line]:
    entries = [entry for entry in windows.owed(context.store) if entry.window == window.id]
    if not entries:
        return []
    lines: list[Line] = [(Span(f"Stays switched until somebody puts it back: {len(entries)}", "warn"),)]
    return lines + [
        (Span(f"  {entry.id} "), Span(w.owed_words(entry, plain=context.look.ascii_only)))
        for entry in entries
    ]


def window_sheet(action: str, window: Window, context: Context) -> Sheet:
    """Stop, resume or end."""
    verb = {"stop_window": "stop", "resume_window": "resume", "end_window": "end"}[action]
    ident = Field(key="id", prompt=f"Type the window's id ({window.id})", expect=window.id)

    async def run_(source: Source, answers: Answers) -> str:
        done = await source.change_window(window.id, verb, answers.get("why", "").strip())
        flying = windows.in_flight(context.store, window)
        said = {
            "stop": f"{window.id} is stopped: nothing new begins, {flying} in flight go on. R resumes it.",
            "resume": f"{window.id} goes on.",
            "end": f"{window.id} is {done.reason or 'ended'}",
        }
        return said[verb]

    return Sheet(
        title=f"{verb.capitalize()} {window.id} {clean(window.title, context.look.ascii_only)}?",
        body=(_window_line(window, context), *_meaning(verb, window, context)),
        ok=f"{verb.capitalize()} it",
        fields=(WHY, ident) if verb == "end" else (),
        run=run_,
    )


def _meaning(verb: str, window: Window, context: Context) -> list[Line]:
    """What stopping, resuming or ending it does, and what it does not."""
    if verb == "stop":
        return [
            (Span("Nothing new begins: no step, no move. Running moves are never killed."),),
            *_flying(window, context),
            (Span("Reversible: R resumes it. What it has switched so far stays switched meanwhile."),),
        ]
    if verb == "end":
        given_up = "It is given up as it stands, and cannot be resumed. A new window can run the same plan."
        return [(Span(given_up, "warn"),), *_flying(window, context), *_switched(window, context)]
    run = windows.foremost(window)
    if run is None or run.step is None:
        return [(Span("It goes on."),)]
    return [(Span(f"It goes on with {run.step.kind.value} of {clean(run.name, context.look.ascii_only)}."),)]


def skip_sheet(row: HostRow, step: Step, context: Context) -> Sheet:
    """Go on without the step at which a host stands."""
    window, run = row.window, row.run
    look, name = context.look, clean(row.run.name, context.look.ascii_only)
    body = [
        *_host_lines(window, run, context),
        (Span(f"{look.glyph('warn')} {_SKIPPED[step.kind]}", "warn"),),
        (Span("NOT reversible. Who skipped it and why is in the report."),),
    ]
    fields: tuple[Field, ...] = (WHY,)
    if step.kind in _GRAVE:
        fields += (Field(key="name", prompt=f"Type the host's name ({name})", expect=name),)

    async def run_(source: Source, answers: Answers) -> str:
        await source.decide(window.id, run, step.kind, "skip", answers["why"].strip())
        return f"{step.kind.value} of {name} is skipped, and {window.id} goes on."

    return Sheet(
        title=f"Skip {step.kind.value} of {name}?",
        body=tuple(body),
        ok=f"Skip {step.kind.value}",
        fields=fields,
        run=run_,
    )


def done_sheet(row: HostRow, step: Step, context: Context) -> Sheet:
    """A person has changed and restarted the host."""
    window, run = row.window, row.run
    name = clean(run.name, context.look.ascii_only)
    words = (
        "You say that the host has been changed and restarted. evac then waits until another boot answers."
        if step.kind is StepKind.HOOK
        else "You say that the host is back. evac then checks until it is ready."
    )

    async def run_(source: Source, answers: Answers) -> str:
        await source.decide(window.id, run, step.kind, "done", answers.get("why", "").strip())
        return f"{step.kind.value} of {name} is done by hand, and {window.id} goes on."

    return Sheet(
        title=f"Is {step.kind.value} of {name} done?",
        body=(*_host_lines(window, run, context), (Span(words),)),
        ok="It is done",
        fields=(Field(key="why", prompt="What was done (may be empty)", pastes=True),),
        run=run_,
    )


def retry_sheet(row: HostRow, step: Step, context: Context) -> Sheet:
    """Do a step again from its beginning."""
    window, run = row.window, row.run
    name = clean(run.name, context.look.ascii_only)
    body = [
        *_host_lines(window, run, context),
        (
            Span(
                "The step begins anew. What waits of it in the queue is called off; what is in flight goes on."
            ),
        ),
    ]

    async def run_(source: Source, _: Answers) -> str:
        await source.decide(window.id, run, step.kind, "retry", "")
        return f"{step.kind.value} of {name} is tried again."

    return Sheet(title=f"Try {step.kind.value} of {name} again?", body=tuple(body), ok="Try again", run=run_)


def leave_out_sheet(row: HostRow, context: Context) -> Sheet:
    """Do no more to a host than put back what was switched for it."""
    window, run = row.window, row.run
    name = clean(run.name, context.look.ascii_only)
    body = [
        *_host_lines(window, run, context),
        (
            Span(
                "Nothing more is done to it, but what was switched for it is put back and its VMs come back."
            ),
        ),
        (Span("NOT reversible within this window. The window goes on with the other hosts.", "warn"),),
    ]

    async def run_(source: Source, answers: Answers) -> str:
        await source.leave_out(window.id, run, answers["why"].strip())
        return f"{name} is left out of {window.id}."

    fields = (WHY, Field(key="name", prompt=f"Type the host's name ({name})", expect=name))
    return Sheet(
        title=f"Leave {name} out of {window.id}?",
        body=tuple(body),
        ok="Leave it out",
        fields=fields,
        run=run_,
    )


STEP_SHEETS = {"skip_step": skip_sheet, "step_done": done_sheet, "retry_step": retry_sheet}
