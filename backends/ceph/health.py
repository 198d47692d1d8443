"""Why a cluster is not well, in Ceph's words, and what to do about it, in ours. Pure.

The codes and their meaning: docs.ceph.com, "Health checks". Figures in an advice are those of the check itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from backends.ceph.shapes import Check, HealthAnswer
from evac.storage import Health, HealthCheck, PGState

MOST_LINES = 50

HEALTH = {"HEALTH_OK": Health.OK, "HEALTH_WARN": Health.WARNING, "HEALTH_ERR": Health.ERROR}

FULL_STEPS = (
    "Free space or add OSDs; look for the fullest in the OSD view. If a few OSDs only are that full, the data lies"
    " unevenly: the balancer (ceph balancer status) or ceph osd reweight OSD 0.9 moves some away."
)

ADVICE: Mapping[str, str] = {
    "OSD_DOWN": "These daemons do not answer. Under maintenance: expected; noout for the host keeps data from being"
    " copied. Otherwise look at the host, then systemctl status ceph-osd@ID there. An OSD that is down for 10 minutes"
    " (mon_osd_down_out_interval) without noout is marked out, and its data is copied to others.",
    "OSD_HOST_DOWN": "All OSDs of a host are down. Under maintenance: expected. Otherwise the host or its network is"
    " gone. Take no second host down until it is back and all PGs are active+clean.",
    "OSD_RACK_DOWN": "All OSDs of a rack are down: look at its power and its switch first.",
    "OSD_ORPHAN": "An OSD stands in the CRUSH map and does not exist: ceph osd crush rm OSD removes it.",
    "OSD_FULL": "Writes are blocked for every pool that has data there. "
    + FULL_STEPS
    + " As a last resort, for"
    " minutes, ceph osd set-full-ratio 0.96 lets writes go on.",
    "OSD_BACKFILLFULL": "Nothing more is copied to these OSDs, so recovery may stop. " + FULL_STEPS,
    "OSD_NEARFULL": "Not urgent yet, but take down no host: what it holds would have to fit on the others. "
    + FULL_STEPS,
    "POOL_FULL": "The pool has reached its quota or its OSDs are full; clients cannot write. Raise the quota"
    " (ceph osd pool set-quota) or free space.",
    "POOL_BACKFILLFULL": "Some of the pool's OSDs are too full to take more copies. " + FULL_STEPS,
    "POOL_NEARFULL": "Some of the pool's OSDs are nearly full. " + FULL_STEPS,
    "PG_AVAILABILITY": "PGs are not active: clients that read or write there wait, VMs hang. Bring back the OSDs that"
    " were stopped last. ceph pg PGID query says what a PG waits for. Stop nothing now.",
    "PG_DEGRADED": "Objects have fewer copies than they should. With OSDs down it ends when they come back or their"
    " data has been copied; wait for active+clean before you stop anything else.",
    "PG_DEGRADED_FULL": "Copies are missing and there is no room to make them. " + FULL_STEPS,
    "PG_RECOVERY_FULL": "Recovery stands still: an OSD is full. " + FULL_STEPS,
    "PG_BACKFILL_FULL": "Backfill stands still: an OSD is too full to take more. " + FULL_STEPS,
    "PG_UNDERSIZED": "Ceph's health does not name them: they have copies to spare for what they hold, but fewer places"
    " than they should. It is what a stopped host looks like before objects change. Stop no second host.",
    "PG_DAMAGED": "Scrubbing found copies that differ: ceph health detail names the PGs, rados list-inconsistent-obj"
    " PGID the objects. Look for a failing disk before ceph pg repair PGID.",
    "OSD_SCRUB_ERRORS": "See PG_DAMAGED: a disk may be failing (smartctl, dmesg on its host).",
    "OBJECT_UNFOUND": "The newest copy of some objects is on no OSD that is up. Bring back OSDs that are down;"
    " mark_unfound_lost gives the data up and comes last.",
    "OBJECT_MISPLACED": "All copies are there, some are on the way to another OSD. Harmless; wait for it to end.",
    "SLOW_OPS": "Requests wait for more than 30 s (osd_op_complaint_time): a slow disk, a full one, or a bad link. Look at"
    " the latency column for the OSD that stands out. Guests may feel it already: do not add load by a drain.",
    "MON_DOWN": "A monitor is gone. More than half of them must be left, or the cluster stops: count before you take a"
    " host down that runs another.",
    "MON_CLOCK_SKEW": "Clocks of the monitors differ by more than 0.05 s; keys may be refused and monitors drop out."
    " chronyc tracking on each.",
    "MON_DISK_LOW": "The disk of a monitor's store is nearly full. A monitor ends itself at 5 % free. Free space there.",
    "MON_DISK_CRIT": "A monitor is about to end itself for want of disk space. Free space there now.",
    "MON_DISK_BIG": "A monitor's store is large; it shrinks when all PGs are active+clean (ceph tell mon.ID compact).",
    "MGR_DOWN": "There is no manager: PG counts, usage and progress are old, and no host can be judged. Start one:"
    " systemctl restart ceph-mgr@ID. Data is served as before.",
    "MGR_MODULE_ERROR": "A part of the manager failed; others work. ceph crash ls, or ceph mgr fail to start it anew.",
    "MGR_MODULE_DEPENDENCY": "A manager module lacks a Python module; what it does is missing, all else works.",
    "OSDMAP_FLAGS": "Switches set for the whole cluster. noout: no OSD is ever marked out; nobackfill, norecover,"
    " norebalance: nothing heals; pause: no client can write. Take them back after the window: ceph osd unset FLAG.",
    "OSD_FLAGS": "Switches set on single hosts, OSDs or device classes. Take noout back when the host is up again:"
    " evac noout HOST --undo.",
    "POOL_NO_REDUNDANCY": "A pool keeps one copy: any disk that fails loses its data, and its host cannot be stopped"
    " without an outage. ceph osd pool set POOL size 3.",
    "POOL_APP_NOT_ENABLED": "Nobody said what a pool is for: ceph osd pool application enable POOL rbd. Harmless.",
    "TOO_FEW_OSDS": "Fewer OSDs than copies wanted: no pool can be whole. Add OSDs.",
    "TOO_FEW_PGS": "Data lies in few large pieces, so unevenly. ceph osd pool autoscale-status proposes numbers.",
    "POOL_TOO_FEW_PGS": "ceph osd pool autoscale-status proposes a number. Raising it moves data: not in the window.",
    "POOL_TOO_MANY_PGS": "ceph osd pool autoscale-status proposes a number. Merging moves data: not in the window.",
    "MANY_OBJECTS_PER_PG": "A pool has many more objects in each PG than the others: raise its pg_num, after the window.",
    "LARGE_OMAP_OBJECTS": "Some objects hold very many keys (bucket indexes); recovery of their PGs is slow.",
    "RECENT_CRASH": "A daemon crashed in the last two weeks: ceph crash ls. ceph crash archive-all when it is understood.",
    "PG_NOT_SCRUBBED": "Scrubs are behind. Harmless in a window; see that noscrub is not left set.",
    "PG_NOT_DEEP_SCRUBBED": "Deep scrubs are behind. Harmless in a window; see that nodeep-scrub is not left set.",
    "OSD_SLOW_PING_TIME_BACK": "Heartbeats between OSDs are slow: look for a bad link or an MTU that differs.",
    "OSD_SLOW_PING_TIME_FRONT": "Heartbeats between OSDs are slow: look for a bad link or an MTU that differs.",
    "BLUESTORE_SLOW_OP_ALERT": "A disk answers slowly. Look at the latency column; it may be failing.",
    "BLUEFS_SPILLOVER": "Metadata has spilled from the fast device to the slow one: slower, not unsafe.",
    "DEVICE_HEALTH": "Disks report that they will fail: ceph device ls. Take them out while the cluster is healthy.",
    "AUTH_INSECURE_GLOBAL_ID_RECLAIM_ALLOWED": "Old clients are still let in (CVE-2021-20288). No matter for the window.",
}
"""Code → what it means and what to do. Shown beside Ceph's own words."""


