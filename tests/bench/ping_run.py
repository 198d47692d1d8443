"""One run of a pinger inside a network namespace: `ours` or `icmplib`. Prints one JSON line. Used by tests/bench/ping.py.

python -m tests.bench.ping_run ours|icmplib SECONDS INTERVAL < addresses
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from statistics import quantiles

from evac.probe import Felt, Target


def ours(addresses: list[str], interval: float, seconds: float) -> dict[str, float]:
    from evac.prober.loop import Loop, be_punctual

    be_punctual()
    felt: dict[str, Felt] = {}
    loop = Loop(rate=1_000_000, felt=felt.__setitem__)
    loop.watch(Target(id=one, address=one, interval=interval) for one in addresses)
    _turn(loop, time.monotonic() + 1.0)
    for one in addresses:
        loop.begin(one, one, interval=interval)
    cpu, began = time.process_time(), time.monotonic()
    _turn(loop, began + seconds)
    cpu, lasted = time.process_time() - cpu, time.monotonic() - began
    jitter = [
        abs(lane._sent[n % 2048] - lane._sent[(n - 1) % 2048] - lane.step) / 1e6
        for lane in list(loop._lanes.values())[:200]
        for n in range(max(lane.next - 1000, lane.next - int(seconds / interval) + 6), lane.next)
    ]
    for one in addresses:
        loop.end(one, one)
    while len(felt) < len(addresses):
        loop.turn(0.1)
    loop.close()
    cuts = quantiles(jitter, n=100) if len(jitter) > 1 else [0.0] * 99
    sent = sum(one.sent for one in felt.values())
    return {
        "rate": sent / lasted,
        "lost": sum(one.lost for one in felt.values()),
        "late": sum(one.late for one in felt.values()),
        "micros": 1e6 * cpu / sent,
        "share": cpu / lasted,
        "jitter50": cuts[49],
        "jitter99": cuts[98],
        "rtt": 1000 * max((one.rtt_after or 0.0) for one in felt.values()),
    }


def _turn(loop: object, until: float) -> None:
    from evac.prober.loop import Loop

    assert isinstance(loop, Loop)
    while (left := until - time.monotonic()) > 0:
        loop.turn(min(0.25, left))


def icmplib(addresses: list[str], interval: float, seconds: float) -> dict[str, float]:
    from icmplib import async_multiping  # type: ignore[import-not-found,import-untyped,unused-ignore]  # not installed everywhere

    count = max(1, int(seconds / interval))
    cpu, began = time.process_time(), time.monotonic()
    pinged = async_multiping(
        addresses,
        count=count,
        interval=interval,
        timeout=1,
        concurrent_tasks=len(addresses),
        privileged=False,
    )
    hosts = asyncio.run(pinged)
    cpu, lasted = time.process_time() - cpu, time.monotonic() - began
    sent = sum(host.packets_sent for host in hosts)
    rtts = sorted(host.avg_rtt for host in hosts)
    return {
        "rate": sent / lasted,
        "lost": sent - sum(host.packets_received for host in hosts),
        "late": 0,
        "micros": 1e6 * cpu / sent,
        "share": cpu / lasted,
        "rtt": rtts[len(rtts) // 2],
    }


if __name__ == "__main__":
    which = {"ours": ours, "icmplib": icmplib}[sys.argv[1]]
    print(json.dumps(which(sys.stdin.read().split(), float(sys.argv[3]), float(sys.argv[2]))))
