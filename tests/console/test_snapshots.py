"""Pictures: what the main screens and dialogs look like, with the clock standing still. `pytest --snapshot-update` redraws."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.console.harness import Clock, until
from tests.console.test_views import busy_fleet
from tui.app import Console
from tui.look import Look
from tui.store import Store

NOW = 1_000_003.0


def still(look: Look) -> Console:
    """The busy fleet at one moment: figures 2 s old, 01:46:43 UTC."""
    source = busy_fleet()
    fleet = source.fleet
    fleet.publish(
        clusters=[
            msgspec.structs.replace(state, fresh_stamp=NOW - 2) for state in fleet.table("clusters").values()
        ]
    )
    store = Store(stamp=lambda: NOW, wall=lambda: 1e9 + 3)
    return Console(source, look=look, store=store, monotonic=Clock())


def pressing(*keys: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    """Wait for the snapshot, press, wait for the paint."""

    async def before(pilot: Pilot[int]) -> None:
        console = pilot.app
        assert isinstance(console, Console)
        await until(lambda: console.store.rev > 0, "no snapshot")
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        await pilot.pause()

    return before


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("keys", "look"),
    [
        ((), Look()),
        (("2", "space", "space"), Look()),
        (("3", "down"), Look()),
        (("3",), Look(theme="colour-blind")),
        (("5",), Look(ascii_only=True, theme="mono")),
        (("j", "d"), Look()),
        (("question_mark",), Look()),
    ],
    ids=["hosts", "vms-marked", "queue", "queue-colour-blind", "problems-ascii", "drain", "help"],
)
def test_the_picture(snap_compare: Any, keys: tuple[str, ...], look: Look, size: tuple[int, int]) -> None:
    assert snap_compare(still(look), run_before=pressing(*keys), terminal_size=size)
