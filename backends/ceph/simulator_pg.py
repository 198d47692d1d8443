"""The simulated Ceph's answers about placement groups: dumps, lists, and whether OSDs may stop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from backends.ceph.simulator_answers import (
    HOLE,
    Command,
    Context,
    Handler,
    Refused,
    Told,
    number_of_osd,
    pgid,
    stamp,
    word,
    words,
)
from backends.ceph.simulator_status import capacity, trouble
from backends.simulation.ceph import CephWorld
from backends.simulation.ceph_crush import NOBODY
from backends.simulation.ceph_reading import CLEAN, shares, states, sums
from backends.simulation.ceph_things import Key, SimPool

RESTARTED = "Warning: due to ceph-mgr restart, some PG states may not be up to date"

# --- pgs_brief ------------------------------------------------------------------------------------


def _dump(context: Context, command: Command) -> object:
    """`pg dump pgs_brief`, JSON or plain, and `pg dump pgs` in JSON."""
    wanted = words(command, "dumpcontents")
    ceph = context.ceph
    said = f"dumped {','.join(wanted)}"
    if not ceph.daemons.mgr_ready:
        said = f"{RESTARTED}\n{said}"
    if wanted == ["pgs_brief"]:
        plain = word(command, "format") == "plain"
        return Told(_plain(context) if plain else _brief(context), said)
    if wanted == ["pgs"]:
        return Told(_listed(ceph, _keys(ceph)), said)
    raise Refused(95, "the simulator dumps pgs_brief and pgs only")


def _brief(context: Context) -> bytes:
    ready = b"true" if context.ceph.daemons.mgr_ready else b"false"
    parts = list(_parts(context, "json"))
    return b'{"pg_ready":' + ready + b',"pg_stats":[' + b",".join(part for part in parts if part) + b"]}"


def _parts(context: Context, form: str) -> Iterator[bytes]:
    """The rows of each pool; those of a pool in which nothing changed are kept from the last time."""
    ceph = context.ceph
    odd: dict[int, dict[int, str]] = {}
    for (pool_id, seed), state in states(ceph).items():
        odd.setdefault(pool_id, {})[seed] = state
    for pool in ceph.pools.values():
        strange = odd.get(pool.id, {})
        mark = (pool.version, tuple(strange.items()))
        kept = context.dumps.get((pool.id, form))
        if kept is None or kept[0] != mark:
            rows = _json_rows(pool, strange) if form == "json" else _plain_rows(pool, strange)
            kept = context.dumps[pool.id, form] = (mark, rows)
        yield kept[1]


def _tables(pool: SimPool) -> Iterator[tuple[int, list[int], list[int]]]:
    """(seed, up, acting) as Ceph shows them: replicated PGs are shorter where a copy is missing."""
    erasure = pool.erasure
    for seed, (up, acting) in enumerate(zip(pool.up.tolist(), pool.acting.tolist(), strict=True)):
        yield seed, shown(up, erasure=erasure), shown(acting, erasure=erasure)


def shown(row: Iterable[int], *, erasure: bool) -> list[int]:
    """Holes of an erasure-coded PG as Ceph's number for nobody; other PGs simply are shorter."""
    if erasure:
        return [HOLE if osd == NOBODY else osd for osd in row]
    return [osd for osd in row if osd != NOBODY]


def primary(row: Iterable[int]) -> int:
    """The first that is there; -1 when nobody is."""
    return next((osd for osd in row if osd != HOLE), -1)


def _json_rows(pool: SimPool, strange: dict[int, str]) -> bytes:
    out: list[str] = []
    for seed, up, acting in _tables(pool):
        here = ",".join(map(str, up))
        there = here if up == acting else ",".join(map(str, acting))
        out.append(
            f'{{"pgid":"{pool.id}.{seed:x}","state":"{strange.get(seed, CLEAN)}","up":[{here}],"acting":[{there}],'
            f'"up_primary":{primary(up)},"acting_primary":{primary(acting)}}}'
        )
    return ",".join(out).encode()


