"""Whatever a cluster answers: an inventory and a verdict come of it, or an error in words; never anything else."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.ceph.backend import CephBackend
from backends.ceph.gather import Gatherer
from backends.ceph.options import Options
from evac.backend import Settings
from evac.errors import BackendError
from evac.model import Inventory
from evac.storage import StopAnswer
from tests.unit.ceph_wire import BACKFILL, Wire

PREFIXES = [
    "status",
    "health",
    "osd dump",
    "osd tree",
    "osd crush rule dump",
    "osd df",
    "osd perf",
    "progress json",
    "quorum_status",
    "mon metadata",
    "mgr stat",
    "versions",
    "config get",
    "osd ok-to-stop",
    "pg ls-by-osd",
]

JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    -(2**70),
    1e308,
    "",
    "x",
    "-0",
    "\u202e\x1b[31m",
    [],
    {},
    [[]],
    {"a": []},
    [None],
    "9" * 40,
]


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, bytes]:
    """One recorded answer with some of its values replaced, or its keys gone, or cut off."""
    prefix = draw(st.sampled_from(PREFIXES))
    wire = Wire(BACKFILL)
    raw = wire._listed(prefix, {"osd": 0}) if prefix == "pg ls-by-osd" else wire.answer(prefix)
    value = copy.deepcopy(json.loads(raw))
    for _ in range(draw(st.integers(0, 3))):
        value = _spoil(draw, value)
    text = json.dumps(value).encode()
    how = draw(st.sampled_from(["whole", "whole", "whole", "cut", "noise"]))
    if how == "cut":
        return prefix, text[: draw(st.integers(0, len(text)))]
    if how == "noise":
        return prefix, draw(st.binary(max_size=30)) + text[:200]
    return prefix, text


def _spoil(draw: st.DrawFn, value: Any) -> Any:
    """Walk some steps down, and put junk there."""
    here, depth = value, draw(st.integers(0, 5))
    if not isinstance(here, dict | list) or not here or depth == 0:
        return copy.deepcopy(draw(st.sampled_from(JUNK)))
    for step in range(depth):
        place: Any = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        child = here[place]
        if step == depth - 1 or not isinstance(child, dict | list) or not child:
            if isinstance(here, dict) and draw(st.booleans()):
                del here[place]
            else:
                here[place] = copy.deepcopy(draw(st.sampled_from(JUNK)))
            return value
        here = child
    return value


async def _inventory(wire: Wire) -> None:
    backend = CephBackend(Settings(name="lab", options=Options(), read_only=False), client=wire)
    try:
        found = await backend.inventory()
        await backend.groups(0)
        await backend.host("node01")
    except BackendError as error:
        assert error.problem.happened  # noqa: PT017  # either outcome is right
    else:
        assert found.storage is not None
        assert found.storage.fsid
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Inventory) == found


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spoiled())
def test_an_inventory_comes_of_it_or_an_error_in_words(answer: tuple[str, bytes]) -> None:
    wire = Wire(BACKFILL)
    wire.instead[answer[0]] = answer[1]
    asyncio.run(_inventory(wire))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spoiled())
def test_a_verdict_comes_of_it_and_a_cluster_that_is_not_well_is_never_safe(
    answer: tuple[str, bytes],
) -> None:
    wire = Wire(BACKFILL)
    wire.instead[answer[0]] = answer[1]
    try:
        verdict = asyncio.run(Gatherer(wire, now=lambda: 1.0).verdict("node01"))
    except BackendError as error:
        assert error.problem.happened  # noqa: PT017  # either outcome is right
    else:
        assert verdict.answer is not StopAnswer.SAFE, "16 PGs of this cluster are not active"
