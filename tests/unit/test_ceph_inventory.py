"""What a real Ceph 16.2.15 answered, as nouns; and what is left standing when part of it does not answer."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from msgspec.structs import replace

from backends.ceph import reading
from backends.ceph.backend import CephBackend
from backends.ceph.frames import Placement
from backends.ceph.options import Options
from evac.backend import FlagsHosts, JudgesStop, PlacesGroups, Settings
from evac.errors import BadAnswer, Forbidden, NotFound, Refused, Unreachable
from evac.fleet import Fleet
from evac.model import ClusterState, HostState, Problem
from evac.placement import fair_shares, pgs_per_osd
from evac.storage import Health, Storage
from tests.unit.ceph_wire import BACKFILL, CALM, DOWN, HOLES, OUT, Wire, counted, recorded


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def backend(wire: Wire, *, read_only: bool = False, clock: Clock | None = None) -> CephBackend:
    settings = Settings(name="lab", options=Options(), read_only=read_only)
    return CephBackend(settings, client=wire, now=clock or Clock())


async def storage(wire: Wire) -> Storage:
    found = (await backend(wire).inventory()).storage
    assert found is not None
    return found


async def test_a_calm_cluster_is_told_whole() -> None:
    answer = await backend(Wire()).inventory()
    found = answer.storage
    assert found is not None
    assert answer.problems == ()
    assert (found.health, found.pgs, found.max_pgs_per_osd, found.manager) == (Health.WARNING, 1920, 300, "x")
    assert found.release == "16.2.15 pacific"
    assert found.columns == tuple(range(1, 16))
    assert found.placed
    assert found.placed_stamp == 1000.0
    assert (len(answer.pools), len(answer.osds)) == (15, 12)
    assert not answer.hosts
    assert not answer.vms


async def test_each_osd_has_its_place_its_use_and_its_pgs() -> None:
    osds = {osd.id: osd for osd in (await backend(Wire()).inventory()).osds}
    first = osds[0]
    assert (first.name, first.crush, first.host, first.rack) == (
        "osd.0",
        ("default", "rack1", "node01"),
        "node01",
        "rack1",
    )
    assert (first.device_class, first.weight, first.up, first.inside) == ("hdd", 1.0, True, True)
    assert (first.used, first.total) == (632 * 1024, 1048576 * 1024)
    told = {node["id"]: node["pgs"] for node in json.loads(recorded(CALM, "osd_df"))["nodes"]}
    assert {osd.id: sum(osd.pgs_acting) for osd in osds.values()} == told


async def test_pools_know_where_their_rule_places_data() -> None:
    answer = await backend(Wire()).inventory()
    pool = answer.pools[0]
    assert (pool.name, pool.size, pool.min_size, pool.pg_num) == ("pool01", 3, 2, 128)
    assert (pool.rule, pool.root, pool.device_class, pool.failure_domain) == (
        "replicated_rule",
        "default",
        "",
        "host",
    )
    shares = fair_shares(answer.osds, answer.pools, (1, 2))
    assert shares[0] == pytest.approx((32.0, 32.0))


async def test_480_of_300_is_explained_with_what_to_do() -> None:
    found = await storage(Wire())
    (check,) = found.checks
    assert check.code == "TOO_MANY_PGS"
    assert "480" in check.advice
    assert "300" in check.advice
    assert "mon_max_pg_per_osd" in check.advice
    assert pgs_per_osd((await backend(Wire()).inventory()).osds) == 480


async def test_the_limit_is_read_and_never_assumed() -> None:
    wire = Wire().without("config get")
    answer = await backend(wire).inventory()
    assert answer.storage is not None
    assert answer.storage.max_pgs_per_osd is None
    assert "limit of PGs per OSD" in answer.problems[0].unaffected


async def test_a_host_that_is_down_under_noout() -> None:
    wire = Wire(DOWN)
    answer = await backend(wire).inventory()
    found = answer.storage
    assert found is not None
    assert found.node_flags == {"node01": ("noout",)}
    assert found.flags == ()
    assert [osd.id for osd in answer.osds if not osd.up] == [0, 4, 8]
    assert found.degraded == 5056
    states = {row.state: row.count for row in found.pg_states}
    assert states["active+undersized"] == 1260
    codes = {check.code: check for check in found.checks}
    assert codes["PG_UNDERSIZED"].count == 1260 + 193
    assert len(codes["PG_DEGRADED"].detail) == 50
    assert all(check.advice for check in found.checks)


async def test_recovery_is_told_with_rates_and_work_with_what_is_left() -> None:
    found = await storage(Wire(OUT))
    assert (found.degraded, found.misplaced) == (1484, 319)
    assert (found.recovery_objects, found.recovery_bytes) == (27, 111925)
    assert {one.message: one.remaining for one in found.work} == {
        "Global Recovery Event": None,
        "Rebalancing after osd.0 marked out": 86,
    }


async def test_progress_that_stands_still_is_marked_and_promises_no_time() -> None:
    """With noout Ceph goes on telling the event and a time left, though nothing is copied."""
    stale = {
        "id": "r",
        "message": "Rebalancing after osd.0 marked out",
        "progress": 0.3,
        "time_remaining": 90.0,
    }
    upgrade = {"id": "u", "message": "Upgrade to 16.2.15", "progress": 0.5, "time_remaining": 60.0}
    clock, wire = Clock(), Wire(DOWN).say("progress json", {"events": [stale, upgrade]})
    ceph = backend(wire, clock=clock)
    assert await waits(ceph) == {"r": (True, None), "u": (False, 60.0)}
    clock.at += 30
    wire.say("progress json", {"events": [{**stale, "progress": 0.4}, upgrade]})
    assert await waits(ceph) == {"r": (False, 90.0), "u": (False, 60.0)}, "it has come further"
    clock.at += 61
    assert await waits(ceph) == {"r": (True, None), "u": (False, 60.0)}


async def waits(ceph: CephBackend) -> dict[str, tuple[bool, float | None]]:
    found = (await ceph.inventory()).storage
    assert found is not None
    return {one.id: (one.waiting, one.remaining) for one in found.work}


async def test_an_osd_that_is_out_does_not_claim_to_be_empty() -> None:
    osds = {osd.id: osd for osd in (await backend(Wire(BACKFILL)).inventory()).osds}
    assert (osds[5].inside, osds[5].reweight, osds[5].used, osds[5].total) == (False, 0, None, None)
    assert sum(osds[5].pgs_up) == 0
    assert sum(osds[5].pgs_acting) == 35


async def test_places_nobody_fills_are_no_osd() -> None:
    wire = Wire(HOLES)
    wire.placed = replace(counted(HOLES), missing_up=(0,) * 15 + (32,))
    answer = await backend(wire).inventory()
    assert answer.storage is not None
    assert answer.storage.missing_up[-1] == 32
    assert max(osd.id for osd in answer.osds) == 11
    erasure = answer.pools[-1]
    assert (erasure.erasure, erasure.size, erasure.min_size) == (True, 6, 5)


async def test_without_the_progress_module_the_status_tells_what_is_under_way() -> None:
    found = await storage(Wire(BACKFILL).without("progress json"))
    assert [one.message for one in found.work] == [
        "Rebalancing after osd.5 marked out",
        "Global Recovery Event",
        "Rebalancing after osd.0 marked in",
    ]


@pytest.mark.parametrize(
    "prefix",
    ["osd df", "osd perf", "quorum_status", "mgr stat", "versions", "config get", "health", "osd dump"],
)
async def test_a_part_that_fails_leaves_the_rest_standing(prefix: str) -> None:
    answer = await backend(Wire(DOWN).without(prefix)).inventory()
    assert answer.storage is not None
    assert answer.storage.health is Health.WARNING
    assert answer.storage.pgs == 1920
    (problem,) = answer.problems
    assert problem.severity == "warning"
    assert prefix in problem.happened
    assert bool(answer.osds) is (prefix != "osd dump")


@pytest.mark.parametrize("prefix", ["osd df", "osd tree", "health", "quorum_status", "osd crush rule dump"])
@pytest.mark.parametrize("garbage", [b"", b"[[[", b'{"nodes": 7, "checks": [1]}', b"\xff\xfe\x00", b"null"])
async def test_garbage_costs_one_part(prefix: str, garbage: bytes) -> None:
    wire = Wire(DOWN)
    wire.instead[prefix] = garbage
    answer = await backend(wire).inventory()
    assert answer.storage is not None
    (problem,) = answer.problems
    assert prefix in problem.happened


async def test_a_tree_that_is_suddenly_empty_is_not_believed() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    before = await mine.inventory()
    status = json.loads(recorded(CALM, "status"))
    wire.say("status", {**status, "osdmap": {**status["osdmap"], "epoch": 91}})
    wire.say("osd tree", {})
    clock.at += 60
    after = await mine.inventory()
    assert after.osds == before.osds
    assert "names no OSD" in after.problems[0].happened


async def test_what_was_read_before_stays_when_a_part_fails_later() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    before = await mine.inventory()
    wire.without("osd df", "osd perf", "mgr stat", "config get")
    clock.at += 600
    after = await mine.inventory()
    assert after.osds == before.osds
    assert after.storage is not None
    assert after.storage.max_pgs_per_osd == 300
    assert len(after.problems) == 4


@pytest.mark.parametrize("garbage", [b"{}", b"[]", b'{"fsid": 3, "health": []}', b"no"])
async def test_a_status_without_sense_is_no_cluster(garbage: bytes) -> None:
    wire = Wire()
    wire.instead["status"] = garbage
    with pytest.raises(BadAnswer):
        await backend(wire).inventory()


async def test_without_status_nothing_is_told() -> None:
    with pytest.raises(Unreachable):
        await backend(Wire().without("status")).inventory()


async def test_rows_that_have_not_changed_stay_the_same_objects() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    first = await mine.inventory()
    clock.at += 60
    placed = counted(CALM)
    wire.placed = replace(placed, whole=False, rows={3: replace(placed.rows[3], up=(1,) * 15)})
    wire.say("osd tree", json.loads(recorded(CALM, "osd_tree")))
    second = await mine.inventory()
    changed = [new.id for old, new in zip(first.osds, second.osds, strict=True) if old is not new]
    assert changed == [3]
    assert all(old is new for old, new in zip(first.pools, second.pools, strict=True))


async def test_a_disk_that_fills_a_little_is_no_news_and_one_that_fills_is() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    first = await mine.inventory()
    usage = json.loads(recorded(CALM, "osd_df"))
    usage["nodes"][0]["kb_used"] += 10
    usage["nodes"][1]["kb_used"] += 100_000
    wire.say("osd df", usage)
    clock.at += 60
    second = await mine.inventory()
    changed = [new.id for old, new in zip(first.osds, second.osds, strict=True) if old is not new]
    assert changed == [4]


async def test_costly_parts_are_read_less_often_and_maps_when_they_change() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    assert "osd dump" in wire.prefixes()
    clock.at += 2
    await mine.inventory()
    assert sorted(wire.prefixes()) == ["health", "placement", "progress json", "status"]
    status = json.loads(recorded(CALM, "status"))
    wire.say("status", {**status, "osdmap": {**status["osdmap"], "epoch": 91}})
    clock.at += 2
    await mine.inventory()
    assert {"osd dump", "osd tree"} <= set(wire.prefixes())


async def test_a_healthy_cluster_is_not_asked_for_details() -> None:
    status = json.loads(recorded(CALM, "status"))
    wire = Wire().say("status", {**status, "health": {"status": "HEALTH_OK", "checks": {}}})
    found = await storage(wire)
    assert found.health is Health.OK
    assert "health" not in wire.prefixes()


async def test_reasons_of_an_earlier_look_are_not_shown_when_the_details_cannot_be_read() -> None:
    wire, clock = Wire(DOWN), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    status = json.loads(recorded(CALM, "status"))
    wire.say("status", status).without("health")
    clock.at += 60
    found = (await mine.inventory()).storage
    assert found is not None
    assert [check.code for check in found.checks] == ["TOO_MANY_PGS"]


async def test_a_muted_reason_is_shown_as_muted_and_last() -> None:
    held = json.loads(recorded(DOWN, "health_detail"))
    held["checks"]["OSD_DOWN"]["muted"] = True
    found = await storage(Wire(DOWN).say("health", held))
    assert found.checks[-1].code == "OSD_DOWN"
    assert found.checks[-1].muted


# --- placement that cannot be believed --------------------------------------------------------------------------


async def doubted(wire: Wire, mine: CephBackend) -> Storage:
    answer = await mine.inventory()
    assert answer.storage is not None
    assert [sum(osd.pgs_up) for osd in answer.osds][:3] == [514, 505, 460]
    assert answer.storage.placed
    return answer.storage


async def test_a_manager_that_has_just_started_does_not_empty_the_map() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    clock.at += 60
    wire.placed = replace(counted(CALM), ready=False, rows={}, pgs=(0,) * 15)
    found = await doubted(wire, mine)
    assert "just started" in found.placed_doubt
    assert found.placed_stamp == 1000.0
    clock.at += 60
    wire.placed = None
    found = await doubted(wire, mine)
    assert found.placed_doubt == ""
    assert found.placed_stamp == 1120.0


async def test_a_dump_with_too_few_pgs_is_not_believed() -> None:
    wire = Wire()
    wire.placed = replace(counted(CALM), pgs=(10,) * 15)
    found = await storage(wire)
    assert "150 of 1920" in found.placed_doubt
    assert not found.placed


async def test_without_a_manager_counts_stay_and_nobody_is_asked() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    clock.at += 60
    wire.prefixes()
    status = json.loads(recorded(CALM, "status"))
    wire.say("status", {**status, "mgrmap": {"available": False}})
    wire.say("mgr stat", {"available": False, "active_name": ""})
    found = await doubted(wire, mine)
    assert "no manager" in found.placed_doubt
    assert found.manager == ""
    assert not {"placement", "osd df", "osd perf", "progress json"} & set(wire.prefixes())


async def test_a_placement_that_is_not_answered_is_a_doubt_and_a_problem() -> None:
    wire, clock = Wire(), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    clock.at += 60
    wire.placed = Unreachable(Problem(happened="lab: pg dump was not answered."))
    found = await doubted(wire, mine)
    assert "older" in found.placed_doubt


class HangingManager(Wire):
    """Its manager keeps everybody waiting for half a minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.hangs = clock, False

    async def placement(self) -> Placement:
        if self.hangs:
            self.clock.at += 30
            raise Unreachable(Problem(happened="lab: pg dump was not answered."))
        return await super().placement()