def checks(
    status: HealthAnswer, detail: HealthAnswer | None, states: Sequence[PGState]
) -> tuple[HealthCheck, ...]:
    """Worst first, those that are muted last. `detail` is `health detail`, where it was read; its checks are newer.

    Undersized PGs that no check mentions are told as one of our own.
    """
    held = detail.checks if detail is not None and detail.checks else status.checks
    found = [_check(code, check) for code, check in held.items()]
    silent = _undersized(states, held)
    if silent is not None:
        found.append(silent)
    return tuple(sorted(found, key=lambda one: (one.muted, one.severity is not Health.ERROR, one.code)))


def _check(code: str, check: Check) -> HealthCheck:
    return HealthCheck(
        code=code,
        severity=HEALTH.get(check.severity, Health.WARNING),
        summary=check.summary.message,
        count=check.summary.count,
        muted=check.muted,
        detail=tuple(line.message.strip() for line in check.detail[:MOST_LINES]),
        advice=advice(code, check.summary.message),
    )


def advice(code: str, summary: str) -> str:
    """What to do; "" for a code we know nothing about."""
    if code == "TOO_MANY_PGS":
        return _too_many(summary)
    return ADVICE.get(code, "")


def _too_many(summary: str) -> str:
    match = re.search(r"(\d+) > max (\d+)", summary)
    head = (
        f"{match[1]} PG copies for each OSD that is in; {match[2]} are allowed (mon_max_pg_per_osd)."
        if match
        else "More PG copies for each OSD than mon_max_pg_per_osd allows."
    )
    return (
        f"{head} No data is at risk: it costs memory, and PGs come up slowly after a restart; new pools are refused."
        " The number rises while OSDs are out. Add OSDs, give pools with little data fewer PGs"
        " (ceph osd pool autoscale-status proposes numbers), or raise the limit if memory allows."
    )


def _undersized(states: Sequence[PGState], held: Mapping[str, Check]) -> HealthCheck | None:
    few = sum(row.count for row in states if "undersized" in row.state.split("+"))
    told = held.get("PG_DEGRADED")
    named = told.summary.count or 0 if told is not None else 0
    if few <= named:
        return None
    words = (
        f"{few} PGs are undersized; Ceph's health names {named} of them"
        if named
        else (f"{few} PGs are undersized, which Ceph's health does not mention")
    )
    return HealthCheck(code="PG_UNDERSIZED", summary=words, count=few, advice=ADVICE["PG_UNDERSIZED"])


def slow_ops(held: Mapping[str, Check]) -> int:
    """How many requests wait too long; 0 when none."""
    check = held.get("SLOW_OPS")
    if check is None:
        return 0
    match = re.match(r"\d+", check.summary.message)
    return check.summary.count or (int(match[0]) if match else 1)
