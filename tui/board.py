"""One pane's rows: which are shown, in which order, where the cursor is, what is marked. No widget, no terminal.

The cursor, the marks and the anchor are row *keys*. The order does not change while anything is marked or a dialog
is open (`hold`); what would have changed is counted and applied when the last hold ends. A row that disappears under
the cursor stays, shown as gone, until the cursor leaves it: the cursor never slides onto another row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from msgspec import Struct

from tui.filter import Haystack, matcher
from tui.look import Look, Span
from tui.store import Store


class Context(Struct, frozen=True):
    """What a cell may look at besides its row."""

    store: Store
    look: Look


class Column(Struct, frozen=True, kw_only=True):
    """One column of a pane."""

    key: str
    title: str
    width: int
    """Cells at least."""
    cell: Callable[[Any, Context], Span]
    sort: Callable[[Any, Context], Any] | None = None
    """A value to order by, None sorting last either way; no function: not sortable."""
    priority: int = 0
    """0 is always shown; the highest number is dropped first when the terminal is narrow."""
    grow: int = 0
    """Share of the width left over."""
    right: bool = False


class Pane(Struct, frozen=True, kw_only=True):
    """What a pane shows and how; the same table draws all of them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    keys: Callable[[Store], Collection[str]]
    row: Callable[[Store, str], Any]
    """The row behind a key; None when it does not exist (any more)."""
    touched: Callable[[Store, dict[str, set[str]]], set[str]]
    """Which of its rows a delta touches."""
    hay: Callable[[Any, Context], Haystack]
    detail: Callable[[Any, Context], list[tuple[Span, ...]]]
    """Everything known of a row, most important lines first."""
    label: Callable[[Any], str]
    """What to call the row, for copying and messages."""
    sort: str
    reverse: bool = False
    empty: str = ""
    """Shown when there is no row at all."""
    narrow: tuple[Column, ...] = ()
    """Other columns for a table of fewer cells than `roomy`; their keys are those of `columns` where one is sorted by."""
    roomy: int = 0
    follows: bool = False
    """A cursor on the first row stays on the first row, as in a log. Only where no key acts upon the row."""


