"""Rules about the way between two hosts, as each saw it: MTU, what passes, the round trip. What was not looked at says nothing.

Migrations are one TCP connection. Its packets are as large as the smaller of both ends' MTUs, which they tell each other
(RFC 9293, 3.7.1, "Maximum Segment Size"), and are never cut up. If something between takes less and does not say so, the
connection opens, and hangs at the first full packet (RFC 2923, 2.1, "Black Hole Detection"): to an admin it is a
migration that stays at its first per cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from evac.links import LinkLook
from evac.model import Host, Outlook
from evac.rules.context import Case
from evac.rules.platforms import traits
from evac.rules.said import Said, fail, risk
from evac.window.plan import Way

Links = Mapping[tuple[str, str], LinkLook]
"""As `RuleContext.links`."""


class _Link(NamedTuple):
    """Two hosts, and what each saw of the way to the other."""

    source: Host
    target: Host
    out: LinkLook | None
    back: LinkLook | None
    kind: str
    """Of their cluster."""
    full: bool
    """A running guest's memory goes over it. Of a VM that is off, with its disks on shared storage, next to nothing does."""


def mtu(case: Case, host: Host) -> Iterator[Said]:
    """Both ends have the same MTU, else what is not TCP, or is sent before the other's MTU is known, is lost.

    Broadcom KB 432825 says of vMotion what holds for all: "the MTU must be uniform across the entire data path".
    """
    if link := _of_case(case, host):
        yield from _mtu(link)


def path(case: Case, host: Host) -> Iterator[Said]:
    """It answers, and packets as large as both links take get through, both ways."""
    if link := _of_case(case, host):
        yield from _path(link)


def latency(case: Case, host: Host) -> Iterator[Said]:
    """A round trip that the platform bears; `Traits.round_trip` has the sources."""
    if link := _of_case(case, host):
        yield from _latency(link)


def between(links: Links, kind: str, source: Host, target: Host) -> list[Said]:
    """What stands against moves of running guests from one host to another, whichever they are. `kind`: of the cluster."""
    link = _link(links, kind, source, target, full=True)
    return [*_mtu(link), *_path(link), *_latency(link)]


def _of_case(case: Case, host: Host) -> _Link | None:
    """None: nobody knows where it is, or it is rebuilt from a dead host, which sends nothing."""
    if case.source is None or case.world.fenced is not None or not case.world.links:
        return None
    world = case.world
    return _link(world.links, world.cluster.kind, case.source, host, full=case.way is Way.LIVE)


def _link(links: Links, kind: str, source: Host, target: Host, *, full: bool) -> _Link:
    out, back = links.get((source.id, target.id)), links.get((target.id, source.id))
    return _Link(source, target, out, back, kind, full)


# --- MTU -----------------------------------------------------------------------------------------


def _mtu(link: _Link) -> Iterator[Said]:
    out, back = link.out, link.back
    if not (out and back and out.mtu and back.mtu) or out.mtu == back.mtu:
        return
    few, many = sorted((out.mtu, back.mtu))
    lesser, name = (link.target, back.link) if back.mtu == few else (link.source, out.link)
    yield risk(
        f"MTU {out.mtu} on {out.link} of {link.source.name}, {back.mtu} on {back.link} of {link.target.name}",
        f"On {lesser.name}: ip link set dev {name} mtu {many}, and in its network configuration.",
    )


# --- what passes ---------------------------------------------------------------------------------


def _path(link: _Link) -> Iterator[Said]:
    ways = (
        (link.out, link.source.name, link.target.name, link.back),
        (link.back, link.target.name, link.source.name, link.out),
    )
    for look, one, other, _ in ways:
        if look is not None and look.answered is False:
            yield _silent(link, look, one, other)
            return
    smallest = min((look.mtu for look, *_ in ways if look and look.mtu), default=0)
    for look, one, other, far in ways:
        if look is not None and look.mtu == smallest and look.passed is False:
            yield _stuck(link, look, (one, other), known=bool(far and far.mtu))
            return


def _silent(link: _Link, look: LinkLook, one: str, other: str) -> Said:
    if look.refused:
        why = f"{one} finds no way to {other} ({look.address}): no route, or nobody has that address"
        fix = f"On {one}: ip route get {look.address}; look at the cable and the VLAN."
        return _as_bad_as(link, why, fix)
    return risk(
        f"{other} ({look.address}) does not answer ping from {one}: ICMP is filtered, or nothing gets there",
        f"On {one}: ping {look.address}; let echo requests through, or mend the link.",
    )


def _stuck(link: _Link, look: LinkLook, ends: tuple[str, str], *, known: bool) -> Said:
    """`known`: the other end's MTU is, and is no smaller."""
    one, other = ends
    words = f"packets of {look.size} bytes, the MTU of {look.link}, do not pass from {one} to {other}"
    fix = f"Raise the MTU of the switches between, or lower it at both ends: ip link set dev {look.link} mtu 1500."
    if look.told:
        return risk(f"{words}; {look.told} do, as a router says: slower, and it works", fix)
    if look.adapts:
        return risk(f"{words}; TCP on {one} finds out by itself what passes (tcp_mtu_probing)", fix)
    if not known:
        return risk(f"{words}, and the MTU of {other} is not known", f"Compare: ip link show, on {other}.")
    return _as_bad_as(link, f"{words}: a migration hangs at its first full packet", fix)


def _as_bad_as(link: _Link, why: str, fix: str) -> Said:
    return fail(why, fix) if link.full else Said(Outlook.RISK, why, fix)


# --- how far -------------------------------------------------------------------------------------


def _latency(link: _Link) -> Iterator[Said]:
    trips = [look.rtt for look in (link.out, link.back) if look is not None and look.rtt is not None]
    own = traits(link.kind)
    if trips and min(trips) > own.round_trip:
        yield risk(
            f"a round trip of {min(trips) * 1000:.1f} ms to {link.target.name}: {own.round_trip_why}",
            "Choose a nearer host; look for a detour or a full link (mtr).",
        )
