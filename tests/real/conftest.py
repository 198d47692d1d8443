"""The lab for the session, a settled world and a fresh engine for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.openstack import lab
from tests.real.openstack.layout import HOSTS
from tests.real.openstack.processes import pid_of
from tests.real.rig import Rig
from tests.real.world import World

PATIENCE = 900
"""Seconds for one test: the first one waits for the lab, which on a bare machine is installed first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A real cloud is slower than the time-out of the other suites."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def running_lab() -> Iterator[None]:
    """Up for the session. A lab that somebody had already brought up stays up."""
    was_up = all(pid_of(name) for name in ("nova", "keystone", *(f"compute-{host}" for host in HOSTS)))
    lab.up()
    yield
    if not was_up:
        lab.down()


@pytest.fixture(scope="session")
def any_world(running_lab: None) -> Iterator[World]:
    """The witness, with the lab in whatever state the last test left it."""
    with contextlib.closing(World()) as world:
        yield world


@pytest.fixture
def world(any_world: World) -> World:
    """All four hosts in use, at least 20 servers active over them, nothing in progress."""
    any_world.settle()
    return any_world


@pytest.fixture
def rig(world: World, tmp_path: Path) -> Iterator[Rig]:
    """An engine to start; it is stopped afterwards whatever happened."""
    rig = Rig(tmp_path / "evac")
    yield rig
    rig.stop()
