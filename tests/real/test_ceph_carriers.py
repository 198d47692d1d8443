"""Watching a real cluster with read-only rights, by each way to it; and what each says when it may not, or cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from backends.ceph.client import CephClient
from backends.ceph.options import Options
from evac.backend import Settings
from tests.real.ceph.layout import OSDS
from tests.real.ceph.oneliner import oneliner
from tests.real.ceph.rig import CARRIERS, options
from tests.real.ceph.witness import Witness
from tests.real.ceph.witness import ceph as ceph_command


@asynccontextmanager
async def client(table: dict[str, object], *, read_only: bool = True) -> AsyncIterator[CephClient]:
    """A client of the lab, and of nothing else."""
    chosen = msgspec.convert(table, Options)
    one = CephClient(Settings(name="lab", options=chosen, read_only=read_only))
    try:
        yield one
    finally:
        await one.close()


def _table(placement: Any) -> dict[int, dict[int, int]]:
    return {
        number: {pool: count for pool, count in zip(placement.columns, row.up, strict=False) if count}
        for number, row in placement.rows.items()
        if any(row.up)
    }


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_reader_s_key_is_enough_to_watch(ceph: Witness, carrier: str) -> None:
    async with client(options(carrier)) as watcher:
        placement = await watcher.placement()
        assert _table(placement) == oneliner(ceph_command("pg", "dump"))
        tree = await watcher.ask("mon", "osd tree")
        assert {node["id"] for node in tree["nodes"] if node["type"] == "osd"} == set(OSDS)
        df = await watcher.ask("mgr", "osd df")
        assert {one["id"]: one["pgs"] for one in df["nodes"]} == {
            number: sum(row.acting) for number, row in placement.rows.items()
        }
