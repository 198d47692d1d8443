"""A hypervisor that carries OSDs: by its name, however it is written, and told before anybody stops it."""

from __future__ import annotations

import pytest

from evac.api import PlanRequest
from evac.fleet import Fleet
from evac.hyperconverged import bare, osds_on, warnings
from evac.model import ClusterState, Host, HostState, Inventory
from evac.planner import plan_drain
from evac.storage import OSD


def osd(number: int, host: str, cluster: str = "ceph1") -> OSD:
    return OSD(cluster=cluster, id=number, name=f"osd.{number}", crush=("default", host), host=host)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cmp-07", "CMP-07.example.org", True),
        ("cmp-07", "cmp-070", False),
        ("10.0.0.7", "10.0.0.8", False),
        ("2001:db8::7", "2001:db8::8", False),
    ],
)
def test_two_systems_mean_one_machine_by_its_name_without_the_domain(
    one: str, other: str, same: bool
) -> None:
    assert (bare(one) == bare(other)) is same


def test_osds_are_found_by_cluster_and_those_on_no_host_are_not() -> None:
    osds = [osd(0, "CMP-1"), osd(1, "cmp-1", "ceph2"), osd(2, "cmp-10"), osd(3, "")]
    assert {cluster: [one.id for one in rows] for cluster, rows in osds_on(osds, "cmp-1.lan").items()} == {
        "ceph1": [0],
        "ceph2": [1],
    }
    assert osds_on(osds, "") == {}


def test_a_plan_says_that_an_empty_hypervisor_is_not_one_that_may_stop() -> None:
    fleet = Fleet()
    state = ClusterState(name="cloud", kind="openstack", fresh_stamp=1.0)
    host = Host(cluster="cloud", id="cmp-1", name="cmp-1", state=HostState.UP)
    fleet.absorb(state, Inventory(hosts=(host,)), began=1.0)
    rows = (osd(0, "CMP-1"), osd(4, "CMP-1"), osd(5, "cmp-2"))
    fleet.absorb(ClusterState(name="ceph1", kind="ceph"), Inventory(osds=rows), began=1.0)
    plan = plan_drain(fleet, PlanRequest(cluster="cloud", host="cmp-1"), now=2.0)
    assert [one for one in plan.warnings if "2 OSDs of ceph1" in one and "evac ok-to-stop CMP-1" in one]
    assert warnings(fleet, "cmp-3") == []


def test_a_plan_says_when_it_is_not_known_whether_the_hypervisor_carries_osds() -> None:
    fleet = Fleet()
    host = Host(cluster="cloud", id="cmp-1", name="cmp-1", state=HostState.UP)
    state = ClusterState(name="cloud", kind="openstack", fresh_stamp=1.0)
    fleet.absorb(state, Inventory(hosts=(host,)), began=1.0)
    fleet.publish(clusters=[ClusterState(name="ceph1", kind="ceph", stores=True, failures=2)])
    plan = plan_drain(fleet, PlanRequest(cluster="cloud", host="cmp-1"), now=2.0)
    assert "ceph1 has not been read: whether cmp-1 carries OSDs of it is not known" in plan.warnings
