"""The simulated Ceph's answers about OSDs: where they hang, how full, how fast, and on which machine they run."""

from __future__ import annotations

import math

from backends.ceph.simulator_answers import (
    RELEASE,
    Command,
    Context,
    Handler,
    Refused,
    addresses,
    ratio,
    word,
    words,
)
from backends.ceph.simulator_status import machine
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_crush import TYPE_IDS
from backends.simulation.ceph_reading import latency, shares
from backends.simulation.ceph_things import SimOSD


def _bucket(ceph: CephWorld, number: int) -> dict[str, object]:
    node = ceph.crush.nodes[number]
    extra: dict[str, object] = {} if node.kind == "root" else {"pool_weights": {}}
    return {
        "id": node.id,
        "name": node.name,
        "type": node.kind,
        "type_id": TYPE_IDS[node.kind],
        **extra,
        "children": node.children[::-1],
    }


def _leaf(ceph: CephWorld, osd: SimOSD) -> dict[str, object]:
    weight = ceph.crush.weights[osd.id]
    return {
        "id": osd.id,
        "device_class": osd.device_class,
        "name": f"osd.{osd.id}",
        "type": "osd",
        "type_id": 0,
        "crush_weight": weight,
        "depth": 3,
        "pool_weights": {},
    }


def _walk(ceph: CephWorld, number: int) -> list[int]:
    if number >= 0:
        return [number]
    found = [number]
    for child in ceph.crush.nodes[number].children:
        found += _walk(ceph, child)
    return found


def _tree(context: Context, command: Command) -> object:
    """The whole tree; with states, only OSDs in them and the buckets above."""
    ceph = context.ceph
    wanted = set(words(command, "states"))
    shown: list[object] = []
    for number in _walk(ceph, ceph.crush.root.id):
        if number < 0:
            if not wanted or any(_matches(ceph.osds[osd], wanted) for osd in ceph.crush.osds_below(number)):
                shown.append(_bucket(ceph, number))
        elif not wanted or _matches(ceph.osds[number], wanted):
            osd = ceph.osds[number]
            shown.append(
                _leaf(ceph, osd)
                | {
                    "exists": 1,
                    "status": "up" if osd.up else "down",
                    "reweight": osd.reweight,
                    "primary_affinity": 1,
                }
            )
    return {"nodes": shown, "stray": []}


def _matches(osd: SimOSD, wanted: set[str]) -> bool:
    return {"up" if osd.up else "down", "in" if osd.inside else "out"} >= wanted


def _df(context: Context, _: Command) -> object:
    ceph = context.ceph
    found = shares(ceph)
    inside = [osd for osd in ceph.osds.values() if osd.inside]
    used = {osd.id: int(found.used[osd.id]) >> 10 for osd in inside}
    total, total_used = sum(osd.size >> 10 for osd in inside), sum(used.values())
    average = 100.0 * ratio(total_used, total)
    nodes = []
    uses: list[float] = []
    for number in [number for number in _walk(ceph, -1) if number >= 0]:
        osd = ceph.osds[number]
        size = osd.size >> 10 if osd.inside else 0
        taken = used.get(number, 0)
        share = 100.0 * ratio(taken, size)
        uses += [share] if osd.inside else []
        nodes.append(
            _leaf(ceph, osd)
            | {"reweight": osd.reweight}
            | _space(size, taken)
            | {
                "utilization": share,
                "var": ratio(share, average),
                "pgs": int(found.acting[number]),
                "status": "up" if osd.up else "down",
            }
        )
    summary = {f"total_{key}": value for key, value in _space(total, total_used).items()}
    deviation = math.sqrt(sum((use - average) ** 2 for use in uses) / len(uses)) if uses else 0.0
    spread = [ratio(use, average) for use in uses] or [0.0]
    summary |= {
        "average_utilization": average,
        "min_var": min(spread),
        "max_var": max(spread),
        "dev": deviation,
    }
    return {"nodes": nodes, "stray": [], "summary": summary}


def _space(size: int, used: int) -> dict[str, object]:
    """KiB."""
    omap = used // 2000
    return {
        "kb": size,
        "kb_used": used,
        "kb_used_data": used - 2 * omap,
        "kb_used_omap": omap,
        "kb_used_meta": omap,
        "kb_avail": max(0, size - used),
    }


