"""evac's own client of the lab, without an engine around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from backends.ceph.client import CephClient
from backends.ceph.options import Options
from evac.backend import Settings


@asynccontextmanager
async def client(
    table: Mapping[str, object], *, read_only: bool = True, read_timeout: float = 20
) -> AsyncIterator[CephClient]:
    """Times out before a test does."""
    chosen = msgspec.convert(table, Options)
    one = CephClient(Settings(name="lab", options=chosen, read_only=read_only, read_timeout=read_timeout))
    try:
        yield one
    finally:
        await one.close()
