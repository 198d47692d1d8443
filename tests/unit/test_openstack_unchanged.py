"""A full list of servers is the same whether its rows were known or not, and what is known costs no memory twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.openstack import mapping, payload
from backends.openstack.unchanged import Seen, Unchanged
from evac.decoding import from_json
from evac.model import VM

ROWS = st.dictionaries(
    st.integers(0, 9),
    st.fixed_dictionaries(
        {
            "name": st.text(max_size=5),
            "status": st.sampled_from(["ACTIVE", "SHUTOFF", "MIGRATING", "ERROR"]),
            "OS-EXT-SRV-ATTR:host": st.sampled_from([None, "cmp01", "cmp02"]),
            "updated": st.sampled_from(["2026-11-20T10:00:00Z", "2026-11-20T10:00:01Z"]),
            "addresses": st.sampled_from(
                [{}, {"net": [{"addr": "10.0.0.1", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}]}]
            ),
        }
    ),
)


def body(rows: dict[int, dict[str, Any]], **more: object) -> bytes:
    return msgspec.json.encode({"servers": [{"id": f"vm-{at}"} | row for at, row in rows.items()], **more})


def plainly(raw: bytes) -> list[VM]:
    return [mapping.vm("lab", server) for server in from_json(raw, payload.Servers).servers]


def full(unchanged: Unchanged, *bodies: bytes) -> list[VM]:
    seen: Seen = {}
    vms = [vm for raw in bodies for vm in unchanged.page(raw, seen)[0]]
    unchanged.keep(seen)
    return vms


@given(lists=st.lists(ROWS, min_size=1, max_size=6))
def test_whatever_came_before_a_list_reads_as_if_it_were_the_first(lists: list[dict[int, Any]]) -> None:
    unchanged = Unchanged("lab")
    for rows in lists:
        assert full(unchanged, body(rows)) == plainly(body(rows))
        assert unchanged.page(body(rows), None)[0] == plainly(body(rows))


def test_a_row_that_is_the_same_is_the_same_object_and_one_that_changed_or_went_is_forgotten() -> None:
    unchanged = Unchanged("lab")
    rows = {at: {"status": "ACTIVE", "name": f"n{at}"} for at in range(3)}
    first = full(unchanged, body({0: rows[0]}), body({1: rows[1], 2: rows[2]}))
    again = full(unchanged, body({2: rows[2], 0: rows[0] | {"status": "ERROR"}}))
    assert again[0] is first[2]
    assert again[1] == plainly(body({0: rows[0] | {"status": "ERROR"}}))[0]
    back = full(unchanged, body(rows))
    assert back[2] is first[2]
    assert back[1] == first[1]
    assert back[1] is not first[1], "it was gone from the list in between"


def test_a_list_that_broke_off_leaves_what_was_known() -> None:
    unchanged, rows = Unchanged("lab"), {0: {"status": "ACTIVE"}}
    (first,) = full(unchanged, body(rows))
    with pytest.raises(msgspec.DecodeError):
        full(unchanged, body({1: {"status": "ERROR"}}), body(rows)[:-5])
    assert full(unchanged, body(rows))[0] is first


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"servers": 7}',
        b'{"servers": [7]}',
        b'{"servers": [{"id": 7}]}',
        b'{"servers": [{"id": "a", "status": {}}]}',
        b'{"servers": [{"id": "a"}',
        b'{"servers": [{"id": "a" "b"}]}',
        b"\xff",
    ],
)
def test_what_makes_no_sense_is_left_to_those_who_tell_of_it(raw: bytes) -> None:
    for seen in (None, dict[bytes, VM]()):
        with pytest.raises(msgspec.DecodeError):
            Unchanged("lab").page(raw, seen)


def test_that_there_are_more_pages_is_seen() -> None:
    unchanged, rows = Unchanged("lab"), {0: {"status": "ACTIVE"}}
    for seen in (None, dict[bytes, VM]()):
        assert unchanged.page(body(rows, servers_links=[{"rel": "next"}]), seen)[1]
        assert not unchanged.page(body(rows), seen)[1]
