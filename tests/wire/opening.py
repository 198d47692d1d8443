"""Opening backends, and what an admin is told when a poll fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.openstack import PLUGIN
from evac.backend import Settings
from evac.errors import BackendError
from evac.model import Problem


@asynccontextmanager
async def opened(given: Settings) -> AsyncIterator[Any]:
    backend = PLUGIN.build(given)
    try:
        yield backend
    finally:
        await backend.close()


async def trouble(given: Settings, kind: type[BackendError]) -> Problem:
    """What a poll with these settings fails with."""
    async with opened(given) as backend:
        with pytest.raises(kind) as error:
            await backend.inventory()
    problem = error.value.problem
    assert problem.next_step, "every problem has a remedy"
    assert "lab" in problem.happened
    assert "\n" not in str(problem)
    return problem


async def until(good: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
