"""Hears that something has changed while it happens: WaitForUpdatesEx that waits, on a collector of its own.

It watches what an admin waits for and not the figures, of which some are new every few seconds. What exactly has changed
is the inventory's matter, whose own collector is disturbed by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Garbage
from backends.vsphere.updates import LOST, Feed
from evac.errors import BackendError

TOLD: Mapping[str, Sequence[str]] = {
    "VirtualMachine": (
        "name",
        "runtime.powerState",
        "runtime.host",
        "runtime.connectionState",
        "runtime.question",
    ),
    "HostSystem": ("runtime.connectionState", "runtime.powerState", "runtime.inMaintenanceMode"),
}


class Ear:
    """Blocking, one at a time."""

    def __init__(self, session: Session, reader: Reader) -> None:
        self._session, self._reader = session, reader
        self._feed: Feed | None = None

    def wait(self, seconds: int) -> bool:
        """True as soon as something has changed since the last time, or may have; False after so many seconds.

        Raises:
            BackendError: kinds of a read.
        """
        return self._session.read(lambda live: self._wait(live, seconds), "word of changes")

    def _wait(self, live: Live, seconds: int) -> bool:
        feed, self._feed = self._feed, None
        if feed is None or feed.epoch != live.epoch:
            feed, seconds = Feed(self._session, self._reader, live, TOLD), 0
        try:
            heard = sum(1 for _ in feed.after(seconds))
        except Fault as fault:
            if fault.kind not in LOST:
                raise
            return True
        except (Garbage, BackendError):
            with suppress(BackendError):
                feed.close()
            raise
        self._feed = feed
        return heard > 0
