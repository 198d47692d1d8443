"""The simulated Ceph's answers about the cluster as a whole: status, health, quorum, manager, versions, settings."""

from __future__ import annotations

from backends.ceph.simulator_answers import (
    FEATURES,
    RELEASE,
    Command,
    Context,
    Handler,
    Told,
    addresses,
    ratio,
    stamp,
    word,
    zulu,
)
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_health import health, overall
from backends.simulation.ceph_reading import Sums, client_io, shares, sums
from backends.simulation.ceph_things import Event, SimMon

MON_FEATURES = [
    "kraken",
    "luminous",
    "mimic",
    "osdmap-prune",
    "nautilus",
    "octopus",
    "pacific",
    "elector-pinging",
]
BAR = 28
"""Characters of a progress bar in `status`."""


def _status(context: Context, _: Command) -> object:
    ceph = context.ceph
    total = sums(ceph)
    quorum = ceph.daemons.in_quorum()
    return {
        "fsid": ceph.fsid,
        "health": _health(ceph, total, detail=False),
        "election_epoch": ceph.daemons.election,
        "quorum": [mon.rank for mon in quorum],
        "quorum_names": [mon.name for mon in quorum],
        "quorum_age": int(ceph.now - ceph.daemons.quorum_since),
        "monmap": {"epoch": 1, "min_mon_release_name": "pacific", "num_mons": len(ceph.daemons.mons)},
        "osdmap": _osdmap(ceph),
        "pgmap": _pgmap(ceph, total),
        "fsmap": {"epoch": 1, "by_rank": [], "up:standby": 0},
        "mgrmap": {
            "available": bool(ceph.daemons.active_mgr),
            "num_standbys": max(0, len(ceph.daemons.mgr.names) - 1),
            "modules": ["iostat", "nfs", "restful"],
            "services": {},
        },
        "servicemap": {"epoch": 3, "modified": stamp(ceph, 0.0), "services": {}},
        "progress_events": {event.id: _short(ceph, event) for event in ceph.progress.open},
    }


def _osdmap(ceph: CephWorld) -> dict[str, object]:
    osds = ceph.osds.values()
    return {
        "epoch": ceph.epoch,
        "num_osds": len(osds),
        "num_up_osds": sum(1 for osd in osds if osd.up),
        "osd_up_since": int(ceph.world.wall(ceph.last_up)),
        "num_in_osds": sum(1 for osd in osds if osd.inside),
        "osd_in_since": int(ceph.world.wall(ceph.last_in)),
        "num_remapped_pgs": sum(1 for ailing in ceph.ailing.values() if ailing.up != ailing.acting),
    }


def _pgmap(ceph: CephWorld, total: Sums) -> dict[str, object]:
    size, used = capacity(ceph)
    states = [{"state_name": name, "count": count} for name, count in total.states.most_common() if count]
    found: dict[str, object] = {
        "pgs_by_state": states,
        "num_pgs": total.pgs,
        "num_pools": len(ceph.pools),
        "num_objects": total.objects,
        "data_bytes": total.data,
        "bytes_used": used,
        "bytes_avail": max(0, size - used),
        "bytes_total": size,
    }
    if total.inactive:
        found["inactive_pgs_ratio"] = ratio(total.inactive, total.pgs)
    return found | trouble(total) | client_io(ceph)


def capacity(ceph: CephWorld) -> tuple[int, int]:
    """(bytes of all OSDs that are in, bytes used on them)."""
    inside = [osd for osd in ceph.osds.values() if osd.inside]
    used = shares(ceph).used
    return sum(osd.size for osd in inside), int(sum(used[osd.id] for osd in inside))


def trouble(total: Sums) -> dict[str, object]:
    """Degraded, misplaced and recovering objects; each only while there are any, as Ceph does it."""
    found: dict[str, object] = {}
    for name, count in (("degraded", total.degraded), ("misplaced", total.misplaced)):
        if count:
            found[f"{name}_objects"] = count
            found[f"{name}_total"] = total.copies
            found[f"{name}_ratio"] = ratio(count, total.copies)
    return found | rates(total)


