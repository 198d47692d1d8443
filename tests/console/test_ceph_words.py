"""What the console says of a Ceph cluster: its ailments as problems, counts of rows, names that stay apart."""

from __future__ import annotations

import msgspec

from evac.storage import Health, HealthCheck
from tests.console.cephfleet import ceph_fleet
from tests.console.harness import running

CHECKS = (
    HealthCheck(code="OSD_FULL", severity=Health.ERROR, summary="1 full osd(s)", advice="Free space."),
    HealthCheck(code="OSD_DOWN", summary="1 osds down", advice="Look at the host."),
    HealthCheck(code="POOL_NO_REDUNDANCY", summary="1 pool without replicas", muted=True),
)


def row(text: str, name: str) -> str:
    """The line of this cluster in the table of the problems pane."""
    return next(line for line in text.splitlines() if name in line and "armed" in line)


async def test_the_problems_pane_tells_what_a_ceph_cluster_says_of_itself() -> None:
    async with running(ceph_fleet(health=Health.ERROR, checks=CHECKS), size=(120, 40)) as run:
        await run.press("5")
        assert "Health error: 1 full osd(s) (and 1 more)" in row(run.text(), "ceph1")
        await run.press("g")
        text = run.text()
        assert "next: Free space." in text
        assert "Health warning: 1 osds down" in text
        assert "without replicas" not in text, "somebody muted it"
        held = run.fleet.table("storages")["ceph1"]
        run.fleet.publish(storages=[msgspec.structs.replace(held, health=Health.OK, checks=())])
        await run.settled()
        assert "no problem" in row(run.text(), "ceph1")
