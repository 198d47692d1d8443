"""The tables of a report that come from a window's hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from evac.report_nouns import Held, HostPart, Report, StepLine
from evac.report_words import Table, clock, clock_title, error, expected, span
from evac.window.nouns import HostFacts


def hosts_table(report: Report) -> Table:
    """One row per host, in the window's order."""
    columns = (
        "host",
        "cluster",
        "outcome",
        "VMs moved away",
        "VMs shut down",
        "held",
        "emptied in",
        "expected",
        "off by",
    )
    rows = tuple(
        (
            host.name,
            host.cluster,
            host.outcome,
            str(len(host.left)),
            ", ".join(host.stopped) or "none",
            span(_held(host)) if _held(host) else "-",
            span(host.emptied.took) if host.emptied else "-",
            expected(host.emptied),
            error(host.emptied),
        )
        for host in report.hosts
    )
    return Table(columns, rows)


def _held(host: HostPart) -> float:
    return sum(wait.seconds or 0.0 for step in host.steps for wait in step.held)


VERSIONS = (("kernel", "kernel"), ("hypervisor", "version"), ("boot", "boot"))
"""Word, field of HostFacts."""


def versions_table(report: Report) -> Table:
    """Kernel, hypervisor and boot of each host that told them, before and after."""
    rows = [row for host in report.hosts for row in _versions(host)]
    return Table(("host", "what", "before", "after", "changed", "told by"), tuple(rows))


def _versions(host: HostPart) -> Iterable[tuple[str, ...]]:
    if host.before is None and host.after is None:
        return
    for word, field in VERSIONS:
        before, after = _fact(host.before, field), _fact(host.after, field)
        if before or after:
            yield (
                host.name,
                word,
                before or "not known",
                after or _not_after(host),
                _changed(before, after),
                _how(host),
            )


def _fact(facts: HostFacts | None, field: str) -> str:
    return str(getattr(facts, field)) if facts is not None else ""


def _not_after(host: HostPart) -> str:
    return "not seen yet" if host.after is None else "not known"


def _changed(before: str, after: str) -> str:
    if not before or not after:
        return "not known"
    return "yes" if before != after else "NO"


def _how(host: HostPart) -> str:
    told = [facts.how for facts in (host.before, host.after) if facts is not None and facts.how]
    return ", then ".join(dict.fromkeys(told)) or "-"


def steps_table(report: Report) -> Table:
    """Every step of every host that has begun or was skipped."""
    day = report.began.utc[:10]
    columns = ("host", "step", "state", clock_title("began", report.zone), "took", "attempt", "what was seen")
    rows = tuple(
        (
            host.name,
            step.kind,
            step.state,
            clock(step.began, day, report.zone),
            span(step.seconds),
            str(step.attempts),
            _said(step),
        )
        for host in report.hosts
        for step in host.steps
        if step.began is not None or (step.state != "waiting" and not host.left_out)
    )
    return Table(columns, rows)


def _said(step: StepLine) -> str:
    if step.skipped_by:
        return f"skipped by {step.skipped_by}: {step.skipped_why}"
    return step.reason or "-"


def holds_table(report: Report) -> Table:
    """Every stretch in which a step did not go on."""
    day = report.began.utc[:10]
    columns = ("host", "step", "how", clock_title("since", report.zone), "for", "why")
    rows = [
        (host.name, step.kind, *_hold(wait, day, report.zone))
        for host in report.hosts
        for step in host.steps
        for wait in step.held
    ]
    rows += [
        (host.name, step.kind, "held", "-", "-", f"{step.held_dropped} more before these, not kept")
        for host in report.hosts
        for step in host.steps
        if step.held_dropped
    ]
    return Table(columns, tuple(rows))


def _hold(wait: Held, day: str, zone: str) -> tuple[str, ...]:
    lasted = span(wait.seconds) if wait.seconds is not None else "still"
    return (wait.state, clock(wait.since, day, zone), lasted, wait.why or "-")


def estimates_table(report: Report) -> Table:
    """Emptying the hosts, and all of each: expected, and as it was. The planner learns from it, and so does whoever plans the next window."""
    columns = ("what", "expected", "took", "off by")
    told = [(f"empty {host.name}", host.emptied) for host in report.hosts if host.emptied is not None]
    rows = [(what, expected(one), span(one.took), error(one)) for what, one in told]
    whole = report.estimate
    if len(rows) > 1 and whole is not None:
        rows.append(("empty all hosts", expected(whole), span(whole.took), error(whole)))
    rows += [
        (f"all of {host.name}", expected(host.whole), span(host.whole.took), error(host.whole))
        for host in report.hosts
        if host.whole is not None and host.whole.took is not None
    ]
    return Table(columns, tuple(rows))
