"""The simulated Ceph's answers about OSDs and pools: tree, df, dump, perf, rules, metadata, and the flags."""

from __future__ import annotations

import math

from backends.ceph.simulator_answers import (
    FEATURES,
    HOLE,
    RELEASE,
    Command,
    Context,
    Handler,
    Refused,
    Told,
    addresses,
    ratio,
    same_uuid,
    stamp,
    word,
    words,
)
from backends.ceph.simulator_status import machine, rates, trouble
from backends.simulation.ceph import FLAGS, GROUP_FLAGS, CephWorld
from backends.simulation.ceph_crush import TYPE_IDS, Rule
from backends.simulation.ceph_health import DEFAULT_FLAGS
from backends.simulation.ceph_reading import latency, shares, sums
from backends.simulation.ceph_things import SimOSD, SimPool

BITS = {"nearfull": 1, "full": 2, "pause": 12, "noup": 32, "nodown": 64, "noout": 128, "noin": 256,
        "nobackfill": 512, "norecover": 16384, "norebalance": 1 << 15, "noscrub": 2048,
        "nodeep-scrub": 4096, "notieragent": 8192, "nosnaptrim": 1 << 25}  # fmt: skip
"""Of flags_num; source: include/rados.h."""

DEFAULT_BITS = 5799936
"""Those of every cluster of this release (recorded)."""


# --- tree and df ----------------------------------------------------------------------------------


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


# --- dump -----------------------------------------------------------------------------------------


def _osd(ceph: CephWorld, osd: SimOSD) -> dict[str, object]:
    port = 6800 + osd.id % 100 * 4
    found: dict[str, object] = {
        "osd": osd.id,
        "uuid": osd.uuid,
        "up": int(osd.up),
        "in": int(osd.inside),
        "weight": osd.reweight,
        "primary_affinity": 1,
        "last_clean_begin": 0,
        "last_clean_end": 0,
        "up_from": osd.up_from,
        "up_thru": ceph.epoch,
        "down_at": osd.down_at,
        "lost_at": 0,
    }
    flat: dict[str, object] = {}
    for offset, name in enumerate(("public", "cluster", "heartbeat_back", "heartbeat_front")):
        vector, address = addresses(40 + osd.id, port + offset, 28504)
        found[f"{name}_addrs"] = vector
        flat[f"{name}_addr"] = address
    states = ["exists", "up"] if osd.up else ["exists"]
    return found | flat | {"state": [*states, *sorted(osd.flags)]}


def _xinfo(ceph: CephWorld, osd: SimOSD) -> dict[str, object]:
    return {
        "osd": osd.id,
        "down_stamp": "0.000000" if osd.down_since is None else stamp(ceph, osd.down_since),
        "laggy_probability": 0,
        "laggy_interval": 0,
        "features": FEATURES,
        "old_weight": 0 if osd.inside else int(osd.before_out * 65536),
        "last_purged_snaps_scrub": stamp(ceph, 0.0),
        "dead_epoch": 0,
    }


def _dump(context: Context, _: Command) -> object:
    ceph = context.ceph
    flags = sorted([*DEFAULT_FLAGS, *ceph.flags])
    return {
        "epoch": ceph.epoch,
        "fsid": ceph.fsid,
        "created": stamp(ceph, 0.0),
        "modified": stamp(ceph),
        "last_up_change": stamp(ceph, ceph.last_up),
        "last_in_change": stamp(ceph, ceph.last_in),
        "flags": ",".join([*sorted(ceph.flags), *DEFAULT_FLAGS[::-1]]),
        "flags_num": DEFAULT_BITS + sum(BITS.get(flag, 0) for flag in ceph.flags),
        "flags_set": flags,
        "crush_version": 5,
        "full_ratio": 0.949999988079071,
        "backfillfull_ratio": 0.8999999761581421,
        "nearfull_ratio": 0.8500000238418579,
        "cluster_snapshot": "",
        "pool_max": len(ceph.pools),
        "max_osd": len(ceph.osds),
        "require_min_compat_client": "luminous",
        "min_compat_client": "luminous",
        "require_osd_release": "pacific",
        "pools": [_pool(ceph, pool, "pool") for pool in ceph.pools.values()],
        "osds": [_osd(ceph, osd) for osd in ceph.osds.values()],
        "osd_xinfo": [_xinfo(ceph, osd) for osd in ceph.osds.values()],
        **_exceptions(ceph),
    }


