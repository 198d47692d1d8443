"""Silences of known length, seen by the real prober: the truth is in the bracket every time, and nothing is invented.

Twenty targets at each cadence, at twenty different phases of it, see each silence: twenty runs at a time.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evac.probe import Felt, Gap, Method, Target
from evac.prober.client import PROGRAM, Prober
from tests.real.ping_lab import Lab, Truth, silence

RUNS = 20
CADENCES = (0.01, 0.1, 1.0)
SILENCES = (0.05, 0.2, 1.0, 5.0)
APART = 3.2
"""Seconds between two silences: three of the slowest cadence, so that each is a gap of its own."""

ROUNDING = 1e-6

CLOCK = 0.0005
"""Seconds: a gap's place is given in wall time, whose distance to the monotonic clock is slewed meanwhile."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(near=1000)
    made.listen()
    yield made
    made.close()


@asynccontextmanager
async def probing(lab: Lab, *, allowed: bool = False) -> AsyncIterator[Prober]:
    """The engine's own client, its process in the lab's namespace; `allowed`: to open unprivileged sockets."""
    groups = "0 2147483647" if allowed else "1 0"
    lab.write(lab.prober, "/proc/sys/net/ipv4/ping_group_range", groups)
    prober = Prober(program=("ip", "netns", "exec", lab.prober, *PROGRAM))
    await prober.start()
    try:
        yield prober
    finally:
        await prober.close()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for lies in another process
            await asyncio.sleep(0.05)


async def watching(prober: Prober, targets: Iterable[Target]) -> list[Target]:
    """Until each has answered often enough for its usual round trip to be known."""
    watched = list(targets)
    await prober.watch(watched)
    await until(lambda: all(prober.rows.get(one.id) and prober.rows[one.id].sent >= 6 for one in watched))
    assert {prober.rows[one.id].state for one in watched} == {"answers"}
    return watched


async def begin(prober: Prober, targets: Iterable[Target], interval: float | None = None) -> None:
    for one in targets:
        assert await prober.begin(one.id, one.id, interval=interval or one.interval)


async def end(prober: Prober, targets: Iterable[Target]) -> dict[str, Felt]:
    felt = await asyncio.gather(*(prober.end(one.id, one.id) for one in targets))
    return {one.target: one for one in felt}


def icmp(addresses: Iterable[str], interval: float) -> list[Target]:
    return [Target(id=f"{one}@{interval}", address=one, interval=interval) for one in addresses]


def tcp(addresses: Iterable[str], interval: float) -> list[Target]:
    return [
        Target(id=f"tcp:{one}@{interval}", method=Method.TCP, address=one, port=22, interval=interval)
        for one in addresses
    ]


def out(gap: Gap) -> bool:
    """Rather than a stretch in which nothing was asked, which is told as such."""
    return gap.lost + gap.late > 0


def seen(felt: Felt, truth: Truth, wall: float) -> Gap | None:
    """The one gap that meets this silence."""
    began, ended = truth.on[0] / 1e9 + wall, truth.off[1] / 1e9 + wall
    gaps = [
        gap
        for gap in filter(out, felt.gaps)
        if gap.began - felt.interval - CLOCK <= ended and gap.began + gap.least + felt.interval >= began
    ]
    assert len(gaps) <= 1, gaps
    return gaps[0] if gaps else None


def judge(felt: Felt, truth: Truth, wall: float, *, slack: float) -> float:
    """That the truth is in the bracket; how many intervals wide it is."""
    gap = seen(felt, truth, wall)
    if gap is None:
        assert truth.least <= felt.interval + slack, f"{felt.target} did not see {truth.least:.3f} s"
        return 0.0
    told = f"{felt.target}: {gap}, in truth {truth.least:.4f} to {truth.most:.4f} s"
    assert gap.most is not None, told
    assert gap.least <= truth.most, told
    assert gap.most >= truth.least, told
    width = gap.most - gap.least
    if gap.blind:  # this machine gave the prober no turn for more than three intervals, and it says so
        return math.inf
    assert width - gap.wide <= 2 * felt.interval + ROUNDING, told
    assert not gap.wide or abs(width - gap.wide - 2 * felt.interval) <= ROUNDING, told
    return width / felt.interval


