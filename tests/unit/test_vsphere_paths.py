"""Every property evac asks for is one that VMware's own types have: a misspelt path would fail the whole read."""

from __future__ import annotations

import pytest

from backends.vsphere import reading, scene, sdk, taskinfo

ASKED = {
    (kind, path)
    for paths in (
        reading.PATHS,
        {"Task": taskinfo.TASK_PATHS, "VirtualMachine": scene.GUEST_PATHS, "HostSystem": scene.PLACE_PATHS},
        {"Datastore": scene.STORE_PATHS, "HostSystem": scene.LUN_PATHS},
        dict.fromkeys(reading.GROUPS, scene.CLUSTER_PATHS),
        dict.fromkeys(scene.NET_TYPES, ("name",)),
        {
            "OpaqueNetwork": ("summary",),
            "DistributedVirtualPortgroup": ("key", "config.distributedVirtualSwitch"),
        },
        {"DistributedVirtualSwitch": ("uuid",), "Task": ("info.result",), "TaskManager": ("recentTask",)},
    )
    for kind, those in paths.items()
    for path in those
}
NAMES = {"DistributedVirtualPortgroup": "dvs.DistributedVirtualPortgroup"}


@pytest.mark.parametrize(("kind", "path"), sorted(ASKED))
def test_a_path_leads_somewhere(kind: str, path: str) -> None:
    there = sdk.named(f"vim.{NAMES.get(kind, kind)}")
    for step in path.split("."):
        there = there._GetPropertyInfo(step).type
