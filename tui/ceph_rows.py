"""The rows of the Ceph pane as values: an OSD, a host or rack with its OSDs, or the places that no OSD fills."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from evac.placement import Which, counts, effective_weight, is_out
from evac.storage import OSD, Storage
from tui.filter import Haystack
from tui.look import Look, Span
from tui.panes.common import natural
from tui.text import clean, width


class Zoom(StrEnum):
    """What one row stands for."""

    RACK = "rack"
    HOST = "host"
    OSD = "osd"
    MISSING = "missing"
    """Never chosen: the one row of places that nobody fills."""


ZOOMS = (Zoom.RACK, Zoom.HOST, Zoom.OSD)


class Mode(StrEnum):
    """What a cell counts."""

    ACTING = "acting"
    UP = "up"
    PRIMARY = "primary"
    MOVING = "moving"
    DEVIATION = "deviation"


WORDS = {
    Mode.ACTING: "acting: where PGs lie",
    Mode.UP: "up: where they shall lie",
    Mode.PRIMARY: "primary: where they are served",
    Mode.MOVING: "moving: +arriving -leaving",
    Mode.DEVIATION: "deviation from the fair share",
}

COUNTED = {
    Mode.ACTING: Which.ACTING,
    Mode.UP: Which.UP,
    Mode.PRIMARY: Which.PRIMARY,
    Mode.MOVING: Which.ARRIVING,
    Mode.DEVIATION: Which.ACTING,
}
"""What is summed in each mode; MOVING counts the leaving ones beside it."""


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """One line of the map. As many as OSDs, and as little as those a matter for the garbage collector."""

    key: str
    cluster: str
    zoom: Zoom
    name: str
    path: tuple[str, ...] = ()
    """CRUSH nodes down to it, root first; an OSD's end with its host."""
    osds: tuple[OSD, ...] = ()
    missing_up: tuple[int, ...] = ()
    missing_acting: tuple[int, ...] = ()

    @property
    def host(self) -> str:
        """Its host's CRUSH name; "" for a rack."""
        return self.osds[0].host if self.osds and self.zoom in (Zoom.OSD, Zoom.HOST) else ""

    @property
    def rack(self) -> str:
        """Its rack's name; "" when in none."""
        return self.osds[0].rack if self.osds else ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Device classes of its OSDs, each once."""
        return tuple(dict.fromkeys(osd.device_class for osd in self.osds if osd.device_class))

    @property
    def weight(self) -> float:
        """CRUSH weight of all its OSDs."""
        return sum(osd.weight for osd in self.osds)

    @property
    def used(self) -> float | None:
        """0 to 1; None where not told (an OSD that is out has no size)."""
        total = sum(osd.total or 0 for osd in self.osds)
        return sum(osd.used or 0 for osd in self.osds) / total if total else None


def missing_key(cluster: str) -> str:
    """Key of the row of places that nobody fills."""
    return f"{cluster}/missing"


def osd_row(osd: OSD) -> Row:
    """One OSD."""
    return Row(key=osd.key, cluster=osd.cluster, zoom=Zoom.OSD, name=osd.name, path=parent(osd), osds=(osd,))


def missing_row(storage: Storage) -> Row:
    """Holes of erasure-coded pools."""
    return Row(
        key=missing_key(storage.cluster),
        cluster=storage.cluster,
        zoom=Zoom.MISSING,
        name="missing shards",
        missing_up=storage.missing_up,
        missing_acting=storage.missing_acting,
    )


def parent(osd: OSD, zoom: Zoom = Zoom.HOST) -> tuple[str, ...]:
    """CRUSH path of the host (or rack) an OSD lies in; () when it lies in none."""
    name = osd.host if zoom is Zoom.HOST else osd.rack
    return osd.crush[: osd.crush.index(name) + 1] if name and name in osd.crush else ()


def group_key(cluster: str, zoom: Zoom, path: tuple[str, ...]) -> str:
    """Key of a host's or rack's row."""
    return f"{cluster}/{zoom.value}:{'/'.join(path)}"


def counted(row: Row, which: Which, width: int) -> tuple[int, ...]:
    """PGs per column, all its OSDs together."""
    if row.zoom is Zoom.MISSING:
        held = {Which.UP: row.missing_up, Which.ACTING: row.missing_acting}.get(which, ())
        return (held + (0,) * (width - len(held)))[:width]
    if len(row.osds) == 1:
        return counts(row.osds[0], which, width)
    return tuple(map(sum, zip(*(counts(osd, which, width) for osd in row.osds), strict=True)))


# --- the state -----------------------------------------------------------------------------------

_STATES = {
    "up": ("good", "good"),
    "down": ("bad", "bad"),
    "out": ("off", "dim"),
    "draining": ("arrow", "busy"),
    "down+out": ("bad", "bad"),
    "destroyed": ("cancelled", "dim"),
    "gone": ("cancelled", "dim"),
}


_SHORT = {"draining": "drain", "down+out": "down"}
"""Of a host or rack; the row of the OSD says all."""


def osd_word(osd: OSD) -> str:
    """One of the words of `_STATES`."""
    if not osd.exists:
        return "gone"
    if "destroyed" in osd.states:
        return "destroyed"
    if not osd.up:
        return "down+out" if is_out(osd) else "down"
    if effective_weight(osd) > 0:
        return "up"
    return "draining" if any(osd.pgs_acting) else "out"


def state_of(row: Row, look: Look, room: int = 0) -> Span:
    """As "✗ down"; of a host or rack the worst, counted: "✗ 1/4 down", and "✗ 1 down" where there is no `room` for more."""
    if row.zoom is Zoom.MISSING:
        return Span(f"{look.glyph('warn')} holes", "warn")
    words = [osd_word(osd) for osd in row.osds]
    worst = next((word for word in ("down", "down+out", "draining", "out") if word in words), words[0])
    glyph, tone = _STATES[worst]
    if row.zoom is Zoom.OSD:
        return Span(f"{look.glyph(glyph)} {worst}", tone)
    if worst == "up":
        return Span(f"{look.glyph(glyph)} {len(words)} up", tone)
    count = sum(word.startswith(worst) for word in words)
    short = _SHORT.get(worst, worst)
    texts = [f"{look.glyph(glyph)} {said}" for said in (f"{count}/{len(words)} {short}", f"{count} {short}")]
    fits = (text for text in texts if not room or width(text) <= room)
    return Span(next(fits, texts[-1]), tone)


def state_rank(row: Row) -> int:
    """Trouble first."""
    order = ("down", "down+out", "draining", "out", "destroyed", "gone", "up")
    return min((order.index(osd_word(osd)) for osd in row.osds), default=len(order))


def place(row: Row) -> tuple[object, ...] | None:
    """CRUSH order; the row of missing shards last."""
    if row.zoom is Zoom.MISSING:
        return None
    last = row.osds[0].id if row.zoom is Zoom.OSD and row.osds else -1
    return (not row.path, tuple(natural(name) for name in row.path), last)


def hay(row: Row, look: Look) -> Haystack:
    """What the filter looks at."""
    state = " ".join(dict.fromkeys(osd_word(osd) for osd in row.osds)) + f" {state_of(row, look).text}"
    name, host, rack = row.name.lower(), row.host.lower(), row.rack.lower()
    if row.zoom is Zoom.RACK:
        host = " ".join(dict.fromkeys(osd.host.lower() for osd in row.osds))
    classes = " ".join(row.classes).lower()
    return Haystack(
        whole=f"{name} {host} {rack} {classes} {state} {' '.join(row.path).lower()}",
        host=host,
        rack=rack,
        device_class=classes,
        state=state,
        cluster=row.cluster.lower(),
        name=name,
        id=" ".join(str(osd.id) for osd in row.osds) if row.zoom is Zoom.OSD else "",
    )


def flags_of(row: Row, storage: Storage | None) -> tuple[str, ...]:
    """Flags that hold for it and were not set for the whole cluster: its own, its host's, its device class's."""
    found = [flag for osd in row.osds for flag in osd.flags]
    if storage is not None:
        nodes = (
            {name for osd in row.osds for name in osd.crush} if row.zoom is not Zoom.RACK else set(row.path)
        )
        found += [flag for node in nodes for flag in storage.node_flags.get(node, ())]
        found += [flag for name in row.classes for flag in storage.class_flags.get(name, ())]
    return tuple(sorted(set(found)))


def shown_name(row: Row, look: Look) -> str:
    """Its name, made harmless."""
    return clean(row.name, look.ascii_only)
