"""What the states of the PGs say about stopping a host: recovery that runs, copies that are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from backends.ceph import shapes
from backends.ceph.points import Look, Point, are, good, many, passes, some, stands, unseen
from evac.storage import Work

CHECK = "recovery"

ON_THE_MOVE = frozenset(
    {"recovering", "recovery_wait", "backfilling", "backfill_wait", "forced_recovery", "forced_backfill"}
)
"""A PG in one of these heals by itself."""

SHORT = frozenset({"degraded", "undersized", "remapped"})
"""Heals only when something else happens, unless it is on the move as well."""

STUCK = frozenset({"recovery_toofull", "backfill_toofull", "recovery_unfound", "backfill_unfound"})

STARTING = frozenset({"creating", "peering", "activating", "wait", "laggy"})
"""Not active yet; lasts seconds."""

HOLDING = {"degraded": ("norecover", "nobackfill"), "misplaced": ("norebalance", "nobackfill")}
"""What keeps a cluster from healing."""


def recovers(status: shapes.Status) -> bool:
    """True while data is being copied, so that what is missing now will be there later."""
    return any(set(row.state_name.split("+")) & ON_THE_MOVE for row in status.pgmap.pgs_by_state if row.count)


def about_states(look: Look, flags: Iterable[str]) -> list[Point]:
    """Findings on the PGs of the whole cluster: a host is stopped only while all others are whole."""
    if look.status is None:
        return [look.unseen(CHECK, "status")]
    pgmap = look.status.pgmap
    if pgmap.num_pgs and not pgmap.pgs_by_state:
        return [
            unseen(CHECK, "the cluster does not tell the states of its PGs", "Is a manager active? ceph -s.")
        ]
    if not pgmap.num_pgs and look.dump is not None and any(pool.pg_num for pool in look.dump.pools):
        return [unseen(CHECK, "the cluster has pools, but tells of no PGs", "Is a manager active? ceph -s.")]
    found = [*_unfound(pgmap), *_not_active(pgmap), *_stuck(pgmap), *_short(look, set(flags))]
    return found or [good(CHECK, f"all {are(pgmap.num_pgs, 'PG')} active+clean")]


def _count(pgmap: shapes.PGMapStat, words: frozenset[str], *, but: str = "") -> dict[str, int]:
    found = {row.state_name: row.count for row in pgmap.pgs_by_state if row.count}
    split = {state: set(state.split("+")) for state in found}
    return {
        state: count for state, count in found.items() if split[state] & words and but not in split[state]
    }


def _unfound(pgmap: shapes.PGMapStat) -> list[Point]:
    if not pgmap.unfound_objects:
        return []
    words = f"{are(pgmap.unfound_objects, 'object')} unfound: the newest copy is on no OSD that is up"
    return [stands("unfound", words, "Bring back the OSDs that hold them: ceph health detail names the PGs.")]


def _not_active(pgmap: shapes.PGMapStat) -> list[Point]:
    idle = {
        row.state_name: row.count for row in pgmap.pgs_by_state if row.count and not _active(row.state_name)
    }
    check, found = "availability", []
    if strange := idle.pop("unknown", 0):
        words = f"{are(strange, 'PG')} in a state that the manager does not know (yet)"
        fix = "A manager that has just started learns it in seconds; ask again."
        found.append(unseen(check, words, fix))
    said = f"{are(sum(idle.values()), 'PG')} not active ({some(sorted(idle))})"
    if not idle:
        return found
    if all(set(state.split("+")) & STARTING and "down" not in state for state in idle):
        return [*found, passes(check, said, "It takes seconds; ask again.")]
    fix = "Clients wait for them already. ceph health detail names them; bring OSDs back."
    return [*found, stands(check, said, fix)]


def _active(state: str) -> bool:
    words = state.split("+")
    return "active" in words and not {"stale", "laggy"} & set(words)


def _stuck(pgmap: shapes.PGMapStat) -> list[Point]:
    stuck = _count(pgmap, STUCK)
    if not stuck:
        return []
    words = f"{many(sum(stuck.values()), 'PG')} cannot recover ({some(sorted(stuck))})"
    return [stands(CHECK, words, "Make room, or bring back OSDs: ceph health detail says which.")]


def _short(look: Look, flags: set[str]) -> list[Point]:
    """Copies that are missing or in the wrong place; they pass if something is being done about it."""
    assert look.status is not None
    pgmap = look.status.pgmap
    # "active+clean+remapped" has all its copies, in other places than CRUSH would choose: that may stay so for ever.
    moving, short = _count(pgmap, ON_THE_MOVE), _count(pgmap, SHORT, but="clean")
    objects = _objects(pgmap)
    if not moving and not short and not objects:
        return []
    said = f"{are(sum({**moving, **short}.values()), 'PG')} not clean{objects}"
    held = [flag for kind in HOLDING for flag in HOLDING[kind] if flag in flags]
    if held:
        return [
            stands(
                CHECK,
                f"{said}, and {some(sorted(set(held)))} keeps it so",
                f"ceph osd unset {held[0]}, and wait.",
            )
        ]
    if moving:
        return [passes(CHECK, f"{said}; {_progress(look.work)}", "Wait until all PGs are active+clean.")]
    if short:
        return [
            stands(
                CHECK,
                f"{said}, and nothing is being copied",
                "Bring back the OSDs that are down, or see ceph health detail.",
            )
        ]
    return [passes(CHECK, said, "Wait until all PGs are active+clean.")]


def _objects(pgmap: shapes.PGMapStat) -> str:
    parts = [
        f"{count} object cop{'y' if count == 1 else 'ies'} {word}"
        for count, word in ((pgmap.degraded_objects, "missing"), (pgmap.misplaced_objects, "misplaced"))
        if count
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _progress(work: Iterable[Work]) -> str:
    told = [one for one in work if one.remaining is not None]
    if told:
        longest = max(told, key=lambda one: one.remaining or 0.0)
        return f"recovery runs, about {longest.remaining or 0:.0f} s left by Ceph's estimate"
    return "recovery runs; Ceph does not say how long"
