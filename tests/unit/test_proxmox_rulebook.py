"""HA's rules and groups as affinities. Values in, values out."""

from __future__ import annotations

import pytest

from backends.proxmox.config import read
from backends.proxmox.payload import HAGroup, HAResource, HARule
from backends.proxmox.rulebook import of_groups, of_rules
from evac.model import AffinityKind


@pytest.mark.parametrize(
    ("rule", "kind", "strict"),
    [
        (HARule(rule="r", type="node-affinity", resources="vm:100", nodes="a:2,b", strict=1), "pinned", True),
        (HARule(rule="r", type="node-affinity", resources="vm:100", nodes="a:2,b"), "pinned", False),
        (
            HARule(rule="r", type="resource-affinity", resources="vm:100", affinity="positive"),
            "together",
            True,
        ),
        (HARule(rule="r", type="resource-affinity", resources="vm:100", affinity="negative"), "apart", True),
    ],
)
def test_a_rule_of_proxmox_ve_9(rule: HARule, kind: str, strict: bool) -> None:
    (found,) = of_rules("c", [rule])
    assert (found.kind, found.strict, found.vms) == (kind, strict, ("100",))
    assert found.hosts == (("a", "b") if kind == "pinned" else ())


def test_a_rule_that_is_off_cannot_be_kept_or_is_of_no_known_type_says_nothing() -> None:
    off = HARule(rule="r", type="node-affinity", resources="vm:100", nodes="a", disable=1)
    odd = HARule(rule="r", type="moon-phase", resources="vm:100")
    assert of_rules("c", [off, odd]) == ()


def test_groups_of_older_versions_pin_their_guests() -> None:
    groups = [HAGroup(group="ssd", nodes="a:1,b", restricted=1), HAGroup(group="near", nodes="c")]
    guests = [
        HAResource(sid="vm:100", group="ssd"),
        HAResource(sid="ct:101", group="ssd"),
        HAResource(sid="vm:102"),
    ]
    strict, soft = of_groups("c", groups, guests)
    assert (strict.kind, strict.strict, strict.vms, strict.hosts) == (
        AffinityKind.PINNED,
        True,
        ("100", "101"),
        ("a", "b"),
    )
    assert (soft.strict, soft.vms, soft.hosts) == (False, (), ("c",))


def test_identities_are_read_out_of_a_config_of_either_kind() -> None:
    found = read(
        {
            "net1": "name=eth1,bridge=vmbr1,hwaddr=BC:24:11:00:00:02,type=veth",
            "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1",
            "smbios1": "base64=1,uuid=1B0F0B5E-0000-4000-8000-000000000001,serial=Zm9v",
            "netmask": "BC:24:11:00:00:03",
        }
    )
    assert found.macs == ("bc:24:11:00:00:01", "bc:24:11:00:00:02")
    assert found.machine_id == "1b0f0b5e-0000-4000-8000-000000000001"
