"""The log of a task, which is where Proxmox VE tells how far a move is. Pure: lines in, what they say out.

The wording is that of qemu-server 9.2 (QemuMigrate.pm, BlockJob.pm), pve-guest-common (AbstractMigrate.pm) and
pve-container; what is not known is passed over. Sizes are printed with one decimal, so bytes are good to some percent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from evac.model import Phase

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}

_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(?:i?B)?", re.ASCII)
_NUMBER = r"(\d+(?:\.\d+)?\s*[KMGTPE]?i?B)"

_TARGET = re.compile(r"starting migration of (?:VM|CT) \d+ to (?:remote )?node '([^']+)'")
_MEMORY = re.compile(
    rf"migration \w+, transferred {_NUMBER} of {_NUMBER} VM-state, {_NUMBER}/s(.*)", re.IGNORECASE
)
_DIRTY = re.compile(rf"VM dirties lots of memory: {_NUMBER}/s", re.IGNORECASE)
_SUMMARY = re.compile(rf"migration completed, transferred {_NUMBER} VM-state", re.IGNORECASE)
_DOWNTIME = re.compile(rf"average migration speed: {_NUMBER}/s - downtime (\d+) ms", re.IGNORECASE)
_DISK = re.compile(
    rf"(?:([\w-]+): )?transferred {_NUMBER} of {_NUMBER}(?: \((\d+(?:\.\d+)?)%\))?(.*)", re.IGNORECASE
)
_PREFIX = re.compile(r"(?:online migrate failure - |migration aborted \(duration [\d:]+\): )")


class Disk(Struct, frozen=True):
    """One disk that is copied. Bytes."""

    sent: int
    total: int
    ready: bool = False
    """Whatever is written from now on goes to both sides."""


_NOTHING: Mapping[str, Disk] = MappingProxyType({})


class Story(Struct, frozen=True, kw_only=True):
    """What the lines read so far say."""

    lines: int = 0
    """How many were read."""
    target: str = ""
    live: bool = False
    """The guest's memory is sent while it runs."""
    memory_total: int | None = None
    memory_sent: int | None = None
    speed: int | None = None
    """Bytes per second, as QEMU told last."""
    dirty_rate: int | None = None
    """Bytes per second, told only while it exceeds the speed."""
    downtime: int | None = None
    """Milliseconds the guest stood still, told at the end."""
    disks: Mapping[str, Disk] = _NOTHING
    carried: bool = False
    """The memory is over there; what remains is clearing up."""
    error: str = ""
    """The first error, which is the reason; later ones come of it."""
    interrupted: bool = False
    """Somebody stopped the task."""
    finished: bool = False
    """It says itself that it ended well."""

    @property
    def phase(self) -> Phase:
        """Of a task that still runs."""
        if self.carried or self.error or self.finished:
            return Phase.FINISHING
        moving = self.memory_sent is not None or any(disk.sent for disk in self.disks.values())
        return Phase.RUNNING if moving else Phase.PREPARING

    @property
    def disk_total(self) -> int | None:
        """Of all disks that are copied; None: none is."""
        return sum(disk.total for disk in self.disks.values()) if self.disks else None

    @property
    def disk_sent(self) -> int | None:
        """Likewise."""
        return sum(disk.sent for disk in self.disks.values()) if self.disks else None


def size(text: str) -> int:
    """Bytes of "1.2 GiB", "512.0 MiB", "0.0 B", "1.15G". 0 for nonsense."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return 0
    return round(float(found[1]) * UNITS[found[2].upper()])


LIVE = ("starting online/live migration", "conntrack state migration", " on remote node '")
"""What only the log of a running VM's migration says; the latter two also where it fails before memory is sent."""


def read(story: Story, lines: Iterable[str]) -> Story:
    """The story with these lines, which follow those it was made of."""
    for line in lines:
        story = _line(replace(story, lines=story.lines + 1), _STAMP.sub("", line.strip(), count=1))
    return story


def _line(story: Story, text: str) -> Story:
    if text.startswith(("ERROR: ", "TASK ERROR: ")):
        return _error(story, text.partition("ERROR: ")[2])
    for pattern, told in _RULES:
        if found := pattern.search(text):
            return told(story, found)
    if any(sign in text for sign in LIVE):
        return replace(story, live=True)
    if text.startswith("migration status: completed"):
        return replace(story, carried=True)
    if text.startswith("migration finished successfully") or text == "TASK OK":
        return replace(story, finished=True)
    return story


def _error(story: Story, why: str) -> Story:
    stopped = "interrupted by signal" in why or "received interrupt" in why
    echo = why.startswith(("migration aborted", "migration problems", "migration finished with problems"))
    plain = _PREFIX.sub("", why)
    reason = story.error or ("" if echo and plain == why else plain)
    return replace(story, error=reason or why, interrupted=story.interrupted or stopped)


def _target(story: Story, found: re.Match[str]) -> Story:
    return replace(story, target=found[1])


def _memory(story: Story, found: re.Match[str]) -> Story:
    dirty = _DIRTY.search(found[4])
    return replace(
        story,
        live=True,
        memory_sent=size(found[1]),
        memory_total=size(found[2]),
        speed=size(found[3]),
        dirty_rate=size(dirty[1]) if dirty else None,
    )


def _summary(story: Story, found: re.Match[str]) -> Story:
    return replace(story, live=True, carried=True, memory_sent=size(found[1]))


def _downtime(story: Story, found: re.Match[str]) -> Story:
    return replace(story, live=True, carried=True, speed=size(found[1]), downtime=int(found[2]))


def _disk(story: Story, found: re.Match[str]) -> Story:
    name = (found[1] or "disk").removeprefix("drive-")
    total = size(found[3])
    disk = Disk(min(size(found[2]), total), total, "ready" in found[5])
    return replace(story, disks=MappingProxyType({**story.disks, name: disk}))


_RULES = (
    (_MEMORY, _memory),
    (_SUMMARY, _summary),
    (_DOWNTIME, _downtime),
    (_DISK, _disk),
    (_TARGET, _target),
)
"""The first that fits counts: what follows a memory line looks like a disk's."""
