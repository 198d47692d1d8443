"""The demo's vCenter: what is promised of it is in it, and stands where the demo says."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from pathlib import Path

import pytest

from backends.simulation import demo_vsphere
from backends.simulation.clocks import ManualClock
from backends.simulation.demo_stage import Stage
from backends.vsphere.simulator_checks import Wish, judge


def test_two_clusters_of_four_hosts_hold_200_vms_two_of_them_vcenters_own() -> None:
    simulator = demo_vsphere.vcenter(seed=7, now=ManualClock())
    site = simulator.site
    assert {zone: len(site.hosts_of(zone)) for zone in site.plans} == {"ber-cl01": 4, "ber-cl02": 4}
    assert len(simulator.world.vms) == 200
    agents = [vm for vm in simulator.world.vms.values() if site.trait(vm).agent]
    assert [vm.name[:5] for vm in agents] == ["vCLS-", "vCLS-"]
    assert [vm.name for vm in simulator.world.vms.values() if vm.question is not None] != []


def test_evc_lets_every_vm_of_the_first_cluster_go_anywhere_in_it_and_the_old_host_takes_no_newer_one() -> (
    None
):
    simulator = demo_vsphere.vcenter(seed=7, now=ManualClock())
    site, world = simulator.site, simulator.world
    old = world.hosts["ber-esx-08"]
    assert site.max_evc(old) == "intel-broadwell"
    for vm in world.vms.values():
        if vm.host == "ber-esx-05" and not site.trait(vm).agent:
            errors = judge(site, Wish(vm, old, site.home(vm), ())).errors
            assert "FeatureRequirementsNotMet" in {error.type for error in errors}
    assert {site.booted[vm_id] for vm_id in world.hosts["ber-esx-01"].vms} == {"intel-cascadelake"}


async def test_without_its_library_the_demo_says_what_is_missing_and_has_no_vcenter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(demo_vsphere, "find_spec", lambda name: None if name == "pyVmomi" else real(name))
    options = argparse.Namespace(dir=tmp_path, seed=7, scale=0, ceph_osds=0, platform="openstack", churn=0.0)
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage(options, stack)
        await demo_vsphere.serve(stage)
        assert stage.worlds == {}
        assert stage.tables == []
        assert stage.missing == ["vSphere is not shown: it needs pyVmomi (the extra evac[vsphere])"]
