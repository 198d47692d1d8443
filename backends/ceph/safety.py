"""Whether the OSDs of a host may stop now. Pure: what was read in, a verdict with every reason out.

Nothing is taken for safe that was not seen: a part that could not be read makes the answer UNKNOWN, whatever the others
say, unless one of them already says NO. Ceph's own "ok-to-stop" is one witness among several: it believes in OSDs that
do not exist, and it does not look at monitors, at what others are doing, or at what happens ten minutes later.
"""

from __future__ import annotations

from collections.abc import Callable

from backends.ceph.addresses import neighbours
from backends.ceph.points import Look, Point, Weight, are, good, many, passes, some, stands, unseen
from backends.ceph.safety_groups import about_groups, about_ids
from backends.ceph.safety_room import about_room
from backends.ceph.safety_states import about_states
from evac.storage import StopAnswer, StopVerdict

ANSWERS = {
    Weight.GOOD: StopAnswer.SAFE,
    Weight.PASSES: StopAnswer.NOT_YET,
    Weight.UNSEEN: StopAnswer.UNKNOWN,
    Weight.STANDS: StopAnswer.NO,
}

BLOCKING = {
    "noup": "an OSD that is restarted does not come up again",
    "nodown": "Ceph would not notice that the OSDs are gone, and clients would wait for them",
    "pause": "no client can read or write now",
    "pauserd": "no client can read now",
    "pausewr": "no client can write now",
    "full": "no client can write now",
}
"""Flags with which no host is stopped."""


def judge(look: Look) -> StopVerdict:
    """The heaviest finding decides; all are told, heaviest first."""
    checks: tuple[Callable[[Look], list[Point]], ...] = (
        about_groups,
        _states,
        _about_machine,
        _about_others,
        _about_quorum,
        _about_flags,
        about_room,
        _about_health,
    )
    points = about_ids(look) or [point for check in checks for point in check(look)]
    points.sort(key=lambda point: -point.weight)
    worst = max(point.weight for point in points)
    waits = [one.remaining for one in look.work if one.remaining is not None]
    return StopVerdict(
        cluster=look.cluster,
        host=look.host,
        osds=look.osds,
        answer=ANSWERS[worst],
        findings=tuple(point.finding for point in points),
        wait=max(waits) if worst is Weight.PASSES and waits else None,
        at=look.at,
    )


def _states(look: Look) -> list[Point]:
    return about_states(look, look.flags)


def _about_machine(look: Look) -> list[Point]:
    """Sites with a CRUSH tree per device class have "node07" and "node07-ssd" for one machine: both would stop."""
    if look.dump is None:
        return []
    beside = [osd for osd in neighbours(look.osds, look.dump) if osd in look.places]
    if not beside:
        return []
    hosts = sorted({look.places[osd].host or look.places[osd].name for osd in beside})
    words = f"osd.{some([str(osd) for osd in beside])} of {some(hosts)} has the same address: perhaps the same machine"
    fix = f"If the whole machine stops, ask Ceph for all of them: ceph osd ok-to-stop {' '.join(map(str, (*look.osds, *beside)))}"
    return [unseen("machine", words, fix)]


def _about_others(look: Look) -> list[Point]:
    """What else is down, and where somebody else may be at work."""
    check = "other hosts"
    if look.dump is None:
        return [look.unseen(check, "dump")]
    found: list[Point] = []
    gone = [one for one in look.places.values() if one.id not in look.osds and one.inside and not one.up]
    if gone:
        where = sorted({one.host or one.name for one in gone})
        words = f"{are(len(gone), 'OSD')} down elsewhere ({some(where)})"
        found.append(stands(check, words, "Bring them back and wait for active+clean, or mark them out."))
    above = {name for osd in look.osds for name in look.places[osd].crush}
    flagged = sorted(
        node
        for node, flags in look.dump.crush_node_flags.items()
        if "noout" in flags and node != look.host and node not in above
    )
    if flagged:
        words = f"noout is set for {some(flagged)}: somebody may be about to stop it too"
        is_host = any(place.host == flagged[0] for place in look.places.values())
        undo = f"evac noout {flagged[0]} --undo" if is_host else f"ceph osd unset-group noout {flagged[0]}"
        found.append(stands(check, words, f"Find out who works there; if nobody does: {undo}"))
    marked = sorted(
        one.osd for one in look.dump.osds if "noout" in one.state and one.osd not in look.osds and one.up
    )
    if marked:
        words = f"noout is set for osd.{some([str(osd) for osd in marked])}: somebody may be about to stop it"
        fix = f"Find out who works there; if nobody does: ceph osd unset-group noout osd.{marked[0]}"
        found.append(stands(check, words, fix))
    here = [osd for osd in look.osds if not look.places[osd].up]
    if here:
        found.append(
            good(
                "this host", f"of its {many(len(look.osds), 'OSD')} {len(here)} {_be(len(here))} down already"
            )
        )
    return found or [good(check, "no OSD is down elsewhere, and no other host has noout")]


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _needed(count: int) -> str:
    return f"{count} {_be(count)} needed"


