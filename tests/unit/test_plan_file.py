"""A plan's file is read by people and by evac, and both see the same plan."""

from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac.model import Outlook
from evac.planning import PlanFileErrors, dump_plan, load_plan, plan_hash
from evac.window.plan import (
    FORMAT,
    Fate,
    PlannedHost,
    PlannedMove,
    PlannedStay,
    Policy,
    Refill,
    StorageHost,
    Way,
    WindowPlan,
)
from tests.unit.planning_rig import fleet, host, plan, vm

texts = st.text(max_size=12)
seconds = st.floats(0, 1e7) | st.integers(0, 4_000_000_000).map(float)
moves = st.builds(
    PlannedMove,
    vm=texts, name=texts, way=st.sampled_from(Way), to=texts, to_name=texts, memory=st.integers(0, 1 << 45),
    p50=seconds, p90=seconds, guess=st.booleans(), outlook=st.sampled_from(Outlook), why=texts,
)  # fmt: skip
planned_stays = st.builds(
    PlannedStay,
    vm=texts,
    name=texts,
    why=texts,
    fix=texts,
    fate=st.sampled_from(Fate),
    harmless=st.booleans(),
)
storages = st.builds(StorageHost, cluster=texts, host=texts, osds=st.lists(st.integers(0, 9999)).map(tuple))
policies = st.builds(
    Policy,
    refill=st.sampled_from(Refill), keep_free=st.floats(0, 0.99), max_unavailable=st.integers(1, 64),
    fates=st.sampled_from(Fate), hook=st.lists(texts, max_size=3).map(tuple), kernel=texts, noout=st.booleans(),
)  # fmt: skip


@st.composite
def hosts(draw: st.DrawFn, number: int = 0) -> PlannedHost:
    rows = draw(st.lists(moves | planned_stays, max_size=4, unique_by=lambda row: row.vm))
    name = f"h{number}"
    return PlannedHost(
        cluster=draw(texts), host=f"{name} {draw(texts)}", name=draw(texts), uuid=draw(texts),
        storage=tuple(draw(st.lists(storages, max_size=2))),
        moves=tuple(replace(row, to=f"to {row.to}") for row in rows if isinstance(row, PlannedMove)),
        stays=tuple(row for row in rows if isinstance(row, PlannedStay)),
        p50=draw(seconds), guess=draw(st.booleans()), basis=draw(texts), warnings=tuple(draw(st.lists(texts, max_size=2))),
    )  # fmt: skip


@st.composite
def plans(draw: st.DrawFn) -> WindowPlan:
    starts = draw(st.none() | seconds)
    return WindowPlan(
        title=draw(texts), ticket=draw(texts), starts=starts,
        ends=None if starts is None else starts + draw(st.floats(1, 1e6)),
        policy=draw(policies), hosts=tuple(draw(hosts(number)) for number in range(draw(st.integers(1, 3)))),
        made=draw(seconds), by=draw(texts),
    )  # fmt: skip


@given(plans())
def test_what_is_read_back_is_what_was_written(made: WindowPlan) -> None:
    text = dump_plan(made)
    read = load_plan(text.encode(), file="p")
    assert read == made
    assert plan_hash(read) == plan_hash(made)
    assert dump_plan(read) == text


@given(plans(), st.randoms(use_true_random=False))
def test_the_hash_is_of_the_content_and_not_of_how_it_is_written(made: WindowPlan, dice: object) -> None:
    """Comments, blank lines, spaces, the end of lines, the order of keys: none is a decision."""
    lines = dump_plan(made).splitlines()
    loose = [
        line.replace(" = ", "   =  ", 1) if line[:1] in string.ascii_lowercase else line for line in lines
    ]
    other = "\r\n".join(["# reviewed by eve", *(part for line in loose for part in (line, ""))])
    assert plan_hash(load_plan(other.encode("utf-8-sig"), file="p")) == plan_hash(made)
    shuffled = msgspec.json.decode(msgspec.json.encode(made), type=WindowPlan)
    assert plan_hash(shuffled) == plan_hash(made)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_file_is_read_or_refused_in_words(raw: bytes) -> None:
    with pytest.raises(PlanFileErrors) as caught:
        load_plan(raw, file="p.toml")
    assert all(error.message for error in caught.value.errors)


