"""Windows, their steps, what is owed and plans, to text. Every state is a glyph and a word; the tone only repeats it."""

from __future__ import annotations

from evac.jobs import JobState
from evac.storage import Health, Storage
from evac.window.nouns import (
    HostRun,
    KnownPlan,
    LedgerEntry,
    LedgerState,
    Step,
    StepKind,
    StepState,
    Window,
    WindowState,
)
from tui import windows
from tui.board import Context
from tui.look import Line, Look, Span
from tui.store import Store
from tui.text import clean

_STEPS: dict[StepState, tuple[str, str, str]] = {
    StepState.WAITING: ("wait", "", "dim"),
    StepState.RUNNING: ("run", "", "busy"),
    StepState.HELD: ("held", "held", "warn"),
    StepState.NEEDS_YOU: ("warn", "NEEDS YOU", "label"),
    StepState.UNKNOWN: ("unknown", "UNKNOWN", "strong_bad"),
    StepState.DONE: ("good", "", "good"),
    StepState.SKIPPED: ("cancelled", "skipped", "warn"),
}
"""Glyph, word and tone."""

_WINDOWS: dict[WindowState, tuple[str, str, str]] = {
    WindowState.RUNNING: ("run", "running", "busy"),
    WindowState.STOPPED: ("pause", "STOPPED", "warn"),
    WindowState.DONE: ("good", "done", "good"),
    WindowState.ENDED: ("cancelled", "ended", "warn"),
}

_HEALTH = {
    Health.OK: ("good", "OK", "good"),
    Health.WARNING: ("warn", "WARN", "warn"),
    Health.ERROR: ("bad", "ERR", "bad"),
    Health.UNKNOWN: ("unknown", "health unknown", "warn"),
}

_OURS = ("good", "noout", "good")
"""Health of a storage cluster that warns of nothing but the flag which evac has set itself."""

MANY_WORDS = {
    StepKind.PREFLIGHT: "preflight",
    StepKind.FENCE: "fence placement",
    StepKind.DRAIN: "drain",
    StepKind.EMPTY: "proof that it is empty",
    StepKind.STORAGE: "may its OSDs stop",
    StepKind.NOOUT: "noout for its OSDs",
    StepKind.SAFE: "safe to reboot",
    StepKind.HOOK: "change and reboot",
    StepKind.BACK: "wait until it is back",
    StepKind.READY: "wait until it is ready",
    StepKind.UNFENCE: "switch back",
    StepKind.REFILL: "refill",
}
"""What each step does, for dialogs and details."""


def progress(step: Step, store: Store) -> str:
    """As "14/19" (moves of a drain) or "2/3" (passes in a row); "" where nothing is counted."""
    if step.kind is StepKind.READY and step.needed:
        return f"{step.passes}/{step.needed}"
    orders = [store.orders[ident] for ident in step.orders if ident in store.orders]
    if not orders or step.state is StepState.WAITING:
        return ""
    return f"{sum(order.done for order in orders)}/{sum(order.jobs for order in orders)}"


def step(of: Step, context: Context, host: str = "") -> Span:
    """As "▶ drain 14/19" or "‖ storage held"; with the host's name, where it stands alone: "▶ drain cmp-02 14/19"."""
    glyph, word, tone = _STEPS[of.state]
    counted = "" if of.state is StepState.DONE else progress(of, context.store)
    words = " ".join(part for part in (of.kind.value, host, counted, word) if part)
    return Span(f"{context.look.glyph(glyph)} {words}", tone)


def strip(run: HostRun, look: Look) -> Span:
    """One glyph for each step; the step under way is told in words beside it."""
    text = "".join(look.glyph(_STEPS[of.state][0]) for of in run.steps)
    return Span(text, "dim" if run.left_out else _tone(run))


def _tone(run: HostRun) -> str:
    here = run.step
    if here is None:
        return "good"
    return _STEPS[here.state][2] if windows.begun(run) else "dim"


def run_now(run: HostRun, context: Context) -> Span:
    """Where a host stands."""
    look = context.look
    if run.left_out:
        return Span(f"{look.glyph('cancelled')} left out", "warn")
    if run.step is None:
        skipped = sum(of.state is StepState.SKIPPED for of in run.steps)
        words, tone = (f", {skipped} skipped", "warn") if skipped else ("", "good")
        return Span(f"{look.glyph('good')} through{words}", tone)
    if not windows.begun(run):
        return Span(f"{look.glyph('wait')} not begun", "dim")
    return step(run.step, context)