def _about_quorum(look: Look) -> list[Point]:
    """More than half of the monitors must stay, or the cluster stops answering at all."""
    check = "monitors"
    if look.monitors is None or not look.monitors:
        return [look.unseen(check, "monitors")]
    total = len(look.monitors)
    voting = {mon.name for mon in look.monitors if mon.in_quorum}
    left = voting - set(look.monitors_here)
    least = total // 2 + 1
    names = some(look.monitors_here)
    if len(left) < least:
        if not look.monitors_here:
            words = f"of {many(total, 'monitor')} {len(left)} {_be(len(left))} in quorum, {_needed(least)}"
            return [stands(check, words, "Bring the monitors back first.")]
        words = f"monitor {names} runs here: {len(left)} of {total} would be left, {_needed(least)}"
        return [
            stands(check, words, "Bring the other monitors back, or move this one to another host first.")
        ]
    lost = [mon.name for mon in look.monitors if not mon.host and mon.name in left]
    if len(left) - len(lost) < least:
        words = f"nobody can tell where monitor {some(lost)} runs: perhaps here"
        fix = "Look it up (ceph mon metadata), and count the monitors that would be left."
        return [unseen(check, words, fix)]
    sure = len(left) - len(lost)
    if not look.monitors_here and not lost:
        words = f"none of the {total} monitors runs here" if total > 1 else "the only monitor runs elsewhere"
        return [good(check, words)]
    here = f"monitor {names} runs here" if look.monitors_here else "none is known to run here"
    perhaps = f", and perhaps {some(lost)}" if lost else ""
    spare = "" if sure > least else "; then no other monitor may fail"
    return [good(check, f"{here}{perhaps}: {sure} of {total} stay, {_needed(least)}{spare}")]


def _about_flags(look: Look) -> list[Point]:
    check = "flags"
    if look.dump is None:
        return [look.unseen(check, "dump")]
    own = look.flags.union(*look.flagged.values())
    wrong = sorted(own & set(BLOCKING))
    found = [
        stands(
            check,
            f"{flag} is set: {BLOCKING[flag]}",
            f"ceph osd unset {flag}; of a host, a rack or a class: ceph osd unset-group {flag} NAME.",
        )
        for flag in wrong
    ]
    return found or [good(check, "none that would keep the OSDs from coming back")]


def _about_health(look: Look) -> list[Point]:
    check = "health"
    if look.status is None:
        return [look.unseen(check, "status")]
    health = look.status.health
    if not look.status.mgrmap.available:
        fix = "Start a manager: systemctl restart ceph-mgr@ID. What it knows of the PGs is old until then."
        return [unseen(check, "no manager is active, so what is told of the PGs is old", fix)]
    bad = sorted(code for code, one in health.checks.items() if one.severity == "HEALTH_ERR")
    if health.status == "HEALTH_ERR" or bad:
        return [
            stands(
                check,
                f"the cluster is in error ({some(bad) or 'no reason given'})",
                "See ceph health detail.",
            )
        ]
    if health.status not in {"HEALTH_OK", "HEALTH_WARN"}:
        words = f'the cluster says its health is "{health.status[:40]}"'
        return [unseen(check, words, "See ceph health detail.")]
    if "SLOW_OPS" in health.checks:
        words = health.checks["SLOW_OPS"].summary.message or "requests wait too long"
        return [
            passes(check, words, "Wait until no request is blocked; a slow disk may need to be taken out.")
        ]
    warned = sorted(health.checks)
    return [good(check, f"warnings that do not stand against it: {some(warned)}" if warned else "ok")]