class Board:
    """See the module's docstring."""

    def __init__(self, pane: Pane, context: Context) -> None:
        self.pane = pane
        self.context = context
        self.sort = pane.sort
        self.reverse = pane.reverse
        self.filter = ""
        self.order: list[str] = []
        self.at = 0
        self.cursor: str | None = None
        self.top = 0
        self.marks: dict[str, None] = {}
        self.anchor: str | None = None
        self.held: set[str] = set()
        self._holds: set[str] = set()
        self._rows: dict[str, Any] = {}
        self._values: dict[str, tuple[int, Any, str]] = {}
        """Rows that belong on show, with what they are ordered by."""
        self._hay: dict[str, Haystack] = {}
        self._matches: Callable[[Haystack], bool] | None = None
        self._sorter = self._column(self.sort).sort
        self.rebuild()

    # --- reading ---------------------------------------------------------------------------------

    @property
    def frozen(self) -> bool:
        """True while the order must not change."""
        return bool(self.marks or self._holds or self.anchor)

    def row(self, key: str) -> Any:
        """The row as last seen; also of one that is gone but still on show."""
        return self._rows.get(key)

    def gone(self, key: str) -> bool:
        """True for a row still on show that no longer exists."""
        return key in self._rows and self.pane.row(self.context.store, key) is None

    def current(self) -> Any:
        """The row under the cursor; None when there is none or it is gone."""
        return None if self.cursor is None else self.pane.row(self.context.store, self.cursor)

    def marked(self) -> list[str]:
        """Marked keys, those of an open range included, in the order shown; marks hidden by the filter last."""
        marks = self.marks.keys() | self.range()
        shown = [key for key in self.order if key in marks] if marks else []
        on_show = set(shown)
        return shown + [key for key in self.marks if key not in on_show]

    def range(self) -> set[str]:
        """Keys between the anchor and the cursor."""
        if self.anchor is None or self.anchor not in self._rows:
            return set()
        try:
            start = self.order.index(self.anchor)
        except ValueError:
            return set()
        low, high = sorted((start, self.at))
        return set(self.order[low : high + 1])

    def _column(self, key: str) -> Column:
        return next(column for column in self.pane.columns if column.key == key)

    # --- what the engine changes -----------------------------------------------------------------

    def touch(self, keys: Iterable[str]) -> tuple[bool, set[str]]:
        """Rows changed: returns whether the order on show changed, and the shown keys to repaint."""
        moved: set[str] = set()
        dirty: set[str] = set()
        for key in keys:
            row = self.pane.row(self.context.store, key)
            before = self._values.get(key)
            if row is None:
                self._hay.pop(key, None)
                after = None
            else:
                self._rows[key] = row
                if self._matches is not None or key in self._hay:
                    self._hay[key] = self.pane.hay(row, self.context)
                after = self._value(key, row)
            if after != before:
                moved.add(key)
                if after is None:
                    del self._values[key]
                else:
                    self._values[key] = after
            dirty.add(key)
        return self._settle(moved), dirty

    def _value(self, key: str, row: Any) -> tuple[int, Any, str] | None:
        if self._matches is not None and not self._matches(self._hay_of(key, row)):
            return None
        value = self._sorter(row, self.context) if self._sorter else None
        missing = value is None
        return (int(missing != self.reverse), 0 if missing else value, key)

    def _hay_of(self, key: str, row: Any) -> Haystack:
        hay = self._hay.get(key)
        if hay is None:
            hay = self._hay[key] = self.pane.hay(row, self.context)
        return hay

    def _settle(self, moved: set[str]) -> bool:
        if not moved:
            return False
        if self.frozen:
            self.held |= moved
            return False
        self._reorder()
        return True

    def _reorder(self) -> None:
        values = self._values
        order = [key for key in self.order if key in values]
        if len(order) != len(values):
            known = set(order)
            order.extend(key for key in values if key not in known)
        # The old order is almost right, and timsort needs one pass over what is almost right.
        order.sort(key=values.__getitem__, reverse=self.reverse)
        self.held.clear()
        cursor = self.cursor
        line = self.at - self.top
        if self.pane.follows and self.at == 0 and order:
            cursor = None
        if cursor is not None and cursor not in values:
            if cursor in self._rows:
                order.insert(min(self.at, len(order)), cursor)
            else:
                self.cursor = cursor = None
        self._place(order, cursor, line)
        if len(self._rows) > 2 * len(self.order) + 1000:
            self._forget()

    def _place(self, order: list[str], cursor: str | None, line: int) -> None:
        self.order = order
        if cursor is None and self.context.store.loading:
            # A cursor put on a row now would be carried away by the rows still to come; there is none yet.
            self.cursor, self.at, self.top = None, 0, 0
            return
        if cursor is None:
            self.at = min(self.at, max(0, len(order) - 1))
            self.cursor = order[self.at] if order else None
            return
        if not (self.at < len(order) and order[self.at] == cursor):
            self.at = order.index(cursor)
        if line >= 0:
            self.top = max(0, self.at - line)

    def _forget(self) -> None:
        kept = set(self.order)
        store, row = self.context.store, self.pane.row
        self._rows = {
            key: old for key, old in self._rows.items() if key in kept or row(store, key) is not None
        }

    # --- what the person changes -----------------------------------------------------------------

    def rebuild(self, *, keep: bool = True) -> None:
        """From scratch: first fill, another filter, another column to sort by. A person asked for it, so no hold counts."""
        store, row_of = self.context.store, self.pane.row
        self._values.clear()
        for key in self.pane.keys(store):
            row = row_of(store, key)
            if row is None:
                continue
            self._rows[key] = row
            value = self._value(key, row)
            if value is not None:
                self._values[key] = value
        if not keep and self.cursor is not None and self.cursor not in self._values:
            self.cursor, self.at, self.top = None, 0, 0
        if self.anchor is not None and self.anchor not in self._values:
            self.anchor = None
        self._reorder()

    def set_filter(self, text: str) -> None:
        """Show only what matches."""
        self.filter = text
        self._matches = matcher(text)
        self.rebuild(keep=False)

    def set_sort(self, key: str, *, reverse: bool | None = None) -> None:
        """Order by another column; the same one again reverses."""
        column = self._column(key)
        if column.sort is None:
            return
        self.reverse = (not self.reverse if key == self.sort else False) if reverse is None else reverse
        self.sort, self._sorter = key, column.sort
        self.rebuild()

    def look(self, look: Look) -> None:
        """Draw differently from now on."""
        self.context = Context(self.context.store, look)

    def move_to(self, index: int) -> None:
        """Put the cursor on a line; one that was kept for the cursor's sake goes away."""
        if not self.order:
            return
        index = max(0, min(len(self.order) - 1, index))
        left = self.cursor
        self.at, self.cursor = index, self.order[index]
        if left is not None and left != self.cursor and left not in self._values and not self.frozen:
            del self.order[self.order.index(left)]
            self.at = index - 1 if self.order[index : index + 1] != [self.cursor] else index

    def go_to(self, key: str) -> bool:
        """Put the cursor on a row by its key; False when it is not on show."""
        try:
            self.move_to(self.order.index(key))
        except ValueError:
            return False
        return True

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor; with a range open, mark the range."""
        if self.anchor is not None:
            self.marks |= dict.fromkeys(key for key in self.order if key in self.range())
            self.anchor = None
            return
        if self.cursor is None or self.gone(self.cursor):
            return
        if self.cursor in self.marks:
            del self.marks[self.cursor]
            self._thaw()
        else:
            self.marks[self.cursor] = None

    def toggle_range(self) -> None:
        """Begin a range at the cursor, or mark the one begun."""
        if self.anchor is not None:
            self.toggle_mark()
        else:
            self.anchor = self.cursor

    def mark_all(self) -> None:
        """Mark every row that matches the filter."""
        self.marks |= dict.fromkeys(key for key in self.order if not self.gone(key))

    def clear_marks(self) -> bool:
        """Take all marks away; True if there were any."""
        had = bool(self.marks or self.anchor)
        self.marks.clear()
        self.anchor = None
        self._thaw()
        return had

    def hold(self, why: str) -> None:
        """Keep the order as it is, as while a dialog is open."""
        self._holds.add(why)

    def release(self, why: str) -> None:
        """End a hold."""
        self._holds.discard(why)
        self._thaw()

    def settle(self) -> bool:
        """Put a cursor on the first row, if there is none yet and the first answers are in; True if it did."""
        if self.cursor is not None or not self.order or self.context.store.loading:
            return False
        self.at, self.cursor = 0, self.order[0]
        return True

    def _thaw(self) -> None:
        if not self.frozen and (self.held or any(key not in self._values for key in self.order)):
            self._reorder()
