"""What a move's measure means, in a word and in words. Pure: `judge` looks at nothing but what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evac.actions import Action, LiveMigrate
from evac.probe import Felt, FeltVerdict, Gap

NOTED = 0.01
"""Seconds: a bracket that is wider than two intervals by less is not worth a word; its figures say it."""


class Ruling(NamedTuple):
    """What was felt."""

    verdict: FeltVerdict
    words: str
    """"out for 0.10 to 0.31 s", "not measured: …"."""
    next_step: str = ""

    @property
    def failed(self) -> bool:
        """The move is not done, whatever the cluster says."""
        return self.verdict in (FeltVerdict.OVER, FeltVerdict.SILENT)


def judge(
    action: Action,
    felt: Sequence[Felt],
    *,
    limit: float,
    within: float,
    moved: bool = True,
    back: bool = False,
) -> Ruling:
    """The verdict over all addresses of a VM. `moved`: whether the cluster says that it has.

    `limit`: seconds of outage that a live migration may cause; cold moves stop the guest, so none holds for them.
    `within`: seconds that it was given to answer again, for the words only. `back`: it answered after the measure had
    ended, which may have been in the middle of a short silence.
    """
    there = [one for one in felt if one.answered_before]
    if there and not back and all(_silent_now(one) for one in there):
        # Also where the length of an outage could not be measured: that nothing answers now is known all the same.
        return _silent(there, within, moved=moved)
    good = [one for one in felt if not one.unmeasured]
    if not good:
        why = felt[0].unmeasured if felt else "nothing was asked"
        return Ruling(FeltVerdict.UNMEASURED, f"not measured: {why}")
    before = [one for one in good if one.answered_before]
    if not before:
        return _never_there(good)
    worst = max(before, key=_badness)
    words = _words(worst) + _others(felt, before, worst)
    gap = _counted(worst)
    if gap is not None and gap.least > limit and isinstance(action, LiveMigrate):
        step = "It has moved; see whether its service is well. Retrying would not undo the outage."
        return Ruling(FeltVerdict.OVER, f"{words}; the limit is {_seconds(limit)} s", step)
    return Ruling(FeltVerdict.FINE, words)


def outage(felt: Felt) -> str:
    """The longest outage of one address as a bracket: "≥0.10 ≤0.31 s", "none seen", "not measured: …"."""
    if felt.unmeasured:
        return f"not measured: {felt.unmeasured}"
    gap = _counted(felt)
    if gap is None:
        return "none seen"
    if gap.most is None:
        return f"≥{_seconds(gap.least)} s"
    return f"≤{_seconds(gap.most)} s" if not gap.least else f"≥{_seconds(gap.least)} ≤{_seconds(gap.most)} s"


def worst_of(felt: Sequence[Felt]) -> Felt | None:
    """The address whose outage was the longest; a measured one if there is any."""
    good = [one for one in felt if not one.unmeasured]
    return max(good, key=_badness, default=felt[0] if felt else None)


def _never_there(good: Sequence[Felt]) -> Ruling:
    """It did not answer before, so nothing that is missing can be laid to the move."""
    names = ", ".join(_name(one) for one in good)
    if all(one.answered_before is None for one in good):
        return Ruling(FeltVerdict.UNMEASURED, f"not measured: {names} was not asked before the move")
    now = [one for one in good if one.answers_now]
    then = f"{_name(now[0])} answers now" if now else "nor does it now"
    step = "" if now else "See whether it should: a firewall, another port, or a guest that is down."
    return Ruling(
        FeltVerdict.UNMEASURED, f"not measured: {names} did not answer before the move; {then}", step
    )


def _silent(before: Sequence[Felt], within: float, *, moved: bool) -> Ruling:
    names = ", ".join(_name(one) for one in before)
    if not moved:
        words = f"guest silent: {names} answered before the move was tried, and does not now"
        return Ruling(FeltVerdict.SILENT, words, "Look at the guest's console.")
    words = f"migrated, guest silent: {names} answered before the move, and not within {within:g} s after it"
    step = (
        "Look at the guest's console and at its network on the new host. The cluster says it runs there; "
        "moving it back or a reboot may help."
    )
    return Ruling(FeltVerdict.SILENT, words, step)


def _silent_now(felt: Felt) -> bool:
    """It was asked until the end, and did not answer."""
    asked = not felt.unmeasured or not any(gap.blind and not gap.over for gap in felt.gaps)
    return asked and felt.answers_now is False


def _words(felt: Felt) -> str:
    gap = _counted(felt)
    holes = [one for one in felt.gaps if one.blind]
    if gap is None:
        if holes:
            return f"no outage seen, but for {_length(holes[0])} nothing was asked: {holes[0].blind}"
        return f"no outage seen: all {felt.sent} probes answered, one each {felt.interval:g} s"
    if gap.lost + gap.late == 1 and felt.interval >= 1:
        return f"one reply {'late' if gap.late else 'lost'} in {felt.sent}: normal at one each {felt.interval:g} s"
    late = f", {felt.late} of them too late" if felt.late else ""
    missing = f" ({felt.lost + felt.late} of {felt.sent} replies missing{late})"
    wide = f"; asked or answered late, so known {_seconds(gap.wide)} s less well" if gap.wide >= NOTED else ""
    return f"out for {_length(gap)}{'' if gap.over else ' when the measure ended'}{missing}{wide}"


def _length(gap: Gap) -> str:
    if gap.most is None:
        return f"at least {_seconds(gap.least)} s"
    if not gap.least:
        return f"at most {_seconds(gap.most)} s"
    return f"{_seconds(gap.least)} to {_seconds(gap.most)} s"


def _others(felt: Sequence[Felt], before: Sequence[Felt], worst: Felt) -> str:
    if len(felt) == 1:
        return ""
    parts = [f" at {_name(worst)}"]
    silent = [_name(one) for one in before if one.answers_now is False and one is not worst]
    if silent:
        parts.append(f"; {', '.join(silent)} silent since")
    rest = len(felt) - len(before)
    if rest:
        parts.append(f"; {rest} more address{'es' * (rest > 1)} not measured")
    return "".join(parts)


def _counted(felt: Felt) -> Gap | None:
    """The longest gap that was an outage, as far as can be told: where nothing was asked, nothing is known."""
    seen = [gap for gap in felt.gaps if not gap.blind or gap.lost or gap.late]
    return max(seen, key=lambda gap: (gap.least, gap.most or gap.least), default=None)


def _badness(felt: Felt) -> tuple[bool, float, float]:
    gap = _counted(felt)
    return (felt.answers_now is False, gap.least if gap else -1.0, (gap.most or gap.least) if gap else 0.0)


def _name(felt: Felt) -> str:
    if not felt.address:
        return "the command"
    return f"{felt.address} port {felt.port}" if felt.port else felt.address


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
