"""May this host's OSDs stop? Never "safe" when something says no, and never when something was not seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.ceph import shapes
from backends.ceph.addresses import ip_of
from backends.ceph.crush import Place
from backends.ceph.gather import Gatherer
from backends.ceph.points import Look
from backends.ceph.safety import judge
from evac.errors import NotFound
from evac.noun import Finding
from evac.storage import PG, Monitor, StopAnswer, StopVerdict, Work
from tests.unit.ceph_wire import BACKFILL, CALM, DOWN, Wire, recorded

GIB = 1 << 30


def place(number: int, *, host: str = "", **fields: Any) -> Place:
    host = host or f"node{number % 4}"
    held: dict[str, Any] = {
        "id": number,
        "name": f"osd.{number}",
        "crush": ("default", host),
        "host": host,
        "rack": "",
        "device_class": "hdd",
        "weight": 1.0,
        "reweight": 1.0,
        "status": "up",
        "exists": True,
    }
    return Place(**{**held, **fields})


PLACES = {number: place(number) for number in range(12)}
GROUPS = tuple(
    PG(id=f"1.{seed:x}", state="active+clean", up=osds, acting=osds)
    for seed, osds in enumerate([(0, 1, 2), (4, 5, 6), (8, 9, 10), (0, 5, 10)])
)


def status(**fields: Any) -> shapes.Status:
    held = {
        "fsid": "f",
        "health": shapes.HealthAnswer(status="HEALTH_OK"),
        "mgrmap": shapes.MgrStat(available=True),
        "pgmap": shapes.PGMapStat(num_pgs=128, pgs_by_state=(shapes.StateCount("active+clean", 128),)),
        **fields,
    }
    return shapes.Status(**held)


def states(**counts: Any) -> shapes.Status:
    extra = {name: counts.pop(name) for name in list(counts) if name.endswith("_objects")}
    rows = tuple(shapes.StateCount(name.replace("__", "+"), count) for name, count in counts.items())
    return status(pgmap=shapes.PGMapStat(num_pgs=128, pgs_by_state=rows, **extra))


def dump(**fields: Any) -> shapes.OSDDump:
    pools = (shapes.PoolAnswer(pool=1, pool_name="vms", size=3, min_size=2, pg_num=128),)
    held = {"fsid": "f", "pools": pools, "flags_set": (), "crush_node_flags": {"node0": ("noout",)}, **fields}
    return shapes.OSDDump(**held)


SAFE = Look(
    cluster="lab",
    host="node0",
    at=1.0,
    places=PLACES,
    osds=(0, 4, 8),
    status=status(),
    dump=dump(),
    answer=shapes.OkToStop(ok_to_stop=True, osds=(0, 4, 8), num_ok_pgs=4),
    groups=GROUPS,
    monitors=tuple(Monitor(name=name, host=f"mon-{name}", in_quorum=True) for name in "abc"),
    usage=dict.fromkeys(range(12), (10 * GIB, 100 * GIB)),
)


def found(verdict: StopVerdict, check: str) -> Finding:
    return next(one for one in verdict.findings if one.check == check)


def test_a_calm_cluster_with_noout_lets_a_host_go() -> None:
    verdict = judge(SAFE)
    assert verdict.answer is StopAnswer.SAFE, verdict.findings
    assert verdict.osds == (0, 4, 8)
    assert all(one.ok for one in verdict.findings)


# --- no -----------------------------------------------------------------------------------------------------------


def test_cephs_own_no_is_a_no() -> None:
    answer = shapes.OkToStop(ok_to_stop=False, osds=(0, 4, 8), num_not_ok_pgs=1001)
    verdict = judge(replace(SAFE, answer=answer))
    assert verdict.answer is StopAnswer.NO
    assert "1001" in found(verdict, "ok-to-stop").detail


def test_a_pool_that_would_fall_under_min_size_is_named() -> None:
    pools = (shapes.PoolAnswer(pool=1, pool_name="vms", size=2, min_size=2),)
    two = tuple(replace(one, up=one.up[:2], acting=one.acting[:2]) for one in GROUPS)
    verdict = judge(replace(SAFE, dump=dump(pools=pools), groups=two))
    assert verdict.answer is StopAnswer.NO
    line = found(verdict, "min_size")
    assert "vms (4)" in line.detail
    assert "size = min_size" in line.fix


def test_shards_of_an_erasure_coded_pool_count_and_holes_do_not() -> None:
    pools = (shapes.PoolAnswer(pool=1, pool_name="ec", type=3, size=4, min_size=3),)
    whole = PG(id="1.0", state="active+clean", up=(0, 1, 2, 3), acting=(0, 1, 2, 3))
    holed = replace(whole, acting=(0, 1, 2, None))
    fine = replace(SAFE, dump=dump(pools=pools), groups=(whole,), answer=replace(ok(), num_ok_pgs=1))
    assert judge(fine).answer is StopAnswer.SAFE
    assert judge(replace(fine, groups=(holed,))).answer is StopAnswer.NO


def ok() -> shapes.OkToStop:
    assert SAFE.answer is not None
    return SAFE.answer


def test_a_copy_on_an_osd_that_is_down_does_not_count() -> None:
    places = {**PLACES, 1: replace(PLACES[1], status="down", reweight=0.0)}
    places[2] = replace(PLACES[2], status="down", reweight=0.0)
    assert found(judge(replace(SAFE, places=places)), "min_size").ok is False


def test_losing_the_quorum_is_a_no_and_a_spare_monitor_is_fine() -> None:
    one_of_three = replace(SAFE, monitors_here=("a",))
    assert judge(one_of_three).answer is StopAnswer.SAFE
    assert "no other monitor may fail" in found(judge(one_of_three), "monitors").detail
    assert SAFE.monitors is not None
    short = (*SAFE.monitors[:2], replace(SAFE.monitors[2], in_quorum=False))
    verdict = judge(replace(one_of_three, monitors=short))
    assert verdict.answer is StopAnswer.NO
    assert "1 of 3 would be left, 2 are needed" in found(verdict, "monitors").detail
    alone = replace(SAFE, monitors=SAFE.monitors[:1], monitors_here=("a",))
    assert judge(alone).answer is StopAnswer.NO


def test_another_host_that_is_down_stands_against_it() -> None:
    places = {**PLACES, 5: replace(PLACES[5], status="down")}
    verdict = judge(replace(SAFE, places=places))
    assert verdict.answer is StopAnswer.NO
    assert "node1" in found(verdict, "other hosts").detail


def test_an_osd_that_died_long_ago_and_is_out_does_not() -> None:
    places = {**PLACES, 7: replace(PLACES[7], status="down", reweight=0.0)}
    assert judge(replace(SAFE, places=places)).answer is StopAnswer.SAFE


def test_noout_of_another_host_means_somebody_is_at_work_there() -> None:
    verdict = judge(replace(SAFE, dump=dump(crush_node_flags={"node0": ("noout",), "node3": ("noout",)})))
    assert verdict.answer is StopAnswer.NO
    assert "node3" in found(verdict, "other hosts").detail


@pytest.mark.parametrize("flag", ["noup", "nodown", "pause", "full"])
def test_a_flag_that_keeps_osds_from_coming_back_is_a_no(flag: str) -> None:
    verdict = judge(replace(SAFE, dump=dump(flags_set=(flag, "noout"))))
    assert verdict.answer is StopAnswer.NO
    assert flag in found(verdict, "flags").fix


def test_a_cluster_in_error_is_a_no_with_its_reason_muted_or_not() -> None:
    check = shapes.Check(severity="HEALTH_ERR", muted=True)
    verdict = judge(
        replace(
            SAFE, status=status(health=shapes.HealthAnswer(status="HEALTH_WARN", checks={"OSD_FULL": check}))
        )
    )
    assert verdict.answer is StopAnswer.NO
    assert "OSD_FULL" in found(verdict, "health").detail


def test_without_noout_the_data_must_fit_on_the_others() -> None:
    bare = replace(SAFE, dump=dump(crush_node_flags={}))
    roomy = judge(bare)
    assert roomy.answer is StopAnswer.SAFE
    line = found(roomy, "noout")
    assert "30.0 GiB" in line.detail
    assert line.fix == "evac noout node0"
    full = dict.fromkeys(range(12), (80 * GIB, 100 * GIB))
    assert judge(replace(bare, usage=full)).answer is StopAnswer.NO
    assert judge(replace(SAFE, usage=full)).answer is StopAnswer.SAFE, "with noout nothing is copied"


def test_data_of_one_class_fits_on_disks_of_that_class_only() -> None:
    places = {n: replace(one, device_class="ssd" if n % 4 == 0 else "hdd") for n, one in PLACES.items()}
    verdict = judge(replace(SAFE, places=places, dump=dump(crush_node_flags={})))
    assert "no other OSD" in found(verdict, "noout").detail


@pytest.mark.parametrize(
    "where",
    [
        {"flags_set": ("noout",)},
        {"crush_node_flags": {"default": ("noout",)}},
        {"device_class_flags": {"hdd": ("noout",)}},
        {"osds": tuple(shapes.OSDState(osd=n, state=("exists", "up", "noout")) for n in (0, 4, 8))},
    ],
)
def test_noout_counts_wherever_it_is_set(where: dict[str, Any]) -> None:
    verdict = judge(replace(SAFE, usage=None, dump=dump(**{"crush_node_flags": {}, **where})))
    assert found(verdict, "noout").ok


def test_unfound_objects_and_pgs_that_are_down_are_a_no() -> None:
    assert judge(replace(SAFE, status=states(active__clean=128, unfound_objects=2))).answer is StopAnswer.NO
    assert judge(replace(SAFE, status=states(active__clean=127, down=1))).answer is StopAnswer.NO
    assert (
        judge(replace(SAFE, status=states(active__clean=127, stale__active__clean=1))).answer is StopAnswer.NO
    )


def test_missing_copies_that_nobody_makes_are_a_no() -> None:
    verdict = judge(replace(SAFE, status=states(active__clean=100, active__undersized=28)))
    assert verdict.answer is StopAnswer.NO
    assert "nothing is being copied" in found(verdict, "recovery").detail


def test_recovery_that_is_held_up_by_a_flag_does_not_pass_by_itself() -> None:
    held = replace(
        SAFE,
        status=states(active__recovering__degraded=28, active__clean=100, degraded_objects=5),
        dump=dump(flags_set=("norecover",)),
    )
    verdict = judge(held)
    assert verdict.answer is StopAnswer.NO
    assert "ceph osd unset norecover" in found(verdict, "recovery").fix


def test_pgs_that_are_whole_in_another_place_stand_against_nothing() -> None:
    calm = replace(SAFE, status=states(active__clean=100, active__clean__remapped=28))
    assert judge(calm).answer is StopAnswer.SAFE


def test_pgs_that_a_new_manager_does_not_know_are_unknown() -> None:
    verdict = judge(replace(SAFE, status=states(active__clean=100, unknown=28)))
    assert verdict.answer is StopAnswer.UNKNOWN
    assert found(verdict, "availability").ok is None


def test_one_of_a_kind_is_told_as_one() -> None:
    alone = replace(
        SAFE,
        osds=(0,),
        places={**PLACES, **{n: place(n, host="other") for n in (4, 8)}},
        answer=shapes.OkToStop(ok_to_stop=True, osds=(0,), num_ok_pgs=2),
        monitors=(Monitor(name="a", host="mon-a", in_quorum=True),),
    )
    verdict = judge(alone)
    assert found(verdict, "monitors").detail == "the only monitor runs elsewhere"
    assert "for its 1 OSD:" in found(verdict, "ok-to-stop").detail
    gone = {**PLACES, 1: place(1, status="down")}
    assert "1 OSD is down elsewhere" in found(judge(replace(SAFE, places=gone)), "other hosts").detail
    here = judge(replace(SAFE, monitors_here=("a",), monitors=SAFE.monitors and SAFE.monitors[:1]))
    assert found(here, "monitors").detail.endswith("0 of 1 would be left, 1 is needed")


def test_what_passes_by_itself_is_told_apart_from_what_stands_against_it() -> None:
    busy = judge(replace(SAFE, status=states(active__clean=100, active__recovering__degraded=28)))
    assert found(busy, "recovery").passes
    short = judge(replace(SAFE, status=states(active__clean=100, active__undersized=28)))
    assert not found(short, "recovery").passes


# --- not yet ------------------------------------------------------------------------------------------------------


def test_recovery_that_runs_is_not_yet_with_how_long() -> None:
    busy = replace(
        SAFE,
        status=states(active__clean=100, active__recovering__degraded=28, degraded_objects=500),
        work=(Work(id="w", message="Rebalancing", done=0.3, remaining=86.0),),
    )
    verdict = judge(busy)
    assert (verdict.answer, verdict.wait) == (StopAnswer.NOT_YET, 86.0)
    assert "86 s left" in found(verdict, "recovery").detail
    assert "500 object copies missing" in found(verdict, "recovery").detail


def test_a_no_that_recovery_will_end_is_not_yet() -> None:
    groups = (replace(GROUPS[0], acting=(0, 1), state="active+undersized+degraded+backfilling"),)
    busy = replace(
        SAFE,
        status=states(active__clean=100, active__undersized__degraded__backfilling=28),
        groups=groups,
        answer=shapes.OkToStop(ok_to_stop=False, osds=(0, 4, 8), num_not_ok_pgs=1),
    )
    assert judge(busy).answer is StopAnswer.NOT_YET


def test_peering_and_slow_requests_pass() -> None:
    assert judge(replace(SAFE, status=states(active__clean=120, peering=8))).answer is StopAnswer.NOT_YET
    slow = {"SLOW_OPS": shapes.Check(severity="HEALTH_WARN", summary=shapes.Summary("3 slow ops", 3))}
    health = shapes.HealthAnswer(status="HEALTH_WARN", checks=slow)
    assert judge(replace(SAFE, status=status(health=health))).answer is StopAnswer.NOT_YET


def test_scrubbing_stands_against_nothing() -> None:
    calm = states(active__clean=120, active__clean__scrubbing__deep=8)
    assert judge(replace(SAFE, status=calm)).answer is StopAnswer.SAFE


# --- unknown ------------------------------------------------------------------------------------------------------


def test_an_answer_for_other_osds_is_no_answer() -> None:
    """Ceph answers "ok to stop" for OSDs that do not exist."""
    verdict = judge(replace(SAFE, answer=shapes.OkToStop(ok_to_stop=True, osds=(99,))))
    assert verdict.answer is StopAnswer.UNKNOWN


def test_ids_that_are_not_in_the_tree_are_never_asked_for() -> None:
    verdict = judge(replace(SAFE, osds=(0, 99), answer=shapes.OkToStop(ok_to_stop=True, osds=(0, 99))))
    assert verdict.answer is StopAnswer.UNKNOWN


def test_two_counts_that_differ_widely_are_not_trusted() -> None:
    verdict = judge(replace(SAFE, answer=replace(ok(), num_ok_pgs=400)))
    assert verdict.answer is StopAnswer.UNKNOWN


def test_a_monitor_that_may_run_here_is_unknown() -> None:
    assert SAFE.monitors is not None
    lost = (SAFE.monitors[0], *(Monitor(name=name, in_quorum=True) for name in "bc"))
    assert judge(replace(SAFE, monitors=lost)).answer is StopAnswer.UNKNOWN


def test_without_a_manager_nothing_is_known() -> None:
    assert judge(replace(SAFE, status=status(mgrmap=shapes.MgrStat()))).answer is StopAnswer.UNKNOWN


# --- whatever is read ---------------------------------------------------------------------------------------------

STATES = [
    "active+clean",
    "active+undersized",
    "active+undersized+degraded",
    "active+recovering+degraded",
    "active+remapped+backfill_wait",
    "peering",
    "down",
    "stale+active+clean",
    "unknown",
    "active+clean+scrubbing",
]

pgmaps = st.builds(
    shapes.PGMapStat,
    num_pgs=st.integers(0, 500),
    pgs_by_state=st.lists(
        st.builds(shapes.StateCount, st.sampled_from(STATES), st.integers(0, 99)), max_size=4
    ).map(tuple),
    degraded_objects=st.integers(0, 3),
    misplaced_objects=st.integers(0, 3),
    unfound_objects=st.integers(0, 1),
)
statuses = st.builds(
    status,
    pgmap=pgmaps,
    health=st.builds(
        shapes.HealthAnswer, status=st.sampled_from(["HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR", "", "odd"])
    ),
    mgrmap=st.builds(shapes.MgrStat, available=st.booleans()),
)
dumps = st.builds(
    dump,
    flags_set=st.lists(st.sampled_from(["noout", "noup", "norecover", "pause"]), max_size=3).map(tuple),
    crush_node_flags=st.dictionaries(
        st.sampled_from(["node0", "node1", "default"]), st.just(("noout",)), max_size=2
    ),
    pools=st.lists(
        st.builds(
            shapes.PoolAnswer,
            pool=st.integers(1, 2),
            pool_name=st.just("p"),
            size=st.integers(1, 4),
            min_size=st.integers(0, 4),
        ),
        max_size=2,
    ).map(tuple),
)
pgs = st.builds(
    PG,
    id=st.builds(lambda pool, seed: f"{pool}.{seed:x}", st.integers(1, 2), st.integers(0, 500)),
    state=st.sampled_from(STATES),
    up=st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=4).map(tuple),
    acting=st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=4).map(tuple),
)
places_ = st.dictionaries(
    st.integers(0, 11),
    st.builds(
        place,
        st.integers(0, 11),
        status=st.sampled_from(["up", "down"]),
        reweight=st.sampled_from([0.0, 1.0]),
    ),
).map(
    lambda drawn: {
        **PLACES,
        **{n: replace(PLACES[n], status=p.status, reweight=p.reweight) for n, p in drawn.items()},
    }
)
looks = st.builds(
    Look,
    cluster=st.just("lab"),
    host=st.just("node0"),
    at=st.just(1.0),
    places=places_,
    osds=st.sampled_from([(0, 4, 8), (0, 4), (0, 99), ()]),
    status=st.one_of(st.none(), st.just(status()), statuses),
    dump=st.one_of(st.none(), st.just(dump()), dumps),
    answer=st.one_of(
        st.none(),
        st.builds(
            shapes.OkToStop,
            ok_to_stop=st.booleans(),
            osds=st.sampled_from([(0, 4, 8), (0, 4), (99,), ()]),
            num_ok_pgs=st.integers(0, 10),
            num_not_ok_pgs=st.integers(0, 2),
        ),
    ),
    groups=st.one_of(st.none(), st.just(GROUPS), st.lists(pgs, max_size=6).map(tuple)),
    monitors=st.one_of(st.none(), st.just(SAFE.monitors), st.just(())),
    monitors_here=st.sampled_from([(), ("a",), ("a", "b")]),
    usage=st.one_of(st.none(), st.just(SAFE.usage), st.just({})),
)


@given(looks)
def test_safe_is_said_only_when_everything_was_seen_and_agrees(look: Look) -> None:
    verdict = judge(look)
    assert verdict.findings
    assert all(one.detail for one in verdict.findings)
    assert all(one.fix for one in verdict.findings if not one.ok)
    if verdict.answer is not StopAnswer.SAFE:
        assert any(not one.ok for one in verdict.findings)
        return
    assert look.status is not None
    assert look.dump is not None
    assert look.monitors
    assert all(one.ok for one in verdict.findings)
    assert look.status.health.status in ("HEALTH_OK", "HEALTH_WARN")
    if look.osds:
        assert look.answer is not None
        assert look.answer.ok_to_stop
        assert set(look.answer.osds) == set(look.osds) <= set(look.places)
        assert look.groups is not None
        least = {pool.pool: pool.min_size for pool in look.dump.pools}
        for group in look.groups:
            if set(group.acting) & set(look.osds):
                up = {osd for osd, lying in look.places.items() if lying.up} - set(look.osds)
                alive = [osd for osd in group.acting if osd in up]
                assert len(alive) >= least[int(group.id.split(".")[0])]


@given(looks, st.sampled_from(["status", "dump", "answer", "groups", "monitors"]))
def test_what_could_not_be_read_is_never_safe(look: Look, part: str) -> None:
    blind = replace(look, **{part: None, "osds": (0, 4, 8)})
    verdict = judge(blind)
    assert verdict.answer in (StopAnswer.UNKNOWN, StopAnswer.NO)


@given(looks)
def test_cephs_no_is_never_overruled(look: Look) -> None:
    refused = shapes.OkToStop(ok_to_stop=False, osds=(0, 4, 8), num_not_ok_pgs=3)
    assert judge(replace(look, osds=(0, 4, 8), answer=refused)).answer is not StopAnswer.SAFE


# --- from the wire ------------------------------------------------------------------------------------------------


def asking(wire: Wire) -> Gatherer:
    return Gatherer(wire, now=lambda: 1_795_000_000.0)


async def test_a_host_of_a_real_cluster_may_stop() -> None:
    wire = Wire()
    verdict = await asking(wire).verdict("node01")
    assert verdict.answer is StopAnswer.SAFE, verdict.findings
    assert verdict.osds == (0, 4, 8)
    assert ("mgr", "osd ok-to-stop", {"ids": ["0", "4", "8"]}) in wire.asked
    assert "1453 PGs" in found(verdict, "ok-to-stop").detail
    assert "1453 PGs" in found(verdict, "min_size").detail


async def test_a_hypervisors_name_finds_its_crush_host() -> None:
    verdict = await asking(Wire()).verdict("NODE01.example.org")
    assert verdict.host == "node01"
    with pytest.raises(NotFound):
        await asking(Wire()).verdict("node0")


async def test_while_a_host_is_down_no_second_one_may_stop() -> None:
    wire = Wire(DOWN).say("osd ok-to-stop", {"ok_to_stop": False, "osds": [1, 5, 9], "num_not_ok_pgs": 339})
    verdict = await asking(wire).verdict("node02")
    assert verdict.answer is StopAnswer.NO
    assert "node01" in found(verdict, "other hosts").detail
    assert found(verdict, "min_size").ok is False


async def test_while_data_moves_the_answer_is_not_yet_or_no() -> None:
    wire = Wire(BACKFILL).say("osd ok-to-stop", {"ok_to_stop": True, "osds": [0, 4, 8], "num_ok_pgs": 1448})
    verdict = await asking(wire).verdict("node01")
    assert verdict.answer is StopAnswer.NO
    assert "16 PGs are not active" in found(verdict, "availability").detail


@pytest.mark.parametrize(
    "prefix", ["status", "osd dump", "osd ok-to-stop", "pg ls-by-osd", "quorum_status", "osd df", "osd tree"]
)
async def test_a_part_that_does_not_answer_makes_it_unknown_and_says_which(prefix: str) -> None:
    verdict = await asking(Wire().without(prefix)).verdict("node01")
    assert verdict.answer is StopAnswer.UNKNOWN
    blind = [one for one in verdict.findings if one.ok is None]
    assert blind
    assert any(prefix in one.detail for one in blind)


async def test_a_manager_that_has_just_started_is_not_believed() -> None:
    verdict = await asking(Wire().say("pg ls-by-osd", {"pg_ready": False})).verdict("node01")
    assert verdict.answer is StopAnswer.UNKNOWN


async def test_a_monitor_is_found_on_the_host_by_name_by_machine_or_by_address() -> None:
    quorum = json.loads(recorded(CALM, "quorum_status"))
    by_machine = Wire().say("mon metadata", [{"name": "a", "hostname": "Node01.example.org"}])
    assert (await asking(by_machine).verdict("node01")).answer is StopAnswer.NO
    quorum["monmap"]["mons"][0]["name"] = "node01"
    by_name = Wire().say("quorum_status", {**quorum, "quorum_names": ["node01"]}).without("mon metadata")
    assert (await asking(by_name).verdict("node01")).answer is StopAnswer.NO
    mons = [{"name": "q", "public_addr": "192.0.2.1:6789/0"}]
    held = json.loads(recorded(CALM, "osd_dump"))
    for one in held["osds"]:
        one["public_addr"] = f"192.0.2.{1 + one['osd'] % 4}:6800/1"
    by_address = Wire().say("quorum_status", {"quorum_names": ["q"], "monmap": {"mons": mons}})
    by_address.say("osd dump", held).without("mon metadata")
    assert (await asking(by_address).verdict("node01")).answer is StopAnswer.NO


def test_addresses_of_both_kinds() -> None:
    assert ip_of("192.0.2.7:6789/0") == "192.0.2.7"
    assert ip_of("[2001:db8::7]:3300/0") == "2001:db8::7"
    assert ip_of("") == ""
