"""`evac pgs` live: engine, worker and a simulated Ceph behind its socket; and the same cluster's dump from a file."""

from __future__ import annotations

from pathlib import Path

from backends.ceph.frames import Setup
from backends.ceph.unixsocket import SocketCarrier
from tests.wire.ceph_lab import SimulatedCeph
from tests.wire.cli_site import Site


async def test_the_live_table_is_that_of_the_saved_dump(tmp_path: Path) -> None:
    async with SimulatedCeph(tmp_path).serve() as ceph:
        site = Site(tmp_path)
        site.config.write_text(
            f'[clusters.ceph1]\nkind = "ceph"\npoll_interval = 1\ncarrier = "socket"\nsocket = "{ceph.socket}"\n'
        )
        site.config.chmod(0o600)
        try:
            live = await site.evac("pgs", "--json")
            drawn = await site.evac("pgs", "--acting")
        finally:
            await site.stop_engine()
        dump = await dumped(ceph)
    path = tmp_path / "dump.json"
    path.write_bytes(dump)
    saved = await site.evac("pgs", str(path), "--json")
    assert (live.code, saved.code, drawn.code) == (0, 0, 0), live.err + saved.err + drawn.err
    assert rows(live.json) == rows(saved.json)
    assert [pool["id"] for pool in live.json["pools"]] == [pool["id"] for pool in saved.json["pools"]]
    assert live.json["age"] >= 0
    assert live.json["max_pgs_per_osd"]
    assert {osd["host"] for osd in live.json["osds"]} == {"node01", "node02", "node03", "node04"}
    assert "the limit is" in drawn.out or "too many PGs per OSD" in drawn.out


def rows(body: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    return {osd["id"]: osd["counts"] for osd in body["osds"] if osd["sum"]}


async def dumped(ceph: SimulatedCeph) -> bytes:
    """`pg dump pgs_brief` as the simulator answers it."""
    setup = Setup(
        cluster="ceph1",
        carrier="socket",
        read_only=True,
        connect_timeout=5,
        read_timeout=5,
        socket=str(ceph.socket),
    )
    command = {"prefix": "pg dump", "dumpcontents": ["pgs_brief"]}
    reply = await SocketCarrier(setup).ask("mgr", command)
    assert reply.code == 0
    return bytes(reply.out)
