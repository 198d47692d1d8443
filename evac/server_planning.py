"""The routes that plan whole windows. Viewers may ask; nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec.structs import replace

from evac import clock, reply
from evac.api import RebalanceRequest, RestoreRequest
from evac.planning import diff_plan, history_of, plan_rebalance, plan_restore, plan_window
from evac.reply import Handler
from evac.window.plan import HostName, WindowPlan, WindowPlanRequest

if TYPE_CHECKING:
    from evac.assembly import Engine


class PlanningRoutes:
    """Over one engine's fleet."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def questions(self) -> list[tuple[str, Handler]]:
        """Paths and handlers of what is asked by POST, as a body is needed."""
        return [
            ("plan/window", self.window),
            ("plan/diff", self.differences),
            ("plan/rebalance", self.rebalance),
            ("plan/restore", self.restore),
        ]

    async def window(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/window."""
        wanted = await reply.body(request, WindowPlanRequest)
        if not wanted.policy.hook:
            wanted = replace(wanted, policy=replace(wanted.policy, hook=self._engine.hook))
        engine = self._engine
        timings = await engine.timings()
        looks = (engine.linking.look(name, hosts) for name, hosts in _by_cluster(wanted.hosts).items())
        await asyncio.gather(*looks)  # each is bounded; together they take no longer than the slowest
        fleet, by, rules = engine.fleet.still(), request[reply.ACTOR].user, engine.queue.rules

        def planned() -> WindowPlan:
            history = history_of(fleet, timings)
            return plan_window(fleet, wanted, now=clock.wall(), by=by, history=history, rules=rules)

        # 10,000 VMs take more than a second; the loop goes on meanwhile.
        return reply.answer(request, await asyncio.to_thread(planned))

    async def differences(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/diff."""
        plan = await reply.body(request, WindowPlan)
        fleet = self._engine.fleet.still()
        return reply.answer(request, await asyncio.to_thread(diff_plan, plan, fleet, now=clock.wall()))

    async def rebalance(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/rebalance."""
        wanted = await reply.body(request, RebalanceRequest)
        fleet = self._engine.fleet.still()
        return reply.answer(
            request, await asyncio.to_thread(plan_rebalance, fleet, wanted, now=clock.stamp())
        )

    async def restore(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/restore."""
        wanted = await reply.body(request, RestoreRequest)
        fleet = self._engine.fleet.still()
        return reply.answer(request, await asyncio.to_thread(plan_restore, fleet, wanted, now=clock.stamp()))


def _by_cluster(hosts: Iterable[HostName]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in hosts:
        found.setdefault(one.cluster, []).append(one.host)
    return found
