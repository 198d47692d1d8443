"""Nouns to text: pure functions from a value to a `Span`. Every state is a glyph and a word; the tone only repeats it."""

from __future__ import annotations

import time

from evac.jobs import Event, Job, JobState, Order, OrderState
from evac.model import VM, ClusterState, Host, HostState, Migration, Phase, Progress, VMState
from tui.look import Look, Span
from tui.text import clean

_VM_STATES: dict[VMState, tuple[str, str]] = {
    VMState.RUNNING: ("run", "good"),
    VMState.STOPPED: ("off", "dim"),
    VMState.PAUSED: ("pause", "warn"),
    VMState.SUSPENDED: ("pause", "warn"),
    VMState.BUILDING: ("wait", "busy"),
    VMState.MIGRATING: ("arrow", "busy"),
    VMState.AWAITING_CONFIRM: ("warn", "warn"),
    VMState.ERROR: ("bad", "bad"),
    VMState.DELETED: ("cancelled", "dim"),
    VMState.UNKNOWN: ("unknown", "warn"),
}

_JOB_STATES: dict[JobState, tuple[str, str]] = {
    JobState.QUEUED: ("wait", "plain"),
    JobState.CHECKING: ("wait", "busy"),
    JobState.HELD: ("held", "warn"),
    JobState.SUBMITTING: ("run", "busy"),
    JobState.ACCEPTED: ("run", "busy"),
    JobState.RUNNING: ("run", "busy"),
    JobState.VERIFYING: ("run", "busy"),
    JobState.DONE: ("good", "good"),
    JobState.FAILED: ("bad", "bad"),
    JobState.CANCELLED: ("cancelled", "dim"),
    JobState.UNKNOWN: ("unknown", "strong_bad"),
}

_SEVERITIES = {
    "info": ("info", "plain"),
    "good": ("good", "good"),
    "warning": ("warn", "warn"),
    "error": ("bad", "bad"),
}

KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def plain(text: str, look: Look) -> Span:
    """Someone else's words, made harmless."""
    return Span(clean(text, look.ascii_only))


def size(count: float | None) -> str:
    """Bytes in words: "1.5 GiB"; "" when not told."""
    if count is None:
        return ""
    value = float(max(0, count))
    for unit in _UNITS:
        if value < KIB or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return ""


def short_size(count: float | None) -> str:
    """The same in at most six cells: "1.5G", binary units; for narrow columns."""
    words = size(count)
    return words.replace(" ", "").replace("iB", "") if words else ""


def rate(per_second: float | None) -> str:
    """Bytes per second."""
    return "" if per_second is None else f"{size(per_second)}/s"


def span_of_time(seconds: float | None) -> str:
    """A duration: "48 s", "2 m 05 s", "1 h 03 m", "3 d 4 h"."""
    if seconds is None:
        return ""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def clock_time(at: float | None, *, date: bool = False) -> str:
    """Wall time in UTC."""
    if at is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%SZ" if date else "%H:%M:%S", time.gmtime(at))


def bar(share: float | None, cells: int, look: Look) -> str:
    """A filled bar; blank when the share is not known."""
    if share is None:
        return " " * cells
    full = round(min(1.0, max(0.0, share)) * cells)
    return look.glyph("full") * full + look.glyph("empty") * (cells - full)


def host_state(host: Host, look: Look) -> Span:
    """Agent alive or not, forced down, maintenance."""
    parts = []
    tone, glyph = "good", "good"
    if host.forced_down:
        parts, tone, glyph = ["forced down"], "bad", "bad"
    elif host.state is HostState.DOWN:
        parts, tone, glyph = ["down"], "bad", "bad"
    elif host.state is HostState.UNKNOWN:
        parts, tone, glyph = ["unknown"], "warn", "unknown"
    elif not host.maintenance:
        parts = ["up"]
    if host.maintenance:
        parts.append("maintenance")
        if tone == "good":
            tone, glyph = "warn", "maintenance"
    return Span(f"{look.glyph(glyph)} {', '.join(parts)}", tone)


def used_of(used: int | None, total: int | None, look: Look, *, cells: int = 5) -> Span:
    """As "███░░ 62%": a bar, its percentage; a tone only above 90 %."""
    if used is None or not total:
        return Span("")
    share = used / total
    tone = "bad" if share > 0.95 else "warn" if share > 0.9 else "plain"
    return Span(f"{bar(share, cells, look)} {share:>4.0%}", tone)


def vm_state(vm: VM, look: Look) -> Span:
    """The state in the field's word, the platform's own one where it is unknown, and the task under way."""
    glyph, tone = _VM_STATES[vm.state]
    word = clean(vm.native, look.ascii_only) if vm.state is VMState.UNKNOWN and vm.native else vm.state.value
    task = f" ({clean(vm.task, look.ascii_only)})" if vm.task and vm.state is not VMState.MIGRATING else ""
    return Span(f"{look.glyph(glyph)} {word}{task}", tone)


