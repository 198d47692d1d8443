"""The routes that plan whole windows. Viewers may ask; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from msgspec.structs import replace

from evac import clock, reply
from evac.api import RebalanceRequest, RestoreRequest
from evac.planning import diff_plan, history_of, plan_rebalance, plan_restore, plan_window
from evac.reply import Handler
from evac.window.plan import WindowPlan, WindowPlanRequest

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
        plan = plan_window(
            engine.fleet,
            wanted,
            now=clock.wall(),
            by=request[reply.ACTOR].user,
            history=history_of(engine.fleet, timings),
            rules=engine.queue.rules,
        )
        return reply.answer(request, plan)

    async def differences(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/diff."""
        plan = await reply.body(request, WindowPlan)
        return reply.answer(request, diff_plan(plan, self._engine.fleet, now=clock.wall()))

    async def rebalance(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/rebalance."""
        wanted = await reply.body(request, RebalanceRequest)
        return reply.answer(request, plan_rebalance(self._engine.fleet, wanted, now=clock.stamp()))

    async def restore(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/plan/restore."""
        wanted = await reply.body(request, RestoreRequest)
        return reply.answer(request, plan_restore(self._engine.fleet, wanted, now=clock.stamp()))
