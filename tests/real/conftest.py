"""The labs, a settled world and a fresh engine for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.ceph import lab as ceph_lab
from tests.real.ceph import state as ceph_state
from tests.real.ceph.rig import CephRig
from tests.real.ceph.witness import Witness
from tests.real.libvirt import lab as kvm_lab
from tests.real.libvirt.rig import KVMRig
from tests.real.libvirt.witness import Witness as KVMWitness
from tests.real.openstack import lab
from tests.real.openstack.layout import HOSTS
from tests.real.openstack.processes import pid_of
from tests.real.rig import Rig
from tests.real.world import World

PATIENCE = 900
"""Seconds for one test: the first one waits for the lab, which on a bare machine is installed first."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A real cloud is slower than the time-out of the other suites; and each lab belongs to one worker."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(PATIENCE))
            item.add_marker(pytest.mark.xdist_group(half_of(item.path.name)))


def half_of(file: str) -> str:
    """Which of the two workers a file belongs to: OpenStack and Ceph, which one window takes together; or the rest."""
    return "clouds" if file.startswith(("test_openstack", "test_ceph", "test_lab")) else "hosts"


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


# --- Ceph -----------------------------------------------------------------------------------------------------

_found: dict[str, bool] = {}
"""Whether the Ceph lab ran already when the first test asked for it."""


@pytest.fixture(scope="module")
def running_ceph() -> None:
    """Up for this file."""
    _found.setdefault("ceph", ceph_lab.is_begun())
    ceph_lab.up()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Twelve idle OSDs take a quarter of a core: end them as soon as the next test needs none."""
    if _needs_ceph(item) and not _needs_ceph(nextitem) and not _found.get("ceph"):
        ceph_lab.down()
    if _needs_kvm(item) and not _needs_kvm(nextitem) and not _found.get("kvm"):
        kvm_lab.down()


def _needs_ceph(item: pytest.Item | None) -> bool:
    return isinstance(item, pytest.Function) and "running_ceph" in item.fixturenames


@pytest.fixture(scope="module")
def any_ceph(running_ceph: None) -> Iterator[Witness]:
    """The witness, with the cluster in whatever state the last test left it."""
    with Witness() as witness:
        yield witness


@pytest.fixture
def ceph(any_ceph: Witness) -> Witness:
    """Every daemon runs, everything is in, no flag is set, every PG is active+clean."""
    ceph_state.restore(any_ceph)
    return any_ceph


@pytest.fixture
def ceph_rig(ceph: Witness, tmp_path: Path) -> Iterator[CephRig]:
    """An engine to start, with the key that may set noout; it is stopped afterwards whatever happened."""
    rig = CephRig(tmp_path / "evac")
    yield rig
    rig.stop()


# --- KVM ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running_kvm() -> None:
    """Three hosts with power."""
    _found.setdefault("kvm", kvm_lab.is_begun())
    kvm_lab.up()


def _needs_kvm(item: pytest.Item | None) -> bool:
    return isinstance(item, pytest.Function) and "running_kvm" in item.fixturenames


@pytest.fixture
def kvm(running_kvm: None) -> KVMWitness:
    """Every host up, each guest running and answering in its place."""
    witness = KVMWitness()
    witness.settle()
    return witness


@pytest.fixture
def kvm_rig(kvm: KVMWitness, tmp_path: Path) -> Iterator[KVMRig]:
    """An engine to start where the hosts can be reached; it is stopped afterwards whatever happened."""
    rig = KVMRig(tmp_path / "evac")
    yield rig
    rig.stop()