def _plain_rows(pool: SimPool, strange: dict[int, str]) -> bytes:
    return "\n".join(
        f"{pool.id}.{seed:x}\t{strange.get(seed, CLEAN)}\t[{','.join(map(str, up))}]\t{primary(up)}\t"
        f"[{','.join(map(str, acting))}]\t{primary(acting)}"
        for seed, up, acting in _tables(pool)
    ).encode()


def _plain(context: Context) -> bytes:
    """Ceph's table: columns as wide as their widest cell, two blanks between them."""
    heads = ["PG_STAT", "STATE", "UP", "UP_PRIMARY", "ACTING", "ACTING_PRIMARY"]
    text = b"\n".join(part for part in _parts(context, "plain") if part).decode()
    rows = [line.split("\t") for line in text.splitlines()]
    widths = [max([len(head), *(len(row[index]) for row in rows)]) for index, head in enumerate(heads)]
    lines = ["  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return ("\n".join(lines) + "\n").encode()


# --- full rows ------------------------------------------------------------------------------------

_SUM = dict.fromkeys(["num_bytes", "num_objects", "num_object_clones", "num_object_copies", "num_objects_missing_on_primary", "num_objects_missing", "num_objects_degraded", "num_objects_misplaced", "num_objects_unfound", "num_objects_dirty", "num_whiteouts", "num_read", "num_read_kb", "num_write", "num_write_kb", "num_scrub_errors", "num_shallow_scrub_errors", "num_deep_scrub_errors", "num_objects_recovered", "num_bytes_recovered", "num_keys_recovered", "num_objects_omap", "num_objects_hit_set_archive", "num_bytes_hit_set_archive", "num_flush", "num_flush_kb", "num_evict", "num_evict_kb", "num_promote", "num_flush_mode_high", "num_flush_mode_low", "num_evict_mode_some", "num_evict_mode_full", "num_objects_pinned", "num_legacy_snapsets", "num_large_omap_objects", "num_objects_manifest", "num_omap_bytes", "num_omap_keys", "num_objects_repaired"], 0)  # fmt: skip

_TIMES = [
    "last_fresh",
    "last_change",
    "last_active",
    "last_peered",
    "last_clean",
    "last_became_active",
    "last_became_peered",
    "last_unstale",
    "last_undegraded",
    "last_fullsized",
]

_MIDDLE = {
    "mapping_epoch": 19, "log_start": "0'0", "ondisk_log_start": "0'0", "created": 19, "last_epoch_clean": 26,
    "parent": "0.0", "parent_split_bits": 0,
}  # fmt: skip

_INVALID = dict.fromkeys(
    [
        "stats_invalid",
        "dirty_stats_invalid",
        "omap_stats_invalid",
        "hitset_stats_invalid",
        "hitset_bytes_stats_invalid",
        "pin_stats_invalid",
        "manifest_stats_invalid",
    ],
    False,
)


def _full(ceph: CephWorld, key: Key, state: str) -> dict[str, object]:
    """One row of `pg ls`; logs and versions are not simulated."""
    # With all its fields, in Ceph's order: split, it could not be compared with a real one.
    pool = ceph.pools[key[0]]
    ailing = ceph.ailing.get(key)
    degraded, misplaced = ceph.peering.lacks(ailing) if ailing is not None else (0.0, 0.0)
    objects = pool.objects_in(key[1])
    up = shown(pool.row(pool.up, key[1]), erasure=pool.erasure)
    acting = shown(pool.row(pool.acting, key[1]), erasure=pool.erasure)
    figures = {
        "num_bytes": objects * pool.object_size,
        "num_objects": objects,
        "num_object_copies": objects * pool.size,
        "num_objects_degraded": round(degraded),
        "num_objects_misplaced": round(misplaced),
    }
    scrub = stamp(ceph, 0.0)
    return {
        "pgid": pgid(key),
        "version": f"{ceph.epoch}'{objects}",
        "reported_seq": 57,
        "reported_epoch": ceph.epoch,
        "state": state,
        **dict.fromkeys(_TIMES, stamp(ceph)),
        **_MIDDLE,
        "last_scrub": "0'0",
        "last_scrub_stamp": scrub,
        "last_deep_scrub": "0'0",
        "last_deep_scrub_stamp": scrub,
        "last_clean_scrub_stamp": scrub,
        "log_size": 0,
        "ondisk_log_size": 0,
        **_INVALID,
        "snaptrimq_len": 0,
        "stat_sum": {**_SUM, **figures},
        "up": up,
        "acting": acting,
        "avail_no_missing": [],
        "object_location_counts": [],
        "blocked_by": [],
        "up_primary": primary(up),
        "acting_primary": primary(acting),
        "purged_snaps": [],
    }


def _keys(ceph: CephWorld) -> list[Key]:
    return [(pool.id, seed) for pool in ceph.pools.values() for seed in range(pool.pg_num)]


def _listed(ceph: CephWorld, keys: Iterable[Key]) -> dict[str, object]:
    known = states(ceph)
    rows = [_full(ceph, key, known.get(key, CLEAN)) for key in keys]
    ready: dict[str, object] = {"pg_ready": ceph.daemons.mgr_ready}
    return (
        ready | {"pg_stats": rows} if rows else ready
    )  # 16.2 leaves the list away when it is empty (recorded)


def _ls_by_osd(context: Context, command: Command) -> object:
    """PGs whose acting set (or up set) has this OSD, perhaps of one pool only."""
    ceph = context.ceph
    number = command.get("osd")
    if isinstance(number, bool) or not isinstance(number, int):
        raise Refused(22, "bad or missing field 'osd'")
    if number not in ceph.osds or not ceph.osds[number].up:
        raise Refused(11, f"osd {number} is not up", {"pg_ready": ceph.daemons.mgr_ready})
    only = command.get("pool")
    found: list[Key] = []
    for pool in ceph.pools.values():
        if only is None or pool.id == only:
            hits = (pool.acting == number).any(axis=1) | (pool.up == number).any(axis=1)
            found += [(pool.id, seed) for seed in hits.nonzero()[0].tolist()]
    return _listed(ceph, _in_states(ceph, found, command))


def _in_states(ceph: CephWorld, keys: list[Key], command: Command) -> list[Key]:
    wanted = {word_ for text in words(command, "states") for word_ in text.split("+")}
    if not wanted:
        return keys
    known = states(ceph)
    return [key for key in keys if wanted <= set(known.get(key, CLEAN).split("+"))]


def _ls(context: Context, command: Command) -> object:
    ceph = context.ceph
    only = command.get("pool")
    keys = [key for key in _keys(ceph) if only is None or key[0] == only]
    return _listed(ceph, _in_states(ceph, keys, command))


def _ls_by_pool(context: Context, command: Command) -> object:
    name = word(command, "poolstr")
    for pool in context.ceph.pools.values():
        if pool.name == name:
            return _ls(context, {**command, "pool": pool.id})
    raise Refused(2, f"pool {name} does not exist")


def _stat(context: Context, _: Command) -> object:
    ceph = context.ceph
    total = sums(ceph)
    size, used = capacity(ceph)
    summary = {
        "num_pg_by_state": [{"name": name, "num": count} for name, count in total.states.items() if count],
        "num_pgs": total.pgs,
        "num_bytes": total.data,
        "total_bytes": size,
        "total_avail_bytes": max(0, size - used),
        "total_used_bytes": used,
        "total_used_raw_bytes": used,
        **trouble(total),
    }
    return {"pg_ready": ceph.daemons.mgr_ready, "pg_summary": summary}


# --- may they stop --------------------------------------------------------------------------------


def _ok_to_stop(context: Context, command: Command) -> object:
    """As DaemonServer's _check_offlines_pgs: an id that does not exist touches no PG, so it is "ok"."""
    ceph = context.ceph
    asked = sorted({number_of_osd(text) for text in words(command, "ids")})
    most = command.get("max")
    report = _offline(ceph, asked)
    if report["ok_to_stop"] and isinstance(most, int) and most > len(asked):
        report = _widen(ceph, asked, most, report)
    bad = report["num_not_ok_pgs"]
    if not report["ok_to_stop"]:
        raise Refused(
            16, f"unsafe to stop osd(s) at this time ({bad} PGs are or would become offline)", report
        )
    return report


def _widen(ceph: CephWorld, asked: list[int], most: int, report: dict[str, object]) -> dict[str, object]:
    """With --max: more OSDs of the same host, as long as they may stop together."""
    host = ceph.osds[asked[0]].host if asked and asked[0] in ceph.osds else ""
    chosen = list(asked)
    for osd in ceph.osds.values():
        if osd.host == host and osd.id not in chosen and len(chosen) < most:
            wider = _offline(ceph, sorted([*chosen, osd.id]))
            if wider["ok_to_stop"]:
                chosen, report = sorted([*chosen, osd.id]), wider
    return report


def _offline(ceph: CephWorld, osds: list[int]) -> dict[str, object]:
    gone = set(osds)
    known = states(ceph)
    found: dict[str, list[str]] = {}
    good = bad = 0
    for pool in ceph.pools.values():
        for seed, row in enumerate(pool.acting.tolist()):
            if not gone.intersection(row):
                continue
            kind = _becomes(pool, row, gone, known.get((pool.id, seed), CLEAN))
            found.setdefault(kind, []).append(f"{pool.id}.{seed:x}")
            good += kind.startswith("ok")
            bad += not kind.startswith("ok")
    order = (
        "unknown_pgs",
        "bad_already_inactive",
        "bad_become_inactive",
        "ok_become_degraded",
        "ok_become_more_degraded",
    )
    lists = {kind: found[kind] for kind in order if kind in found}
    return {
        "ok_to_stop": bad == 0,
        "osds": osds,
        "num_ok_pgs": good,
        "num_not_ok_pgs": bad,
        **lists,
    }


def _becomes(pool: SimPool, row: list[int], gone: set[int], state: str) -> str:
    if state == "unknown":
        return "unknown_pgs"
    left = sum(1 for osd in row if osd != NOBODY and osd not in gone)
    if "active" not in state.split("+"):
        return "bad_already_inactive"
    if left < pool.min_size:
        return "bad_become_inactive"
    return "ok_become_more_degraded" if NOBODY in row else "ok_become_degraded"


def _safe_to_destroy(context: Context, command: Command) -> object:
    """Only PGs that map to it now count; and an id that does not exist is "safe"."""
    ceph = context.ceph
    found = shares(ceph)
    safe: list[int] = []
    active: list[int] = []
    words_: list[str] = []
    for number in (number_of_osd(text) for text in words(command, "ids")):
        mapped = int(max(found.acting[number], found.up[number])) if number in ceph.osds else 0
        (active if mapped else safe).append(number)
        if mapped:
            words_.append(f"OSD(s) {number} have {mapped} pgs currently mapped to them.")
    report = {"safe_to_destroy": safe, "active": active, "missing_stats": [], "stored_pgs": []}
    if active:
        raise Refused(16, " ".join(words_), report)
    return Told(
        report, f"OSD(s) {','.join(map(str, safe))} are safe to destroy without reducing data durability."
    )


def _blocked(_: Context, __: Command) -> object:
    return {"osds": []}


def as_bytes(data: object) -> bytes:
    """JSON as Ceph's formatter writes it: no blanks."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


MGR: dict[str, Handler] = {
    "pg dump": _dump,
    "pg ls": _ls,
    "pg ls-by-osd": _ls_by_osd,
    "pg ls-by-pool": _ls_by_pool,
    "pg stat": _stat,
    "osd ok-to-stop": _ok_to_stop,
    "osd safe-to-destroy": _safe_to_destroy,
    "osd blocked-by": _blocked,
}
