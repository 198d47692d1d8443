"""The list of everything is read a piece at a time: it must say what reading it whole says, and what has changed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from backends.proxmox.client import Client
from backends.proxmox.listing import PIECE, Listing, Taken
from backends.proxmox.memory import Memory
from backends.proxmox.options import Options
from evac.backend import Settings
from evac.errors import BadAnswer

OPTIONS = Options(endpoints=("https://127.0.0.1:1",), token="evac@pve!unit", token_secret="secret")
CLIENT = Client(Settings(name="pve", options=OPTIONS, read_only=True))
MANY = 1500
"""Guests whose rows are several pieces."""


def guest(vmid: int, **more: Any) -> dict[str, Any]:
    row = {
        "id": f"qemu/{vmid}",
        "vmid": vmid,
        "type": "qemu",
        "node": f"pve{vmid % 3}",
        "name": f"app-{vmid}",
    }
    figures = {"cpu": 0.25, "mem": 2 << 30, "uptime": 86400, "maxmem": 4 << 30, "maxcpu": 2}
    return row | {"status": "running"} | figures | more


def node(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"node/{name}", "type": "node", "node": name, "status": "online", "mem": 1 << 30} | more


def compact(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"data": rows}, separators=(",", ":")).encode()


def taken(body: bytes, before: Listing | None = None, *, pieces: int = 16_384) -> Listing:
    """As it comes from the wire, so many bytes at a time."""
    sink = Taken(CLIENT, before or Listing(), "the list")
    sink.begin()
    for at in range(0, len(body), pieces):
        sink.take(body[at : at + pieces])
    return sink.listing()


GUESTS = [guest(100 + number) for number in range(MANY)]
NODES = [node(f"pve{number}") for number in range(3)]


def numbers(found: Listing) -> list[int]:
    return [row.vmid for row in found.rows]


@pytest.mark.parametrize("pieces", [1_000, 16_384, PIECE, 10_000_000])
def test_every_row_is_listed_once_and_in_order_however_the_answer_arrives(pieces: int) -> None:
    body = compact(*GUESTS, *NODES)
    assert len(body) > 2 * PIECE, "several pieces"
    found = taken(body, pieces=pieces)
    assert numbers(found) == [100 + number for number in range(MANY)] + [0, 0, 0]
    assert [row.node for row in found.others] == ["pve0", "pve1", "pve2"]
    assert found.rows[7].maxmem == 4 << 30
    assert found.odd == 0


def test_text_that_looks_like_the_end_of_a_row_is_text() -> None:
    trap = 'a"},{"vmid":7,"type":"qemu"},{'
    rows = [guest(100 + number, name=trap, odd=[{"a": [{}, {}]}, {}]) for number in range(MANY)]
    random.Random(7).shuffle(rows)
    found = taken(compact(*rows))
    assert numbers(found) == [row["vmid"] for row in rows]
    assert {row.name for row in found.rows} == {trap}


def test_guests_whose_figures_alone_differ_are_as_they_were() -> None:
    first = taken(compact(*GUESTS, *NODES))
    later = [row | {"mem": 3 << 30, "cpu": 0.123456789, "uptime": 86410 + row["vmid"]} for row in GUESTS]
    second = taken(compact(*later, *NODES), first)
    assert (second.fresh, second.stale) == ([], [])
    assert all(one is other for one, other in zip(first.rows, second.rows, strict=True)), (
        "nothing is kept twice"
    )


def test_what_a_node_tells_is_of_the_last_answer() -> None:
    first = taken(compact(*GUESTS, *NODES))
    second = taken(compact(*GUESTS, *(row | {"mem": 5 << 30} for row in NODES)), first)
    assert [row.mem for row in second.others] == [5 << 30] * 3
    third = taken(compact(node("pve9"), *GUESTS, *NODES), second)
    assert [row.node for row in third.others] == ["pve9", "pve0", "pve1", "pve2"]


def remembered(memory: Memory, *rows: dict[str, Any]) -> tuple[list[int], set[int]]:
    return memory.remember(taken(compact(*rows), memory.listing))


def test_only_guests_that_changed_came_or_went_are_told() -> None:
    memory = Memory()
    due, gone = remembered(memory, *GUESTS, *NODES)
    assert (due, gone) == ([row["vmid"] for row in GUESTS], set())
    assert remembered(memory, *GUESTS, *NODES) == ([], set())

    moved = [*GUESTS]
    moved[700] = guest(800, node="pve9")
    assert remembered(memory, *moved, *NODES) == ([800], set())
    row = memory.row("800")
    assert row is not None
    assert row.node == "pve9"

    without = [*moved[:5], *moved[6:]]
    assert remembered(memory, *without, *NODES) == ([], {105}), "those that only moved up are as they were"
    assert memory.row("105") is None
    assert remembered(memory, guest(42), *without, *NODES) == ([42], set())
    assert remembered(memory, *NODES) == ([], {42, *(row["vmid"] for row in without)})


def test_a_guest_of_another_order_or_listed_twice_is_neither_new_nor_gone() -> None:
    memory = Memory()
    remembered(memory, *GUESTS, GUESTS[0])
    assert remembered(memory, *GUESTS) == ([], set()), "it is listed still"
    assert remembered(memory, *reversed(GUESTS)) == ([], set())


def test_a_row_that_makes_no_sense_costs_only_itself_and_is_counted() -> None:
    rows = [*GUESTS, node("bad", shared="who knows"), *NODES]
    rows[3] = guest(103, maxmem={"not": "a number"})
    for _ in range(2):
        found = taken(compact(*rows))
        assert found.odd == 2
        assert numbers(found)[:4] == [100, 101, 102, 104]
        assert [row.node for row in found.others] == ["pve0", "pve1", "pve2"]


@pytest.mark.parametrize("count", [0, 3, MANY])
def test_an_answer_that_is_not_written_as_pveproxy_does_is_read_too(count: int) -> None:
    rows = [*GUESTS[:count], *NODES]
    spaced = json.dumps({"data": rows}, indent=1).encode()
    behind = compact(*rows)[:-1] + b',"total":5}\n'
    in_front = b'{"total":5,"data":' + compact(*rows)[len(b'{"data":') :]
    for body in (spaced, behind, in_front):
        found = taken(body)
        assert numbers(found) == [row.get("vmid", 0) for row in rows]
        assert len(found.others) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"data":null}',
        b'{"data":{}}',
        b"<html>gateway</html>",
        compact(*GUESTS)[:-30],
        compact(*GUESTS)[:-2],
        compact(*GUESTS[:2])[:-30],
        compact(*GUESTS) + b"}",
        compact(*GUESTS).replace(b"app-700", b"app-\xff\xfe"),
        compact(*GUESTS).replace(b'"vmid":700', b'"vmid"=700'),
        compact(*GUESTS, guest(7, node=[])).replace(b"app-700", b"app-\xff\xfe"),
        compact(*GUESTS, guest(7, node=[])).replace(b"app-1598", b"app-\xff\xfe"),
    ],
)
def test_what_is_no_list_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="pve: the answer to the list"):
        taken(body)


def test_an_answer_that_broke_off_leaves_nothing_behind() -> None:
    sink = Taken(CLIENT, Listing(), "the list")
    sink.begin()
    sink.take(compact(*GUESTS)[: 2 * PIECE])
    sink.begin()
    sink.take(compact(*NODES))
    found = sink.listing()
    assert (numbers(found), len(found.fresh)) == ([0, 0, 0], 3)
