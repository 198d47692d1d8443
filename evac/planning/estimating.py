"""How long a host of a plan takes: each of its moves, all of them under the queue's limits, its time out, and the way back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from evac.limits import LimitRules
from evac.model import VM
from evac.planning.history import Estimate, History
from evac.planning.schedule import Job, lanes_of, makespan
from evac.window.plan import PlannedHost, PlannedMove, Refill


def with_estimates(
    host: PlannedHost, vms: Mapping[str, VM], history: History, rules: LimitRules, *, refill: Refill
) -> PlannedHost:
    """The same host with its figures. `vms`: by VM.id."""
    there = {move.vm: history.move(vms[move.vm], move.way, host.host, move.to) for move in host.moves}
    moves = tuple(_told(move, there[move.vm]) for move in host.moves)
    out = history.out(host.cluster, host.host)
    back = []
    if refill is Refill.RESTORE:
        back = [(move.to, history.move(vms[move.vm], move.way, move.to, host.host)) for move in host.moves]
    away = [(move.to, there[move.vm]) for move in host.moves]
    limits, total = rules.of(host.cluster), rules.default.total
    leaving = (lanes_of(limits.per_source, limits, total), limits.per_target)
    coming = (lanes_of(limits.per_target, limits, total), limits.per_source)
    low, high = _both(away, leaving)
    home_low, home_high = _both(back, coming)
    return replace(
        host,
        moves=moves,
        p50=low,
        p90=high,
        guess=any(one.guess for one in there.values()),
        basis=_basis(list(there.values()), out),
        out_p50=_tenth(out.p50),
        out_p90=_tenth(out.p90),
        refill_p50=home_low,
        refill_p90=home_high,
    )


def _told(move: PlannedMove, estimate: Estimate) -> PlannedMove:
    return replace(move, p50=_tenth(estimate.p50), p90=_tenth(estimate.p90), guess=estimate.guess)


def _both(moves: Sequence[tuple[str, Estimate]], places: tuple[int, int]) -> tuple[float, float]:
    """At the median; and as if every move was a slow one, for nights are slow as a whole."""
    lanes, per_end = places
    low: list[Job] = [(end, one.p50) for end, one in moves]
    high: list[Job] = [(end, one.p90) for end, one in moves]
    return _tenth(makespan(low, lanes=lanes, per_end=per_end)), _tenth(
        makespan(high, lanes=lanes, per_end=per_end)
    )


def _basis(estimates: Sequence[Estimate], out: Estimate) -> str:
    """Where the figures come from, the commonest first."""
    count: dict[str, int] = {}
    for one in estimates:
        count[one.basis] = count.get(one.basis, 0) + 1
    ranked = sorted(count, key=lambda basis: -count[basis])
    words = ranked[:2] + ([f"{len(ranked) - 2} more"] if len(ranked) > 2 else [])
    return ", ".join([*words, f"restart: {out.basis}"])


def _tenth(seconds: float) -> float:
    return round(seconds, 1)
