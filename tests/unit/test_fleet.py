"""The fleet: a reader that applies deltas sees what a snapshot shows, whatever happened and whenever it looked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from evac import fleet as fleet_module
from evac.api import TABLES, Delta
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Host, HostState, Inventory, Noun
from evac.storage import OSD, Storage

CLUSTERS = ("north", "south")
vm_ids = st.sampled_from([f"v{n}" for n in range(6)])
host_ids = st.sampled_from(["h1", "h2", ""])


def rows(fleet: Fleet, table: str) -> dict[str, Noun]:
    return dict(fleet.table(table))


class Reader:
    """What a console does with deltas."""

    def __init__(self) -> None:
        self.rev: int | None = None
        self.tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}

    def apply(self, delta: Delta) -> None:
        for table in TABLES:
            mine = {} if delta.full else self.tables[table]
            for key in delta.gone.get(table, ()):
                mine.pop(key, None)
            mine.update({row.key: row for row in getattr(delta, table)})
            self.tables[table] = mine
        self.rev = delta.rev


class Deltas(RuleBasedStateMachine):
    """Any order of polls, looks and reads."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.readers = [Reader(), Reader()]
        self.now = 100.0

    @rule(
        cluster=st.sampled_from(CLUSTERS),
        vms=st.dictionaries(vm_ids, host_ids, max_size=5),
        age=st.floats(0, 5),
    )
    def full_poll(self, cluster: str, vms: dict[str, str], age: float) -> None:
        found = tuple(VM(cluster=cluster, id=vm, name=vm, host=host) for vm, host in vms.items())
        hosts = tuple(Host(cluster=cluster, id=host, name=host) for host in sorted(set(vms.values())) if host)
        self.now += 1
        state = ClusterState(name=cluster, kind="test", fresh_stamp=self.now)
        self.fleet.absorb(state, Inventory(vms=found, hosts=hosts), began=self.now - age)

    @rule(cluster=st.sampled_from(CLUSTERS), vm=vm_ids, host=host_ids, gone=vm_ids)
    def incremental_poll(self, cluster: str, vm: str, host: str, gone: str) -> None:
        self.now += 1
        answer = Inventory(
            vms=(VM(cluster=cluster, id=vm, name=vm, host=host),), gone=(gone,), complete=False
        )
        self.fleet.absorb(ClusterState(name=cluster, kind="test"), answer, began=self.now)

    @rule(cluster=st.sampled_from(CLUSTERS), vm=vm_ids, host=host_ids)
    def look(self, cluster: str, vm: str, host: str) -> None:
        self.now += 1
        self.fleet.looked([VM(cluster=cluster, id=vm, name=vm, host=host)], at=self.now)

    @rule(cluster=st.sampled_from(CLUSTERS), vm=vm_ids)
    def look_finds_it_gone(self, cluster: str, vm: str) -> None:
        self.now += 1
        self.fleet.looked([], gone=[f"{cluster}/{vm}"], at=self.now)

    @rule(which=st.integers(0, 1))
    def read(self, which: int) -> None:
        reader = self.readers[which]
        reader.apply(self.fleet.delta(reader.rev))
        for table in TABLES:
            assert reader.tables[table] == rows(self.fleet, table)

    @invariant()
    def the_index_by_host_is_true(self) -> None:
        for cluster in CLUSTERS:
            for host in ("h1", "h2", ""):
                listed = {vm.key for vm in self.fleet.vms_on(cluster, host)}
                here = {
                    vm.key
                    for vm in rows(self.fleet, "vms").values()
                    if isinstance(vm, VM) and (vm.cluster, vm.host) == (cluster, host)
                }
                assert listed == here


TestDeltas = Deltas.TestCase
TestDeltas.settings = settings(max_examples=60, stateful_step_count=30)


def vm(name: str, host: str = "h1", cluster: str = "north") -> VM:
    return VM(cluster=cluster, id=name, name=name, host=host)


