"""How long a move will take, from how long moves took. Pure.

Every past move is compared with what the guess says of one of its size: the ratio of the two tells what a link, a cluster
and a guest's own writing do to it. A new move is the guess for its size times the median (p50) and the 90th percentile (p90)
of these ratios, taken from the nearest group that has enough of them: the guest itself, its link (source and target), its
cluster, and the other clusters. Where none has, the guess stands, and is called one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from evac.fleet import Fleet
from evac.model import VM
from evac.timings import Timing
from evac.window.nouns import HostRun, StepKind, StepState, Window
from evac.window.plan import Way

LIVE_SETUP = 5.0
"""Guess: seconds that a live migration takes besides the copying, with both looks at its end."""

STOPPED_SETUP = 10.0
"""The same for a stopped VM, and twice that for one that is stopped and started again."""

RATE = 300e6
"""Guess: bytes a second, as a 10 Gbit/s link carries with one stream, or a 1 Gbit/s link not quite."""

SLOW = 3.0
"""Guess: nine of ten moves take no longer than so many times the guess."""

OUT = (600.0, 1800.0)
"""Guess: seconds (p50, p90) from SAFE TO REBOOT until a host is back and ready. Large servers need minutes to test memory."""

FEWEST = 8
"""Moves of a group from which its ratios are told."""

FEWEST_OWN = 3
"""The same of one guest: it is always the same memory that it writes to."""

NEWEST = 400
"""Moves of a group that count: links are replaced."""


class Estimate(Struct, frozen=True):
    """Seconds."""

    p50: float
    p90: float
    guess: bool
    basis: str
    """"212 moves on pve", "no history of pve: a guess"."""


class _Group(Struct, frozen=True):
    low: float
    high: float
    basis: str
    guess: bool = False


class History:
    """What was measured, for one fleet."""

    def __init__(
        self,
        timings: Iterable[Timing] = (),
        *,
        windows: Iterable[Window] = (),
        size_of: Callable[[str, str], int | None] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`size_of`: bytes that a VM (cluster, VM.id) has to move now, for moves of which none were told."""
        self._names = names or {}
        self._ratios: dict[tuple[str, ...], list[float]] = {}
        for timing in sorted(timings, key=lambda timing: -timing.n):
            size = timing.size
            if not size and timing.live and size_of is not None:
                size = size_of(timing.cluster, timing.vm)
            if size is None and timing.live:
                continue
            ratio = timing.took / guessed(Way.LIVE if timing.live else Way.COLD, size or 0)
            for group in _groups(timing.live, timing.cluster, timing.vm, timing.source, timing.target):
                into = self._ratios.setdefault(group, [])
                if len(into) < NEWEST:
                    into.append(ratio)
        self._told: dict[tuple[str, ...], _Group | None] = {}
        self._outs: dict[tuple[str, ...], list[float]] = {}
        for run in (run for window in windows for run in window.hosts):
            took = _out(run)
            if took is not None:
                self._outs.setdefault((run.cluster, run.host), []).append(took)
                self._outs.setdefault((run.cluster,), []).append(took)

    def move(self, vm: VM, way: Way, source: str, target: str) -> Estimate:
        """How long one VM takes from one host to another."""
        base = guessed(way, bytes_of(vm))
        live = way is Way.LIVE
        for key in _groups(live, vm.cluster, vm.id, source, target):
            if key not in self._told:
                self._told[key] = self._tell(key, vm.cluster)
            found = self._told[key]
            if found is not None:
                basis = found.basis.replace("{name}", vm.name)
                return Estimate(base * found.low, base * found.high, found.guess, basis)
        return Estimate(base, base * SLOW, True, f"no history of {vm.cluster}: a guess")

    def out(self, cluster: str, host: str) -> Estimate:
        """How long a host is out: changed, restarted, back and ready."""
        for key, fewest, words in (
            ((cluster, host), 2, "restarts of it"),
            ((cluster,), 4, f"restarts on {cluster}"),
        ):
            found = self._outs.get(key, [])
            if len(found) >= fewest:
                return Estimate(share(found, 0.5), share(found, 0.9), False, f"{len(found)} {words}")
        return Estimate(*OUT, True, "a guess")

    def _tell(self, key: tuple[str, ...], cluster: str) -> _Group | None:
        ratios, level = self._ratios.get(key, []), key[1]
        if len(ratios) < (FEWEST_OWN if level == "vm" else FEWEST):
            return None
        count = f"{len(ratios)}{' newest' if len(ratios) == NEWEST else ''} moves"
        match level:
            case "vm":
                basis = f"{count} of {{name}}"
            case "link":
                _, _, own, source, target = key
                basis = f"{count} {self._name(own, source)}→{self._name(own, target)}"
            case "cluster":
                basis = f"{count} on {cluster}"
            case _:
                basis = f"no history of {cluster}: a guess from {count} elsewhere"
        return _Group(share(ratios, 0.5), share(ratios, 0.9), basis, level == "all")

    def _name(self, cluster: str, host: str) -> str:
        return self._names.get(f"{cluster}/{host}", host)


NO_HISTORY = History()


def _groups(
    live: bool, cluster: str, vm: str, source: str, target: str
) -> tuple[tuple[str, ...], ...]:  # by place
    """The nearest first."""
    way = "live" if live else "cold"
    return (
        (way, "vm", cluster, vm),
        (way, "link", cluster, source, target),
        (way, "cluster", cluster),
        (way, "all"),
    )


def guessed(way: Way, size: int) -> float:
    """Seconds, knowing nothing but how much there is to copy."""
    setup = {Way.LIVE: LIVE_SETUP, Way.COLD: STOPPED_SETUP, Way.RESTART: 2 * STOPPED_SETUP}[way]
    return setup + size / RATE


def bytes_of(vm: VM) -> int:
    """What has to be copied: the memory of what runs, and the disk where it lies on the host."""
    memory = 0 if vm.container or vm.power == "shutdown" else vm.memory or 0
    return memory + ((vm.disk or 0) if vm.local_disk else 0)


def share(values: Sequence[float], part: float) -> float:
    """The smallest value that this part of all values is not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)]


def _out(run: HostRun) -> float | None:
    """From the first of hook and back that was begun, to ready; None where a step was skipped or is not over."""
    steps = {step.kind: step for step in run.steps}
    hook, ready = steps.get(StepKind.HOOK), steps.get(StepKind.READY)
    if hook is None or ready is None or hook.began is None or ready.ended is None:
        return None
    return ready.ended - hook.began if hook.state is ready.state is StepState.DONE else None


def history_of(fleet: Fleet, timings: Iterable[Timing]) -> History:
    """With what the fleet knows of sizes, names and past windows."""

    def size_of(cluster: str, ident: str) -> int | None:
        vm = fleet.vm(cluster, ident)
        return None if vm is None or vm.memory is None else bytes_of(vm)

    return History(
        timings,
        windows=fleet.table("windows").values(),
        size_of=size_of,
        names={key: host.name for key, host in fleet.table("hosts").items()},
    )
