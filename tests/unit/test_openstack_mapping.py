"""Payloads become nouns: bytes, seconds and the field's words; whatever Nova says stays visible."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.openstack import mapping, payload
from evac.model import HostState, Migration, MigrationKind, Phase, VMState

text = st.text(max_size=12)
maybe = st.none() | text
small = st.none() | st.integers(0, 2**31)
when = st.none() | st.sampled_from(
    ["2026-11-21T07:48:07Z", "2026-11-21T07:48:07.000000", "2026-11-21T08:48:07+01:00"]
)


def server(**fields: Any) -> payload.Server:
    return msgspec.json.decode(json.dumps({"id": "s1"} | fields), type=payload.Server)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": maybe,
            "status": maybe | st.sampled_from(sorted(mapping.VM_STATES)),
            "created": when,
            "updated": when,
            "OS-EXT-STS:task_state": maybe,
            "OS-EXT-STS:power_state": small,
            "OS-EXT-SRV-ATTR:host": maybe,
            "flavor": st.none()
            | st.fixed_dictionaries(
                {}, optional={"vcpus": small, "ram": small, "disk": small, "swap": small | st.just("")}
            ),
            "addresses": st.none()
            | st.dictionaries(text, st.lists(st.fixed_dictionaries({"addr": text}), max_size=3), max_size=3),
            "image": st.just("") | st.none() | st.just({"id": "i"}),
            "tags": st.none() | st.lists(text, max_size=3),
            "locked": st.none() | st.booleans(),
            "fault": st.none() | st.fixed_dictionaries({}, optional={"message": maybe}),
            "something-new": st.none() | st.lists(small, max_size=2),
        },
    )
)
def test_any_server_that_decodes_becomes_a_vm_that_keeps_novas_words(fields: dict[str, Any]) -> None:
    vm = mapping.vm("c", server(**fields))
    assert vm.key == "c/s1"
    assert vm.name == (fields.get("name") or "s1")
    assert vm.native == (fields.get("status") or "")
    assert vm.host == (fields.get("OS-EXT-SRV-ATTR:host") or "")
    assert vm.task == (fields.get("OS-EXT-STS:task_state") or "")
    assert vm.created == (None if fields.get("created") is None else 1795247287.0)
    if vm.native not in mapping.VM_STATES:
        assert vm.state is VMState.UNKNOWN


def test_sizes_become_bytes() -> None:
    vm = mapping.vm("c", server(flavor={"vcpus": 4, "ram": 2048, "disk": 20, "original_name": "m1"}))
    assert (vm.vcpus, vm.memory, vm.disk, vm.flavor) == (4, 2 << 30, 20 << 30, "m1")


def test_a_disk_is_known_to_be_remote_only_when_every_disk_is_a_volume() -> None:
    plain = {"vcpus": 1, "ram": 1, "disk": 1, "ephemeral": 0, "swap": 0}
    assert mapping.vm("c", server(image="", flavor=plain)).local_disk is False
    assert mapping.vm("c", server(image="", flavor=plain | {"swap": 512})).local_disk is None
    assert mapping.vm("c", server(image={"id": "i"}, flavor=plain)).local_disk is None


def hypervisor(**fields: Any) -> payload.Hypervisor:
    return msgspec.json.decode(
        json.dumps({"hypervisor_hostname": "h1.example"} | fields), type=payload.Hypervisor
    )


def test_a_hypervisors_cpu_is_read_as_an_object_and_as_a_string_of_json_and_as_nonsense() -> None:
    cpu = {"model": "Haswell", "vendor": "Intel", "features": ["b", "a"]}
    for info in (cpu, json.dumps(cpu)):
        (host,) = mapping.hosts("c", [], [hypervisor(cpu_info=info)])
        assert (host.cpu_model, host.cpu_vendor, host.cpu_features) == ("Haswell", "Intel", ("a", "b"))
    for odd in ("", None, "no json", {"features": "x"}, {"model": None}):
        (host,) = mapping.hosts("c", [], [hypervisor(cpu_info=odd)])
        assert host.cpu_features == ()


def test_the_newest_hypervisors_carry_no_capacity_and_none_is_made_up() -> None:
    """From 2.88 on Nova leaves vcpus and memory out."""
    (host,) = mapping.hosts("c", [], [hypervisor(state="up", status="enabled", id="u1")])
    assert (host.vcpus, host.memory, host.vms, host.uuid, host.state) == (
        None,
        None,
        None,
        "u1",
        HostState.UP,
    )


def test_bare_metal_nodes_of_one_service_are_one_host_with_their_sum() -> None:
    nodes = [hypervisor(service={"host": "ironic1"}, id=f"u{n}", memory_mb=1024, vcpus=8) for n in range(3)]
    (host,) = mapping.hosts("c", [], nodes)
    assert (host.id, host.uuid, host.memory, host.vcpus) == ("ironic1", "", 3 << 30, 24)


def test_service_and_hypervisor_are_joined_by_the_services_host_and_either_may_be_missing() -> None:
    services = [
        payload.Service(
            host="a", state="down", status="disabled", disabled_reason="DIMM", forced_down=True, zone="z"
        ),
        payload.Service(host="b", state="wobbly", status="enabled"),
    ]
    nodes = [hypervisor(service={"host": "a"}, state="up"), hypervisor(service={"host": "c"}, state="up")]
    groups = [payload.Aggregate(name="fast", hosts=["a", "c"]), payload.Aggregate(name="big", hosts=["a"])]
    a, b, c = mapping.hosts("x", services, nodes, groups)
    assert (a.state, a.forced_down, a.maintenance, a.reason) == (HostState.DOWN, True, True, "DIMM")
    assert (a.zone, a.aggregates) == ("z", ("big", "fast"))
    assert b.state is HostState.UNKNOWN
    assert (c.state, c.aggregates) == (HostState.UP, ("fast",))


def test_every_word_of_a_migration_has_a_phase_and_a_new_word_stays_visible() -> None:
    def told(status: str, kind: str = "live-migration") -> Migration:
        move = payload.Move(id=7, status=status, migration_type=kind, instance_uuid="v", updated_at=None)
        return mapping.migration("c", move)

    assert told("queued").phase is Phase.QUEUED
    assert told("running (post-copy)").phase is Phase.RUNNING
    assert told("finished", "migration").phase is Phase.AWAITING_CONFIRM
    assert told("done", "evacuation").phase is Phase.COMPLETED
    assert (told("error").phase, told("failed").phase) == (Phase.FAILED, Phase.FAILED)
    odd = told("teleporting", "wormhole")
    assert (odd.phase, odd.native, odd.kind, odd.id) == (
        Phase.UNKNOWN,
        "teleporting",
        MigrationKind.UNKNOWN,
        "7",
    )


def test_a_failure_is_explained_by_the_events_of_the_action() -> None:
    action = msgspec.convert(
        {
            "request_id": "req-1",
            "action": "live-migration",
            "message": "Error",
            "start_time": "2026-11-21T07:48:07.000000",
            "events": [
                {
                    "event": "conductor_live_migrate_instance",
                    "result": "Error",
                    "details": "Compute service of b is unavailable at this time.",
                    "start_time": "2026-11-21T07:48:08.000000",
                },
                {
                    "event": "conductor_migrate_server",
                    "result": "Error",
                    "details": "Compute service of b is unavailable at this time.",
                    "start_time": "2026-11-21T07:48:07.500000",
                },
                {"event": "compute_check", "result": "Success", "details": None},
            ],
        },
        payload.InstanceAction,
    )
    record = mapping.task("v", action)
    assert (record.id, record.failed, record.message) == (
        "req-1",
        True,
        "Compute service of b is unavailable at this time.",
    )
    assert record.started == 1795247287.0
    quiet = mapping.task("v", payload.InstanceAction(request_id="req-2", message="Error"))
    assert (quiet.failed, quiet.message) == (True, "")
    assert not mapping.task("v", payload.InstanceAction(request_id="req-3")).failed


@pytest.mark.parametrize(
    ("group", "kind", "strict"),
    [
        ({"policy": "anti-affinity"}, "apart", True),
        ({"policies": ["soft-affinity"]}, "together", False),
        ({"policy": "anti-affinity", "rules": {"max_server_per_host": 2}}, "apart", False),
        ({"policy": "moon-phase"}, None, False),
        ({}, None, False),
    ],
)
def test_a_server_group_of_old_and_new_microversions_is_an_affinity(
    group: dict[str, Any], kind: str | None, strict: bool
) -> None:
    body = msgspec.json.encode({"id": "g", "members": ["a", "b"], **group})
    found = mapping.affinity("c", msgspec.json.decode(body, type=payload.ServerGroup))
    assert (found and found.kind, bool(found and found.strict)) == (kind, strict)
    alone = msgspec.json.encode({"id": "g", "members": ["a"], **group})
    assert mapping.affinity("c", msgspec.json.decode(alone, type=payload.ServerGroup)) is None