def run_then(window: Window, run: HostRun, context: Context) -> Span:
    """Where a host stands; of a window that is over, where it stood."""
    if windows.is_open(window) or run.step is None or run.left_out or not windows.begun(run):
        return run_now(run, context)
    return Span(f"{context.look.glyph('cancelled')} stood at {run.step.kind.value}", "warn")


def steps_in_words(run: HostRun, context: Context) -> Line:
    """All steps of a host, with glyph and word."""
    spans: list[Span] = []
    for of in run.steps:
        spans += [*((Span(" "),) if spans else ()), step(of, context)]
    return tuple(spans)


def window_state(window: Window, look: Look) -> Span:
    """Where a window stands."""
    glyph, word, tone = _WINDOWS[window.state]
    return Span(f"{look.glyph(glyph)} {word}", tone)


def hosts_through(window: Window) -> str:
    """As "2/4 hosts"."""
    count = len(window.hosts)
    return f"{sum(windows.through(run) for run in window.hosts)}/{count} host{'s' * (count != 1)}"


def ledger_state(entry: LedgerEntry, look: Look) -> Span:
    """What became of something that was switched."""
    if not entry.state.owed:
        return Span(f"{look.glyph('good')} {entry.state.value}", "good")
    if entry.state is LedgerState.RESTORING:
        return Span(f"{look.glyph('run')} restoring", "busy")
    word = "perhaps switched" if entry.state is LedgerState.INTENDED else "switched"
    return Span(f"{look.glyph('warn')} {word}", "warn")


def owed_words(entry: LedgerEntry, *, plain: bool) -> str:
    """As "noout of pve-a1 (W3)" or "backup job nightly (W3)"."""
    whose = f" ({entry.window})" if entry.window else ""
    return f"{owed_thing(entry, plain=plain)}{clean(whose, plain)}"


def owed_thing(entry: LedgerEntry, *, plain: bool) -> str:
    """As "noout of pve-a1" or "backup job nightly"."""
    what = entry.name if entry.what.lower() in entry.name.lower() else f"{entry.what} of {entry.name}"
    return clean(what, plain)


def short_hash(plan_hash: str) -> str:
    """As much of a plan's hash as two people compare over the phone."""
    return plan_hash[:12]


def approvals(plan: KnownPlan) -> str:
    """Who approved it."""
    names = ", ".join(approval.by.user for approval in plan.approvals)
    return f"approved by {names}" if names else "nobody has approved it"


def run_as(plan: KnownPlan, store: Store) -> list[Window]:
    """The windows that ran a plan."""
    return [window for window in store.windows.values() if window.plan == plan.hash]


def fine(window: Window, context: Context) -> Span:
    """Of everything it ordered: how much failed, how much is not known."""
    look, store = context.look, context.store
    orders = windows.orders_of(store, window)
    unknown = [job for order in orders for job in store.jobs_of(order.id) if job.state is JobState.UNKNOWN]
    failed = sum(order.failed for order in orders)
    trouble = [
        words
        for count, words in ((failed, f"{failed} failed"), (len(unknown), f"{len(unknown)} UNKNOWN"))
        if count
    ]
    if trouble:
        return Span(f"{look.glyph('bad')} {', '.join(trouble)}", "bad")
    return Span(f"{look.glyph('good')} 0 failed", "good")


def _only_our_noout(storage: Storage, store: Store) -> bool:
    """Its one warning is of noout on hosts for which the ledger has it: a window would else look ill all night."""
    ours = {
        entry.name
        for entry in windows.owed(store)
        if entry.cluster == storage.cluster and entry.what == "noout"
    }
    flagged = storage.node_flags
    return (
        storage.health is Health.WARNING
        and {check.code for check in storage.checks if not check.muted} == {"OSD_FLAGS"}
        and all(flags == ("noout",) and node in ours for node, flags in flagged.items())
    )


def ceph(run: HostRun, context: Context) -> list[Span]:
    """The health of each storage cluster that has OSDs on the host: as "✓ ceph OK"."""
    look, store = context.look, context.store
    spans = []
    for storage in windows.storages_of(store, run):
        name = clean(storage.cluster, look.ascii_only)
        if store.stale(storage.cluster):
            spans.append(Span(f"{look.glyph('warn')} {name} STALE", "bad"))
            continue
        glyph, word, tone = _OURS if _only_our_noout(storage, store) else _HEALTH[storage.health]
        spans.append(Span(f"{look.glyph(glyph)} {name} {word}", tone))
    return spans
