"""The demo's clouds, served as real OpenStack would be."""

from __future__ import annotations

import json
import time

from backends.openstack.simulator import NovaSimulator
from backends.openstack.simulator_masakari import watch
from backends.simulation.demo_fleet import PLANS, big, clouds
from backends.simulation.demo_stage import Stage, logins, write
from backends.simulation.world import World

WITH_LOGINS = "ams-prod"
"""The cloud whose hypervisors take a login by SSH, and are watched by Masakari; at the others people say what they did."""


async def serve(stage: Stage) -> None:
    """Three clouds, or one of any size. clouds.yaml is written even when there is none."""
    entries = {}
    for name, world in _worlds(stage).items():
        if name == WITH_LOGINS:
            # The one that is dead from the start is in no segment, or Masakari would have emptied it.
            watch(world, [host.name for host in world.hosts.values() if host.alive])
        simulator = NovaSimulator(world, region="RegionOne")
        await stage.stack.enter_async_context(simulator.serve())
        stage.worlds[name] = world
        entries[name] = simulator.cloud()
        login = await logins(stage, name, world) if name == WITH_LOGINS else ""
        stage.tables.append(_table(name) + login)
    # JSON is YAML
    write(stage.folder / "clouds.yaml", json.dumps({"clouds": entries}, indent=2) + "\n")


def _worlds(stage: Stage) -> dict[str, World]:
    options = stage.options
    if not stage.asked("openstack"):
        return {}
    if stage.scale:
        return {"scale": big(stage.scale, seed=options.seed, now=time.monotonic, churn=options.churn)}
    return clouds(seed=options.seed, now=time.monotonic)


def _table(name: str) -> str:
    label = next((plan.label for plan in PLANS if plan.name == name), "BENCH")
    return f"""[clusters.{name}]
kind = "openstack"
label = "{label}"
cloud = "{name}"
clouds_file = "clouds.yaml"
poll_interval = 2.0
stale_after = 15.0
"""
