"""A cloud that asks for a pause (429, 503 with Retry-After) gets it, within bounds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from evac.errors import BackendError, Unreachable
from evac.fleet import Fleet
from evac.link import Link
from evac.poller import Poller
from tests.unit.playing import cluster
from tests.unit.watching import EVEN, state
from tests.wire.opening import opened
from tests.wire.stub_openstack import Reply, Stub, fault, serve, server, settings


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as stub:
        yield stub


def later(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("status", "header", "least", "most"),
    [
        (429, "120", 120, 120),
        (503, "120", 120, 120),
        (429, "date +120", 115, 120),
        (429, "86399", 600, 600),
        (429, "soon", 2, 2),
        (429, "-5", 2, 2),
        (429, "date -100", 2, 2),
        (500, "120", 2, 2),
    ],
)
async def test_the_poller_stays_away_as_long_as_it_is_asked_to(
    stub: Stub, status: int, header: str, least: float, most: float
) -> None:
    if header.startswith("date"):
        header = later(float(header.removeprefix("date ")))
    stub.say("GET", "/v2.1/servers/detail", fault(status, "Slow down.", Retry_After=header))
    async with opened(settings(stub)) as backend:
        link = Link(cluster=cluster("lab"), read_only=True, read_only_why="a test")
        fleet = Fleet()
        poller = Poller(link, backend, fleet, jitter=EVEN)
        await poller.once()
        assert state(fleet, "lab").failures == 1
        assert least <= state(fleet, "lab").interval <= most
        stub.answers.clear()
        await poller.once()
        assert state(fleet, "lab").failures == 0
        stub.say("GET", "/v2.1/servers/detail", fault(500, "oops"))
        await poller.once()
        assert state(fleet, "lab").interval == 2, "what was asked once is not held against it for ever"


async def test_a_keystone_that_limits_logins_is_no_refusal_of_the_credentials(stub: Stub) -> None:
    stub.say("POST", "/v3/auth/tokens", fault(429, "Too many logins.", "error", Retry_After="30"))
    async with opened(settings(stub)) as backend:
        with pytest.raises(BackendError) as error:
            await backend.inventory()
    assert isinstance(error.value, Unreachable)
    assert error.value.retry_after == 30
    assert "limits us" in error.value.problem.next_step


async def test_a_look_carries_the_pause_as_well(stub: Stub) -> None:
    def slow(_: Any) -> Reply:
        return fault(429, "Slow down.", Retry_After="17")

    stub.say("GET", f"/v2.1/servers/{server(1)['id']}", slow)
    async with opened(settings(stub)) as backend:
        with pytest.raises(Unreachable) as error:
            await backend.look([server(1)["id"]])
    assert error.value.retry_after == 17
