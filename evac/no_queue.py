"""An engine that only looks: stands in where the queue is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from evac.api import DrainPlan, Refusal
from evac.jobs import Limits
from evac.model import Problem


class QueueRefusal(Exception):
    """No."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal.problem))
        self.refusal = refusal


class PlanRefused(Exception):
    """No."""

    problem = Problem(happened="This engine has no planner.")


class LimitRules(Struct, frozen=True, kw_only=True):
    """Limits."""

    default: Limits = Limits()
    clusters: Mapping[str, Limits] = msgspec.field(default_factory=dict)


class Queue:
    """Takes no orders."""

    busy = False

    def __init__(self, **parts: Any) -> None:
        self.parts = parts

    async def start(self) -> None:
        """Nothing to load."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def order(self, *_: Any) -> NoReturn:
        """Refuse."""
        raise QueueRefusal(Refusal(code="refusing", problem=Problem(happened="This engine has no queue.")))

    cancel = retry = pause = resume = set_limits = order


def plan_drain(*_: Any, **__: Any) -> DrainPlan:
    """Refuse."""
    raise PlanRefused


plan_evacuate = plan_drain
