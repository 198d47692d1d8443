"""Figures of a report in words, and what a table is. Pure."""

from __future__ import annotations

from msgspec import Struct

from evac.report_nouns import Estimate, Moment

KIB = 1024


class Table(Struct, frozen=True):
    """Rows under columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def both(moment: Moment, zone: str) -> str:
    """A time in UTC and in the local zone, which is named."""
    utc = f"{moment.utc} UTC"
    return utc if zone == "UTC" else f"{utc} ({moment.local} {zone})"


def clock(moment: Moment | None, day: str, zone: str) -> str:
    """The same for a cell whose column names the zones: without the date where that is `day`, the report's first."""
    if moment is None:
        return "-"
    utc, local = moment.utc.removeprefix(f"{day} "), moment.local.removeprefix(f"{day} ")
    return utc if zone == "UTC" else f"{utc} ({local})"


def clock_title(word: str, zone: str) -> str:
    """Title of such a column."""
    return f"{word} UTC" if zone == "UTC" else f"{word} UTC ({zone})"


def span(seconds: float | None) -> str:
    """A duration: "0.31 s", "48 s", "2 m 05 s", "1 h 03 m"."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def size(count: int | None) -> str:
    """Bytes: "1.5 GiB"; "not told" where the cluster told none."""
    if count is None:
        return "not told"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < KIB:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} PiB"


def expected(estimate: Estimate | None) -> str:
    """An estimate as a range."""
    if estimate is None:
        return "-"
    guess = ", a guess" if estimate.guess else ""
    return f"{span(estimate.p50)} to {span(estimate.p90)}{guess}"


def error(estimate: Estimate | None) -> str:
    """By how much the median estimate was wrong: "+25 %"."""
    if estimate is None or estimate.error is None:
        return "-"
    return f"{estimate.error:+.0%}".replace("%", " %")
