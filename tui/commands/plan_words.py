"""A plan in words, for a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from evac.planning import fate_of, fit, plan_hash
from evac.window.plan import Fate, PlanDiff, PlannedHost, PlannedMove, PlannedStay, WindowPlan
from tui.commands import show

Tell = Callable[[str], None]


def summary(plan: WindowPlan, tell: Tell) -> None:
    """The head of a plan, a line a host, whether it fits, and its hash."""
    ticket = f", {plan.ticket}" if plan.ticket else ""
    tell(f"{plan.title}{ticket}: {len(plan.hosts)} host{'s' * (len(plan.hosts) != 1)}")
    for number, host in enumerate(plan.hosts, start=1):
        tell(f"  {number} {host_line(plan, host)}")
        for text in host.warnings:
            tell(f"    warning: {text}")
    fitting(plan, tell)
    tell(f"hash {plan_hash(plan)}")


def host_line(plan: WindowPlan, host: PlannedHost) -> str:
    """What happens on one host, in one line."""
    to = Counter(move.to_name or move.to for move in host.moves)
    targets = ", ".join(f"{name} ({count})" for name, count in to.most_common(4))
    more = f" and {len(to) - 4} more" if len(to) > 4 else ""
    words = [f"{host.name} · cluster {host.cluster}: {len(host.moves)} to {targets or 'nowhere'}{more}"]
    open_ones = undecided(plan, host)
    staying = [stay for stay in host.stays if not stay.harmless]
    if staying:
        words.append(
            f"{len(staying)} cannot move" + (f", {len(open_ones)} to be decided" if open_ones else "")
        )
    words.append(f"empty in {between(host.p50, host.p90)}")
    return ", ".join(words)


def undecided(plan: WindowPlan, host: PlannedHost) -> list[PlannedStay]:
    """VMs that cannot move and of which nobody has said what becomes of them."""
    return [stay for stay in host.stays if not stay.harmless and fate_of(plan, stay) is Fate.UNDECIDED]


def between(low: float, high: float) -> str:
    """A range: "14 m to 22 m"."""
    return f"{show.span(low)} to {show.span(high)}"


def fitting(plan: WindowPlan, tell: Tell) -> None:
    """How long it takes in all, whether that fits, and the last safe start."""
    told = fit(plan)
    tell(
        f"In all {between(told.p50, told.p90)}, with restarts and the way back{' (partly guessed)' * told.guess}."
    )
    if plan.ends is None:
        return
    if told.safe is not None:
        tell(fits_line(told.likely is True, told.safe, told.spare or 0.0))
    if told.last_start is not None:
        tell(f"Last safe start: {clock(told.last_start)}; the window ends {clock(plan.ends)}.")


def fits_line(likely: bool, safe: bool, spare: float) -> str:
    """Whether it fits its window."""
    if safe:
        return f"It fits: {show.span(spare)} to spare if all goes slowly."
    word = "It may not fit" if likely else "It does not fit"
    return f"{word}: {show.span(-spare)} are missing if all goes slowly."


def clock(at: float) -> str:
    """A time in UTC, and by this machine's clock where that differs."""
    utc = datetime.fromtimestamp(at, UTC)
    local = utc.astimezone()
    text = f"{utc:%Y-%m-%d %H:%M} UTC"
    return text if local.utcoffset() == utc.utcoffset() else f"{text} ({local:%H:%M} {local.tzname()})"


def whole(plan: WindowPlan) -> None:
    """Everything, host by host."""
    summary(plan, show.say)
    if plan.made:
        show.say(f"made {clock(plan.made)} by {plan.by or '?'}, {show.span(time.time() - plan.made)} ago")
    for host in plan.hosts:
        show.say()
        show.say(f"{host.name} (figures from {host.basis or 'nothing'})")
        for place in host.storage:
            osds = ", ".join(map(str, place.osds))
            show.say(f"  carries OSDs {osds} of {place.cluster} as {place.host}")
        if host.moves:
            show.table(("  VM", "WAY", "TO", "MEMORY", "TIME", "CHECKS"), list(map(move_row, host.moves)))
        for stay in host.stays:
            show.say(f"  {stay_line(plan, stay)}")


def move_row(move: PlannedMove) -> tuple[str, ...]:
    """One VM that goes."""
    checks = move.outlook.value.upper() + (f": {move.why}" if move.why else "")
    took = between(move.p50, move.p90) + " guessed" * move.guess
    return (
        f"  {move.name}",
        move.way.value,
        move.to_name or move.to or "(scheduler)",
        show.size(move.memory),
        took,
        checks,
    )


def stay_line(plan: WindowPlan, stay: PlannedStay) -> str:
    """One VM that does not, and what becomes of it."""
    fate = "nothing to decide" if stay.harmless else FATES[fate_of(plan, stay)]
    return f"stays: {stay.name}: {stay.why} ({fate})" + (f" Next: {stay.fix}" if stay.fix else "")


FATES = {
    Fate.UNDECIDED: "TO BE DECIDED: leave, stop or hold",
    Fate.LEAVE: "left where it is",
    Fate.STOP: "shut down, and started again afterwards",
    Fate.HOLD: "the window waits until somebody has moved it",
}


def differences(found: PlanDiff) -> None:
    """What differs, those that block first."""
    show.say(f"{found.summary}  (plan {found.hash[:12]})")
    if found.differences:
        show.table(
            ("", "HOST", "WHAT", "NAME", "WHY"),
            [
                (
                    "BLOCKS" if one.blocks else "",
                    one.host,
                    one.kind.value,
                    one.name,
                    f"{one.what}. {one.fix}".strip(),
                )
                for one in found.differences
            ],
        )


def against(plan: WindowPlan) -> list[str]:
    """What stands against a plan by its own figures."""
    return list(_against(plan))


def _against(plan: WindowPlan) -> Iterator[str]:
    told = fit(plan)
    if told.likely is False:
        yield f"It does not fit its window: {show.span(told.p50)} are likely, with restarts and the way back."
    if plan.ends is not None and plan.ends < time.time():
        yield f"Its window ended {clock(plan.ends)}."
    for host in plan.hosts:
        for move in host.moves:
            if move.outlook.value == "will fail":
                yield f"{move.name} will fail to move: {move.why}"
