"""A report as blocks of text, the same for every format: what is said, in which order, in which words. Pure.

Nothing is escaped here: whoever renders a block makes every text in it harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from evac.report_nouns import AuditRange, Expected, Moment, Person, Report
from evac.report_tables import ledger_table, measured_table, moves_table, others_table, unmeasured
from evac.report_tables_hosts import estimates_table, holds_table, hosts_table, steps_table, versions_table
from evac.report_words import Table, both, span


class Heading(Struct, frozen=True):
    """A title; level 1 is the report's own."""

    text: str
    level: int = 2


class Alarm(Struct, frozen=True):
    """Lines in bold words."""

    lines: tuple[str, ...]


class Facts(Struct, frozen=True):
    """Names with values."""

    rows: tuple[tuple[str, str], ...]


class Para(Struct, frozen=True):
    """A sentence or two."""

    text: str


class Code(Struct, frozen=True):
    """Commands to copy."""

    lines: tuple[str, ...]


Block = Heading | Alarm | Facts | Para | Code | Table


def blocks(report: Report) -> tuple[Block, ...]:
    """The whole report."""
    what = "Maintenance window" if report.kind == "window" else "Order"
    return (
        Heading(f"{what} {report.id}: {report.title}", 1),
        *((Alarm(report.attention),) if report.attention else ()),
        Facts(tuple(_facts(report))),
        *_part("Hosts", hosts_table(report)),
        *_part("Versions before and after", versions_table(report)),
        *_part("VMs", moves_table(report)),
        *_outages(report),
        *_part("Everything else that was done", others_table(report)),
        *_part("Steps", steps_table(report)),
        *_part("Holds", holds_table(report)),
        *_part("Estimate and actual", estimates_table(report)),
        Heading("What was switched (ledger)"),
        *_ledger(report),
        Heading("Audit record"),
        *_audit(report.audit, report.verify),
    )


def _part(title: str, table: Table) -> Iterable[Block]:
    return (Heading(title), table) if table.rows else ()


def _outages(report: Report) -> Iterable[Block]:
    table, without = measured_table(report), unmeasured(report)
    if not table.rows and not without:
        return
    yield Heading("Outages as measured")
    if table.rows:
        yield Para(
            f"Measured from {report.vantage}: probes are sent at the given interval, so an outage is a bracket: it "
            "lasted at least from the first probe without an answer to the last one, and at most from the last good "
            "answer before to the first good one after."
        )
        yield table
    if without:
        made = sum(move.began is not None for move in report.moves)
        yield Para(
            f"{without} of {made} moves were not measured; that is not zero. The table of VMs says which, and why."
        )


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    zone = report.zone
    yield "Ticket", report.ticket or "none given"
    yield "State", report.state if report.over else f"{report.state}, not over"
    if report.reason:
        yield "Outcome", report.reason
    yield "Began", both(report.began, zone)
    yield ("Ended", both(report.ended, zone)) if report.ended else ("Ended", "not yet")
    yield "Took", span(report.seconds) + ("" if report.over else " so far")
    if report.expected is not None:
        yield "Expected", _expected(report.expected, zone)
    if report.opens or report.closes:
        yield "Agreed window", f"{_edge(report.opens, zone)} to {_edge(report.closes, zone)}{_kept(report)}"
    yield "Given by", _person(report.by)
    if others := [name for name in report.people if name != report.by.user]:
        yield "Others who acted", ", ".join(others)
    if report.plan:
        yield "Plan", f"sha256 {report.plan}"
        yield (
            "Approved by",
            "; ".join(f"{_person(one.by)}, {both(one.when, zone)}" for one in report.approvals)
            or "nobody besides",
        )
    yield "Report made", f"{both(report.made, zone)} on {report.vantage} by evac {report.version}"


def _expected(told: Expected, zone: str) -> str:
    """When it will be over, by what that is told from, and when the next host must begin."""
    if told.p50 is None or told.p90 is None:
        words = "how long it takes is not known"
    else:
        guess = " (a guess: no history)" if told.guess else ""
        words = f"over between {both(told.p50, zone)} and {both(told.p90, zone)}{guess}"
    if told.basis:
        words += f"; so far {told.basis}"
    return words + (f"; the next host must begin by {both(told.last_start, zone)}" if told.last_start else "")


def _edge(moment: Moment | None, zone: str) -> str:
    return both(moment, zone) if moment else "no limit"


def _kept(report: Report) -> str:
    if report.closes is None or report.ended is None:
        return ""
    late = report.ended.at - report.closes.at
    return f"; over {span(late)} late" if late > 0 else f"; kept, {span(-late)} to spare"


def _person(person: Person) -> str:
    more = [
        f"uid {person.uid}",
        *(text for text in (person.via, person.ssh and f"from {person.ssh}") if text),
    ]
    return f"{person.user} ({', '.join(more)})"


def _ledger(report: Report) -> Sequence[Block]:
    if not report.ledger:
        return (Para("Nothing is on the ledger: evac switched nothing that has to be switched back."),)
    owed = sum(entry.owed for entry in report.ledger)
    words = (
        f"{owed} of {len(report.ledger)} STILL OWED."
        if owed
        else "Nothing is owed: all is back, or settled by somebody."
    )
    return (Para(words), ledger_table(report))


def _audit(audit: AuditRange, verify: tuple[str, ...]) -> Sequence[Block]:
    if not audit.last:
        return (Para(f"The audit records could not be told: {audit.why_not or 'there are none'}."),)
    words = (
        f"Records {audit.first} to {audit.last} cover this report. The last one has the hash {audit.hash}. "
        "This checks that no record was changed, removed or put in, and that this one still has that hash:"
    )
    return (Para(words), Code(verify))
