"""Rules about the way between two hosts, as each saw it: MTU, what passes, the round trip. What was not looked at says nothing.

Migrations are one TCP connection. Its packets are as large as the smaller of both ends' MTUs, which they tell each other
(RFC 9293, 3.7.1, "Maximum Segment Size"), and are never cut up. If something between takes less and does not say so, the
connection opens, and hangs at the first full packet (RFC 2923, 2.1, "Black Hole Detection"): to an admin it is a
migration that stays at its first per cent.
"""

from __future__ import annotations

from collections.abc import Iterator

from evac.links import LinkLook
from evac.model import Host, Outlook
from evac.rules.context import Case
from evac.rules.platforms import traits
from evac.rules.said import Said, fail, risk
from evac.window.plan import Way


def mtu(case: Case, host: Host) -> Iterator[Said]:
    """Both ends have the same MTU, else what is not TCP, or is sent before the other's MTU is known, is lost.

    Broadcom KB 432825 says of vMotion what holds for all: "the MTU must be uniform across the entire data path".
    """
    out, back = _looks(case, host)
    if out and back and out.mtu and back.mtu and out.mtu != back.mtu:
        few, many = sorted((out.mtu, back.mtu))
        lesser = host.name if back.mtu == few else _source(case)
        link = back.link if back.mtu == few else out.link
        yield risk(
            f"MTU {out.mtu} on {out.link} of {_source(case)}, {back.mtu} on {back.link} of {host.name}",
            f"On {lesser}: ip link set dev {link} mtu {many}, and in its network configuration.",
        )


def path(case: Case, host: Host) -> Iterator[Said]:
    """It answers, and packets as large as both links take get through, both ways."""
    out, back = _looks(case, host)
    source = _source(case)
    for look, one, other in ((out, source, host.name), (back, host.name, source)):
        if look is not None and look.answered is False:
            yield from _silent(case, look, one, other)
            return
    smallest = min((look.mtu for look in (out, back) if look and look.mtu), default=0)
    for look, one, other, far in ((out, source, host.name, back), (back, host.name, source, out)):
        if look is not None and look.mtu == smallest and look.passed is False:
            yield from _stuck(case, look, one, other, known=bool(far and far.mtu))
            return


def latency(case: Case, host: Host) -> Iterator[Said]:
    """A round trip that the platform bears; `Traits.round_trip` has the sources."""
    trips = [look.rtt for look in _looks(case, host) if look is not None and look.rtt is not None]
    own = traits(case.world.cluster.kind)
    if trips and min(trips) > own.round_trip:
        yield risk(
            f"a round trip of {min(trips) * 1000:.1f} ms to {host.name}: {own.round_trip_why}",
            "Choose a nearer host; look for a detour or a full link (mtr).",
        )


def _looks(case: Case, host: Host) -> tuple[LinkLook | None, LinkLook | None]:
    """There and back. A rebuild from a dead host sends nothing over that way."""
    if case.source is None or case.world.fenced is not None:
        return None, None
    looks = case.world.links
    return looks.get((case.source.id, host.id)), looks.get((host.id, case.source.id))


def _source(case: Case) -> str:
    return case.source.name if case.source is not None else "its host"


def _silent(case: Case, look: LinkLook, one: str, other: str) -> Iterator[Said]:
    if look.refused:
        why = f"{one} finds no way to {other} ({look.address}): no route, or nobody has that address"
        yield _as_bad_as(case, why, f"On {one}: ip route get {look.address}; look at the cable and the VLAN.")
    else:
        yield risk(
            f"{other} ({look.address}) does not answer ping from {one}: ICMP is filtered, or nothing gets there",
            f"On {one}: ping {look.address}; let echo requests through, or mend the link.",
        )


def _stuck(case: Case, look: LinkLook, one: str, other: str, *, known: bool) -> Iterator[Said]:
    """`known`: the other end's MTU is, and is no smaller."""
    words = f"packets of {look.size} bytes, the MTU of {look.link}, do not pass from {one} to {other}"
    fix = f"Raise the MTU of the switches between, or lower it at both ends: ip link set dev {look.link} mtu 1500."
    if look.told:
        yield risk(f"{words}; {look.told} do, as a router says: slower, and it works", fix)
    elif look.adapts:
        yield risk(f"{words}; TCP on {one} finds out by itself what passes (tcp_mtu_probing)", fix)
    elif not known:
        yield risk(f"{words}, and the MTU of {other} is not known", f"Compare: ip link show, on {other}.")
    else:
        yield _as_bad_as(case, f"{words}: a migration hangs at its first full packet", fix)


def _as_bad_as(case: Case, why: str, fix: str) -> Said:
    """A VM that is off, with its disks on shared storage, may send next to nothing."""
    return fail(why, fix) if case.way is Way.LIVE else Said(Outlook.RISK, why, fix)
