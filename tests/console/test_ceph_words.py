"""What the console says of a Ceph cluster: its ailments as problems, counts of rows, names that stay apart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.fleet import Fleet
from evac.placement import is_out
from evac.storage import Health, HealthCheck, PGState, Work
from tests.console.cephfleet import ceph_fleet
from tests.console.fleetsource import cluster
from tests.console.harness import running
from tui.abbreviated import abbreviated
from tui.text import clean, width

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


STALE = (Work(id="1", message="Rebalancing after osd.3 marked out", done=0.34, waiting=True),)
"""What Ceph goes on telling while noout keeps it from copying anything."""


@pytest.mark.parametrize("wide", [80, 120])
async def test_progress_that_stands_still_is_said_to_wait_and_promises_no_time(wide: int) -> None:
    short = (PGState(state="active+clean", count=1900), PGState(state="active+undersized", count=20))
    held = ceph_fleet(work=STALE, recovery_bytes=None, pg_states=short)
    async with running(held, size=(wide, 40)) as run:
        await run.press("6")
        assert "recovery waits" in run.text()
        assert "34%" in run.text()
        assert " left" not in run.text()
        assert ("nothing is being copied" in run.text()) is (wide >= 120)
        busy = msgspec.structs.replace(
            run.fleet.table("storages")["ceph1"],
            work=(msgspec.structs.replace(STALE[0], waiting=False, remaining=302.0),),
            recovery_bytes=84e6,
        )
        run.fleet.publish(storages=[busy])
        await run.settled()
        run.console.main.redraw()
        await run.pilot.pause()
        assert "recovery waits" not in run.text()
        assert "34%, 5 m 02 s left" in run.text()


async def test_missing_shards_are_no_osd_in_any_count() -> None:
    async with running(ceph_fleet(missing_acting=(0,) * 14 + (9,)), size=(120, 40)) as run:
        await run.press("6", "g")
        assert "! holes" in run.text().replace("▲", "!")
        assert "  12 OSDs" in run.text()
        assert "1/12" in run.text()
        await run.press("G")
        assert run.console.grid.cursor == "ceph1/missing"
        assert "-/12" in run.text()
        await run.press("/", *"osd", "enter")
        assert "12 of 12 OSDs" in run.text()


async def test_how_old_the_figures_are_is_said_once_above_the_map() -> None:
    async with running(ceph_fleet(), size=(160, 40)) as run:
        await run.press("6")
        head = "\n".join(run.text().splitlines()[:8])
        assert head.count("ceph1 ✓ fresh") == 1
        assert head.count("fresh") == 2, "one of the cloud, one of the Ceph cluster"


async def test_min_and_avg_of_the_sums_and_of_a_pool_are_of_the_same_osds() -> None:
    """osd.5 drains: it is out, so it is no measure of the others, though what lies on it is in every sum."""
    async with running(ceph_fleet(), size=(200, 50)) as run:
        await run.press("6")
        osds = run.fleet.table("osds").values()
        rows = {osd.id: osd.pgs_acting for osd in osds}
        inside = [row for osd, row in rows.items() if osd != 5]
        sums = run.console.grid.row_stats
        assert sums is not None
        assert sums.total == sum(map(sum, rows.values()))
        assert (sums.least, sums.most) == (min(map(sum, inside)), max(map(sum, inside)))
        assert sums.mean == pytest.approx(sum(map(sum, inside)) / 11)
        for place in range(15):
            column = run.console.grid.stats(place)
            assert column is not None
            assert column.total == sum(row[place] for row in rows.values())
            assert column.mean == pytest.approx(sum(row[place] for row in inside) / 11)
        means = [column.mean for place in range(15) if (column := run.console.grid.stats(place))]
        assert sum(means) == pytest.approx(sums.mean)
        await run.press("m")
        up = run.console.grid.row_stats
        assert up is not None
        assert up.least > 0, "an OSD that is out and empty has no part in it either"


async def test_the_sums_follow_what_changes_comes_goes_and_is_filtered() -> None:
    """They are kept row by row: after any news they are those of the rows on show."""
    async with running(ceph_fleet(), size=(200, 50)) as run:
        await run.press("6")
        grid, fleet = run.console.grid, run.fleet
        osds = dict(fleet.table("osds"))
        first, second, third, *_ = osds.values()

        def right() -> None:
            rows = [fleet.table("osds")[key] for key in grid.order]
            kept = [osd for osd in rows if not is_out(osd)]
            for place in range(15):
                column = grid.stats(place)
                assert column is not None
                assert column.total == sum(osd.pgs_acting[place] for osd in rows)
                assert column.least == min(osd.pgs_acting[place] for osd in kept)
                assert column.most == max(osd.pgs_acting[place] for osd in kept)
            assert grid.row_stats is not None
            assert grid.row_stats.total == sum(sum(osd.pgs_acting) for osd in rows)

        right()
        more = msgspec.structs.replace(first, pgs_acting=(900, *first.pgs_acting[1:]))
        fleet.publish(osds=[more])
        await run.settled()
        right()
        fleet.publish(osds=[msgspec.structs.replace(second, reweight=0.0)])
        await run.settled()
        right()
        await run.press("/", *f"!{third.name}", "enter")
        right()
        fleet.publish(osds=[first])
        await run.settled()
        assert len(grid.order) < len(osds)
        right()


async def test_where_all_clusters_store_the_console_opens_on_the_map_unless_another_pane_was_asked_for() -> (
    None
):
    lab = cluster("ceph1", kind="ceph", stores=True)
    fleet = ceph_fleet(fleet=Fleet())
    fleet.publish(clusters=[lab])
    async with running(fleet) as run:
        await run.pilot.pause()
        assert run.console.board.pane.name == "ceph"
        assert "osd.0" in run.text()
        await run.press("1")
        fleet.publish(clusters=[msgspec.structs.replace(lab, took=1.0)])
        await run.settled()
        assert run.console.board.pane.name == "hosts"
    fleet.publish(clusters=[cluster("fra")])
    async with running(fleet) as run:
        assert run.console.board.pane.name == "hosts", "there is a cloud as well"


def test_names_that_would_be_cut_alike_keep_what_tells_them_apart() -> None:
    pools = tuple(f"pool{number:02d}" for number in range(1, 16))
    short = abbreviated(("rbd", "volumes", *pools), 4, False)
    assert short["rbd"] == "rbd"
    assert short["volumes"] == "vol…", "none other is cut so"
    assert short["pool07"] == "…l07"
    assert len(set(short.values())) == len(short)
    ends = abbreviated(("cephfs_a_data", "cephfs_b_data"), 8, True)
    assert set(ends.values()) == {"~_a_data"[-8:], "~_b_data"[-8:]}
    middle = abbreviated(("cephfs_data", "cephfs_metadata"), 4, False)
    assert set(middle.values()) == {"…dat", "…met"}
    both = abbreviated(("pool-a-hdd", "pool-b-hdd", "pool-a-ssd", "pool-b-ssd"), 5, False)
    assert all(width(text) <= 5 for text in both.values())
    assert len(set(both.values())) == 4


@given(st.lists(st.text(max_size=12), unique=True, max_size=12), st.integers(1, 9), st.booleans())
def test_abbreviated_names_always_fit(names: list[str], cells: int, ascii_only: bool) -> None:
    short = abbreviated(tuple(clean(name, ascii_only) for name in names), cells, ascii_only)
    assert all(width(text) <= cells for text in short.values())


async def test_pools_named_alike_are_told_apart_at_80_columns() -> None:
    fleet = ceph_fleet()
    fleet.publish(
        pools=[
            msgspec.structs.replace(pool, name=f"pool{pool.id:02d}") for pool in fleet.table("pools").values()
        ]
    )
    async with running(fleet) as run:
        await run.press("6")
        names, ids = (line.split() for line in run.text().splitlines()[6:8])
        assert names[:3] == ["…l01", "…l02", "…l03"]
        assert ids[-len(names) :][:3] == ["1", "2", "3"]


async def test_states_of_hosts_and_racks_are_whole_words() -> None:
    async with running(ceph_fleet()) as run:
        await run.press("6", "Z")
        lines = {line.split()[0]: line for line in run.text().splitlines() if line.startswith("node")}
        assert "✗ 1/3 down" in lines["node02"], "osd.3 is down, osd.5 drains"
        down = run.fleet.table("osds")["ceph1/3"]
        run.fleet.publish(osds=[msgspec.structs.replace(down, up=True)])
        await run.settled()
        line = next(line for line in run.text().splitlines() if line.startswith("node02"))
        assert "→ 1 drain " in line
        assert "▲3 " in line
        assert "…" not in line
        assert ">300" in run.text()