def test_an_older_poll_does_not_overwrite_what_the_queue_has_just_seen() -> None:
    """A poll that began before the look carries yesterday's truth about that VM, and today's about the others."""
    fleet = Fleet()
    state = ClusterState(name="north", kind="test")
    fleet.looked([vm("v1", "h2")], at=50.0)
    fleet.absorb(state, Inventory(vms=(vm("v1", "h1"), vm("v2", "h1"))), began=49.0)
    assert {row.id: row.host for row in fleet.table("vms").values()} == {"v1": "h2", "v2": "h1"}
    fleet.absorb(state, Inventory(vms=(vm("v1", "h1"), vm("v2", "h1"))), began=51.0)
    seen = fleet.vm("north", "v1")
    assert seen is not None
    assert seen.host == "h1"


def test_one_clusters_poll_leaves_the_others_rows_alone() -> None:
    """A full answer replaces its own cluster and nothing else."""
    fleet = Fleet()
    fleet.publish(vms=[vm("v1"), vm("v1", cluster="north-2")])
    fleet.absorb(ClusterState(name="north", kind="test"), Inventory(), began=1.0)
    assert set(fleet.table("vms")) == {"north-2/v1"}


def test_a_reader_away_too_long_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """When deletions it missed have been forgotten, a delta would leave ghosts on its screen."""
    monkeypatch.setattr(fleet_module, "TOMBSTONES", 3)
    monkeypatch.setattr(fleet_module, "deque", lambda maxlen: __import__("collections").deque(maxlen=3))
    fleet = Fleet()
    fleet.publish(vms=[vm(f"v{n}") for n in range(9)])
    old = fleet.rev
    for n in range(6):
        fleet.publish(gone={"vms": [f"north/v{n}"]})
    late = fleet.delta(old)
    assert late.full
    assert {row.id for row in late.vms} == {"v6", "v7", "v8"}
    assert not fleet.delta(fleet.rev - 1).full


def test_a_revision_from_another_engine_gets_everything() -> None:
    """A number from the future is not ours."""
    fleet = Fleet()
    fleet.publish(vms=[vm("v1")])
    assert fleet.delta(fleet.rev + 10).full


def test_equal_rows_do_not_move_the_revision() -> None:
    """A poll that finds nothing new costs consoles nothing."""
    fleet = Fleet()
    before = fleet.publish(vms=[vm("v1")])
    assert fleet.publish(vms=[vm("v1")]) == before


async def test_a_reader_is_woken_when_something_changes_and_only_then() -> None:
    """Waiting on a revision ends with the next change."""
    fleet = Fleet()
    with fleet.subscribe() as news:
        waiter = asyncio.ensure_future(news.wait(fleet.rev))
        fleet.publish(vms=[])
        await asyncio.sleep(0)
        assert not waiter.done()
        fleet.publish(vms=[vm("v1")])
        assert await asyncio.wait_for(waiter, 5) == fleet.rev


def test_a_slow_clusters_poll_does_not_bring_back_what_was_seen_since_however_fast_the_others_are() -> None:
    """Another cluster's newer poll must not make us forget that this VM was looked at during the slow one."""
    fleet = Fleet()
    north, south = (ClusterState(name=name, kind="test") for name in CLUSTERS)
    fleet.looked([vm("v1", "h2")], at=50.0)  # north's poll began at 45 and is still under way
    fleet.absorb(south, Inventory(), began=60.0)
    fleet.absorb(north, Inventory(vms=(vm("v1", "h1"),)), began=45.0)
    seen = fleet.vm("north", "v1")
    assert seen is not None
    assert seen.host == "h2"


def test_a_storage_clusters_host_is_told_from_its_map_with_its_flags() -> None:
    """Ceph has no rows of hosts: whoever asks whether noout is set for one would be told that there is none."""
    fleet = Fleet()
    osds = [
        OSD(cluster="ceph", id=number, name=f"osd.{number}", host="n1", up=number == 1) for number in (0, 1)
    ]
    fleet.publish(storages=(Storage(cluster="ceph", node_flags={"n1": ("noout",)}),), osds=osds)
    host = fleet.host("ceph", "n1")
    assert host is not None
    assert (host.state, host.flags) == (HostState.UP, ("noout",))
    fleet.publish(storages=(Storage(cluster="ceph"),), osds=[replace(osd, up=False) for osd in osds])
    host = fleet.host("ceph", "n1")
    assert host is not None
    assert (host.state, host.flags) == (HostState.DOWN, ())
    assert fleet.host("ceph", "n2") is None
    assert fleet.host("north", "n1") is None
