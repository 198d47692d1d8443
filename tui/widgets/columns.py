"""Which of a pane's columns a table has room for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tui.board import Column


class Placed(Struct, frozen=True):
    """A column and the cells it got."""

    column: Column
    cells: int


def place(columns: Iterable[Column], cells: int) -> list[Placed]:
    """Which columns fit, widest use of the rest: the highest priority number goes first when there is no room."""
    chosen = list(columns)
    while len(chosen) > 1 and sum(column.width + 1 for column in chosen) - 1 > cells:
        worst = max(chosen, key=lambda column: (column.priority, chosen.index(column)))
        if worst.priority == 0:
            break
        chosen.remove(worst)
    spare = max(0, cells - (sum(column.width + 1 for column in chosen) - 1))
    weight = sum(column.grow for column in chosen)
    placed = []
    for column in chosen:
        extra = spare * column.grow // weight if weight and column.grow else 0
        placed.append(Placed(column, column.width + extra))
    return placed