def _exceptions(ceph: CephWorld) -> dict[str, object]:
    temporary = [
        {"pgid": f"{pool}.{seed:x}", "osds": [osd if osd >= 0 else HOLE for osd in ailing.acting]}
        for (pool, seed), ailing in ceph.ailing.items()
        if ailing.up != ailing.acting
    ]
    return {
        "pg_upmap": [],
        "pg_upmap_items": [],
        "pg_temp": temporary,
        "primary_temp": [],
        "blocklist": {},
        "range_blocklist": {},
        "erasure_code_profiles": {"default": {"k": "2", "m": "2"}}
        | {f"profile-{pool.name}": _profile(pool) for pool in ceph.pools.values() if pool.erasure},
        "removed_snaps_queue": [],
        "new_removed_snaps": [],
        "new_purged_snaps": [],
        "crush_node_flags": {name: sorted(flags) for name, flags in ceph.node_flags.items()},
        "device_class_flags": {name: sorted(flags) for name, flags in ceph.class_flags.items()},
        "stretch_mode": {
            "stretch_mode_enabled": False,
            "stretch_bucket_count": 0,
            "degraded_stretch_mode": 0,
            "recovering_stretch_mode": 0,
            "stretch_mode_bucket": 0,
        },
    }


def _profile(pool: SimPool) -> dict[str, str]:
    return {
        "crush-device-class": pool.rule.device_class,
        "crush-failure-domain": pool.rule.domain,
        "crush-root": "default",
        "k": str(pool.data_shards),
        "m": str(pool.size - pool.data_shards),
        "plugin": "jerasure",
        "technique": "reed_sol_van",
    }


# --- pools ----------------------------------------------------------------------------------------

_ZEROS = {
    "quota_max_bytes": 0, "quota_max_objects": 0, "tiers": [], "tier_of": -1, "read_tier": -1, "write_tier": -1,
    "cache_mode": "none", "target_max_bytes": 0, "target_max_objects": 0,
    "cache_target_dirty_ratio_micro": 400000, "cache_target_dirty_high_ratio_micro": 600000,
    "cache_target_full_ratio_micro": 800000, "cache_min_flush_age": 0, "cache_min_evict_age": 0,
}  # fmt: skip
_ENDS = {
    "hit_set_params": {"type": "none"}, "hit_set_period": 0, "hit_set_count": 0, "use_gmt_hitset": True,
    "min_read_recency_for_promote": 0, "min_write_recency_for_promote": 0, "hit_set_grade_decay_rate": 0,
    "hit_set_search_last_n": 0, "grade_table": [],
}  # fmt: skip
_MERGE = {
    "source_pgid": "0.0", "ready_epoch": 0, "last_epoch_started": 0, "last_epoch_clean": 0,
    "source_version": "0'0", "target_version": "0'0",
}  # fmt: skip


def _pool(ceph: CephWorld, pool: SimPool, key: str) -> dict[str, object]:
    counts = dict.fromkeys(
        ("pg_num", "pg_placement_num", "pg_placement_num_target", "pg_num_target", "pg_num_pending"),
        pool.pg_num,
    )
    return {
        key: pool.id,
        "pool_name": pool.name,
        "create_time": stamp(ceph, 0.0),
        "flags": 1,
        "flags_names": "hashpspool",
        "type": 3 if pool.erasure else 1,
        "size": pool.size,
        "min_size": pool.min_size,
        "crush_rule": pool.rule.id,
        "peering_crush_bucket_count": 0,
        "peering_crush_bucket_target": 0,
        "peering_crush_bucket_barrier": 0,
        "peering_crush_bucket_mandatory_member": HOLE,
        "object_hash": 2,
        "pg_autoscale_mode": "off",
        **counts,
        "last_pg_merge_meta": _MERGE,
        "last_change": "28",
        "last_force_op_resend": "0",
        "last_force_op_resend_prenautilus": "0",
        "last_force_op_resend_preluminous": "0",
        "auid": 0,
        "snap_mode": "selfmanaged",
        "snap_seq": 0,
        "snap_epoch": 0,
        "pool_snaps": [],
        "removed_snaps": "[]",
        **_ZEROS,
        "erasure_code_profile": f"profile-{pool.name}" if pool.erasure else "",
        **_ENDS,
        "stripe_width": 4096 * pool.data_shards if pool.erasure else 0,
        "expected_num_objects": 0,
        "fast_read": False,
        "options": {},
        "application_metadata": {pool.application: {}} if pool.application else {},
    }


def _pool_ls(context: Context, command: Command) -> object:
    pools = context.ceph.pools.values()
    if word(command, "detail") == "detail":
        return [_pool(context.ceph, pool, "pool_id") for pool in pools]
    return [pool.name for pool in pools]


