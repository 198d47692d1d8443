"""What stands against a host that came back, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evac.errors import Unreachable
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Finding, Host, HostState, Problem
from evac.storage import OSD, PGState, Storage, Work
from evac.window.nouns import HostFacts, HostRun
from evac.window.plan import Policy, StorageHost
from evac.window.ready import Seen, StorageSeen, is_ready, judge_back, judge_ready, look_ready, rebooted

BEFORE = HostFacts(
    boot="b1",
    kernel="6.8.12-4-pve",
    clock=0.0,
    clock_unsure=0.01,
    links=("eno1", "vmbr0", "vmbr1"),
    mounts=("/mnt/pve/nas",),
    datastores=("local", "nas"),
    how="ssh",
)
AFTER = replace(BEFORE, boot="b2", kernel="6.8.12-9-pve")
UP = Host(cluster="pve", id="a1", name="a1", state=HostState.UP)
POLICY = Policy(clock_within=1.0)


def seen(**more: Any) -> Seen:
    """A host that is well, but for what is said."""
    return Seen(**{"host": UP, "before": BEFORE, "after": AFTER, **more})


def against(seen: Seen) -> dict[str, str]:
    """Check → detail of what stands against it."""
    return {one.check: one.detail for one in judge_ready(seen, POLICY) if one.ok is False}


def test_a_host_that_is_as_it_was_is_ready() -> None:
    findings = judge_ready(seen(), POLICY)
    assert is_ready(findings)
    assert [one.check for one in findings] == ["cluster", "datastores", "links", "mounts", "clock"]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (replace(UP, state=HostState.DOWN), "says it is down"),
        (replace(UP, state=HostState.UNKNOWN), "says it is unknown"),
        (replace(UP, forced_down=True), "declared down by force"),
        (None, "does not know it"),
    ],
)
def test_a_host_that_the_cluster_does_not_see_up_is_not_ready(host: Host | None, words: str) -> None:
    assert words in against(seen(host=host))["cluster"]


def test_a_cluster_that_does_not_answer_holds_the_host() -> None:
    assert against(seen(host=None, silence="pve1:8006 refuses connections"))["cluster"].startswith(
        "pve1:8006"
    )


def test_a_link_that_takes_less_than_before_stands_against_it_and_one_that_takes_more_does_not() -> None:
    known = replace(BEFORE, mtus={"vmbr0": 1500, "vmbr1": 9000})
    smaller = replace(AFTER, mtus={"vmbr0": 9000, "vmbr1": 1500})
    assert against(seen(before=known, after=smaller)) == {"mtu": "MTU of vmbr1 1500, before 9000"}
    assert not against(seen(before=known, after=replace(AFTER, mtus={"vmbr0": 9000, "vmbr1": 9000})))


def test_a_link_that_came_up_under_another_name_is_named_with_the_new_one() -> None:
    after = replace(AFTER, links=("enp5s0", "vmbr0", "vmbr1"))
    assert against(seen(after=after)) == {"links": "link or bridge missing: eno1; new: enp5s0"}


def test_a_network_mount_or_datastore_that_is_gone_holds_the_host() -> None:
    after = replace(AFTER, mounts=(), datastores=("local",))
    assert set(against(seen(after=after))) == {"mounts", "datastores"}


def test_datastores_of_an_answer_from_before_it_was_back_prove_nothing() -> None:
    assert against(seen(fresh=False)) == {"datastores": "not read since it is back"}


def test_what_another_teller_said_is_not_compared() -> None:
    after = replace(AFTER, how="Proxmox VE", links=(), mounts=(), clock=None)
    findings = judge_ready(seen(after=after), POLICY)
    assert is_ready(findings)
    assert {one.check for one in findings if one.ok is None} == {"links", "mounts", "clock"}


def test_a_host_that_told_of_itself_before_and_is_silent_now_is_not_ready() -> None:
    assert against(seen(after=None, mute="No SSH answer from a1 port 22 within 5 s.")) == {
        "host": "No SSH answer from a1 port 22 within 5 s."
    }
    assert is_ready(judge_ready(seen(before=None, after=None), POLICY))


@pytest.mark.parametrize(
    ("clock", "unsure", "ok"), [(0.4, 0.1, True), (-1.5, 0.1, False), (1.05, 0.1, None), (2.0, 1.5, None)]
)
def test_a_clock_is_judged_no_finer_than_it_was_measured(
    clock: float, unsure: float, ok: bool | None
) -> None:
    findings = judge_ready(seen(after=replace(AFTER, clock=clock, clock_unsure=unsure)), POLICY)
    assert next(one.ok for one in findings if one.check == "clock") is ok


def ceph(*, up: tuple[int, ...] = (0, 1, 2), **more: Any) -> StorageSeen:
    osds = tuple(OSD(cluster="ceph", id=one, name=f"osd.{one}", host="a1", up=one in up) for one in range(3))
    states = more.pop("states", {"active+clean": 128, "active+clean+scrubbing+deep": 1})
    storage = Storage(
        cluster="ceph",
        pgs=129,
        pg_states=tuple(PGState(state=state, count=count) for state, count in states.items()),
        **more,
    )
    return StorageSeen(cluster="ceph", host="a1", fresh=True, wanted=(0, 1, 2), osds=osds, storage=storage)


def test_osds_up_and_pgs_clean_are_said_with_their_counts() -> None:
    findings = judge_ready(seen(storages=(ceph(),)), POLICY)
    assert is_ready(findings)
    details = {one.check: one.detail for one in findings}
    assert details["ceph OSDs"] == "3 of 3 up"
    assert details["ceph PGs"] == "129 active+clean"


def test_an_osd_that_is_down_holds_the_host_by_name() -> None:
    assert against(seen(storages=(ceph(up=(0, 2)),)))["ceph OSDs"] == "2 of 3 up; down: osd.1"


def test_an_osd_that_vanished_from_the_map_holds_the_host() -> None:
    gone = ceph()
    assert "down: osd.2" in against(seen(storages=(replace(gone, osds=gone.osds[:2]),)))["ceph OSDs"]


def test_pgs_that_are_not_clean_hold_the_host_with_their_number_and_the_time_they_need() -> None:
    states = {"active+clean": 100, "active+undersized+degraded+remapped+backfilling": 29}
    work = (Work(id="1", message="Rebalancing", done=0.4, remaining=600.0),)
    details = against(seen(storages=(ceph(states=states, work=work),)))
    assert details["ceph PGs"] == "29 of 129 not active+clean, about 10 min by its own estimate"
    details = against(seen(storages=(ceph(states={"active+clean": 100, "peering": 29}),)))
    assert details["ceph PGs"].endswith("nothing is being copied at the moment")


def test_a_storage_cluster_that_has_not_answered_since_proves_nothing() -> None:
    old = replace(ceph(), fresh=False)
    assert against(seen(storages=(old,))) == {"ceph OSDs": "ceph has not answered since it is back"}


def test_a_lock_stands_against_it_only_where_the_guest_is_to_be_started() -> None:
    vm = VM(cluster="pve", id="101", name="db1", host="a1", locked=True)
    assert is_ready(judge_ready(seen(vms=(vm,)), POLICY))
    assert against(seen(vms=(vm,), stopped=("101",))) == {"locks": "locked: db1"}
    busy = replace(vm, locked=False, task="backup")
    assert against(seen(vms=(busy,))) == {"locks": "something is being done to db1"}


# --- is it back? -------------------------------------------------------------------------------------


def verdicts(before: HostFacts | None, after: HostFacts, kernel: str = "") -> dict[str, bool | None]:
    return {one.check: one.ok for one in judge_back(before, after, Policy(kernel=kernel))}


def test_the_boot_it_had_before_is_no_restart() -> None:
    assert verdicts(BEFORE, BEFORE) == {"boot": False}
    assert verdicts(BEFORE, AFTER) == {"boot": True}


def test_a_boot_told_by_another_teller_is_no_proof_of_a_restart() -> None:
    assert verdicts(BEFORE, replace(AFTER, how="Proxmox VE")) == {"boot": None}
    assert verdicts(None, AFTER) == {"boot": None}


def test_a_platform_that_counts_back_from_the_uptime_does_not_make_a_restart_of_a_second() -> None:
    told = replace(BEFORE, how="Proxmox VE", boot="2026-11-29T00:15:04+00:00")
    assert rebooted(told, replace(told, boot="2026-11-29T00:15:06+00:00")) is False
    assert rebooted(told, replace(told, boot="2026-11-29T00:15:44+00:00")) is True
    assert rebooted(told, replace(told, boot="")) is None


@pytest.mark.parametrize(
    ("wanted", "runs", "ok"),
    [
        ("new", "6.8.12-9-pve", True),
        ("new", "6.8.12-4-pve", False),
        ("6.8.12-9-pve", "6.8.12-9-pve", True),
        ("6.8.12-9-pve", "6.8.12-8-pve", False),
        ("new", "", None),
    ],
)
def test_the_kernel_that_was_wanted_must_run(wanted: str, runs: str, ok: bool | None) -> None:
    assert verdicts(BEFORE, replace(AFTER, kernel=runs), wanted)["kernel"] is ok


# --- reading -----------------------------------------------------------------------------------------


class Told:
    """A Reach and the one method of a Backend that is asked: both say what they are given, or raise it."""

    name = "pve"

    def __init__(self, facts: HostFacts | Exception, host: Host | Exception) -> None:
        self._facts, self._host = facts, host

    async def facts(self, cluster: str, host: str) -> HostFacts:
        assert (cluster, host) == ("pve", "a1")
        if isinstance(self._facts, Exception):
            raise self._facts
        return self._facts

    async def host(self, host: str) -> Host:
        assert host == "a1"
        if isinstance(self._host, Exception):
            raise self._host
        return self._host


async def look(told: Told, *, since: float, fresh: float = 100.0) -> tuple[Finding, ...]:
    fleet = Fleet()
    fleet.publish(
        clusters=tuple(ClusterState(name=name, kind="x", fresh_stamp=fresh) for name in ("pve", "ceph")),
        osds=ceph().osds,
        storages=[one] if (one := ceph().storage) else [],
    )
    run = HostRun(cluster="pve", host="a1", name="a1", steps=(), before=BEFORE)
    return await look_ready(
        run,
        (StorageHost(cluster="ceph", host="a1", osds=(0, 1, 2)),),
        POLICY,
        fleet=fleet,
        backends={"pve": told},  # type: ignore[dict-item]
        reach=told,  # type: ignore[arg-type]
        since=since,
    )


async def test_one_look_reads_the_cluster_the_host_and_its_osds() -> None:
    findings = await look(Told(AFTER, UP), since=50.0)
    assert is_ready(findings)
    assert [one.check for one in findings] == [
        *("cluster", "datastores", "links", "mounts", "clock"),
        *("ceph OSDs", "ceph PGs"),
    ]


async def test_what_was_read_before_it_was_back_does_not_count() -> None:
    findings = await look(Told(AFTER, UP), since=150.0)
    assert {one.check for one in findings if one.ok is False} == {"datastores", "ceph OSDs"}


async def test_silence_is_a_finding_and_never_an_error() -> None:
    trouble = Unreachable(Problem(happened="a1 is silent."))
    findings = await look(Told(trouble, trouble), since=50.0)
    assert {one.check for one in findings if one.ok is False} == {"cluster", "host"}