def rest(felt: Felt, truths: Iterable[Truth], wall: float) -> list[Gap]:
    """Gaps that meet no silence: invented."""
    known = [seen(felt, truth, wall) for truth in truths]
    return [gap for gap in filter(out, felt.gaps) if gap not in known]


SLACK = 0.03
"""Seconds by which a probe may be sent late here, on two shared cores: it widens the bracket and never makes it wrong."""


async def test_every_silence_is_in_its_bracket_at_every_cadence(lab: Lab) -> None:
    """ICMP by raw and by unprivileged sockets, ICMPv6 and TCP, all at once."""
    async with probing(lab) as raw:
        ours = [target for rate, at in zip(CADENCES, (0, 20, 40), strict=True) for target in icmp(lab.guests[at : at + RUNS], rate)]  # fmt: skip
        ours += icmp(lab.guests6[:RUNS], 0.1)
        ours += tcp(lab.listeners[:RUNS], 0.1)
        await watching(raw, ours)
        async with probing(lab, allowed=True) as open_to_all:
            theirs = [target for rate, at in zip(CADENCES, (60, 80, 100), strict=True) for target in icmp(lab.guests[at : at + RUNS], rate)]  # fmt: skip
            theirs += icmp(lab.guests6[RUNS:], 0.1)
            await watching(open_to_all, theirs)
            await begin(raw, ours)
            await begin(open_to_all, theirs)
            wall = time.time() - time.monotonic()
            truths = []
            for seconds in SILENCES:
                await asyncio.sleep(APART)
                truths.append(await asyncio.to_thread(silence, list(lab.switches.values()), seconds))
            await asyncio.sleep(APART)
            felt = await end(raw, ours) | await end(open_to_all, theirs)
    widths = [judge(one, truth, wall, slack=SLACK) for one in felt.values() for truth in truths]
    invented = {one.target: gaps for one in felt.values() if (gaps := rest(one, truths, wall))}
    whole = [width for width in widths if width < math.inf]
    print(f"{len(widths)} brackets true, {sum(width > 0 for width in widths)} of them gaps,"
          f" the widest {max(whole):.2f} intervals, {sum(width > 2 for width in whole)} wider than two, as they say,"
          f" {len(widths) - len(whole)} with a hiccup; invented: {invented}")  # fmt: skip
    assert len(widths) == len(SILENCES) * RUNS * 9
    assert sum(width <= 2 for width in whole) >= 0.9 * len(widths)
    assert not invented
    assert not [one.unmeasured for one in felt.values() if one.unmeasured]


async def test_a_guest_that_was_paused_answers_late_and_that_is_its_outage(lab: Lab) -> None:
    """No probe is lost at all: what arrived during the pause is answered at its end."""
    responder = lab.responder()
    async with probing(lab) as prober:
        targets = [*icmp(lab.paused[:RUNS], 0.01), *icmp(lab.paused[RUNS:], 0.1)]
        await watching(prober, targets)
        for seconds in (0.2, 1.0):
            await begin(prober, targets)
            await asyncio.sleep(1.0)
            start = time.monotonic_ns() + 200_000_000
            truth = Truth((start, start), (start + int(seconds * 1e9), start + int((seconds + SLACK) * 1e9)))
            wall = time.time() - time.monotonic()
            responder.order(pause=[truth.on[0], truth.off[0]])
            await asyncio.sleep(seconds + 1.5)
            felt = await end(prober, targets)
            for one in felt.values():
                judge(one, truth, wall, slack=SLACK)
                gap = seen(one, truth, wall)
                assert gap is not None
                assert (gap.lost, one.lost) == (0, 0)
                assert gap.late > 0
        responder.order(twice=True)
        await begin(prober, targets)
        await asyncio.sleep(1.0)
        felt = await end(prober, targets)
        assert all(one.duplicates >= one.sent - 1 for one in felt.values())
        assert not any(one.gaps for one in felt.values())


