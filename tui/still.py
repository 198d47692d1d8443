"""A board that can be made to stand still, to be read while everything goes on."""

from __future__ import annotations

from collections.abc import Iterable

from tui.board import Board, Context, Pane


class StillBoard(Board):
    """While it is still its rows are as they were, and what changed is kept for later."""

    def __init__(self, pane: Pane, context: Context) -> None:
        self.still = False
        self._later: set[str] = set()
        super().__init__(pane, context)

    def touch(self, keys: Iterable[str]) -> tuple[bool, set[str]]:
        """As every board, unless it is still."""
        if not self.still:
            return super().touch(keys)
        self._later.update(keys)
        return False, set()

    def freeze(self) -> bool:
        """Stand still, or go on with all that has changed meanwhile; whether it is still now."""
        self.still = not self.still
        if not self.still:
            keys, self._later = self._later, set()
            super().touch(keys)
        return self.still

    @property
    def later(self) -> int:
        """How many rows have changed since."""
        return len(self._later)
