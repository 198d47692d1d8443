"""The time zone that people here read clocks in, by name: records are in UTC, reports say both."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

LINK = Path("/etc/localtime")
"""A link into the time zone database; its target's name is the zone's (localtime(5))."""


class Zone(Struct, frozen=True):
    """A time zone with the name to print."""

    name: str
    tz: tzinfo

    def local(self, at: float) -> datetime:
        """Unix seconds as this zone's clocks show them."""
        return datetime.fromtimestamp(at, self.tz)


UTC_ZONE = Zone("UTC", UTC)

UTC_NAMES = frozenset(
    {"UTC", "UCT", "Zulu", "Universal"} | {"Etc/UTC", "Etc/UCT", "Etc/Zulu", "Etc/Universal"}
)
"""All names that the time zone database has for it; a report that said both would say everything twice."""


def zone_of(name: str) -> Zone:
    """A zone of the database by its name ("Europe/Berlin").

    Raises:
        ValueError: there is none of that name on this machine.
    """
    if name in UTC_NAMES:
        return UTC_ZONE
    try:
        return Zone(name, ZoneInfo(name))
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"there is no time zone {name[:60]!r} on this machine") from error


def local_zone(link: Path = LINK) -> Zone:
    """This machine's: by TZ, by /etc/localtime, else by the offset that it has now, which is then its name."""
    named = os.environ.get("TZ", "").lstrip(":") or _linked(link)
    if named:
        try:
            return zone_of(named)
        except ValueError:
            pass
    here = datetime.now(UTC).astimezone()
    offset = here.strftime("%z")
    name = f"UTC{offset[:3]}:{offset[3:]}" if here.utcoffset() else "UTC"
    return Zone(name, here.tzinfo or UTC)


def _linked(link: Path) -> str:
    try:
        target = str(link.readlink())
    except OSError:
        return ""
    name = target.partition("zoneinfo/")[2]
    return "" if name.startswith(("posix/", "right/")) else name
