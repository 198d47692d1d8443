"""One way to print a table of figures, so that every bench looks alike and can be pasted into a ticket."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Print rows under a title; numbers to the right."""
    text = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(column), *(len(row[at]) for row in text)) for at, column in enumerate(columns)]
    print(f"\n{title}")
    print("  " + "  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for row, raw in zip(text, rows, strict=True):
        print(
            "  "
            + "  ".join(
                cell.rjust(width) if isinstance(value, int | float) else cell.ljust(width)
                for cell, width, value in zip(row, widths, raw, strict=True)
            )
        )
    if note:
        print(f"  {note}")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def machine() -> str:
    """One line on what the figures were taken."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.release()}, load {load}"
