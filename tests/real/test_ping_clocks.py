"""Clocks that jump while a real prober measures real silences: nothing is invented, and what was no measure says so.

This machine's clock is not ours to set, nor may it sleep. A library preloaded into the prober's process changes what that
process is told of the wall clock and of the clock that counts sleep; the kernel's stamps on the answers stay what they
are. A time namespace gives it a monotonic clock of its own.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evac.probe import Felt
from evac.prober.client import PROGRAM, Prober
from tests.real import debs
from tests.real.ping_lab import Lab, silence
from tests.real.test_ping_truth import SLACK, begin, end, icmp, judge, rest, tcp, watching

SOURCE = Path(__file__).with_name("clock_shift.c")
HOUR = 3600.0
COMPILER = {"gcc": Path("/usr/bin/gcc"), "libc6-dev": Path("/usr/include/stdio.h")}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(near=40)
    made.listen()
    made.write(made.prober, "/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
    yield made
    made.close()


@asynccontextmanager
async def probing(lab: Lab, *before: str) -> AsyncIterator[Prober]:
    """A prober started by `before`, in the lab's namespace."""
    prober = Prober(program=("ip", "netns", "exec", lab.prober, *before, *PROGRAM))
    await prober.start()
    try:
        yield prober
    finally:
        await prober.close()


class Clocks:
    """What is added to the prober's clocks."""

    def __init__(self, folder: Path) -> None:
        library, self.path = folder / "clock_shift.so", folder / "shift"
        debs.install(COMPILER, ())
        line = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(line, check=True)
        self.path.write_bytes(bytes(16))
        self._file = self.path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 16)
        self.before = ("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={self.path}")

    def shift(self, wall: float, sleep: float = 0.0) -> None:
        """Seconds."""
        self._map[:] = struct.pack("=qq", int(wall * 1e9), int(sleep * 1e9))

    def close(self) -> None:
        self._map.close()
        self._file.close()


@pytest.fixture
def clocks(tmp_path: Path) -> Iterator[Clocks]:
    made = Clocks(tmp_path)
    yield made
    made.close()


async def measured(lab: Lab, clocks: Clocks, *shifts: tuple[float, float]) -> dict[str, Felt]:
    """Some seconds of a move without an outage, while the clocks jump."""
    async with probing(lab, *clocks.before) as prober:
        targets = [*icmp(lab.guests[:10], 0.1), *icmp(lab.guests6[:10], 0.1), *tcp(lab.listeners[:10], 0.1)]
        await watching(prober, targets)
        await begin(prober, targets)
        for wall, sleep in shifts:
            await asyncio.sleep(1.0)
            clocks.shift(wall, sleep)
        await asyncio.sleep(1.0)
        return await end(prober, targets)


async def test_a_wall_clock_that_is_set_forth_and_back_changes_no_figure(lab: Lab, clocks: Clocks) -> None:
    felt = await measured(lab, clocks, (HOUR, 0.0), (-HOUR, 0.0), (0.02, 0.0), (0.0, 0.0))
    for one in felt.values():
        assert one.unmeasured == ""
        assert (one.lost, one.late) == (0, 0), one
        assert not [gap for gap in one.gaps if gap.lost or gap.late]


async def test_a_machine_that_slept_during_the_move_measured_nothing_and_says_so(
    lab: Lab, clocks: Clocks
) -> None:
    """While it sleeps the monotonic clock stands still; the wall clock and the one that counts sleep go on."""
    felt = await measured(lab, clocks, (30.0, 30.0))
    for one in felt.values():
        assert "slept for 30 s" in one.unmeasured, one
        assert (one.lost, one.late) == (0, 0)


async def test_a_silence_is_in_its_bracket_though_the_clock_is_set_in_the_midst_of_it(
    lab: Lab, clocks: Clocks
) -> None:
    async with probing(lab, *clocks.before) as prober:
        targets = icmp(lab.guests[:20], 0.1)
        await watching(prober, targets)
        await begin(prober, targets)
        await asyncio.sleep(1.0)
        quiet = asyncio.create_task(asyncio.to_thread(silence, [lab.switches["icmp"]], 1.0))
        await asyncio.sleep(0.5)
        clocks.shift(-HOUR)
        truth = await quiet
        await asyncio.sleep(1.5)
        ended, felt = time.time(), await end(prober, targets)
    for one in felt.values():
        assert one.unmeasured == ""
        gap = one.longest
        assert gap is not None
        assert gap.most is not None
        assert gap.least <= truth.most
        assert gap.most >= truth.least
        assert abs(one.ended - (ended - HOUR)) < 5.0, "the prober saw the clock being set"


async def test_a_monotonic_clock_of_its_own_and_a_machine_that_had_slept_before_are_nothing_special(
    lab: Lab,
) -> None:
    """A time namespace, whose clocks are a day and a week on: the week that counts sleep is no sleep of this move."""
    aside = ("unshare", "--time", "--fork", "--kill-child", "--monotonic", "86400", "--boottime", "604800")
    async with probing(lab, *aside) as prober:
        targets = [*icmp(lab.guests[:10], 0.1), *icmp(lab.guests6[:10], 0.01)]
        await watching(prober, targets)
        await begin(prober, targets)
        wall = time.time() - time.monotonic()
        await asyncio.sleep(1.0)
        truth = await asyncio.to_thread(silence, [lab.switches["icmp"], lab.switches["icmp6"]], 0.2)
        await asyncio.sleep(1.0)
        felt = await end(prober, targets)
    for one in felt.values():
        assert one.unmeasured == ""
        judge(one, truth, wall, slack=SLACK)
        assert not rest(one, [truth], wall)
