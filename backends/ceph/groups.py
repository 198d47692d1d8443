"""Which PGs lie on an OSD, or shall."""

from __future__ import annotations

from collections.abc import Sequence

from backends.ceph import mapping, shapes
from backends.ceph.crush import Tree
from backends.ceph.reading import Asks
from evac.errors import NotFound
from evac.model import Problem
from evac.storage import PG


class Lister:
    """Asks one cluster."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    async def groups(self, osd: int, pool: int | None = None) -> Sequence[PG]:
        """Those with the OSD in "up" or in "acting", by id. Raises NotFound for an unknown OSD.

        `pg ls-by-osd` looks at "acting" only (16.2, pg_stat_t::is_acting_osd), so those that are on their way here are
        looked for among the remapped ones.
        """
        raw = await self._client.lean("mon", "osd tree")
        tree = await Tree.grown(
            shapes.read(raw, shapes.OSDTree, cluster=self._client.cluster, what="osd tree")
        )
        if osd not in tree.places:
            raise NotFound(
                Problem(
                    happened=f"{self._client.cluster}: there is no osd.{osd}.",
                    next_step="ceph osd tree lists them.",
                )
            )
        where = {} if pool is None else {"pool": pool}
        here = await self._list("pg ls-by-osd", osd=osd, **where)
        moving = await self._list("pg ls", **where, states=["remapped"])
        found = {one.id: one for one in (*moving, *here) if osd in one.up or osd in one.acting}
        return sorted(found.values(), key=mapping.pg_order)

    async def _list(self, prefix: str, **args: object) -> list[PG]:
        raw = await self._client.lean("mgr", prefix, **args)
        answer = shapes.read(raw, shapes.PGList, cluster=self._client.cluster, what=prefix)
        if not answer.pg_ready:
            raise shapes.senseless(
                f"{self._client.cluster}: the manager has just started and does not know all PGs yet."
            )
        return [mapping.pg(one) for one in answer.pg_stats]
