"""The panes: what each shows of the store, column by column. Values only; the table widget draws them."""

from __future__ import annotations

from tui.board import Pane
from tui.panes.events import EVENTS
from tui.panes.hosts import HOSTS
from tui.panes.problems import PROBLEMS
from tui.panes.queue import QUEUE
from tui.panes.vms import VMS

PANES: tuple[Pane, ...] = (HOSTS, VMS, QUEUE, EVENTS, PROBLEMS)
"""In the order of the keys 1 to 5."""
