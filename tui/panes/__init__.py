"""The panes: what each shows of the store, column by column. Values only; the table widget draws them."""

from __future__ import annotations

from msgspec import Struct

from tui.board import Pane
from tui.panes.events import EVENTS
from tui.panes.hosts import HOSTS
from tui.panes.ping import PING
from tui.panes.problems import PROBLEMS
from tui.panes.queue import QUEUE
from tui.panes.vms import VMS
from tui.panes.window import WINDOW

__all__ = ["CEPH", "PANES", "PING", "TABS", "WINDOW", "Tab"]

PANES: tuple[Pane, ...] = (HOSTS, VMS, QUEUE, EVENTS, PROBLEMS)
"""Those that are tables, in the order of the keys 1 to 5."""


class Tab(Struct, frozen=True):
    """A pane's name in commands and its title."""

    name: str
    title: str


CEPH = Tab("ceph", "Ceph")

TABS: tuple[Tab, ...] = (
    *(Tab(pane.name, pane.title) for pane in PANES),
    CEPH,
    Tab(PING.name, PING.title),
    Tab(WINDOW.name, WINDOW.title),
)
"""All panes, in the order of their number keys."""