# --- the rest -------------------------------------------------------------------------------------


def _perf(context: Context, _: Command) -> object:
    infos = []
    for osd in context.ceph.osds.values():
        milliseconds = latency(context.ceph, osd)
        names = ("commit_latency_ms", "apply_latency_ms")
        stats = dict.fromkeys(names, milliseconds)
        stats |= {name.replace("_ms", "_ns"): milliseconds * 1_000_000 for name in names}
        infos.append({"id": osd.id, "perf_stats": stats})
    return {"pg_ready": context.ceph.daemons.mgr_ready, "osdstats": {"osd_perf_infos": infos}}


def _utilization(context: Context, _: Command) -> object:
    lying = enumerate(shares(context.ceph).up.tolist())
    counts = [(count, osd) for osd, count in lying if context.ceph.osds[osd].inside]
    if not counts:
        return {"avg_pgs": 0}
    total = sum(count for count, _ in counts)
    average = total / len(counts)
    least = min(counts)
    most = max(counts, key=lambda item: item[0])
    return {
        "avg_pgs": total // len(counts),
        "std_dev": math.sqrt(sum((count - average) ** 2 for count, _ in counts) / len(counts)),
        "expected_baseline_std_dev": math.sqrt(average * (1.0 - 1.0 / len(counts))),
        "min_osd": least[1],
        "min_osd_pgs": least[0],
        "max_osd": most[1],
        "max_osd_pgs": most[0],
    }


def _metadata(context: Context, command: Command) -> object:
    osds = context.ceph.osds
    if "id" not in command:
        return [_about(osd) for osd in osds.values()]
    number = int(word(command, "id"))
    if number not in osds:
        raise Refused(2, f"osd.{number} does not exist")
    return _about(osds[number])


def _about(osd: SimOSD) -> dict[str, object]:
    port = 6800 + osd.id % 100 * 4
    nets = {
        f"{name}_addr": f"v2:{addresses(40 + osd.id, port + offset, 28504)[1]}"
        for offset, name in enumerate(("front", "back", "hb_back", "hb_front"))
    }
    spins = "0" if osd.device_class in {"ssd", "nvme"} else "1"
    return {
        "id": osd.id,
        "arch": "x86_64",
        "back_iface": "",
        "front_iface": "",
        **nets,
        "ceph_release": "pacific",
        "ceph_version": RELEASE,
        "ceph_version_short": "16.2.15",
        "ceph_version_when_created": RELEASE,
        "created_at": "2026-01-05T06:10:21.834376Z",
        "default_device_class": osd.device_class,
        "journal_rotational": spins,
        "rotational": spins,
        "network_numa_unknown_ifaces": "back_iface,front_iface",
        "osd_data": f"/var/lib/ceph/osd/ceph-{osd.id}",
        "osd_objectstore": "bluestore",
        "osdspec_affinity": "",
        **machine(osd.host),
    }


def _stat(context: Context, _: Command) -> object:
    ceph = context.ceph
    up = [osd for osd in ceph.osds.values() if osd.up]
    return {
        "epoch": ceph.epoch,
        "num_osds": len(ceph.osds),
        "num_up_osds": len(up),
        "osd_up_since": int(ceph.world.wall(ceph.last_up)),
        "num_in_osds": sum(1 for osd in ceph.osds.values() if osd.inside),
        "osd_in_since": int(ceph.world.wall(ceph.last_in)),
        "num_remapped_pgs": sum(1 for ailing in ceph.ailing.values() if ailing.up != ailing.acting),
    }


def _find(context: Context, command: Command) -> object:
    number = int(word(command, "id"))
    if number not in context.ceph.osds:
        raise Refused(2, f"osd.{number} does not exist")
    osd = context.ceph.osds[number]
    vector, _ = addresses(40 + osd.id, 6800 + osd.id % 100 * 4, 28504)
    return {
        "osd": osd.id,
        "addrs": vector,
        "osd_fsid": osd.uuid,
        "host": osd.host,
        "crush_location": dict(context.ceph.crush.location(osd.id)[::-1]),
    }


MON: dict[str, Handler] = {
    "osd tree": _tree,
    "osd metadata": _metadata,
    "osd stat": _stat,
    "osd find": _find,
    "osd utilization": _utilization,
}
MGR: dict[str, Handler] = {"osd df": _df, "osd perf": _perf}
