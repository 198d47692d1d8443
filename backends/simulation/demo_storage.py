"""The demo's storage clusters on UNIX sockets. Without NumPy there are none."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.simulation.demo_stage import Stage, toml

if TYPE_CHECKING:
    from backends.simulation.ceph import CephWorld

BIG = "scale-ceph"


async def serve(stage: Stage) -> None:
    """Those that lie on the demo's hosts, or a big one alone."""
    if find_spec("numpy") is None:
        stage.missing.append("Ceph is not shown: it needs NumPy (the extra evac[ceph])")
        return
    from backends.ceph.simulator import CephSimulator  # noqa: PLC0415 - needs NumPy, which is an extra

    for name, world in _clusters(stage).items():
        path = stage.socket(name)
        await stage.stack.enter_async_context(CephSimulator(world).serve(path))
        stage.tables.append(_table(name, str(path.absolute())))


def _clusters(stage: Stage) -> dict[str, CephWorld]:
    from backends.simulation import demo_ceph, demo_ceph_pve  # noqa: PLC0415 - as above

    options = stage.options
    if options.ceph_osds:
        pgs = options.ceph_pgs or options.ceph_osds * 33
        return {BIG: demo_ceph.big(options.ceph_osds, options.ceph_pools, pgs, seed=options.seed)}
    found = {}
    if demo_ceph.CLOUD in stage.worlds:
        found[demo_ceph.NAME] = demo_ceph.storage(stage.worlds[demo_ceph.CLOUD], seed=options.seed)
    if demo_ceph_pve.CLUSTER in stage.worlds:
        found[demo_ceph_pve.NAME] = demo_ceph_pve.storage(
            stage.worlds[demo_ceph_pve.CLUSTER], seed=options.seed
        )
    return found


def _table(name: str, path: str) -> str:
    label = "BENCH" if name == BIG else "PROD"
    return f"""[clusters.{name}]
kind = "ceph"
label = "{label}"
carrier = "socket"
socket = {toml(path)}
user = "client.evac"
write_user = "client.evac-rw"
poll_interval = 2.0
stale_after = 15.0
"""
