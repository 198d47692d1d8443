"""A list with senseless records loses those fields only, whatever stands in them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.openstack import payload, salvage

JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from([field.encode_name for field in msgspec.structs.fields(payload.Server)])


@given(st.lists(st.dictionaries(KEYS, JUNK, max_size=6) | JUNK, max_size=5))
def test_good_records_are_kept_whole_and_in_order_among_any_others(junk: list[Any]) -> None:
    good = [{"id": f"g{number}", "name": "ok", "status": "ACTIVE"} for number in range(len(junk) + 1)]
    rows = [row for pair in zip(good, junk, strict=False) for row in pair] + [good[-1]]
    page, odd = salvage.answer(json.dumps({"servers": rows, "more": 1}).encode(), payload.Servers, "servers")
    assert [one.id for one in page.servers if one.name == "ok" and one.id.startswith("g")] == [
        one["id"] for one in good
    ]
    assert len(page.servers) + sum(one.lost for one in odd) == len(rows)


def test_fields_are_left_out_one_by_one_and_named() -> None:
    raw = json.dumps(
        {"id": "a", "name": "web", "flavor": {"ram": "much"}, "OS-EXT-STS:power_state": "on", "tags": ["x"]}
    ).encode()
    server, odd = salvage.record(raw, payload.Server)
    assert server is not None
    assert odd is not None
    assert (server.name, server.flavor, server.power_state, server.tags) == ("web", None, None, ["x"])
    assert set(odd.fields) == {"flavor", "OS-EXT-STS:power_state"}
    assert odd.spoils("flavor")
    assert not odd.spoils("tags")
    assert str(odd).startswith("web: ")


@pytest.mark.parametrize(
    "body", [b"[]", b'{"servers": {}}', b'{"other": []}', b'{"servers": [], "servers_links": 3}']
)
def test_an_envelope_that_makes_no_sense_is_nobodys_record(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        salvage.answer(body, payload.Servers, "servers")
