"""`evac ok-to-stop` and `evac noout`, as a script calls them, on a simulated Ceph behind a real engine and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wire.ceph_lab import SimulatedCeph
from tests.wire.cli_site import Site


class Place:
    """A simulated cluster and a site whose config names it."""

    def __init__(self, ceph: SimulatedCeph, site: Site) -> None:
        self.ceph, self.site = ceph, site
        self.evac = site.evac


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with SimulatedCeph(tmp_path).serve() as ceph:
        site = Site(tmp_path)
        site.config.write_text(
            f'[clusters.ceph1]\nkind = "ceph"\npoll_interval = 1\ncarrier = "socket"\nsocket = "{ceph.socket}"\n'
            'write_user = "client.evac-rw"\n'
        )
        site.config.chmod(0o600)
        try:
            yield Place(ceph, site)
        finally:
            await site.stop_engine()


async def test_before_and_after_noout_a_host_may_stop_and_a_script_can_tell(place: Place) -> None:
    asked = await place.evac("ok-to-stop", "node02")
    assert asked.code == 0, asked.err + asked.out
    assert asked.out.startswith("SAFE: may the 3 OSDs of node02 in ceph1 stop now?")
    assert "evac noout node02" in asked.out, "the reminder"
    plan = await place.evac("noout", "node02")
    assert plan.code == 0
    assert "Nothing has been done" in plan.out
    assert place.ceph.ceph.node_flags == {}
    done = await place.evac("noout", "NODE02.example.org", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["jobs"][0]["reason"] == "flagged noout"
    assert {name: set(flags) for name, flags in place.ceph.ceph.node_flags.items() if flags} == {
        "node02": {"noout"}
    }
    asked = await place.evac("ok-to-stop", "node02", "--json")
    verdict = asked.json["verdict"]
    assert (asked.code, verdict["answer"], verdict["osds"]) == (0, "safe", [1, 5, 9])
    undone = await place.evac("noout", "node02", "--undo", "--yes")
    assert undone.code == 0
    assert not any(place.ceph.ceph.node_flags.values())


async def test_no_not_found_and_read_only_have_codes_of_their_own(place: Place) -> None:
    await place.ceph.stop("node01")
    refused = await place.evac("ok-to-stop", "node02")
    assert refused.code == 3
    assert refused.out.startswith("NO: ")
    assert "node01" in refused.out
    nobody = await place.evac("ok-to-stop", "node9")
    assert nobody.code == 2
    assert "Near it: node0" in nobody.err
    reader = await place.evac("--read-only", "noout", "node02", "--yes")
    assert reader.code == 3
    assert not any(place.ceph.ceph.node_flags.values())
