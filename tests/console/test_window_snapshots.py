"""Pictures of the window pane and of a plan, with the clock standing still. `pytest --snapshot-update` redraws."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from evac.model import VMState
from evac.window.nouns import StepKind, StepState, WindowState
from evac.window.plan import HostName, Policy, WindowPlanRequest
from tests.console.fleetsource import FleetSource
from tests.console.harness import Clock, until
from tests.console.test_snapshots import NOW as STAMP
from tests.console.test_snapshots import pressing
from tests.console.test_window import safe_window
from tests.console.windowfleet import NOW, a_window, run, steps, window_fleet
from tui.app import Console
from tui.dialogs.plan import PlanScreen
from tui.look import Look
from tui.store import Store

BEHIND = "p90 finish 04:12Z is after 04:00Z. Stopping now leaves cmp-05 and cmp-06 unpatched; stopping later cannot undo before 04:00Z."
HELD = "muc-ceph: 3 PGs are degraded (12 m); osd.2, osd.3 may not stop"

WINDOWS = {
    "drain": a_window(),
    "safe": safe_window(),
    "held-behind": a_window(
        run(1, steps(None)),
        run(
            2,
            steps(
                StepKind.STORAGE, StepState.HELD, reason=HELD, next_step="wait, or K skips it with a reason"
            ),
        ),
        run(5),
        run(6),
        behind=BEHIND,
        p90=8700.0,
    ),
    "owed": a_window(state=WindowState.ENDED, ended=NOW - 60, reason="ended by bob: out of time"),
}


def still(fleet: Any, look: Look) -> Console:
    """At 01:46:43 UTC, figures 2 s old."""
    states = [
        msgspec.structs.replace(state, fresh_stamp=STAMP - 2) for state in fleet.table("clusters").values()
    ]
    fleet.publish(clusters=states)
    store = Store(stamp=lambda: STAMP, wall=lambda: NOW)
    return Console(FleetSource(fleet), look=look, store=store, monotonic=Clock())


@pytest.mark.parametrize(
    ("name", "size", "look"),
    [
        ("drain", (80, 24), Look()),
        ("safe", (80, 24), Look()),
        ("held-behind", (80, 24), Look(theme="colour-blind")),
        ("owed", (80, 24), Look()),
        ("safe", (80, 24), Look(ascii_only=True, theme="mono")),
        ("drain", (120, 40), Look()),
    ],
    ids=["drain", "safe", "held-behind", "owed", "safe-ascii", "drain-120x40"],
)
def test_the_picture(snap_compare: Any, name: str, size: tuple[int, int], look: Look) -> None:
    assert snap_compare(
        still(window_fleet(WINDOWS[name]), look), run_before=pressing("8"), terminal_size=size
    )


async def show_plan(pilot: Pilot[int]) -> None:
    """A plan of two hosts, of which two VMs cannot move."""
    console = pilot.app
    assert isinstance(console, Console)
    await until(lambda: console.store.rev > 0, "no snapshot")
    source = console.source
    assert isinstance(source, FleetSource)
    hosts = tuple(HostName(cluster="prod", host=host) for host in ("cmp-01", "cmp-02"))
    request = WindowPlanRequest(
        hosts=hosts, title="Kernel patch", ticket="CHG-48213", ends=NOW + 8000, policy=Policy(approvals=1)
    )
    plan = msgspec.structs.replace(await source.plan_window(request), made=NOW)
    diff = msgspec.structs.replace(await source.diff_plan(plan), at=NOW - 2)
    screen = console.planning.show(plan, diff)
    await until(lambda: screen.painted, "never painted")
    assert isinstance(console.screen, PlanScreen)
    await pilot.pause()


@pytest.mark.parametrize("look", [Look(), Look(ascii_only=True, theme="mono")], ids=["plan", "plan-ascii"])
def test_the_picture_of_a_plan(snap_compare: Any, look: Look) -> None:
    fleet = window_fleet()
    there = sorted(fleet.vms_on("prod", "cmp-01"), key=lambda vm: vm.name)
    fleet.publish(vms=[msgspec.structs.replace(vm, state=VMState.ERROR) for vm in there[:2]])
    assert snap_compare(still(fleet, look), run_before=show_plan, terminal_size=(80, 24))
