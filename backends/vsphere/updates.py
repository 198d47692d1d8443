"""What changed, told by a property collector of our own: WaitForUpdatesEx, which is asked and does not wait.

A filter watches every VM, host, cluster and datastore. Its first answer is everything; from then on an answer names
what came, changed or went, and one that names nothing is a few bytes. The collector is another than the one of the
other reads, so its versions are disturbed by nobody, and it ends with its session.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.vsphere import messages, sdk
from backends.vsphere.messages import Walk
from backends.vsphere.reading import PATHS, Reader
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Garbage, Row

PAGE = 1000
"""Objects asked for in one set of updates; a server that has more says "truncated"."""

SETS = 1000
"""Bound of the loop over truncated sets."""

FILTER = "vmodl.query.PropertyCollector.Filter"

LOST = frozenset({"ManagedObjectNotFound", "InvalidCollectorVersion", "RequestCanceled"})
"""The collector is gone, or does not know where we were: everything is read anew."""


class Feed:
    """One collector with one filter, in one session."""

    def __init__(self, session: Session, reader: Reader, live: Live) -> None:
        """Makes the collector and its filter.

        Raises:
            Fault, Garbage, BackendError
        """
        self._session, self._live = session, live
        self.epoch = live.epoch
        self.version = ""
        collector = live.content.propertyCollector.CreatePropertyCollector()
        self._own = collector
        self._id = sdk.id_of(collector)
        self._watch(reader)

    def _watch(self, reader: Reader) -> None:
        walk = Walk("ContainerView", self._live.view, "view")
        for _ in range(len(PATHS) * 20):
            spec = messages.filter_spec((), (walk,), reader.paths(*PATHS))
            try:
                self._session.raw(self._live, messages.create_filter(self._id, spec), FILTER)
            except Fault as fault:
                if not reader.unknown(fault):
                    raise
            else:
                return
        raise Garbage("the server refuses one property after another")

    def __iter__(self) -> Iterator[Row]:
        """What is new since the last time; the first time everything.

        Raises:
            Fault, Garbage, BackendError: nothing of it counts, and the feed is of no use any more.
        """
        for _ in range(SETS):
            fields: dict[str, str] = {}
            message = messages.wait(self._id, self.version, seconds=0, page=PAGE)
            for row in self._session.rows(self._live, message, fields):
                if not row.id:
                    raise Garbage("updates without an object")
                yield row
            if "version" not in fields:
                return
            self.version = fields["version"]
            if fields.get("truncated") not in {"true", "1"}:
                return
        raise Garbage(f"updates that do not end after {SETS} sets")

    def close(self) -> None:
        """Tell the server that it may forget the collector; errors do not matter."""
        try:
            self._own.DestroyPropertyCollector()
        except (Fault, Garbage):
            return  # it went with its session
