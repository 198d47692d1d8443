"""A second opinion: pings of its own every 5 ms, judged by arithmetic of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from evac.probe import Felt
from tests.real.libvirt.layout import SERVICES, guest_address
from tests.real.libvirt.wires import AS_OPERATOR
from tests.real.processes import DIE_WITH_US

INTERVAL = 0.005


@dataclass(frozen=True)
class Silence:
    """A stretch without good answers: it lasted from `least` to `most` seconds."""

    began: float
    least: float
    most: float


class Pinger:
    """Pings guests from entry to exit; what it saw can be read afterwards."""

    def __init__(self, names: Iterable[str]) -> None:
        self._addresses = {name: guest_address(name) for name in names}
        self.probes: dict[str, list[tuple[float, float | None]]] = {}

    def __enter__(self) -> Self:
        script = SERVICES / "probes.py"
        line = [*DIE_WITH_US, *AS_OPERATOR, "/usr/bin/python3", str(script), str(INTERVAL * 1000)]
        self._process = subprocess.Popen(
            [*line, *self._addresses.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path("/"),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate(timeout=30)
        rows = dict(json.loads(line) for line in told.splitlines())
        for name, address in self._addresses.items():
            self.probes[name] = [(sent, received) for sent, received in rows[address]]

    def silences(self, name: str, felt: Felt) -> list[Silence]:
        """Within the time that the measure covers, and by its deadline."""
        inside = [one for one in self.probes[name] if felt.began <= one[0] <= felt.ended]
        assert len(inside) > (felt.ended - felt.began) / INTERVAL / 2, (
            f"the second pinger was slow: {len(inside)}"
        )
        return silences(inside, felt.deadline)


def silences(probes: Sequence[tuple[float, float | None]], deadline: float) -> list[Silence]:
    """Runs of probes without an answer in time, between two good ones; bracketed by when they were sent."""
    found: list[Silence] = []
    last_good: float | None = None
    bad: list[float] = []
    for sent, received in probes:
        if received is None or received - sent > deadline:
            bad.append(sent)
            continue
        if bad and last_good is not None:
            found.append(Silence(bad[0], bad[-1] - bad[0], sent - last_good))
        last_good, bad = sent, []
    return found


def coarse(seen: Sequence[Silence], interval: float) -> list[Silence]:
    """As one who asks less often must see them: a good spell shorter than his interval may fall between two probes."""
    found: list[Silence] = []
    for one in seen:
        last = found[-1] if found else None
        if last is not None and one.began - (last.began + last.least) < interval:
            end = one.began + one.most
            found[-1] = Silence(last.began, one.began + one.least - last.began, end - last.began)
        else:
            found.append(one)
    return found


def agrees(felt: Felt, seen: Sequence[Silence]) -> str:
    """ "" if evac's bracket holds what was seen, to within what this pinger itself can tell; else what is wrong."""
    if felt.unmeasured:
        return f"not measured: {felt.unmeasured}"
    longest = max(seen, key=lambda one: one.least, default=Silence(0, 0, INTERVAL))
    broken = max(coarse(seen, felt.interval), key=lambda one: one.most, default=longest)
    gap = felt.longest
    if gap is None:  # between two of its probes, then
        most = felt.interval * 1.5
        return "" if longest.least <= most else f"evac saw nothing, the 5 ms pinger {longest}"
    if gap.most is None:
        return f"evac says that it is still silent: {gap}"
    holds = gap.least <= broken.most and longest.least <= gap.most
    return "" if holds else f"evac: {gap}; the 5 ms pinger: {longest}, {broken} of {list(seen)}; {felt}"
