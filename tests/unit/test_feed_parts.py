"""News of many OSDs go out as several messages, and a line that breaks between two of them loses nothing."""

from __future__ import annotations

import random

import msgspec
import pytest

from evac.api import Delta
from evac.feed import PART, parts
from evac.fleet import Fleet
from evac.storage import OSD
from tui.slices import SLICE, sliced
from tui.store import Store


def osds(count: int, weight: float = 1.0) -> list[OSD]:
    return [OSD(cluster="c", id=number, name=f"osd.{number}", weight=weight) for number in range(count)]


def fleet(count: int) -> Fleet:
    held = Fleet(epoch="e")
    held.publish(osds=osds(count))
    return held


def test_a_full_delta_and_a_small_one_are_one_message() -> None:
    held = fleet(3 * PART)
    assert len(list(parts(held.delta(None), None))) == 1
    rev = held.rev
    held.publish(osds=osds(PART, 2.0))
    assert len(list(parts(held.delta(rev), rev))) == 1


@pytest.mark.parametrize("broken_after", range(1, 5))
def test_whoever_is_cut_off_between_two_messages_gets_the_rest_by_asking_from_its_revision(
    broken_after: int,
) -> None:
    held = fleet(4 * PART + 7)
    store = Store()
    store.apply(held.delta(None))
    held.publish(osds=osds(4 * PART + 7, 2.0), gone={"osds": ["c/3"]})
    messages = list(parts(held.delta(store.rev), store.rev))
    assert len(messages) == 5
    assert max(len(message.osds) for message in messages) <= PART
    for message in messages[:broken_after]:
        store.apply(message)
    store.apply(held.delta(store.rev))
    assert store.osds == dict(held.table("osds"))
    assert store.rev == held.rev


def test_slices_of_any_delta_leave_the_store_as_the_whole_does() -> None:
    dice = random.Random(3)
    held, whole, slices = Fleet(epoch="e"), Store(), Store()
    for _ in range(12):
        chosen = dice.sample(range(2_000), dice.randrange(1_500))
        held.publish(
            osds=[OSD(cluster="c", id=each, name=str(each), weight=dice.random()) for each in chosen],
            gone={"osds": [f"c/{dice.randrange(2_000)}" for _ in range(dice.randrange(300))]},
        )
        since = None if dice.random() < 0.4 else whole.rev if whole.rev >= 0 else None
        delta: Delta = held.delta(since)
        whole.apply(delta)
        pieces = list(sliced(delta, slices))
        for number, piece in enumerate(pieces):
            assert len(piece.osds) <= SLICE
            slices.apply(piece)
            assert (slices.rev == held.rev) is (number == len(pieces) - 1)
        assert slices.osds == whole.osds == dict(held.table("osds"))
        assert msgspec.to_builtins(slices.rev) == whole.rev
