"""Collects what a report is made of: out of the journal, however old, and out of the fleet for what is there now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evac import clock
from evac.audit_range import covering
from evac.fleet import Fleet
from evac.jobs import Order, OrderState
from evac.journal import Journal
from evac.localtime import Zone
from evac.report import Frame, Ordered, order_report, window_report
from evac.report_nouns import AuditRange, Report
from evac.window.nouns import LedgerEntry, Window, WindowState


class Reporter:
    """Over one engine's journal and fleet. Nothing is changed."""

    def __init__(self, journal: Journal, fleet: Fleet, wall: Callable[[], float] = clock.wall) -> None:
        self._journal, self._fleet, self._wall = journal, fleet, wall

    async def window(self, window: str, zone: Zone) -> Report | None:
        """The report of a window, or None when there is none of this id."""
        found = self._fleet.table("windows").get(window) or await self._journal.window(window)
        if not isinstance(found, Window):
            return None
        kept = await self._journal.plan(found.plan)
        known, plan = kept if kept is not None else (None, None)
        orders = await self._orders(self._ids(found))
        over = found.state in (WindowState.DONE, WindowState.ENDED)
        audit = await self._audit(found.created, found.ended if over else None)
        ledger = await self._journal.ledger(window)
        frame = self._frame(zone, ledger, audit)
        return window_report(found, orders, frame, plan=plan, approvals=known.approvals if known else ())

    async def order(self, order: str, zone: Zone) -> Report | None:
        """The report of a single order, or None."""
        await self._journal.save()
        found = await self._journal.order(order)
        if found is None:
            return None
        row, jobs = found
        audit = await self._audit(row.created, row.ended if row.state is not OrderState.OPEN else None)
        ids = {job.id for job in jobs}
        ledger = [entry for entry in await self._journal.ledger(row.window) if entry.job in ids]
        return order_report(row, jobs, self._frame(zone, ledger, audit))

    def _ids(self, window: Window) -> list[str]:
        """Its orders: those its steps name, and those that name it."""
        named = [order for run in window.hosts for step in run.steps for order in step.orders]
        rows: Iterable[Order] = self._fleet.table("orders").values()
        return list(dict.fromkeys([*named, *(order.id for order in rows if order.window == window.id)]))

    async def _orders(self, ids: Iterable[str]) -> list[Ordered]:
        await self._journal.save()  # what is being written is read too
        found = [await self._journal.order(order) for order in ids]
        return [order for order in found if order is not None]

    async def _audit(self, since: float, until: float | None) -> AuditRange:
        await self._journal.save()
        # Beside the journal's own thread, which jobs wait for: a long window has many records.
        beside = ThreadPoolExecutor(1, thread_name_prefix="report")
        try:
            path = Path(self._journal.path)
            return await asyncio.get_running_loop().run_in_executor(beside, covering, path, since, until)
        finally:
            beside.shutdown(wait=False)

    def _frame(self, zone: Zone, ledger: Iterable[LedgerEntry], audit: AuditRange) -> Frame:
        hosts = {key: str(host.name) for key, host in self._fleet.table("hosts").items()}
        return Frame(
            at=self._wall(),
            zone=zone,
            vantage=socket.gethostname(),
            hosts=hosts,
            ledger=tuple(ledger),
            audit=audit,
        )