async def test_a_new_manager_is_asked_at_once_however_long_the_former_one_hung() -> None:
    clock = Clock()
    wire = HangingManager(clock)
    mine = backend(wire, clock=clock)
    await mine.inventory()
    wire.hangs = True
    clock.at += 60
    assert (await doubted(wire, mine)).placed_doubt
    wire.hangs = False
    wire.say("mgr stat", {"epoch": 5, "available": True, "active_name": "x"})
    clock.at += 12
    await mine.inventory()
    clock.at += 2
    found = (await mine.inventory()).storage
    assert found is not None
    assert found.placed_doubt == ""
    assert found.placed_stamp == clock.at


class SilentManager(Wire):
    """Its manager does not answer until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()

    async def placement(self) -> Placement:
        await self.answers.wait()
        return await super().placement()


async def test_a_manager_that_hangs_does_not_hold_up_what_the_monitors_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.01)
    wire, clock = SilentManager(), Clock()
    mine = backend(wire, clock=clock)
    await mine.inventory()
    wire.answers.clear()
    clock.at += 60
    assert (await doubted(wire, mine)).placed_doubt == "", "it may just be slow"
    wire.say("versions", {"overall": {"ceph version 17.2.9 (abc) quincy (stable)": 3}})
    clock.at += 400
    found = await doubted(wire, mine)
    assert found.release == "17.2.9 quincy", "read from the monitors all the while"
    assert "not answered for 400 s" in found.placed_doubt
    wire.answers.set()
    found = await doubted(wire, mine)
    assert found.placed_doubt == ""
    await mine.close()


# --- a noout that was forgotten ---------------------------------------------------------------------------------


async def test_noout_that_stands_while_nothing_is_down_is_told_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_795_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    wire = Wire().change("osd dump", crush_node_flags={"node01": ["noout"]})
    clock = Clock()
    mine = backend(wire, clock=clock)
    assert (await mine.inventory()).problems == ()
    now[0] += 601
    first = (await mine.inventory()).problems
    now[0] += 60
    assert (await mine.inventory()).problems == first, "an age in it would make it news at every poll"
    (problem,) = first
    assert "node01" in problem.happened
    assert "2026-11-18 11:06 UTC" in problem.happened
    assert "evac noout node01 --undo" in problem.next_step
    assert problem.severity == "warning"


async def test_a_forgotten_noout_of_a_rack_is_taken_back_by_a_command_that_takes_racks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_795_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    mine = backend(Wire().change("osd dump", crush_node_flags={"rack1": ["noout"]}))
    await mine.inventory()
    now[0] += 601
    (problem,) = (await mine.inventory()).problems
    assert "ceph osd unset-group noout rack1" in problem.next_step


async def test_noout_of_a_host_that_is_down_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_795_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    mine = backend(Wire(DOWN))
    await mine.inventory()
    now[0] += 3600
    assert (await mine.inventory()).problems == ()


# --- hosts, flags, groups ---------------------------------------------------------------------------------------


async def test_a_crush_host_is_read_afresh_with_its_flags_and_identity() -> None:
    mine = backend(Wire(DOWN))
    host = await mine.host("node01")
    assert host is not None
    assert host.flags == ("noout",)
    assert host.state is HostState.DOWN
    assert host.uuid == "818a4655-88bd-425e-9943-d4feae23ccb0/-13"
    other = await mine.host("node02")
    assert other is not None
    assert (other.flags, other.state) == ((), HostState.UP)


@pytest.mark.parametrize("name", ["rack1", "default", "osd.0", "node0", "NODE01", ""])
async def test_a_rack_a_root_or_an_osd_is_no_host(name: str) -> None:
    assert await backend(Wire()).host(name) is None
    with pytest.raises(NotFound):
        await backend(Wire()).set_noout(name)


async def test_noout_is_set_for_exactly_one_host() -> None:
    wire = Wire().say("osd set-group", None).say("osd unset-group", None)
    mine = backend(wire)
    await mine.set_noout("node02")
    await mine.unset_noout("node02")
    assert [entry for entry in wire.asked if "group" in entry[1]] == [
        ("mon", "osd set-group", {"flags": "noout", "who": ["node02"]}),
        ("mon", "osd unset-group", {"flags": "noout", "who": ["node02"]}),
    ]


async def test_noout_is_certainly_not_set_when_the_host_cannot_be_looked_up() -> None:
    wire = Wire().without("osd tree")
    with pytest.raises(Refused) as refused:
        await backend(wire).set_noout("node01")
    assert "nothing was done" in refused.value.problem.happened
    assert "osd set-group" not in wire.prefixes()


async def test_a_right_that_is_missing_is_remembered() -> None:
    wire = Wire()
    wire.instead["osd set-group"] = Forbidden(Problem(happened="lab: client.evac may not set noout."))
    mine = backend(wire)
    assert all(one.able for one in await mine.capabilities())
    with pytest.raises(Forbidden):
        await mine.set_noout("node01")
    able = {one.action: one for one in await mine.capabilities()}
    assert not able["set_noout"].able
    assert "may not" in able["set_noout"].why_not


async def test_read_only_can_set_nothing() -> None:
    able = await backend(Wire(), read_only=True).capabilities()
    assert {one.action for one in able} == {"set_noout", "unset_noout"}
    assert all(not one.able and "read-only" in one.why_not for one in able)


async def test_groups_of_an_osd_are_those_that_lie_there_and_those_on_their_way() -> None:
    mine = backend(Wire(BACKFILL))
    leaving = await mine.groups(5)
    assert len(leaving) == 35
    assert all(5 in one.acting and 5 not in one.up for one in leaving)
    rows = counted(BACKFILL).rows
    arriving = next(osd for osd, row in rows.items() if sum(row.arriving))
    found = await mine.groups(arriving)
    assert len(found) == sum(rows[arriving].acting) + sum(rows[arriving].arriving)
    assert [one.id for one in found] == sorted(
        (one.id for one in found), key=lambda pg: (int(pg.split(".")[0]), int(pg.split(".")[1], 16))
    )


async def test_groups_of_one_pool_and_of_an_unknown_osd() -> None:
    mine = backend(Wire())
    found = await mine.groups(0, 3)
    assert len(found) == 35
    assert {one.id.split(".")[0] for one in found} == {"3"}
    with pytest.raises(NotFound):
        await mine.groups(99)


async def test_it_has_the_capabilities_it_names_and_says_where_it_is() -> None:
    mine = backend(Wire())
    assert isinstance(mine, FlagsHosts)
    assert isinstance(mine, PlacesGroups)
    assert isinstance(mine, JudgesStop)
    assert "client.evac" in mine.describe()["endpoint"]
    await mine.inventory()
    assert mine.describe()["version"] == "Ceph 16.2.15 pacific"


async def test_the_fleet_is_told_of_changed_rows_only() -> None:
    fleet, wire, clock = Fleet(), Wire(), Clock()
    mine = backend(wire, clock=clock)
    state = ClusterState(name="lab", kind="ceph")
    fleet.absorb(state, await mine.inventory(), began=1.0)
    rev = fleet.rev
    clock.at += 60
    placed = counted(CALM)
    wire.placed = replace(placed, whole=False, rows={3: replace(placed.rows[3], up=(1,) * 15)})
    fleet.absorb(state, await mine.inventory(), began=2.0)
    assert [osd.id for osd in fleet.delta(rev).osds] == [3]
    assert fleet.delta(rev).pools == ()