def rates(total: Sums) -> dict[str, object]:
    """How fast it recovers; nothing while it does not."""
    if not total.recovering:
        return {}
    return {
        "recovering_objects_per_sec": int(total.recovering),
        "recovering_bytes_per_sec": int(total.recovering_bytes),
        "recovering_keys_per_sec": 0,
        "num_objects_recovered": int(total.recovering * 5),
        "num_bytes_recovered": int(total.recovering_bytes * 5),
        "num_keys_recovered": 0,
    }


def _short(ceph: CephWorld, event: Event) -> dict[str, object]:
    done = ceph.progress.done(event)
    bar = int(done * BAR) * "=" + ("." if done < 1 else "")
    rest = ceph.progress.remaining(event)
    tail = f" (remaining: {_span(rest)})" if rest else " "
    message = f"{event.message} ({_span(int(ceph.now - event.started))})\n      [{bar:.<29}]{tail}"
    return {"message": message, "progress": done, "add_to_ceph_s": event.whole}


def _span(seconds: int) -> str:
    """As the progress module writes how long."""
    return f"{seconds}s" if seconds < 60 else f"{seconds // 60}m" if seconds < 3600 else f"{seconds // 3600}h"


def _progress(context: Context, _: Command) -> object:
    ceph = context.ceph
    completed = [
        {
            "add_to_ceph_s:": event.whole,
            "finished_at": ceph.world.wall(event.finished),
            "id": event.id,
            "message": event.message,
            "refs": event.refs,
            "started_at": ceph.world.wall(event.started),
        }
        for event in ceph.progress.completed
    ]
    events = [
        {
            "duration": f"({_span(int(ceph.now - event.started))})",
            "id": event.id,
            "message": event.message,
            "progress": ceph.progress.done(event),
            "refs": event.refs,
            "started_at": ceph.world.wall(event.started),
            "time_remaining": ceph.progress.remaining(event),
        }
        for event in ceph.progress.open
    ]
    return {"completed": completed, "events": events}


def _health(ceph: CephWorld, total: Sums, *, detail: bool) -> dict[str, object]:
    checks = health(ceph, total)
    shown: dict[str, object] = {}
    for code, check in checks.items():
        summary = {"message": check.message, "count": check.count}
        lines = {"detail": [{"message": line} for line in check.detail]} if detail else {}
        shown[code] = {"severity": check.severity, "summary": summary, **lines, "muted": code in ceph.muted}
    mutes = [
        {"code": code, "sticky": False, "summary": checks[code].message, "count": checks[code].count}
        for code in sorted(ceph.muted & set(checks))
    ]
    return {"status": overall(ceph, checks), "checks": shown, "mutes": mutes}


def _health_command(context: Context, command: Command) -> object:
    return _health(context.ceph, sums(context.ceph), detail=word(command, "detail") == "detail")


# --- monitors and managers ------------------------------------------------------------------------


def _monmap(ceph: CephWorld) -> dict[str, object]:
    quorum = ceph.daemons.in_quorum()
    return {
        "epoch": 1,
        "fsid": ceph.fsid,
        "modified": zulu(ceph, 0.0),
        "created": zulu(ceph, 0.0),
        "min_mon_release": 16,
        "min_mon_release_name": "pacific",
        "election_strategy": 1,
        "disallowed_leaders: ": "",
        "stretch_mode": False,
        "tiebreaker_mon": "",
        "removed_ranks: ": "",
        "features": {"persistent": MON_FEATURES, "optional": []},
        "mons": [_mon(mon) for mon in ceph.daemons.mons],
        "quorum": [mon.rank for mon in quorum],
    }


def _mon(mon: SimMon) -> dict[str, object]:
    vector, address = addresses(10 + mon.rank, 3300, 0)
    return {
        "rank": mon.rank,
        "name": mon.name,
        "public_addrs": vector,
        "addr": address,
        "public_addr": address,
        "priority": 0,
        "weight": 0,
        "crush_location": "{}",
    }


