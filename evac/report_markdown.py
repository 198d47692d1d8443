"""A report as Markdown (GitHub's dialect), for a ticket. Pure.

Every text is made harmless and escaped: a VM's name can neither begin a table cell, a tag, a link nor a line. The source
stays readable for ticket systems that show Markdown as it is: columns are padded, and only what has a meaning is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evac.harmless import harmless, wide
from evac.report_blocks import Alarm, Block, Code, Facts, Heading, Para, blocks
from evac.report_nouns import Report
from evac.report_words import Table

PADDED = 60
"""Cells up to which a column is padded: one name of 200 characters must not widen every row."""

_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""What begins something in Markdown wherever it stands; "_" inside a word does not."""


def markdown(report: Report) -> str:
    """The whole report."""
    return "\n\n".join(_block(block) for block in blocks(report)) + "\n"


def escaped(text: str) -> str:
    """One line of plain text in Markdown, whatever is in it."""
    safe = harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\g<0>", safe)


def _block(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"{'#' * level} {escaped(text)}"
        case Alarm(lines=lines):
            return "\n".join(f"- **{escaped(line).strip()}**" for line in lines)
        case Facts(rows=rows):
            return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in rows)
        case Para(text=text):
            return escaped(text)
        case Code(lines=lines):
            return "\n".join(f"    {harmless(line)}" for line in lines)
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    rows = [[escaped(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [min(PADDED, max(3, *map(wide, column))) for column in zip(*rows, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(_row(cells, widths) for cells in (rows[0], ruler, *rows[1:]))


def _row(cells: Iterable[str], widths: list[int]) -> str:
    padded = (cell + " " * (width - wide(cell)) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
