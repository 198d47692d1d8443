"""The CRUSH tree and the pools. Always made in the same order, so that every PG lies on the same OSDs at each start."""

from __future__ import annotations

from tests.real.ceph.layout import ERASURE, ERASURE_PGS, OSDS, PG_NUM, POOLS, RACKS
from tests.real.ceph.witness import Witness


def make_tree(witness: Witness, ids: dict[int, str]) -> None:
    """Two racks of two hosts; the OSDs at home, all of weight 1."""
    for rack, hosts in RACKS.items():
        _place(witness, rack, "rack", "root=default")
        for host in hosts:
            _place(witness, host, "host", f"rack={rack}")
    for number, host in OSDS.items():
        witness.ask("osd new", uuid=ids[number], id=number)
        witness.ask("osd crush add", id=number, weight=1.0, args=[f"host={host}"])


def _place(witness: Witness, name: str, kind: str, where: str) -> None:
    witness.ask("osd crush add-bucket", name=name, type=kind)
    witness.ask("osd crush move", name=name, args=[where])


def make_pools(witness: Witness) -> None:
    """Fifteen replicated pools, then the erasure-coded one: its id is 16."""
    for name in POOLS:
        witness.ask("osd pool create", pool=name, pg_num=PG_NUM, pgp_num=PG_NUM)
        witness.ask("osd pool application enable", pool=name, app="rbd")
    profile = ["k=2", "m=1", "crush-failure-domain=host"]
    witness.ask("osd erasure-code-profile set", name="lab", profile=profile)
    size = {"pg_num": ERASURE_PGS, "pgp_num": ERASURE_PGS}
    witness.ask("osd pool create", pool=ERASURE, pool_type="erasure", erasure_code_profile="lab", **size)
    witness.ask("osd pool application enable", pool=ERASURE, app="rgw")