def _pool_stats(context: Context, _: Command) -> object:
    found = []
    for pool in context.ceph.pools.values():
        total = sums(context.ceph, pool)
        speed = rates(total)
        lacks = {key: value for key, value in trouble(total).items() if key not in speed}
        found.append(
            {
                "pool_name": pool.name,
                "pool_id": pool.id,
                "recovery": lacks,
                "recovery_rate": speed,
                "client_io_rate": {},
            }
        )
    return found


def _rules(context: Context, _: Command) -> object:
    return [_rule(context.ceph, rule) for rule in context.ceph.rules.values()]


def _rule(ceph: CephWorld, rule: Rule) -> dict[str, object]:
    item, name = (
        (-1, "default")
        if not rule.device_class
        else (
            -100 - sorted({osd.device_class for osd in ceph.osds.values()}).index(rule.device_class),
            f"default~{rule.device_class}",
        )
    )
    sizes = {pool.size for pool in ceph.pools.values() if pool.rule is rule}
    tries: list[object] = [{"op": "set_chooseleaf_tries", "num": 5}, {"op": "set_choose_tries", "num": 100}]
    steps: list[object] = [
        *(tries if rule.erasure else []),
        {"op": "take", "item": item, "item_name": name},
        {"op": f"chooseleaf_{'indep' if rule.erasure else 'firstn'}", "num": 0, "type": rule.domain},
        {"op": "emit"},
    ]
    return {
        "rule_id": rule.id,
        "rule_name": rule.name,
        "ruleset": rule.id,
        "type": 3 if rule.erasure else 1,
        "min_size": min(sizes, default=3) if rule.erasure else 1,
        "max_size": max(sizes, default=3) if rule.erasure else 10,
        "steps": steps,
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
    counts = [
        (int(context_up), osd)
        for osd, context_up in enumerate(shares(context.ceph).up)
        if context.ceph.osds[osd].inside
    ]
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
        "osd_fsid": same_uuid(context.ceph.fsid, osd.id),
        "host": osd.host,
        "crush_location": dict(context.ceph.crush.location(osd.id)[::-1]),
    }


# --- changing -------------------------------------------------------------------------------------


def _group(context: Context, command: Command, *, on: bool) -> object:
    ceph = context.ceph
    flags = [flag for text in words(command, "flags") for flag in text.split(",")]
    for flag in flags:
        if flag not in GROUP_FLAGS:
            raise Refused(22, f"unrecognized flag '{flag}', must be one of {{noup,nodown,noin,noout}}")
    who = words(command, "who")
    classes = {osd.device_class for osd in ceph.osds.values()}
    for name in who:
        number = name.removeprefix("osd.")
        known = (
            int(number) in ceph.osds if number.isdecimal() else name in ceph.crush.names or name in classes
        )
        if not known:
            raise Refused(22, f'unable to parse osd id or crush node or device class: "{name}". ')
    ceph.set_group(flags, who, on=on)
    return Told(None)


def _flag(context: Context, command: Command, *, on: bool) -> object:
    flag = word(command, "key")
    if flag not in FLAGS:
        raise Refused(22, f"Invalid command: {flag} not in {'|'.join(sorted(FLAGS))}")
    context.ceph.set_flag(flag, on=on)
    return Told(None, f"{flag} is {'set' if on else 'unset'}")


def _each(context: Context, command: Command, word_: str) -> object:
    ceph = context.ceph
    for text in words(command, "ids"):
        bare = text.removeprefix("osd.")
        if not bare.isdecimal() or int(bare) not in ceph.osds:
            raise Refused(2, f"osd.{bare} does not exist.")
        (ceph.mark_out if word_ == "out" else ceph.mark_in)(int(bare))
    return Told(None, f"marked {word_} osd(s)")


MON: dict[str, Handler] = {
    "osd tree": _tree,
    "osd dump": _dump,
    "osd pool ls": _pool_ls,
    "osd crush rule dump": _rules,
    "osd metadata": _metadata,
    "osd stat": _stat,
    "osd find": _find,
    "osd utilization": _utilization,
}
MGR: dict[str, Handler] = {"osd df": _df, "osd perf": _perf, "osd pool stats": _pool_stats}
WRITES: dict[str, Handler] = {
    "osd set-group": lambda context, command: _group(context, command, on=True),
    "osd unset-group": lambda context, command: _group(context, command, on=False),
    "osd set": lambda context, command: _flag(context, command, on=True),
    "osd unset": lambda context, command: _flag(context, command, on=False),
    "osd out": lambda context, command: _each(context, command, "out"),
    "osd in": lambda context, command: _each(context, command, "in"),
}