def job_state(job: Job, look: Look) -> Span:
    """Where a job stands; while it runs, the phase the cluster reports."""
    glyph, tone = _JOB_STATES[job.state]
    word = job.state.value
    if job.state is JobState.RUNNING and job.progress is not None and job.progress.phase is not Phase.UNKNOWN:
        word = job.progress.phase.value
    elif job.state is JobState.VERIFYING:
        word = f"verifying {job.seen}/2"
    elif job.state is JobState.UNKNOWN:
        word = "UNKNOWN"
    if aborting(job):
        word = "aborting"
    return Span(f"{look.glyph(glyph)} {word}", tone)


def order_state(order: Order, look: Look) -> Span:
    """Where an order stands."""
    if order.state is OrderState.DONE:
        return Span(f"{look.glyph('good')} done", "good")
    if order.state is OrderState.INCOMPLETE:
        return Span(f"{look.glyph('bad')} incomplete", "bad")
    return Span(f"{look.glyph('run')} {order.done}/{order.jobs} done", "busy")


def migration_state(move: Migration, look: Look) -> Span:
    """What the cluster says of a move. "completed" is its claim."""
    tones = {
        Phase.FAILED: ("bad", "bad"),
        Phase.COMPLETED: ("info", "plain"),
        Phase.CANCELLED: ("cancelled", "dim"),
    }
    glyph, tone = tones.get(move.phase, ("run", "busy") if move.phase.active else ("unknown", "warn"))
    word = (
        move.phase.value
        if move.phase is not Phase.UNKNOWN
        else clean(move.native, look.ascii_only) or "unknown"
    )
    return Span(f"{look.glyph(glyph)} {word}", tone)


def share_done(progress: Progress | None) -> float | None:
    """0..1 by bytes remaining, or by the platform's own percentage; None where the cluster does not say."""
    if progress is None:
        return None
    if not progress.total or progress.remaining is None:
        return None if progress.percent is None else min(1.0, max(0.0, progress.percent / 100))
    return 1 - progress.remaining / progress.total


def how_far(progress: Progress | None, *, short: bool = False) -> str:
    """As "1.5 GiB left", or "62 % done" where the platform counts no bytes."""
    if progress is None:
        return ""
    if progress.remaining is not None:
        return f"{short_size(progress.remaining) if short else size(progress.remaining)} left"
    return "" if progress.percent is None else f"{progress.percent:.0f} % done"


def of_migration(move: Migration) -> Progress:
    """What the cluster tells of a move of someone else's."""
    memory = move.memory_remaining is not None
    return Progress(
        phase=move.phase,
        total=move.memory_total if memory else move.disk_total,
        processed=move.memory_processed if memory else move.disk_processed,
        remaining=move.memory_remaining if memory else move.disk_remaining,
        percent=move.percent,
    )


def verdict(progress: Progress | None, look: Look) -> Span:
    """The engine's judgement, such as "will not converge: …"."""
    if progress is None or not progress.verdict:
        return Span("")
    return Span(f"{look.glyph('warn')} {clean(progress.verdict, look.ascii_only)}", "warn")


def aborting(job: Job) -> bool:
    """True while a job that was cancelled is still under way: what it has left to copy is no time left."""
    return bool(job.cancel_by) and job.state.in_flight


def eta(progress: Progress | None) -> str:
    """Time left; "never" where the engine says it will not converge."""
    if progress is None:
        return ""
    if "not converge" in progress.verdict:
        return "never"
    return span_of_time(progress.eta)


def event_mark(event: Event, look: Look) -> Span:
    """The severity as glyph and word."""
    glyph, tone = _SEVERITIES.get(event.severity, ("info", "plain"))
    return Span(f"{look.glyph(glyph)} {event.severity}", tone)


def freshness(state: ClusterState, age: float | None, look: Look, *, lost: bool = False) -> Span:
    """As "fresh 2 s", "STALE 48 s ▲", "no answer yet"; while the engine is lost, only how old what we know is."""
    if lost:
        old = "nothing known" if age is None else f"last known {span_of_time(age)} ago"
        return Span(f"{look.glyph('unknown')} {old}", "warn")
    if age is None:
        if state.failures or state.problems:
            return Span(f"{look.glyph('bad')} NO ANSWER", "bad")
        return Span(f"{look.glyph('wait')} first look", "busy")
    if age > state.stale_after:
        return Span(f"STALE {span_of_time(age)} {look.glyph('warn')}", "bad")
    if state.failures:
        return Span(f"{look.glyph('warn')} failing, {span_of_time(age)} old", "warn")
    return Span(f"{look.glyph('good')} fresh {span_of_time(age)}", "good")


def cluster_name(name: str, label: str, look: Look) -> str:
    """Name and label in words: "prod [PROD]"."""
    shown = clean(name, look.ascii_only)
    return f"{shown} [{clean(label, look.ascii_only)}]" if label else shown
