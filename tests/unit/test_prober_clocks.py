"""Clocks that jump are seen to jump, and a kernel's stamp is believed only where it can be true."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from evac.prober import clocks
from evac.prober.clocks import Clocks
from evac.prober.outage import SECOND

MS = 1_000_000


class Machine:
    """The clocks of a machine, set by hand."""

    def __init__(self) -> None:
        self.monotonic, self.wall, self.asleep = 1_000 * SECOND, 1_700_000_000 * SECOND, 5 * SECOND
        self.waits: Iterator[int] = iter(())

    def monotonic_ns(self) -> int:
        self.monotonic += next(self.waits, 0)
        return self.monotonic

    def time_ns(self) -> int:
        return self.wall + self.monotonic

    def clock_gettime_ns(self, _: int) -> int:
        return self.monotonic + self.asleep


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    hands = SimpleNamespace(
        monotonic_ns=made.monotonic_ns,
        time_ns=made.time_ns,
        clock_gettime_ns=made.clock_gettime_ns,
        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME,
    )
    monkeypatch.setattr(clocks, "time", hands)
    return made


def test_a_kernel_stamp_is_turned_into_monotonic_time(machine: Machine) -> None:
    ours, sent = Clocks(), machine.monotonic
    stamp = machine.time_ns() + 3 * MS
    assert ours.from_kernel(stamp, sent=sent, now=sent + 10 * MS) == sent + 3 * MS


@pytest.mark.parametrize("step", [-SECOND, -30 * MS, 30 * MS, SECOND])
def test_a_wall_clock_that_was_set_makes_stamps_worthless_until_the_next_look(
    machine: Machine, step: int
) -> None:
    ours, sent = Clocks(), machine.monotonic
    stamp = machine.time_ns() + 3 * MS
    machine.wall += step
    machine.monotonic += 10 * MS
    ours.look()
    stepped = ours.stepped
    assert stepped
    assert ours.from_kernel(stamp, sent=sent, now=machine.monotonic) is None
    ours.look()
    assert not ours.stepped
    assert ours.from_kernel(machine.time_ns(), sent=sent, now=machine.monotonic) == machine.monotonic


def test_a_clock_that_is_slewed_is_no_step(machine: Machine) -> None:
    ours = Clocks()
    for _ in range(100):
        machine.monotonic += 50 * MS
        machine.wall += MS // 40
        ours.look()
        assert not ours.stepped


@pytest.mark.parametrize("off", [-2 * SECOND, 2 * SECOND])
def test_a_stamp_from_before_the_sending_or_after_the_reading_is_not_believed(
    machine: Machine, off: int
) -> None:
    ours, sent = Clocks(), machine.monotonic
    assert ours.from_kernel(machine.time_ns() + off, sent=sent, now=sent + MS) is None


def test_a_machine_that_slept_says_how_long_and_says_it_once(machine: Machine) -> None:
    ours = Clocks()
    assert ours.look() == 0
    machine.asleep += 90 * SECOND
    assert ours.look() == 90 * SECOND
    assert ours.look() == 0


def test_a_machine_that_had_never_slept_is_believed_the_first_time(machine: Machine) -> None:
    machine.asleep = 0
    ours = Clocks()
    machine.asleep = 7 * SECOND
    assert ours.look() == 7 * SECOND


def test_being_kept_waiting_between_two_clocks_is_no_step(machine: Machine) -> None:
    """On a busy machine milliseconds may pass between reading one clock and reading the other."""
    ours = Clocks()
    machine.waits = iter([0, 40 * MS, 0, 30 * MS, 0, 0])
    ours.look()
    assert not ours.stepped
