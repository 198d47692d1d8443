"""Pictures of the Ceph pane, with the clock standing still. `pytest --snapshot-update` redraws."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import FleetSource
from tests.console.harness import Clock
from tests.console.test_snapshots import NOW, pressing
from tui.app import Console
from tui.look import Look
from tui.ramps import Depth
from tui.store import Store


def still(look: Look, depth: Depth) -> Console:
    """The classic cluster at one moment: figures 2 s old."""
    fleet = ceph_fleet()
    fleet.publish(
        clusters=[
            msgspec.structs.replace(state, fresh_stamp=NOW - 2) for state in fleet.table("clusters").values()
        ]
    )
    store = Store(stamp=lambda: NOW, wall=lambda: 1e9 + 3)
    return Console(FleetSource(fleet), look=look, depth=depth, store=store, monotonic=Clock())


@pytest.mark.parametrize(
    ("size", "keys", "look", "depth"),
    [
        ((80, 24), ("6", "down", "right"), Look(), Depth.TRUE),
        ((120, 40), ("6",), Look(), Depth.TRUE),
        ((120, 40), ("6", "Z"), Look(theme="colour-blind"), Depth.MANY),
        ((80, 24), ("6", "m", "m", "m"), Look(), Depth.FEW),
        ((80, 24), ("6", "m", "m", "m", "m"), Look(ascii_only=True, theme="mono"), Depth.NONE),
    ],
    ids=["80x24", "120x40", "hosts-256", "moving-16", "deviation-ascii"],
)
def test_the_picture(  # one argument each
    snap_compare: Any, size: tuple[int, int], keys: tuple[str, ...], look: Look, depth: Depth
) -> None:
    assert snap_compare(still(look, depth), run_before=pressing(*keys), terminal_size=size)
