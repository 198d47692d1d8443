"""The simulated Ceph says what a real 16.2.15 says: the same keys and types, the same refusals, over the same carriers."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.ceph.carrier import CarrierError, Target
from backends.ceph.frames import Setup
from backends.ceph.local import CommandCarrier
from backends.ceph.simulator import MGR, MON, CephSimulator
from backends.ceph.unixsocket import SocketCarrier
from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from tests.unit.ceph_rig import Rig

FIXTURES = Path(__file__).parents[1] / "fixtures" / "ceph"
WHOLE = FIXTURES / "16.2.15-12osd-15pool"
TROUBLE = FIXTURES / "16.2.15-maintenance"
SINGLE = FIXTURES / "16.2.15-extra"

MAPS = {
    "health.checks", "checks", "progress_events", "services", "mgrmap.services", "servicemap.services", "crush_node_flags",
    "device_class_flags", "erasure_code_profiles", "pools[].application_metadata", "[].application_metadata",
    "always_on_modules", "mon", "mgr", "osd", "mds", "overall", "pools[].options", "[].options", "blocklist",
    "range_blocklist", "[].recovery", "[].recovery_rate", "[].client_io_rate",
}  # fmt: skip
"""Where keys are names or come and go; their values are compared, all with all."""

NOT_SIMULATED = {
    "pgmap": {"read_bytes_sec"},
    "pg_summary": {"write_bytes_sec", "io_sec"},
    "[]": {"network_numa_unknown_ifaces"},
}
"""Keys only one of the two has: what clients do is told as long as they do it."""


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def ceph(rig: Rig) -> CephSimulator:
    return CephSimulator(rig.ceph)


def load(path: Path) -> Any:
    for found in (path.with_suffix(".json"), path.with_suffix(".json.gz")):
        if found.exists():
            data = found.read_bytes()
            return json.loads(gzip.decompress(data) if found.suffix == ".gz" else data)
    raise AssertionError(f"no fixture {path}")


def differences(ours: Any, real: Any, at: str = "") -> list[str]:  # noqa: PLR0911 - one case a line
    """Where keys or types are not those of the recorded answer. Numbers are one type; an empty list fits any."""
    if isinstance(ours, bool) or isinstance(real, bool):
        return [] if type(ours) is type(real) else [f"{at}: {ours!r}, really {real!r}"]
    if isinstance(ours, int | float) and isinstance(real, int | float):
        return []
    if ours is None or real is None:
        return []
    if type(ours) is not type(real):
        return [f"{at}: {ours!r}, really {real!r}"]
    if isinstance(ours, list):
        return differences(ours[0], real[0], f"{at}[]") if ours and real else []
    if not isinstance(ours, dict):
        return []
    if at in MAPS:
        least = [
            min((differences(one, other, f"{at}.*") for other in real.values()), key=len, default=[])
            for one in ours.values()
        ]
        return [line for lines in least for line in lines]
    skip = NOT_SIMULATED.get(at, set())
    found = [f"{at}: {key} is on one side only" for key in sorted((set(ours) ^ set(real)) - skip)]
    for key in set(ours) & set(real):
        found += differences(ours[key], real[key], f"{at}.{key}".lstrip("."))
    return found


def data(ceph: CephSimulator, prefix: str, **args: object) -> Any:
    target = "mgr" if prefix in MGR else "mon"
    answer = ceph.answer(target, {"prefix": prefix, "format": "json", **args})
    assert answer is not None
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


CALM: list[tuple[str, str, dict[str, object]]] = [
    ("health_detail", "health", {"detail": "detail"}),
    ("osd_tree", "osd tree", {}),
    ("osd_df", "osd df", {}),
    ("osd_dump", "osd dump", {}),
    ("osd_perf", "osd perf", {}),
    ("osd_crush_rule_dump", "osd crush rule dump", {}),
    ("osd_pool_ls_detail", "osd pool ls", {"detail": "detail"}),
    ("osd_pool_stats", "osd pool stats", {}),
    ("osd_metadata", "osd metadata", {}),
    ("osd_stat", "osd stat", {}),
    ("osd_utilization", "osd utilization", {}),
    ("osd_ok_to_stop", "osd ok-to-stop", {"ids": ["0"], "max": 4}),
    ("pg_dump_pgs_brief", "pg dump", {"dumpcontents": ["pgs_brief"]}),
    ("pg_dump_pgs", "pg dump", {"dumpcontents": ["pgs"]}),
    ("pg_ls", "pg ls", {}),
    ("pg_ls_by_osd", "pg ls-by-osd", {"osd": 0}),
    ("pg_ls_by_pool", "pg ls-by-pool", {"poolstr": "one"}),
    ("pg_stat", "pg stat", {}),
    ("progress", "progress json", {}),
    ("balancer_status", "balancer status", {}),
    ("quorum_status", "quorum_status", {}),
    ("mon_dump", "mon dump", {}),
    ("mgr_dump", "mgr dump", {}),
    ("versions", "versions", {}),
    ("config_dump", "config dump", {}),
]


@pytest.mark.parametrize(("fixture", "prefix", "args"), CALM, ids=[row[0] for row in CALM])
def test_keys_and_types_are_those_of_a_real_cluster(
    ceph: CephSimulator, fixture: str, prefix: str, args: dict[str, object]
) -> None:
    ceph.ceph.set_group(["noout"], ["h3"], on=True)
    real = TROUBLE / "ec_holes" if fixture == "osd_dump" else WHOLE  # that one has an erasure-coded pool too
    assert differences(data(ceph, prefix, **args), load(real / fixture)) == []


def test_status_has_the_keys_of_a_real_one_calm_and_in_trouble(rig: Rig, ceph: CephSimulator) -> None:
    calm = data(ceph, "status")
    for key in ("read_bytes_sec", "write_bytes_sec", "read_op_per_sec", "write_op_per_sec"):
        del calm["pgmap"][key]
    assert differences(calm, load(WHOLE / "status")) == []
    rig.ceph.mark_out(3)
    rig.ceph.stop_osd(8)
    rig.run(3)
    busy = data(ceph, "status")
    real = load(TROUBLE / "osd_out_backfill" / "status")
    for key in ("read_bytes_sec", "write_bytes_sec", "read_op_per_sec", "write_op_per_sec"):
        del busy["pgmap"][key]
    assert differences(busy, real) == []
    assert differences(data(ceph, "progress json"), load(TROUBLE / "backfill" / "progress")) == []
    assert differences(data(ceph, "pg stat"), load(TROUBLE / "osd_out_backfill" / "pg_stat")) == []


def test_mon_metadata_has_the_keys_of_a_real_one(ceph: CephSimulator) -> None:
    assert differences(data(ceph, "mon metadata"), load(SINGLE / "mon_metadata")["out"]) == []


def test_health_speaks_as_a_real_cluster_whose_host_is_down_with_noout(rig: Rig, ceph: CephSimulator) -> None:
    rig.ceph.set_group(["noout"], ["h2"], on=True)
    deeds.kill(rig.world, "h2")
    rig.run(30)
    rig.ceph.config["mon_max_pg_per_osd"] = "10"
    ours = data(ceph, "health", detail="detail")
    real = load(TROUBLE / "host_down_noout" / "health_detail")
    assert set(ours["checks"]) == set(real["checks"])
    checks = ours["checks"]
    assert checks["OSD_DOWN"]["summary"] == {"message": "2 osds down", "count": 2}
    assert checks["OSD_DOWN"]["detail"][0] == {"message": "osd.4 (root=default,rack=r0,host=h2) is down"}
    assert checks["OSD_HOST_DOWN"]["summary"] == {"message": "1 host (2 osds) down", "count": 1}
    assert checks["OSD_HOST_DOWN"]["detail"] == [
        {"message": "host h2 (root=default,rack=r0) (2 osds) is down"}
    ]
    assert checks["OSD_FLAGS"]["summary"] == real["checks"]["OSD_FLAGS"]["summary"]
    assert checks["OSD_FLAGS"]["detail"] == [{"message": "host h2 has flags noout"}]
    each = sum(int((pool.up >= 0).sum()) for pool in rig.ceph.pools.values()) // 16
    assert checks["TOO_MANY_PGS"]["summary"] == {
        "message": f"too many PGs per OSD ({each} > max 10)",
        "count": each - 10,
    }
    pgs = checks["PG_DEGRADED"]["summary"]
    total = data(ceph, "status")["pgmap"]
    share = 100 * total["degraded_objects"] / total["degraded_total"]
    assert pgs["message"] == (
        f"Degraded data redundancy: {total['degraded_objects']}/{total['degraded_total']} objects degraded "
        f"({share:.3f}%), {pgs['count']} pgs degraded"
    )


@pytest.mark.parametrize(
    "fixture",
    [
        "osd_ok_to_stop_nonexistent",
        "osd_ok_to_stop_junk",
        "pg_ls_by_osd_by_name",
        "pg_ls_by_osd_nonexistent",
        "config_get_unknown",
        "auth_get_as_reader",
        "osd_set_noout_as_reader",
        "osd_set_group_noout_as_reader",
        "osd_set_group_noin_as_writer",
        "osd_set_group_noscrub_as_admin",
        "unknown_command",
    ],
)
def test_it_refuses_with_the_words_of_a_real_one(ceph: CephSimulator, fixture: str) -> None:
    real = load(SINGLE / fixture)
    target: Target = "mgr" if real["command"]["prefix"] in MGR else "mon"
    answer = ceph.answer(target, real["command"], real["as"])
    assert answer is not None
    out = json.loads(answer.out) if answer.out else None
    assert (answer.code, answer.err, out) == (real["code"], real["err"], real["out"])


def test_an_unknown_host_gets_no_flag_and_the_words_of_a_real_cluster(ceph: CephSimulator) -> None:
    real = load(SINGLE / "osd_set_group_unknown_host")
    answer = ceph.answer("mon", real["command"], real["as"])
    assert answer is not None
    assert (answer.code, answer.err) == (real["code"], real["err"])


@pytest.mark.parametrize("prefix", sorted({*MON, *MGR}))
def test_whoever_is_asked_in_vain_says_that_it_does_not_know_the_command(
    ceph: CephSimulator, prefix: str
) -> None:
    wrong = "mon" if prefix in MGR else "mgr"
    answer = ceph.answer(wrong, {"prefix": prefix})
    assert answer is not None
    assert (answer.code, answer.err) == (22, "command not known")


def test_too_many_at_once_may_not_stop_and_the_report_comes_all_the_same(ceph: CephSimulator) -> None:
    real = load(SINGLE / "osd_ok_to_stop_two_hosts")
    answer = ceph.answer("mgr", {"prefix": "osd ok-to-stop", "ids": [str(osd) for osd in range(8)]})
    assert answer is not None
    told = json.loads(answer.out)
    assert answer.code == real["code"] == 16
    bad = told["num_not_ok_pgs"]
    assert answer.err == f"unsafe to stop osd(s) at this time ({bad} PGs are or would become offline)"
    assert differences(told, real["out"]) == []
    assert len(told["bad_become_inactive"]) == bad


def test_the_rows_of_osd_df_are_the_sums_of_the_dump_over_acting(rig: Rig, ceph: CephSimulator) -> None:
    rig.ceph.mark_out(3)
    rig.run(2)
    rows = data(ceph, "pg dump", dumpcontents=["pgs_brief"])["pg_stats"]
    for node in data(ceph, "osd df")["nodes"]:
        assert node["pgs"] == sum(node["id"] in row["acting"] for row in rows)
    drained = next(node for node in data(ceph, "osd df")["nodes"] if node["id"] == 3)
    assert drained["pgs"] > 0
    assert (drained["kb"], drained["utilization"]) == (0, 0)
    assert not any(3 in row["up"] for row in rows)


def test_holes_and_text_are_written_as_ceph_writes_them() -> None:
    rig = Rig(hosts=6)
    ceph = CephSimulator(rig.ceph)
    rig.ceph.stop_osd(4)
    rig.ceph.stop_osd(5)
    rig.run(2)
    rows = data(ceph, "pg dump", dumpcontents=["pgs_brief"])["pg_stats"]
    shards = [row for row in rows if row["pgid"].startswith("3.")]
    assert all(len(row["up"]) == 6 and 2147483647 in row["up"] for row in shards)
    assert all(len(row["up"]) <= 3 for row in rows if not row["pgid"].startswith("3."))
    answer = ceph.answer("mgr", {"prefix": "pg dump", "dumpcontents": ["pgs_brief"], "format": "plain"})
    assert answer is not None
    lines = answer.out.decode().splitlines()
    assert lines[0].split() == ["PG_STAT", "STATE", "UP", "UP_PRIMARY", "ACTING", "ACTING_PRIMARY"]
    assert [line.split()[0] for line in lines[1:]] == [row["pgid"] for row in rows]
    assert json.loads(lines[1].split()[2]) == rows[0]["up"]


def test_a_dump_is_the_same_whether_rows_were_kept_or_written_anew(rig: Rig, ceph: CephSimulator) -> None:
    data(ceph, "pg dump", dumpcontents=["pgs_brief"])
    for _ in range(12):
        rig.ceph.mark_out(3)
        rig.run(1)
        kept = data(ceph, "pg dump", dumpcontents=["pgs_brief"])
        assert kept == data(CephSimulator(rig.ceph), "pg dump", dumpcontents=["pgs_brief"])


def test_noout_for_a_host_is_where_ceph_has_it_and_not_among_the_cluster_wide_flags(
    ceph: CephSimulator,
) -> None:
    data_ = {"prefix": "osd set-group", "flags": "noout", "who": ["h2"]}
    answer = ceph.answer("mon", data_, "client.evac-rw")
    assert answer is not None
    assert (answer.code, answer.out) == (0, b"")
    told = data(ceph, "osd dump")
    assert told["crush_node_flags"] == {"h2": ["noout"]}
    assert "noout" not in told["flags_set"]
    ceph.answer("mon", {**data_, "prefix": "osd unset-group"})
    assert data(ceph, "osd dump")["crush_node_flags"] == {}


def test_a_manager_that_has_just_started_does_not_know_all_pgs(rig: Rig, ceph: CephSimulator) -> None:
    rig.ceph.daemons.fail_mgr()
    answer = ceph.answer("mgr", {"prefix": "pg dump", "dumpcontents": ["pgs_brief"]})
    assert answer is not None
    told = json.loads(answer.out)
    assert told["pg_ready"] is False
    assert "due to ceph-mgr restart" in answer.err
    assert any(row["state"] == "unknown" for row in told["pg_stats"])
    rig.run(6)
    assert data(ceph, "pg dump", dumpcontents=["pgs_brief"])["pg_ready"] is True


# --- over the carriers ----------------------------------------------------------------------------


@pytest.fixture
async def served(ceph: CephSimulator, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "c.sock"
    async with ceph.serve(path):
        assert path.stat().st_mode & 0o777 == 0o600
        yield path
    assert not path.exists()


def setup(path: Path, *, wait: float = 20.0, user: str = "client.evac") -> Setup:
    return Setup(
        cluster="sim",
        carrier="socket",
        read_only=False,
        connect_timeout=5.0,
        read_timeout=wait,
        socket=str(path),
        user=user,
        command=(sys.executable, "-m", "backends.ceph.simulator_command", "--socket", str(path)),
    )


async def test_the_socket_carrier_and_the_ceph_command_bring_the_same(
    ceph: CephSimulator, served: Path
) -> None:
    commands: list[tuple[Target, dict[str, object]]] = [
        ("mgr", {"prefix": "pg dump", "dumpcontents": ["pgs_brief"]}),
        ("mgr", {"prefix": "osd ok-to-stop", "ids": ["0", "1", "2", "3", "4", "5"]}),
        ("mgr", {"prefix": "osd ok-to-stop", "ids": ["99"]}),
        ("mon", {"prefix": "health", "detail": "detail"}),
        ("mon", {"prefix": "config get", "who": "mon", "key": "mon_max_pg_per_osd"}),
        ("mgr", {"prefix": "pg ls-by-osd", "osd": 0, "pool": 2}),
    ]
    one, other = SocketCarrier(setup(served)), CommandCarrier(setup(served))
    for target, command in commands:
        here, there = await one.ask(target, command), await other.ask(target, command)
        assert here.code == there.code
        assert json.loads(bytes(here.out)) == json.loads(bytes(there.out))
        assert here.err in there.err
    await other.close()
    assert ceph.asked.count("pg dump") == 2


async def test_the_command_line_knows_users_and_refusals(ceph: CephSimulator, served: Path) -> None:
    reader = CommandCarrier(setup(served))
    noout: dict[str, object] = {"prefix": "osd set-group", "flags": "noout", "who": ["h2"]}
    refused = await reader.ask("mon", noout)
    assert (refused.code, bytes(refused.out)) == (13, b"")
    writer = CommandCarrier(setup(served, user="client.evac-rw"))
    assert (await writer.ask("mon", noout)).code == 0
    assert ceph.ceph.node_flags == {"h2": {"noout"}}
    assert "client.evac-rw" not in ceph.asked


@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.TRUNCATED, Kind.WRONG_TYPE])
async def test_an_answer_can_be_spoiled_once(ceph: CephSimulator, served: Path, kind: Kind) -> None:
    ceph.faults.order(Fault(kind=kind, on="mon status"))
    carrier = SocketCarrier(setup(served))
    spoiled = bytes((await carrier.ask("mon", {"prefix": "status"})).out)
    good = bytes((await carrier.ask("mon", {"prefix": "status"})).out)
    assert spoiled != good
    assert "health" in json.loads(good)


async def test_a_connection_can_break_and_an_error_can_be_ordered(ceph: CephSimulator, served: Path) -> None:
    carrier = SocketCarrier(setup(served))
    ceph.faults.order(Fault(kind=Kind.RESET_BEFORE, on="read"))
    with pytest.raises(CarrierError):
        await carrier.ask("mon", {"prefix": "status"})
    ceph.faults.order(Fault(kind=Kind.STATUS, on="osd df", status=110))
    assert (await carrier.ask("mgr", {"prefix": "osd df"})).code == 110
    assert (await carrier.ask("mgr", {"prefix": "osd df"})).code == 0


@pytest.mark.parametrize(("kind", "done"), [(Kind.BLACK_HOLE, False), (Kind.BLACK_HOLE_AFTER, True)])
async def test_a_command_can_be_swallowed_with_or_without_effect(
    ceph: CephSimulator, served: Path, kind: Kind, *, done: bool
) -> None:
    ceph.faults.order(Fault(kind=kind, on="osd set-group"))
    carrier = SocketCarrier(setup(served, user="client.evac-rw"))
    command: dict[str, object] = {"prefix": "osd set-group", "flags": "noout", "who": ["h2"]}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await carrier.ask("mon", command)
    assert bool(ceph.ceph.node_flags) is done


async def test_without_quorum_or_manager_nobody_answers(rig: Rig, ceph: CephSimulator, served: Path) -> None:
    rig.ceph.daemons.put_mons(["h0", "h1", "h2"])
    rig.ceph.daemons.set_mon("h0", running=False)
    carrier = SocketCarrier(setup(served))
    assert (await carrier.ask("mon", {"prefix": "status"})).code == 0
    rig.ceph.daemons.set_mon("h1", running=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await carrier.ask("mon", {"prefix": "status"})
    assert (await carrier.ask("mgr", {"prefix": "osd df"})).code == 0
