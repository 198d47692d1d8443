"""Stands in until the planner is there."""

from __future__ import annotations

from typing import Any

from evac.api import DrainPlan
from evac.model import Problem


class PlanRefused(Exception):
    """No."""

    problem = Problem(happened="This engine has no planner.")


def plan_drain(*_: Any, **__: Any) -> DrainPlan:
    """Refuse."""
    raise PlanRefused


plan_evacuate = plan_drain
