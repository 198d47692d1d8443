"""A real cluster through evac's own figures: the matrix, its health, a host that goes and comes back, a drain."""

from __future__ import annotations

from evac.api import Delta
from evac.storage import Health
from tests.real.ceph import daemons, state
from tests.real.ceph.layout import ERASURE, OSDS, PGS, POOLS, RACKS, osds_of
from tests.real.ceph.oneliner import oneliner
from tests.real.ceph.rig import CephRig, checks, osds, states, storage, table
from tests.real.ceph.witness import Witness
from tests.real.ceph.witness import ceph as ceph_command

CLEAN = {"active+clean": PGS}


async def test_the_matrix_equals_the_corrected_one_liner_and_osd_df(ceph: Witness, ceph_rig: CephRig) -> None:
    """Cell for cell against mawk on the text of `ceph pg dump`, row for row against `osd df`."""
    await ceph_rig.start()
    delta = await ceph_rig.read()
    assert table(delta) == oneliner(ceph_command("pg", "dump"))
    df = {one["id"]: one["pgs"] for one in ceph.ask("osd df")["nodes"]}
    assert {number: sum(row.values()) for number, row in table(delta, "pgs_acting").items()} == df
    primaries = [0] * (len(POOLS) + 1)
    for one in delta.osds:
        primaries = [sum(pair) for pair in zip(primaries, one.pgs_primary, strict=True)]
    assert primaries == [pool.pg_num for pool in sorted(delta.pools, key=lambda pool: pool.id)]


async def test_osds_and_pools_are_those_of_the_crush_map(ceph_rig: CephRig) -> None:
    await ceph_rig.start()
    delta = await ceph_rig.read()
    homes = {number: one.crush for number, one in osds(delta).items()}
    racks = {host: rack for rack, hosts in RACKS.items() for host in hosts}
    assert homes == {number: ("default", racks[host], host) for number, host in OSDS.items()}
    pools = {one.name: (one.erasure, one.size, one.min_size, one.failure_domain) for one in delta.pools}
    assert pools == {**dict.fromkeys(POOLS, (False, 3, 2, "host")), ERASURE: (True, 3, 2, "host")}


async def test_too_many_pgs_per_osd_comes_with_advice(ceph_rig: CephRig) -> None:
    """In the cluster's own words, with its own limit, and what to do."""
    await ceph_rig.start()
    delta = await ceph_rig.read()
    found = checks(delta)["TOO_MANY_PGS"]
    assert found.summary == "too many PGs per OSD (480 > max 300)"
    assert "mon_max_pg_per_osd" in found.advice
    assert "Add OSDs" in found.advice
    assert (storage(delta).health, storage(delta).max_pgs_per_osd) == (Health.WARNING, 300)


async def test_a_host_that_stops_and_comes_back_is_seen_in_every_figure(
    ceph: Witness, ceph_rig: CephRig
) -> None:
    """Down, degraded and undersized while it is away; no data moves, since noout is set; then clean again."""
    ceph.ask("osd set-group", flags="noout", who=["node01"])
    await ceph_rig.start()
    before = await ceph_rig.read()
    gone = set(osds_of("node01"))
    daemons.stop_osds(gone)
    delta = await ceph_rig.until(
        "the host is seen down and its PGs have peered", lambda delta: _lost(delta, gone), 90
    )
    assert {"OSD_DOWN", "OSD_HOST_DOWN", "PG_DEGRADED"} <= checks(delta).keys()
    assert not any(osds(delta)[number].pgs_acting for number in gone if osds(delta)[number].pgs_acting), (
        "nothing there"
    )
    assert all(osds(delta)[number].inside for number in gone), "noout keeps them in"
    rest = {number: row for number, row in table(delta).items() if number not in gone}
    assert rest == oneliner(ceph_command("pg", "dump"))
    daemons.start_osds(gone)
    delta = await ceph_rig.until("clean again", lambda delta: states(delta) == CLEAN, 90)
    delta = await ceph_rig.until("the same matrix", lambda delta: table(delta) == table(before), 30)
    assert {number for number, one in osds(delta).items() if one.up} == set(OSDS)
    assert storage(delta).degraded == 0


def _lost(delta: Delta, gone: set[int]) -> bool:
    down = {number for number, one in osds(delta).items() if not one.up}
    seen = " ".join(states(delta))
    settled = "peering" not in seen and "activating" not in seen
    return down == gone and settled and "undersized+degraded" in seen and (storage(delta).degraded or 0) > 0


async def test_a_drain_shows_what_leaves_and_what_arrives(ceph: Witness, ceph_rig: CephRig) -> None:
    """osd.5 is out: nothing shall lie there ("up"), some still does ("acting"), and the difference shrinks to none."""
    await ceph_rig.start()
    before = await ceph_rig.read()
    state.pace(ceph, state.SLOW)
    ceph.ask("osd out", ids=["5"])
    delta = await ceph_rig.until("PGs that leave osd.5", _drains, 60)
    leaving = sum(table(delta, "pgs_acting").get(5, {}).values())
    arriving = sum(sum(one.pgs_arriving) for one in delta.osds)
    assert arriving >= leaving > 0
    assert sum(sum(row.values()) for row in table(delta).values()) == PGS * 3, (
        "every PG has a new place already"
    )
    delta = await ceph_rig.until("the work and how far it is", _works, 60)
    assert 0 <= next(one.done for one in storage(delta).work if "osd.5" in one.message) < 1
    state.pace(ceph, state.FAST)
    await ceph_rig.until(
        "drained", lambda delta: states(delta) == CLEAN and 5 not in table(delta, "pgs_acting"), 120
    )
    ceph.ask("osd in", ids=["5"])
    await ceph_rig.until(
        "as before", lambda delta: states(delta) == CLEAN and table(delta) == table(before), 120
    )


def _drains(delta: Delta) -> bool:
    found = table(delta)
    return not osds(delta)[5].inside and 5 not in found and 5 in table(delta, "pgs_acting")


def _works(delta: Delta) -> bool:
    return (storage(delta).misplaced or 0) > 0 and any("osd.5" in one.message for one in storage(delta).work)
