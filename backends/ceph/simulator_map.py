"""The simulated Ceph's map as it tells it: `osd dump`, the pools and the CRUSH rules."""

from __future__ import annotations

from backends.ceph.simulator_answers import (
    FEATURES,
    HOLE,
    Command,
    Context,
    Handler,
    addresses,
    stamp,
    word,
)
from backends.ceph.simulator_status import rates, trouble
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_crush import Rule
from backends.simulation.ceph_health import DEFAULT_FLAGS
from backends.simulation.ceph_reading import sums
from backends.simulation.ceph_things import SimOSD, SimPool

BITS = {"nearfull": 1, "full": 2, "pause": 12, "noup": 32, "nodown": 64, "noout": 128, "noin": 256,
        "nobackfill": 512, "norecover": 16384, "norebalance": 1 << 15, "noscrub": 2048,
        "nodeep-scrub": 4096, "notieragent": 8192, "nosnaptrim": 1 << 25}  # fmt: skip
"""Of flags_num; source: include/rados.h."""

DEFAULT_BITS = 5799936
"""Those of every cluster of this release (recorded)."""


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


_DEFAULT_PROFILE = {"k": "2", "m": "2", "plugin": "jerasure", "technique": "reed_sol_van"}


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
        "erasure_code_profiles": {"default": _DEFAULT_PROFILE}
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
        "jerasure-per-chunk-alignment": "false",
        "k": str(pool.data_shards),
        "m": str(pool.size - pool.data_shards),
        "plugin": "jerasure",
        "technique": "reed_sol_van",
        "w": "8",
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
    # One answer of Ceph with all its fields, in Ceph's order: split, it could not be compared with a real one.
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


MON: dict[str, Handler] = {"osd dump": _dump, "osd pool ls": _pool_ls, "osd crush rule dump": _rules}
MGR: dict[str, Handler] = {"osd pool stats": _pool_stats}
