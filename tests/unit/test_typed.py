"""Addresses that admins type for a VM: read in either form, kept whole, and refused in words."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac import typed
from evac.probe import Method
from evac.probe_rules import Place

ONE = Place(Method.ICMP, "192.0.2.7")
PORT = Place(Method.TCP, "2001:db8::7", 22)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.0.2.7", ONE),
        (" 192.0.2.7 ", ONE),
        ("192.0.2.7:5432", Place(Method.TCP, "192.0.2.7", 5432)),
        ("2001:DB8::7", Place(Method.ICMP, "2001:db8::7")),
        ("[2001:db8::7]", Place(Method.ICMP, "2001:db8::7")),
        ("[2001:db8::7]:22", PORT),
    ],
)
def test_an_address_is_read_with_and_without_a_port(text: str, place: Place) -> None:
    assert typed.read(text) == place
    assert typed.read(typed.words(place)) == place


@pytest.mark.parametrize(
    "text", ["", "web-1", "192.0.2.7:0", "192.0.2.7:99999", "224.0.0.1", "fe80::1", "a b", "1.2.3"]
)
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        typed.read(text)


@given(st.text(max_size=80))
def test_nothing_typed_breaks_it(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert typed.read(typed.words(typed.read(text))) == typed.read(text)


def test_they_come_and_go_and_are_bounded() -> None:
    kept = typed.added({}, "prod/a", ONE)
    kept = typed.added(kept, "prod/a", PORT)
    with pytest.raises(ValueError, match="already"):
        typed.added(kept, "prod/a", ONE)
    assert typed.load(typed.dump(kept)) == kept == {"prod/a": (ONE, PORT)}
    kept = typed.removed(kept, "prod/a", ONE)
    with pytest.raises(ValueError, match="was not typed"):
        typed.removed(kept, "prod/a", ONE)
    assert typed.removed(kept, "prod/a", PORT) == {}
    full: typed.Typed = {}
    for number in range(typed.MOST):
        full = typed.added(full, "prod/a", Place(Method.ICMP, f"192.0.2.{number + 1}"))
    with pytest.raises(ValueError, match="4 typed addresses"):
        typed.added(full, "prod/a", ONE)


@pytest.mark.parametrize("text", ["", "null", "[1]", '{"a": ["nonsense"]}', '{"a": 3}'])
def test_a_journal_that_makes_no_sense_there_has_none(text: str) -> None:
    assert typed.load(text) == {}
