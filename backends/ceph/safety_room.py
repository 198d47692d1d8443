"""What happens ten minutes after a host has stopped without noout: would its data fit elsewhere? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from backends.ceph.points import Look, Point, good, stands

CHECK = "noout"

GIB = 1 << 30


def about_room(look: Look) -> list[Point]:
    """With noout nothing is copied, and room does not matter."""
    if look.dump is None:
        return [look.unseen(CHECK, "dump")]
    if not look.osds:
        return []
    if has_noout(look):
        return [good(CHECK, "it is set: nothing is copied while the OSDs are down")]
    if look.usage is None:
        return [look.unseen(CHECK, "usage")]
    return [_without(look, look.usage, look.dump.backfillfull_ratio)]


def _without(look: Look, usage: Mapping[int, tuple[int, int]], full: float) -> Point:
    """An OSD that is out holds nothing that would have to be copied."""
    fix = f"evac noout {look.host}"
    unknown = [osd for osd in look.osds if look.places[osd].inside and osd not in usage]
    if unknown:
        return stands(CHECK, f"not set, and nobody can tell how much osd.{unknown[0]} holds", fix)
    moved = sum(usage[osd][0] for osd in look.osds if osd in usage)
    fullest = _fullest(look, usage)
    words = f"not set: after some ten minutes Ceph begins to copy {moved / GIB:.1f} GiB elsewhere"
    if fullest is None or fullest > full:
        room = (
            "there is no other OSD for it" if fullest is None else f"the others would be {fullest:.0%} full"
        )
        return stands(CHECK, f"{words}, and {room}", fix)
    return good(CHECK, f"{words}; it would fit ({fullest:.0%} full then)", fix)


def has_noout(look: Look) -> bool:
    """For the cluster, or for each of its OSDs: by itself, by its device class, by the host or a node above it."""
    return "noout" in look.flags or all("noout" in flags for flags in look.flagged.values())


def _fullest(look: Look, usage: Mapping[int, tuple[int, int]]) -> float | None:
    """How full the rest of the host's fullest device class would be; None when a class has no other OSD."""
    worst = 0.0
    for kind in {look.places[osd].device_class for osd in look.osds}:
        rest = [
            usage[osd]
            for osd, place in look.places.items()
            if osd not in look.osds
            and osd in usage
            and place.device_class == kind
            and place.inside
            and place.up
        ]
        room = sum(total for _, total in rest)
        if not room:
            return None
        here = [osd for osd in look.osds if look.places[osd].device_class == kind and osd in usage]
        worst = max(worst, (sum(used for used, _ in rest) + sum(usage[osd][0] for osd in here)) / room)
    return worst
