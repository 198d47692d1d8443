"""The JSON we read, as msgspec Structs. Tolerant: unknown fields are skipped, any field may be missing or null.

Field names are Nova's (Compute API reference, microversions 2.1 to 2.96). Sizes keep Nova's units here: MiB of
memory, GiB of disk; `mapping` turns them into bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, field


class Payload(Struct, gc=False, frozen=True):
    """Decoded JSON. Never part of a reference cycle, so the garbage collector need not look at it."""


class ExtraSpecs(Payload, gc=False, frozen=True):
    """Those that hand devices of the host to a server."""

    pci: str | None = field(default=None, name="pci_passthrough:alias")
    vgpu: str | None = field(default=None, name="resources:VGPU")


class Flavor(Payload, gc=False, frozen=True):
    """Embedded since 2.47; only `id` before."""

    id: str | None = None
    original_name: str | None = None
    vcpus: int | None = None
    ram: int | None = None
    disk: int | None = None
    ephemeral: int | None = None
    swap: int | str | None = None
    extra_specs: ExtraSpecs | None = None


class Address(Payload, gc=False, frozen=True):
    """One address of a server's port."""

    addr: str
    mac: str | None = field(default=None, name="OS-EXT-IPS-MAC:mac_addr")


class Volume(Payload, gc=False, frozen=True):
    """One attached volume."""

    id: str


class Fault(Payload, gc=False, frozen=True):
    """What went wrong last."""

    message: str | None = None
    details: str | None = None


class Server(Payload, gc=False, frozen=True):
    """One of GET /servers/detail. A server of a cell that is down has only id, created, tenant_id and status."""

    id: str
    name: str | None = None
    status: str | None = None
    tenant_id: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    task_state: str | None = field(default=None, name="OS-EXT-STS:task_state")
    power_state: int | None = field(default=None, name="OS-EXT-STS:power_state")
    host: str | None = field(default=None, name="OS-EXT-SRV-ATTR:host")
    zone: str | None = field(default=None, name="OS-EXT-AZ:availability_zone")
    flavor: Flavor | None = None
    addresses: dict[str, list[Address]] | None = None
    volumes: list[Volume] | None = field(default=None, name="os-extended-volumes:volumes_attached")
    image: str | dict[str, Any] | None = None
    """"" when it boots from a volume."""
    tags: list[str] | None = None
    locked: bool | None = None
    fault: Fault | None = None


class Servers(Payload, gc=False, frozen=True):
    """A page of GET /servers/detail."""

    servers: list[Server]
    servers_links: list[Any] | None = None


class RawServers(Payload, gc=False, frozen=True):
    """The same with the servers unread, so that one whose bytes are known already need not be."""

    servers: list[Raw]
    servers_links: list[Any] | None = None


class GroupRules(Payload, gc=False, frozen=True):
    """Since 2.64."""

    max_server_per_host: int | None = None


class ServerGroup(Payload, gc=False, frozen=True):
    """One of GET /os-server-groups."""

    id: str
    name: str | None = None
    policy: str | None = None
    """Since 2.64."""
    policies: list[str] | None = None
    """Before."""
    rules: GroupRules | None = None
    members: list[str] | None = None


class ServerGroups(Payload, gc=False, frozen=True):
    """A page of GET /os-server-groups."""

    server_groups: list[ServerGroup]


class OneServer(Payload, gc=False, frozen=True):
    """GET /servers/ID."""

    server: Server


class RawServer(Payload, gc=False, frozen=True):
    """The same with the server unread, for the day it makes no sense."""

    server: Raw


class FlavorDetail(Payload, gc=False, frozen=True):
    """One of GET /flavors/detail."""

    id: str
    name: str | None = None
    vcpus: int | None = None
    ram: int | None = None
    disk: int | None = None
    ephemeral: int | None = field(default=None, name="OS-FLV-EXT-DATA:ephemeral")
    swap: int | str | None = None


class Flavors(Payload, gc=False, frozen=True):
    """GET /flavors/detail."""

    flavors: list[FlavorDetail]


class HypervisorService(Payload, gc=False, frozen=True):
    """The compute service a hypervisor belongs to."""

    host: str | None = None
    id: int | str | None = None
    disabled_reason: str | None = None


class Hypervisor(Payload, gc=False, frozen=True):
    """One of GET /os-hypervisors/detail. Capacity is there up to 2.87; from 2.88 on it lives in Placement."""

    id: int | str | None = None
    hypervisor_hostname: str | None = None
    hypervisor_type: str | None = None
    hypervisor_version: int | None = None
    host_ip: str | None = None
    state: str | None = None
    status: str | None = None
    service: HypervisorService | None = None
    vcpus: int | None = None
    vcpus_used: int | None = None
    memory_mb: int | None = None
    memory_mb_used: int | None = None
    running_vms: int | None = None
    cpu_info: dict[str, Any] | str | None = None
    """An object since 2.28, a string of JSON before; "" or null for some drivers."""


class Hypervisors(Payload, gc=False, frozen=True):
    """GET /os-hypervisors/detail."""

    hypervisors: list[Hypervisor]
    hypervisors_links: list[Any] | None = None


class Service(Payload, gc=False, frozen=True):
    """One of GET /os-services."""

    host: str | None = None
    id: int | str | None = None
    binary: str | None = None
    zone: str | None = None
    status: str | None = None
    state: str | None = None
    disabled_reason: str | None = None
    forced_down: bool | None = None
    updated_at: datetime | None = None


class Services(Payload, gc=False, frozen=True):
    """GET /os-services."""

    services: list[Service]


class Aggregate(Payload, gc=False, frozen=True):
    """One of GET /os-aggregates."""

    name: str | None = None
    hosts: list[str] | None = None


class Aggregates(Payload, gc=False, frozen=True):
    """GET /os-aggregates."""

    aggregates: list[Aggregate]


class Traits(Payload, gc=False, frozen=True):
    """GET /resource_providers/ID/traits, of Placement."""

    traits: list[str]


class Move(Payload, gc=False, frozen=True):
    """One of GET /os-migrations, or of GET /servers/ID/migrations, which alone has the bytes."""

    id: int | str
    status: str | None = None
    migration_type: str | None = None
    instance_uuid: str | None = None
    server_uuid: str | None = None
    source_compute: str | None = None
    dest_compute: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    memory_total_bytes: int | None = None
    memory_processed_bytes: int | None = None
    memory_remaining_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_processed_bytes: int | None = None
    disk_remaining_bytes: int | None = None


class Moves(Payload, gc=False, frozen=True):
    """GET /os-migrations and GET /servers/ID/migrations."""

    migrations: list[Move]


class Event(Payload, gc=False, frozen=True):
    """A step of an instance action; `details` since 2.84."""

    event: str | None = None
    result: str | None = None
    details: str | None = None
    start_time: datetime | None = None


class InstanceAction(Payload, gc=False, frozen=True):
    """One entry of a server's log."""

    request_id: str
    action: str | None = None
    instance_uuid: str | None = None
    message: str | None = None
    start_time: datetime | None = None
    user_id: str | None = None
    events: list[Event] | None = None


class InstanceActions(Payload, gc=False, frozen=True):
    """GET /servers/ID/os-instance-actions."""

    instance_actions: list[InstanceAction] = field(name="instanceActions")


class OneInstanceAction(Payload, gc=False, frozen=True):
    """GET /servers/ID/os-instance-actions/REQUEST."""

    instance_action: InstanceAction = field(name="instanceAction")
