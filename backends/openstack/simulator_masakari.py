"""Masakari's API over a simulated world, and what Masakari does when a host that it watches goes away.

The watch over each host is a switch of the world: "masakari/SEGMENT/HOST". Texts as of Masakari 22 (ha/api.py).
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from typing import Any

from backends.openstack.masakari import ON_MAINTENANCE, PREFIX, WATCHED
from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, micro
from backends.simulation import deeds
from backends.simulation.things import Denied, SimHost, SimSwitch
from backends.simulation.world import World
from evac.model import VMState

POLICY = "os_masakari_api"

NOTICED = 20.0
"""Seconds after which its monitors take a silent host for a dead one."""


def watch(world: World, hosts: Iterable[str]) -> None:
    """One segment with these hosts, all watched; from now on Masakari acts when one goes away."""
    segment = str(uuid.uuid5(uuid.NAMESPACE_URL, f"segment/{world.epoch}"))
    for host in hosts:
        ident = f"{PREFIX}/{segment}/{uuid.uuid5(uuid.NAMESPACE_URL, f'{segment}/{host}')}"
        world.switches[ident] = SimSwitch(
            ident, f"Masakari's watch over {host}", "ha", WATCHED, ON_MAINTENANCE, host=host
        )
    world.power_listeners.append(lambda host: _power(world, host))


def _power(world: World, host: SimHost) -> None:
    watched = _of(world, host.name)
    if not host.alive and watched is not None and watched.value == WATCHED:
        world.later(NOTICED, lambda: _recover(world, host.name))


def _recover(world: World, name: str) -> None:
    """As its host failure workflow: the compute service is disabled, guests are evacuated, the host is left on maintenance.

    Monitors know the machine by its silence; that it is back by now does not stop a workflow that has begun.
    """
    watched = _of(world, name)
    if watched is None or watched.value != WATCHED:
        return
    watched.value = ON_MAINTENANCE
    deeds.maintain(world, name, on=True, reason="Masakari detected host failed.")
    _evacuate(world, name)


def _evacuate(world: World, name: str) -> None:
    """Nova refuses it until it takes the host for dead itself; Masakari asks again."""
    if world.hosts[name].alive:
        return
    left = [one for one in world.vms.values() if one.host == name and one.state is VMState.RUNNING]
    for vm in [one for one in left if not one.task]:
        with contextlib.suppress(Denied):
            world.evacuations.evacuate(vm.id)
    if left:
        world.later(NOTICED, lambda: _evacuate(world, name))


def _of(world: World, host: str) -> SimSwitch | None:
    return next(
        (one for one in world.switches.values() if one.id.startswith(f"{PREFIX}/") and one.host == host), None
    )


class MasakariRoom:
    """/v1/segments and their hosts."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def there(self) -> bool:
        """Whether this cloud has a Masakari."""
        return bool(self._watches())

    def routes(self) -> list[Route]:
        """What is served below /v1."""
        return [
            Route("GET", "", "masakari.version", self._version),
            Route("GET", "/segments", "segments", self._segments),
            Route("GET", "/segments/{segment}/hosts", "segment_hosts", self._hosts),
            Route("GET", "/segments/{segment}/hosts/{host}", "segment_host", self._show),
            Route("PUT", "/segments/{segment}/hosts/{host}", "turn_switch", self._turn),
        ]

    def _watches(self) -> list[SimSwitch]:
        return [one for one in self._world.switches.values() if one.id.startswith(f"{PREFIX}/")]

    def _version(self, ask: Ask) -> Answer:
        return Answer(
            {
                "version": {
                    "id": "v1.0",
                    "status": "CURRENT",
                    "version": "1.3",
                    "min_version": "1.0",
                    "updated": "2016-07-01T11:33:21Z",
                    "links": [{"rel": "self", "href": f"{ask.base}/"}],
                    "media-types": [
                        {
                            "base": "application/json",
                            "type": "application/vnd.openstack.masakari+json;version=1",
                        }
                    ],
                }
            }
        )

    def _segments(self, ask: Ask) -> Answer:
        ask.want("segments:index", POLICY)
        found = sorted({one.id.split("/")[1] for one in self._watches()})
        return Answer({"segments": [self._segment(ident) for ident in found]})

    def _segment(self, ident: str) -> dict[str, Any]:
        return {
            "uuid": ident,
            "id": 1,
            "name": "computes",
            "enabled": True,
            "recovery_method": "auto",
            "service_type": "compute",
            "description": None,
            "created_at": micro(self._world.epoch),
            "updated_at": None,
        }

    def _hosts(self, ask: Ask) -> Answer:
        ask.want("os-hosts:index", POLICY)
        segment = ask.params["segment"]
        found = [one for one in self._watches() if one.id.split("/")[1] == segment]
        if not found:
            raise Wrong(404, f"No failover segment with id {segment}.")
        return Answer({"hosts": [self._host(one) for one in found]})

    def _show(self, ask: Ask) -> Answer:
        ask.want("os-hosts:detail", POLICY)
        return Answer({"host": self._host(self._find(ask))})

    def _turn(self, ask: Ask) -> Answer:
        ask.want("os-hosts:update", POLICY)
        found = self._find(ask)
        given = ask.body.get("host") if isinstance(ask.body, dict) else None
        if not isinstance(given, dict) or not isinstance(given.get("on_maintenance"), bool):
            raise Wrong(400, "Invalid input for field/attribute host.")
        to = ON_MAINTENANCE if given["on_maintenance"] else WATCHED
        if self._world.evacuations.unfinished(found.host):
            raise Wrong(
                409,
                f"Host {found.id.split('/')[2]} can't be updated as it is in-use to process notifications.",
            )
        if found.value != to:
            deeds.turn(self._world, found.id, found.value, to)
        return Answer({"host": self._host(found)})

    def _find(self, ask: Ask) -> SimSwitch:
        found = self._world.switches.get(f"{PREFIX}/{ask.params['segment']}/{ask.params['host']}")
        if found is None:
            raise Wrong(404, f"No host with id {ask.params['host']}.")
        return found

    def _host(self, watched: SimSwitch) -> dict[str, Any]:
        _, segment, ident = watched.id.split("/")
        return {
            "uuid": ident,
            "id": 1,
            "name": watched.host,
            "type": "COMPUTE",
            "control_attributes": "SSH",
            "reserved": False,
            "on_maintenance": watched.value == ON_MAINTENANCE,
            "failover_segment_id": segment,
            "failover_segment": self._segment(segment),
            "created_at": micro(self._world.epoch),
            "updated_at": None,
        }