async def test_a_link_that_goes_down_is_an_outage_of_at_least_that_long(lab: Lab) -> None:
    """How long the carrier takes to come back is the kernel's affair: two cadences must agree on it."""
    async with probing(lab) as prober:
        targets = [*icmp(lab.guests[:RUNS], 0.01), *icmp(lab.guests[RUNS : 2 * RUNS], 0.1)]
        await watching(prober, targets)
        await begin(prober, targets)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        lab.batch(lab.near, ["link set toa down"])
        down = time.monotonic()
        await asyncio.sleep(0.5)
        up = time.monotonic()
        lab.batch(lab.near, ["link set toa up", "addr replace fd89::2/64 dev toa nodad"])
        lab.batch(lab.prober, ["route replace fd90::/64 via fd89::2"])
        await asyncio.sleep(3.0)
        felt = await end(prober, targets)
        most = time.monotonic() - began
    longest = [one.longest for one in felt.values()]
    assert all(gap is not None and gap.most is not None for gap in longest)
    known = [gap for gap in longest if gap is not None]
    assert all(up - down <= (gap.most or 0.0) <= most for gap in known)
    assert max(gap.least for gap in known) <= min(gap.most or 0.0 for gap in known) + SLACK


@pytest.mark.parametrize("within", [False, True], ids=["no outage", "an outage meanwhile"])
async def test_a_prober_that_was_stopped_measured_nothing(lab: Lab, within: bool) -> None:
    async with probing(lab) as prober:
        targets = icmp(lab.guests[:RUNS], 0.1)
        await watching(prober, targets)
        await begin(prober, targets)
        await asyncio.sleep(0.5)
        assert prober.pid is not None
        os.kill(prober.pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        if within:
            await asyncio.to_thread(silence, [lab.switches["icmp"]], 0.2)
        await asyncio.sleep(1.5)
        os.kill(prober.pid, signal.SIGCONT)
        await asyncio.sleep(0.5)
        felt = await end(prober, targets)
    for one in felt.values():
        assert "stood still" in one.unmeasured
        assert (one.lost, one.late) == (0, 0)
        assert all(gap.blind for gap in one.gaps)


async def test_a_prober_stopped_for_a_moment_tells_the_hole_and_no_outage(lab: Lab) -> None:
    """Answers that waited in the socket meanwhile are judged by the kernel's stamps; those of TCP may be unknown."""
    async with probing(lab) as prober:
        targets = [*icmp(lab.guests[:RUNS], 0.01), *tcp(lab.listeners[:RUNS], 0.05)]
        await watching(prober, targets)
        await begin(prober, targets)
        await asyncio.sleep(0.5)
        assert prober.pid is not None
        for _ in range(5):
            os.kill(prober.pid, signal.SIGSTOP)
            await asyncio.sleep(0.4)
            os.kill(prober.pid, signal.SIGCONT)
            await asyncio.sleep(0.3)
        felt = await end(prober, targets)
    for one in felt.values():
        assert (one.lost, one.late) == (0, 0), one
        assert sum(1 for gap in one.gaps if gap.blind and gap.most and gap.most > 0.3) == 5


async def test_a_thousand_guests_ten_times_a_second_for_a_minute_and_nothing_is_lost(lab: Lab) -> None:
    async with probing(lab, allowed=True) as prober:
        targets = icmp(lab.guests, 1.0)
        await watching(prober, targets)
        await begin(prober, targets, interval=0.1)
        await asyncio.sleep(1.0)
        assert prober.pid is not None
        before, began = cpu(prober.pid), time.monotonic()
        await asyncio.sleep(60.0)
        took, lasted = cpu(prober.pid) - before, time.monotonic() - began
        felt = await end(prober, targets)
    sent = sum(one.sent for one in felt.values())
    print(
        f"{sent} probes, {100 * took / lasted:.1f} % of a core, {1e6 * took / (lasted * 10_000):.1f} us a probe"
    )
    assert sum(one.lost for one in felt.values()) == 0
    assert sum(one.late for one in felt.values()) == 0
    assert sent >= 0.99 * 10_000 * lasted
    assert not [one.unmeasured for one in felt.values() if one.unmeasured]


def cpu(pid: int) -> float:
    """Seconds of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
