"""When the console rings the terminal's bell: for what the notify hooks tell too, and for nothing else. Pure."""

from __future__ import annotations

from evac.news import Ripening, news
from tui.store import Store


class Ringer:
    """Asked now and then; what holds already when the console opens is on the screen, and does not ring."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._ripening = Ripening()
        self._told: set[str] | None = None

    def rings(self, store: Store, stamp: float) -> bool:
        """Whether something has become news since the last call. `stamp`: seconds on a steady clock."""
        if store.rev < 0 or not self._enabled:
            return False
        found = news(store.windows.values(), store.orders.values(), store.ledger.values())
        if self._told is None:
            self._told = {one.key for one in found}
        fresh = self._ripening.ripe(found, self._told, stamp)
        self._told = (self._told & {one.key for one in found}) | {one.key for one in fresh}
        return bool(fresh)
