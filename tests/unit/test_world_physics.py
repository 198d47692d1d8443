"""What the arithmetic of pre-copy promises for any guest and any link."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
from backends.simulation.physics import EPSILON, Stage, Stream, fair_shares
from backends.simulation.things import GIB, Denied, Timing
from backends.simulation.world import World

sizes = st.floats(1e6, 64e9)
rates = st.floats(1e6, 2e9)


def finish(stream: Stream, rate: float, *, passes: int = 400) -> None:
    """Run at a constant rate until it is done or `passes` stages have gone by."""
    for _ in range(passes):
        stream.rate = rate if stream.flows else 0.0
        if stream.stage is Stage.DONE:
            return
        stream.advance(stream.ends_in)
        stream.end_pass()


@given(memory=sizes, dirty=st.floats(0, 3e9), share=st.floats(0.001, 1), disk=st.floats(0, 1e10), rate=rates)
def test_every_byte_owed_is_sent_and_no_other(
    memory: float, dirty: float, share: float, disk: float, rate: float
) -> None:
    stream = Stream(memory=memory, dirty_rate=dirty, working_set=memory * share, disk=disk)
    finish(stream, rate)
    assume(stream.stage is Stage.DONE)
    assert stream.memory_sent == pytest.approx(stream.owed, rel=1e-9)
    assert stream.disk_sent == pytest.approx(disk, rel=1e-9)
    assert stream.memory_sent >= memory * (1 - 1e-9)
    assert stream.remaining <= EPSILON


@given(memory=sizes, dirty=st.floats(0, 4e9), share=st.floats(0.001, 1), rate=rates)
def test_it_converges_when_and_only_when_the_link_outruns_the_guest(
    memory: float, dirty: float, share: float, rate: float
) -> None:
    working_set = memory * share
    fits = working_set <= rate * Stream(memory=1).max_downtime
    assume(abs(dirty - rate) > 0.01 * rate)
    # with nearly equal rates it takes more passes than anybody wants to wait for
    stream = Stream(memory=memory, dirty_rate=dirty, working_set=working_set)
    finish(stream, rate, passes=3000)
    assert (stream.stage is Stage.DONE) is (dirty < rate or fits)


@given(memory=sizes, dirty=st.floats(0, 4e9), share=st.floats(0.001, 1), rate=rates)
def test_an_unforced_pause_is_never_longer_than_permitted(
    memory: float, dirty: float, share: float, rate: float
) -> None:
    stream = Stream(memory=memory, dirty_rate=dirty, working_set=memory * share, pause=0.05)
    finish(stream, rate)
    if stream.stage is Stage.DONE:
        assert 0.05 - 1e-9 <= stream.downtime <= stream.max_downtime + 0.05 + 1e-6


@given(memory=sizes, dirty=st.floats(0, 4e9), rate=rates, at=st.floats(0, 0.99), post_copy=st.booleans())
def test_forcing_always_ends_it(memory: float, dirty: float, rate: float, at: float, post_copy: bool) -> None:
    stream = Stream(memory=memory, dirty_rate=dirty, working_set=memory)
    stream.rate = rate
    stream.advance(stream.ends_in * at)
    left = stream.left + stream.dirtied
    stream.finish_now(post_copy=post_copy)
    finish(stream, rate, passes=4)
    assert stream.stage is Stage.DONE
    assert stream.memory_sent == pytest.approx(stream.owed, rel=1e-9)
    assert stream.downtime == pytest.approx(0.1 if post_copy else left / rate, rel=1e-6, abs=1e-6)


@given(
    memory=sizes,
    dirty=st.floats(0, 1e9),
    rate=rates,
    cuts=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8),
)
def test_what_was_sent_only_grows_and_cutting_time_in_pieces_changes_nothing(
    memory: float, dirty: float, rate: float, cuts: list[float]
) -> None:
    whole = Stream(memory=memory, dirty_rate=dirty, working_set=memory / 2, rate=rate)
    pieces = Stream(memory=memory, dirty_rate=dirty, working_set=memory / 2, rate=rate)
    total = whole.ends_in
    whole.advance(total)
    moments = [0.0, *sorted(cut * total for cut in cuts), total]
    seen = [0.0]
    for begin, end in pairwise(moments):
        pieces.advance(end - begin)
        seen.append(pieces.memory_sent)
    assert seen == sorted(seen)
    assert pieces.memory_sent == pytest.approx(whole.memory_sent, rel=1e-6)
    assert pieces.dirtied == pytest.approx(whole.dirtied, rel=1e-6, abs=1.0)


names = st.sampled_from("abcdef")


@given(
    flows=st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]), max_size=12),
    capacity=st.fixed_dictionaries(dict.fromkeys("abcdef", rates)),
)
def test_no_link_carries_more_than_it_can_and_none_could_carry_more(
    flows: list[tuple[str, str]], capacity: dict[str, float]
) -> None:
    links: dict[Hashable, float] = dict(capacity.items())
    shares = fair_shares(flows, links)
    load = dict.fromkeys(capacity, 0.0)
    for flow, share in zip(flows, shares, strict=True):
        for link in flow:
            load[link] += share
    assert all(load[link] <= capacity[link] * (1 + 1e-9) for link in capacity)
    full = {link for link in capacity if load[link] >= capacity[link] * (1 - 1e-6)}
    for flow, share in zip(flows, shares, strict=True):
        # max-min: on one of its links that is full, nobody has more than it
        assert any(
            link in full
            and all(
                share >= other * (1 - 1e-6) for pair, other in zip(flows, shares, strict=True) if link in pair
            )
            for link in flow
        )


@given(
    seed=st.integers(0, 1000),
    asks=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 11), st.sampled_from("mafrskcev")), max_size=25),
)
def test_whatever_is_asked_the_books_balance_and_the_same_schedule_gives_the_same_history(
    seed: int, asks: list[tuple[float, int, str]]
) -> None:
    logs = []
    for step in (0.25, 7.0):
        clock = ManualClock()
        world = _fleet(seed, clock)
        for at, which, what in sorted(asks):
            _go(clock, world, at, step)
            _ask(world, which, what)
        _go(clock, world, 900.0, 60.0)
        logs.append([(round(entry.at, 6), entry.kind, entry.vm, entry.host) for entry in world.log])
        _audit(world)
    assert logs[0] == logs[1]


def _fleet(seed: int, clock: ManualClock) -> World:
    timing = Timing(live_per_source=2, service_down=5, post_copy=bool(seed % 2))
    world = World(seed=seed, now=clock, epoch=0.0, timing=timing)
    for name in ("a", "b", "c"):
        world.add_host(name, link=1e9)
    for number in range(12):
        world.add_vm(
            f"vm-{number}",
            "abc"[number % 3],
            memory=(number % 4 + 1) * GIB,
            dirty_rate=1e8 * (number % 5),
            working_set=float(GIB),
            local_disk=number % 6 == 0,
            disk=2 * GIB,
        )
    return world


def _go(clock: ManualClock, world: World, until: float, step: float) -> None:
    while clock.time < until:
        clock.advance(min(step, until - clock.time))
        world.advance()


def _ask(world: World, which: int, what: str) -> None:
    vm = list(world.vms.values())[which]
    deed: dict[str, Callable[[], object]] = {
        "m": lambda: world.live.migrate(vm.id),
        "a": lambda: world.live.abort(vm.id, vm.move),
        "f": lambda: world.live.force_complete(vm.id, vm.move),
        "r": lambda: deeds.reset_state(world, vm.id, "active"),
        "s": lambda: deeds.stop(world, vm.id),
        "c": lambda: world.cold.migrate(vm.id),
        "e": lambda: world.evacuations.evacuate(vm.id),
        "v": lambda: world.cold.revert(vm.id),
        "k": lambda: deeds.kill(world, vm.host) if all(host.alive for host in world.hosts.values()) else None,
    }
    with suppress(Denied):
        deed[what]()


def _audit(world: World) -> None:
    """Each VM is on one host, in the books of that host; what is reserved is what is used."""
    for host in world.hosts.values():
        here = [world.vms[vm] for vm in host.vms]
        assert all(vm.host == host.name for vm in here)
        moving = [move for move in world.live.open_moves() if move.claimed] + world.cold.open_moves()
        on_the_way = [world.vms[move.vm] for move in moving if move.target == host.name]
        waiting = [vm for vm in world.vms.values() if vm.resized_from == host.name]
        assert host.memory_used == sum(vm.memory for vm in (*here, *on_the_way, *waiting))
    for vm in world.vms.values():
        assert not vm.runs_on or world.hosts[vm.runs_on].alive
        if vm.runs_on and not vm.move:
            assert vm.runs_on == vm.host