def small() -> str:
    return dump_plan(
        plan(fleet(host("a"), host("b"), vm("x", gib=16), vm("y", locked=True)), "a", title="kernel")
    )


def test_one_vm_is_one_line_decisions_first() -> None:
    lines = small().splitlines()
    (x,) = [line for line in lines if 'name = "x"' in line]
    assert x.startswith('  { name = "x", vm = "id-x", way = "live", to = "b", outlook = "unknown", why = ')
    assert ', memory = "16 GiB", p50 = ' in x
    assert any(line.startswith('  { name = "y", vm = "id-y", fate = "", why = "locked') for line in lines)
    assert "made = 2025-11-30T00:00:00Z" in lines


def test_a_name_that_would_play_tricks_on_a_reviewer_is_spelt_out() -> None:
    made = plan(fleet(host("a"), host("b"), vm("x\u202eevil\x1b[2J\u0085")), "a")
    assert r"x\u202eevil\u001b[2J\u0085" in dump_plan(made)
    assert load_plan(dump_plan(made).encode(), file="p") == made


def wrong(text: str) -> list[str]:
    with pytest.raises(PlanFileErrors) as caught:
        load_plan(text.encode(), file="p.toml")
    return [str(error) for error in caught.value.errors]


def test_all_mistakes_are_told_at_once_each_with_its_line() -> None:
    text = (
        small()
        .replace('refill = "restore"', 'refill = "restor"')
        .replace("keep_free = 0.1", "keep_fre = 0.1")
    )
    text = text.replace('way = "live"', 'way = "warm"').replace('fate = ""', "fate = 3")
    lines = text.splitlines()
    at = {
        word: next(n for n, line in enumerate(lines, 1) if word in line and "#" not in line)
        for word in ("restor", "keep_fre ", "warm", "fate = 3")
    }
    found = wrong(text)
    assert found == [
        f'p.toml:{at["restor"]}: policy.refill: is "restor"; allowed: "restore", "leave"; did you mean "restore"?',
        f'p.toml:{at["keep_fre "]}: policy.keep_fre: is not known here; did you mean "keep_free"?',
        f'p.toml:{at["warm"]}: hosts.1.moves.1.way: is "warm"; allowed: "live", "cold", "restart"',
        f'p.toml:{at["fate = 3"]}: hosts.1.stays.1.fate: is 3; allowed: "", "leave", "stop", "hold"',
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("format = 1", f"format = {FORMAT + 1}\nnew_key = 1"), "a newer evac wrote this plan"),
        (('title = "kernel"', ""), "title: is missing"),
        (('title = "kernel"', "title = kernel"), "is not TOML"),
        (("made = 2025-11-30T00:00:00Z", "made = 2025-11-30T00:00:00"), "of no time zone"),
        (("keep_free = 0.1", "keep_free = nan"), "policy.keep_free: is nan"),
        (("keep_free = 0.1", "keep_free = 1.5"), "at least 0 and"),
        (("made = ", "starts = 2025-11-30T00:00:00Z\nends = 2025-11-30T00:00:00Z\nmade = "), "ends: is not after starts"),
        (('vm = "id-y"', 'vm = "id-x"'), "on this host 2 times"),
        (('to = "b"', 'to = "a"'), "to the host that it is on"),
        (('memory = "16 GiB"', 'memory = "lots"'), "allowed: a whole number"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_in_words(change: tuple[str, str], said: str) -> None:
    text = small().replace(*change)
    assert text != small()
    found = wrong(text)
    assert any(said in line for line in found), found
