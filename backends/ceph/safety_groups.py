"""What stopping a host does to the PGs that lie on it: Ceph's own answer, and our count beside it. Pure."""

from __future__ import annotations

from collections import Counter

from backends.ceph import shapes
from backends.ceph.points import Look, Point, good, many, passes, some, stands, unseen
from backends.ceph.safety_states import recovers
from evac.storage import PG

CEPH = "ok-to-stop"
OWN = "min_size"

ASTRAY = 0.1
"""Share by which Ceph's count of PGs and ours may differ: they were taken a moment apart."""


def about_ids(look: Look) -> list[Point]:
    """First of all: Ceph says "safe" for OSDs that do not exist (measured on 16.2). A finding here ends the judging."""
    strange = [osd for osd in look.osds if osd not in look.places or look.places[osd].host != look.host]
    if not strange:
        return []
    words = f"osd.{some([str(osd) for osd in strange])} does not lie on {look.host} by the CRUSH map"
    return [unseen("OSDs", words, "Look at ceph osd tree, and ask again.")]


def about_groups(look: Look) -> list[Point]:
    """Ceph's answer and our count."""
    if not look.osds:
        return [good("OSDs", "no OSD lies on this host")]
    return [*_answer(look), *_count(look)]


def _answer(look: Look) -> list[Point]:
    answer = look.answer
    if answer is None:
        return [look.unseen(CEPH, "answer")]
    if set(answer.osds) != set(look.osds):
        words = f"Ceph answered for OSDs {some([str(osd) for osd in answer.osds]) or 'none'}, not for those of {look.host}"
        return [unseen(CEPH, words, "Ask again; if it stays so, ask by hand: ceph osd ok-to-stop IDS.")]
    if answer.ok_to_stop and not answer.num_not_ok_pgs:
        words = f"Ceph agrees for its {many(len(look.osds), 'OSD')}: {many(answer.num_ok_pgs, 'PG')} would stay active"
        return [good(CEPH, words)]
    lost = answer.num_not_ok_pgs or len(answer.bad_become_inactive) + len(answer.bad_already_inactive)
    words = (
        f"Ceph says no: {many(lost, 'PG') if lost else 'some PGs'} would be inactive, and clients would wait"
    )
    if _would_heal(look):
        return [passes(CEPH, words, "They are being recovered; ask again when all PGs are active+clean.")]
    return [
        stands(CEPH, words, "Bring back OSDs that are down; a pool with too few copies needs a larger size.")
    ]


def _count(look: Look) -> list[Point]:
    """PGs with fewer places left than their pool's min_size, by pool. Erasure-coded ones count shards."""
    if look.groups is None or look.dump is None:
        return [look.unseen(OWN, "groups" if look.groups is None else "dump")]
    pools = {pool.pool: pool for pool in look.dump.pools}
    here = [one for one in look.groups if set(one.acting) & set(look.osds)]
    if (doubt := _unlisted(here, pools) or _differ(look, len(here))) is not None:
        return [doubt]
    below = Counter(pool_of(one) for one in here if left(one, look) < pools[pool_of(one)].min_size)
    if not below:
        return [good(OWN, f"counted ourselves: of {many(len(here), 'PG')} on it all keep min_size copies")]
    named = [f"{pools[pool].pool_name} ({count})" for pool, count in below.most_common()]
    words = f"{many(sum(below.values()), 'PG')} would fall under min_size: pool {some(named)}"
    if _would_heal(look):
        return [passes(OWN, words, "They are being recovered; ask again when all PGs are active+clean.")]
    return [stands(OWN, words, _remedy([pools[pool] for pool in below]))]


def _unlisted(here: list[PG], pools: dict[int, shapes.PoolAnswer]) -> Point | None:
    unknown = [one.id for one in here if pool_of(one) not in pools]
    if unknown:
        return unseen(OWN, f"PG {some(unknown)} is of a pool that is not listed", "Ask again.")
    lacking = sorted({pools[pool_of(one)].pool_name for one in here if pools[pool_of(one)].min_size < 1})
    if lacking:
        return unseen(
            OWN, f"the min_size of pool {some(lacking)} is not told", "See ceph osd pool ls detail."
        )
    return None


def _remedy(pools: list[shapes.PoolAnswer]) -> str:
    thin = [pool.pool_name for pool in pools if pool.size - 1 < pool.min_size]
    if thin:
        return f"Pool {some(thin)} cannot lose a single copy (size = min_size): raise its size first."
    return "Bring back what is down; if nothing is, the pool's rule puts several copies on one host."


def _differ(look: Look, counted: int) -> Point | None:
    if look.answer is None:
        return None
    told = look.answer.num_ok_pgs + look.answer.num_not_ok_pgs
    if not look.answer.ok_to_stop or abs(told - counted) <= max(3, ASTRAY * max(told, counted)):
        return None
    words = f"Ceph looked at {told} PGs, and {counted} are listed as lying there"
    return unseen(OWN, words, "The map is changing, or the manager has just started: ask again.")


def pool_of(group: PG) -> int:
    """The pool's id, from the PG's."""
    return int(group.id.partition(".")[0])


def left(group: PG, look: Look) -> int:
    """Places of the PG that would still answer."""
    return sum(
        osd is not None and osd not in look.osds and osd in look.places and look.places[osd].up
        for osd in group.acting
    )


def _would_heal(look: Look) -> bool:
    """True when recovery runs and, once it has ended, every PG here could spare this host."""
    if look.status is None or look.dump is None or look.groups is None or not recovers(look.status):
        return False
    pools = {pool.pool: pool for pool in look.dump.pools}
    for group in look.groups:
        pool = pools.get(pool_of(group))
        here = sum(osd in look.osds for osd in group.up)
        if pool is None or min(len(group.up), pool.size) - here < pool.min_size or None in group.up:
            return False
    return True
