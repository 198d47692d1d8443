"""Our simulated vCenter beside VMware's own (vcsim): what both tell of an object is of the same type.

vcsim speaks API 6.5 and leaves much unset; what only one of the two tells is not compared, and is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vcsim.sdk import vim, vmodl
from tests.vcsim.server import VCSim, plain, vcsim
from tests.wire.vsphere_site import vcenter

SITE = ("-cluster", "1", "-host", "2", "-vm", "2", "-ds", "1")
KINDS = (
    "VirtualMachine",
    "HostSystem",
    "ClusterComputeResource",
    "ResourcePool",
    "Datastore",
    "Network",
    "Folder",
)

OTHER_CLASS = {
    ("Datastore", "info"): "ours are VMFS volumes, vcsim's are directories of its machine",
}
"""Differences that are right, and why."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCSim]:
    with vcsim(tmp_path_factory.mktemp("shapes"), *SITE) as server:
        yield server


def shapes(content: Any, kind: str, paths: list[str]) -> dict[str, str]:
    """Path → pyvmomi's type of the value, for the first object of that kind; what is unset is absent."""
    collect = vmodl.query.PropertyCollector
    type_ = getattr(vim, kind)
    view = content.viewManager.CreateContainerView(content.rootFolder, [type_], True)
    begin = collect.ObjectSpec(obj=view.view[0])
    found: dict[str, str] = {}
    for path in paths:
        spec = collect.FilterSpec(
            objectSet=[begin], propSet=[collect.PropertySpec(type=type_, pathSet=[path])]
        )
        answer = content.propertyCollector.RetrievePropertiesEx([spec], collect.RetrieveOptions())
        for one in answer.objects[0].propSet if answer is not None else ():
            found[one.name] = type(one.val).__name__
    view.DestroyView()
    return found


def of_vcsim(site: VCSim, kind: str, paths: list[str]) -> dict[str, str]:
    with plain(site) as instance:
        return shapes(instance.content, kind, paths)


async def test_what_both_vcenters_tell_is_of_the_same_type(site: VCSim) -> None:
    compared = 0
    async with vcenter() as client:
        for kind in KINDS:
            table = client.simulator.objects.tables[kind]
            tops = {path.split(".", 1)[0] for path in table}
            paths = sorted({*table, *(path.rsplit(".", 1)[0] for path in table if "." in path), *tops})
            ours = await asyncio.to_thread(shapes, client.content, kind, paths)
            other = await asyncio.to_thread(of_vcsim, site, kind, paths)
            both = ours.keys() & other.keys()
            wrong = {
                path: (ours[path], other[path])
                for path in both
                if ours[path] != other[path] and (kind, path) not in OTHER_CLASS
            }
            assert wrong == {}, kind
            assert both, f"nothing of {kind} is told by both"
            compared += len(both)
    assert compared > 200
