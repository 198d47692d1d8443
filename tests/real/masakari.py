"""The lab's Masakari as a witness sees it: its segment of hosts, and what it says to a monitor."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.real.openstack.layout import HOSTS
from tests.real.world import World

SEGMENT = "computes"


def watched(world: World) -> dict[str, dict[str, Any]]:
    """Host → its record in Masakari. Before the first time all of the lab's hosts are put into one segment."""
    ha = world.cloud.instance_ha
    segment = next((one for one in ha.segments() if one.name == SEGMENT), None)
    if segment is None:
        segment = ha.create_segment(name=SEGMENT, recovery_method="auto", service_type="compute")
        for host in HOSTS:
            ha.create_host(segment.uuid, name=host, type="COMPUTE", control_attributes="SSH")
    return {one.name: one.to_dict() for one in ha.hosts(segment.uuid)}


def heal(world: World) -> None:
    """All of them watched, whatever an earlier test left."""
    for one in watched(world).values():
        if one["on_maintenance"]:
            segment = one["failover_segment_id"]
            world.cloud.instance_ha.update_host(one["uuid"], segment=segment, on_maintenance=False)


def on_maintenance(world: World) -> set[str]:
    """Hosts that Masakari leaves alone."""
    return {host for host, one in watched(world).items() if one["on_maintenance"]}


def report_dead(world: World, host: str) -> tuple[int, str]:
    """What a monitor does that hears nothing of a host any more; the status and the words of the answer."""
    payload = {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}
    notification = {
        "type": "COMPUTE_HOST",
        "hostname": host,
        "generated_time": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "payload": payload,
    }
    answer = world.cloud.instance_ha.post("/notifications", json={"notification": notification})
    return answer.status_code, answer.text
