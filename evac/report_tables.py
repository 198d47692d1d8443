"""The tables of a report that come from its jobs and its ledger. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evac.report_nouns import Measured, Moved, Report, Switched
from evac.report_words import Table, clock, clock_title, expected, size, span


def moves_table(report: Report) -> Table:
    """One row per VM that was to be moved: nothing of a name is cut."""
    day = report.began.utc[:10]
    planned = any(move.estimate for move in report.moves)
    purpose = any(move.purpose for move in report.moves)
    columns = (
        "VM", "cluster", "from", "to", "kind", "result", clock_title("began", report.zone), "took",
        *(("expected",) if planned else ()), "sent", "outage", "notes",
    )  # fmt: skip
    rows = tuple(
        (
            move.name,
            move.cluster + (f" → {move.to_cluster}" if move.to_cluster else ""),
            move.source,
            move.target or "-",
            f"{move.how} ({move.purpose})" if purpose and move.purpose else move.how,
            move.state,
            clock(move.began, day, report.zone),
            span(move.seconds),
            *((expected(move.estimate),) if planned else ()),
            size(move.sent) if move.began else "-",
            move.felt or "-",
            _notes(_why(move), move.note, move.attempts, move.cancelled_by),
        )
        for move in report.moves
    )
    return Table(columns, rows)


def _why(move: Moved) -> str:
    """The reason of what is not plainly done; a move that needed no call says how that came."""
    return move.reason if move.state != "done" or move.began is None else ""


def measured_table(report: Report) -> Table:
    """One row per address that was asked during a move. Moves for which none was are counted by `unmeasured`."""
    columns = ("VM", "address", "method", "interval", "from", "probes", "lost", "late", "longest outage")
    rows = [(move.name, *_measured(one)) for move in report.moves for one in move.measured]
    return Table(columns, tuple(rows))


def unmeasured(report: Report) -> int:
    """Moves that were made and of which nothing was measured."""
    return sum(move.began is not None and not move.measured for move in report.moves)


def _measured(one: Measured) -> Sequence[str]:
    return (_address(one), *_figures(one), one.words)


def _figures(one: Measured) -> Sequence[str]:
    return (one.method, f"{one.cadence:g} s", one.vantage, str(one.sent), str(one.lost), str(one.late))


def _address(one: Measured) -> str:
    if not one.address:
        return "(command)"
    return f"{one.address} port {one.port}" if one.port else one.address


def others_table(report: Report) -> Table:
    """Maintenance, noout, VMs shut down and started."""
    day = report.began.utc[:10]
    columns = ("what", "cluster", "result", clock_title("began", report.zone), "took", "notes")
    rows = tuple(
        (
            one.what + (f" ({one.purpose})" if one.purpose else ""),
            one.cluster,
            one.state,
            clock(one.began, day, report.zone),
            span(one.seconds),
            _notes(one.reason if one.state != "done" else "", one.note, one.attempts, ""),
        )
        for one in report.others
    )
    return Table(columns, rows)


def ledger_table(report: Report) -> Table:
    """What was switched; what is owed first."""
    day = report.began.utc[:10]
    columns = (
        "what", "of", "cluster", "was", "switched to", "state",
        clock_title("switched", report.zone), clock_title("restored", report.zone), "notes",
    )  # fmt: skip
    rows = tuple(
        (
            entry.what,
            entry.name,
            entry.cluster,
            entry.was or "-",
            entry.now or "-",
            f"OWED ({entry.state})" if entry.owed else entry.state,
            clock(entry.switched, day, report.zone),
            clock(entry.restored, day, report.zone),
            _settled(entry),
        )
        for entry in sorted(report.ledger, key=lambda entry: not entry.owed)
    )
    return Table(columns, rows)


def _settled(entry: Switched) -> str:
    if entry.settled_by:
        return f"settled by {entry.settled_by}: {entry.settled_why}"
    return entry.reason or "-"


def _notes(reason: str, note: str, attempts: int, cancelled_by: str) -> str:
    tried = f"attempt {attempts}" if attempts > 1 else ""
    cancelled = f"cancel asked by {cancelled_by}" if cancelled_by else ""
    return "; ".join(text for text in (reason, tried, cancelled, note) if text) or "-"
