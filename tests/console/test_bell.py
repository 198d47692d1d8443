"""The terminal's bell: it rings when a drain has ended, and stays silent where it is not wanted."""

from __future__ import annotations

import pytest

from evac.fleet import Fleet
from evac.jobs import Order, OrderState
from tests.console.fleetsource import ADMIN, some_fleet
from tests.console.harness import Driver, running, until

OPEN = Order(id="O9", title="drain cmp-07", by=ADMIN, created=1e9, jobs=1, empties="ber-prod/cmp-07")
DONE = Order(
    id="O9", title="drain cmp-07", by=ADMIN, created=1e9, jobs=1, empties="ber-prod/cmp-07", ended=2e9,
    state=OrderState.DONE,
)  # fmt: skip


def wired(run: Driver, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal would get from us outside of frames."""
    written: list[str] = []
    driver = run.console._driver
    assert driver is not None
    monkeypatch.setattr(driver, "write", written.append)
    return written


def fleet() -> Fleet:
    made = some_fleet()
    made.publish(orders=[OPEN])
    return made


async def test_a_drain_that_ends_rings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(fleet()) as run:
        written = wired(run, monkeypatch)
        run.console._tick()
        run.fleet.publish(orders=[DONE])
        await run.settled()
        await until(lambda: "\a" in written, "it never rang")
        before = written.count("\a")
        run.console._tick()
        assert written.count("\a") == before == 1


async def test_a_console_that_shall_be_silent_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(fleet(), bell=False) as run:
        written = wired(run, monkeypatch)
        run.console._tick()
        run.fleet.publish(orders=[DONE])
        await run.settled()
        run.console._tick()
        assert "\a" not in written
