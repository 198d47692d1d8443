"""What the store knows of maintenance windows: which is under way, where it stands, what is owed. Pure."""

from __future__ import annotations

from msgspec import Struct

from evac.jobs import Job, Order
from evac.storage import Storage
from evac.window.nouns import (
    HostRun,
    KnownPlan,
    LedgerEntry,
    Step,
    StepKind,
    StepState,
    Window,
    WindowState,
)
from tui.store import Store, number

LONG_OWED = 4 * 3600.0
"""Seconds after which what a single action switched, outside any window, is nagged about as well."""

_URGENT = {
    StepState.UNKNOWN: 0,
    StepState.NEEDS_YOU: 1,
    StepState.HELD: 2,
    StepState.RUNNING: 3,
    StepState.WAITING: 4,
}


class HostRow(Struct, frozen=True, kw_only=True):
    """A host of a window that has not ended, as a row of the pane."""

    window: Window
    run: HostRun
    at: int
    """Its place in the order, from 0."""

    @property
    def key(self) -> str:
        """Window.id and the host's own key: one host may be in several windows."""
        return host_key(self.window, self.run)

    @property
    def cluster(self) -> str:
        """Where the host is."""
        return self.run.cluster


Row = Window | HostRow | LedgerEntry | KnownPlan


def host_key(window: Window, run: HostRun) -> str:
    """As "W3/pve/pve-a1"."""
    return f"{window.id}/{run.key}"


def is_open(window: Window | None) -> bool:
    """True until it is done or ended."""
    return window is not None and window.state in (WindowState.RUNNING, WindowState.STOPPED)


def open_windows(store: Store) -> list[Window]:
    """Those under way, the most urgent first, then the oldest."""
    found = [window for window in store.windows.values() if is_open(window)]
    return sorted(found, key=lambda window: (urgency(window), number(window.id)))


def latest(store: Store) -> Window | None:
    """The one under way that most needs to be looked at, else the one that ended last; None where there was none."""
    under_way = open_windows(store)
    if under_way:
        return under_way[0]
    return max(store.windows.values(), key=lambda window: number(window.id), default=None)


def urgency(window: Window) -> int:
    """Lower is more urgent."""
    run = foremost(window)
    return _URGENT.get(run.step.state, 4) if run is not None and run.step is not None else 4


def begun(run: HostRun) -> bool:
    """True once any of its steps has."""
    return any(step.state is not StepState.WAITING for step in run.steps)


def through(run: HostRun) -> bool:
    """True when nothing is left to do with it."""
    return bool(run.left_out) or run.step is None


def foremost(window: Window) -> HostRun | None:
    """The host to look at: of those under way the most urgent, else the next; None when all are through."""
    left = [run for run in window.hosts if not through(run)]
    under_way = [run for run in left if begun(run)]
    if not under_way:
        return left[0] if left else None
    return min(under_way, key=lambda run: _URGENT.get(run.step.state, 5) if run.step is not None else 5)


def row_of(store: Store, key: str) -> Row | None:
    """The row behind a key: a window, a host of one that has not ended, something owed, a plan."""
    window_id, slash, host = key.partition("/")
    window = store.windows.get(window_id)
    if slash:
        if window is None or not is_open(window):
            return None
        return next(
            (
                HostRow(window=window, run=run, at=at)
                for at, run in enumerate(window.hosts)
                if run.key == host
            ),
            None,
        )
    if window is not None:
        return window
    entry = store.ledger.get(key)
    if entry is not None:
        return entry if entry.state.owed else None
    return store.plans.get(key)


def keys(store: Store) -> list[str]:
    """Keys of all rows."""
    hosts = [host_key(window, run) for window in open_windows(store) for run in window.hosts]
    owed = [entry.key for entry in store.ledger.values() if entry.state.owed]
    return [*store.windows, *hosts, *owed, *store.plans]


def owed(store: Store) -> list[LedgerEntry]:
    """What is still switched, the oldest first."""
    found = [entry for entry in store.ledger.values() if entry.state.owed]
    return sorted(found, key=lambda entry: (entry.at, number(entry.id)))


def overdue(store: Store) -> list[LedgerEntry]:
    """What is still switched though its window is over; what no window switched, once it is long ago."""
    now = store.wall()
    return [
        entry
        for entry in owed(store)
        if (not is_open(store.windows.get(entry.window)) if entry.window else now - entry.at > LONG_OWED)
    ]


def orders_of(store: Store, window: Window) -> list[Order]:
    """The orders that it gave, as far as they are still known."""
    given = (ident for run in window.hosts for step in run.steps for ident in step.orders)
    return [store.orders[ident] for ident in given if ident in store.orders]


def jobs_of(store: Store, step: Step) -> list[Job]:
    """The jobs of a step."""
    return [job for ident in step.orders for job in store.jobs_of(ident)]


def in_flight(store: Store, window: Window) -> int:
    """Moves and switches of its that are under way now."""
    return sum(job.state.in_flight for order in orders_of(store, window) for job in store.jobs_of(order.id))


def storages_of(store: Store, run: HostRun) -> list[Storage]:
    """The storage clusters that have OSDs on the host."""
    return [store.storages[name] for name in store.osds_on(run.name) if name in store.storages]


def step_of(run: HostRun, kind: StepKind) -> Step | None:
    """Its step of a kind."""
    return next((step for step in run.steps if step.kind is kind), None)


SAFE = "SAFE TO REBOOT"
"""How the engine begins what it says of a host that a person may take down."""


def safe(window: Window, run: HostRun) -> str:
    """What the engine says of it while it may be taken down by a person, after `SAFE`; "" while that does not hold now.

    It is the hook's own reason that counts, which is looked at again and again: the SAFE step was true when it was done.
    """
    hook = step_of(run, StepKind.HOOK)
    if window.state is not WindowState.RUNNING or run.left_out or hook is None or run.step is not hook:
        return ""
    return hook.reason if hook.state is StepState.NEEDS_YOU and hook.reason.startswith(SAFE) else ""
