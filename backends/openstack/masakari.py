"""Masakari, the instance HA of OpenStack: its watch over each compute host is a switch. Blocking; run in worker threads.

A host that is restarted looks to its monitors like one that died. Masakari then evacuates what Nova still has there,
disables the compute service and leaves the host "on maintenance", which nobody takes back: from then on it is not watched
(masakari, engine/manager.py and taskflow/host_failure.py). A host that is on maintenance beforehand is left alone: its
notifications are refused with HTTP 409 (ha/api.py).

Rights: os_masakari_api:segments:index, os_masakari_api:os-hosts:index and :update; by default the role admin has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct

from backends.openstack.client import NATIVE_ID, Client
from backends.openstack.login import Api, Version
from evac.backend import Receipt
from evac.errors import NotFound, Refused
from evac.model import Problem, Switch

KIND = "instance-ha"
"""Its type in Keystone's catalog (service-types authority; "ha" is an alias, which keystoneauth knows)."""

PREFIX = "masakari"
WATCHED, ON_MAINTENANCE = "watched", "on maintenance"
NEWEST: Version = (1, 2)
"""Since 1.2 a segment says whether it is enabled (Masakari API microversion history)."""

WHY = "Masakari would take its restart for a failure, evacuate it, and leave it unwatched and disabled afterwards"


T = TypeVar("T")


class _Segment(Struct):
    uuid: str
    name: str = ""
    enabled: bool = True


class _Segments(Struct):
    segments: list[_Segment]


class _Host(Struct):
    uuid: str
    name: str
    on_maintenance: bool


class _Hosts(Struct):
    hosts: list[_Host]


class _OneHost(Struct):
    host: _Host


class Masakari:
    """Of one cloud. One without it has no switches."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def all(self) -> list[Switch]:
        """The watch over each host, as it stands now. Calls: one, and one for each segment."""
        api = self._client.login.service(KIND)
        if api is None:
            return []
        segments = self._read(_Segments, api, "/segments", "Masakari's segments").segments
        return [switch for segment in segments for switch in self._of_segment(api, segment)]

    def turn(self, switch: str, was: str, to: str) -> Receipt:
        """One PUT. What is read before is read for the change: its failure means that nothing was sent."""
        what = f"turning {switch} from {was} to {to}"
        if to not in (WATCHED, ON_MAINTENANCE):
            raise Refused(
                self._problem(f"Masakari's watch can be {WATCHED} or {ON_MAINTENANCE}, and not {to}")
            )
        path = _path(switch)
        api = self._client.before_change(lambda: self._client.login.service(KIND), what)
        if api is None or not path:
            raise NotFound(self._problem(f"there is no switch {switch}"))
        found = self._client.before_change(
            lambda: self._read(_OneHost, api, path, f"Masakari's host {switch}").host, what
        )
        if _value(found) != was:
            raise Refused(
                self._problem(
                    f"{found.name} is {_value(found)} in Masakari, and not {was}: it was not turned"
                )
            )
        body = {"host": {"on_maintenance": to == ON_MAINTENANCE}}
        return self._client.change("PUT", path, body, lowest=(1, 0), best=NEWEST, what=what, api=api)

    def _of_segment(self, api: Api, segment: _Segment) -> Sequence[Switch]:
        if not NATIVE_ID.fullmatch(segment.uuid):
            raise self._client.nonsense("Masakari's segments", "has an id that is none")
        path = f"/segments/{segment.uuid}/hosts"
        hosts = self._read(_Hosts, api, path, f"the hosts of Masakari's segment {segment.name}").hosts
        return [self._switch(segment, host) for host in hosts]

    def _switch(self, segment: _Segment, host: _Host) -> Switch:
        value = _value(host)
        restless = segment.enabled and value == WATCHED
        return Switch(
            cluster=self._client.cluster,
            id=f"{PREFIX}/{segment.uuid}/{host.uuid}",
            name=f"Masakari's watch over {host.name}",
            kind="ha",
            value=value,
            calm=ON_MAINTENANCE if restless else value,
            why=WHY if restless else "",
            host=host.name,
        )

    def _read(self, kind: type[T], api: Api, path: str, what: str) -> T:
        return self._client.read(kind, path, version=NEWEST, what=what, api=api)

    def _problem(self, happened: str) -> Problem:
        return Problem(
            happened=f"{self._client.cluster}: {happened}.",
            unaffected="Nothing was changed.",
            next_step="Look at it again and confirm anew.",
        )


def _value(host: _Host) -> str:
    return ON_MAINTENANCE if host.on_maintenance else WATCHED


def _path(switch: str) -> str:
    """Of the host that a Switch.id names; "" when it names none."""
    parts = switch.split("/")
    if len(parts) != 3 or parts[0] != PREFIX or not all(NATIVE_ID.fullmatch(part) for part in parts[1:]):
        return ""
    return f"/segments/{parts[1]}/hosts/{parts[2]}"