def _mon_dump(context: Context, _: Command) -> object:
    return Told(_monmap(context.ceph), "dumped monmap epoch 1")


def _quorum(context: Context, _: Command) -> object:
    ceph = context.ceph
    quorum = ceph.daemons.in_quorum()
    monmap = _monmap(ceph)
    del monmap["quorum"]
    return {
        "election_epoch": ceph.daemons.election,
        "quorum": [mon.rank for mon in quorum],
        "quorum_names": [mon.name for mon in quorum],
        "quorum_leader_name": quorum[0].name,
        "quorum_age": int(ceph.now - ceph.daemons.quorum_since),
        "features": {"quorum_con": str(FEATURES), "quorum_mon": MON_FEATURES},
        "monmap": monmap,
    }


def _mon_metadata(context: Context, _: Command) -> object:
    return [
        {
            "name": mon.name,
            "addrs": f"v2:{addresses(10 + mon.rank, 3300, 0)[1]}",
            "arch": "x86_64",
            "ceph_release": "pacific",
            "ceph_version": RELEASE,
            "ceph_version_short": "16.2.15",
            "container_hostname": mon.host or mon.name,
            "compression_algorithms": "none, snappy, zlib, zstd, lz4",
            **machine(mon.host or mon.name),
        }
        for mon in context.ceph.daemons.mons
    ]


def machine(host: str) -> dict[str, object]:
    """What daemons tell of the machine they run on."""
    return {
        "container_name": host,
        "cpu": "x86_64",
        "device_ids": "",
        "device_paths": "",
        "devices": "",
        "distro": "debian",
        "distro_description": "Debian GNU/Linux 12 (bookworm)",
        "distro_version": "12",
        "hostname": host,
        "kernel_description": "#1 SMP PREEMPT_DYNAMIC",
        "kernel_version": "6.1.0-13-amd64",
        "mem_swap_kb": "0",
        "mem_total_kb": "805306368",
        "os": "Linux",
    }


def _mgr_dump(context: Context, _: Command) -> object:
    ceph = context.ceph
    mgr = ceph.daemons.mgr
    vector, address = addresses(30, 6800, 27945)
    standbys = [
        {"gid": 4100 + index, "name": name, "mgr_features": FEATURES, "available_modules": []}
        for index, (name, _) in enumerate(mgr.names[1:], 1)
    ]
    return {
        "epoch": mgr.epoch,
        "active_gid": 4100 + mgr.epoch,
        "active_name": ceph.daemons.active_mgr,
        "active_addrs": vector,
        "active_addr": address,
        "active_change": stamp(ceph, mgr.since),
        "active_mgr_features": FEATURES,
        "available": bool(ceph.daemons.active_mgr),
        "standbys": standbys,
        "modules": ["iostat", "nfs", "restful"],
        "available_modules": [],
        "services": {},
        "always_on_modules": {"pacific": ["balancer", "progress", "status"]},
        "last_failure_osd_epoch": 0,
        "active_clients": [],
    }


def _mgr_stat(context: Context, _: Command) -> object:
    daemons = context.ceph.daemons
    name = daemons.active_mgr
    return {
        "epoch": daemons.mgr.epoch,
        "available": bool(name),
        "active_name": name,
        "num_standby": max(0, len(daemons.mgr.names) - 1),
    }


def _fsid(context: Context, _: Command) -> object:
    return {"fsid": context.ceph.fsid}


MON: dict[str, Handler] = {
    "status": _status,
    "health": _health_command,
    "fsid": _fsid,
    "mon dump": _mon_dump,
    "mon metadata": _mon_metadata,
    "quorum_status": _quorum,
    "mgr dump": _mgr_dump,
    "mgr stat": _mgr_stat,
}
MGR: dict[str, Handler] = {"progress json": _progress, "progress": _progress}
