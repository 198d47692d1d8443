"""What changed, told by a property collector of our own: WaitForUpdatesEx.

A filter watches every VM, host, cluster and datastore. Its first answer is everything; from then on an answer names
what came, changed or went, and one that names nothing is a few bytes. The collector is another than the one of the
other reads, so its versions are disturbed by nobody, and it ends with its session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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

    def __init__(
        self, session: Session, reader: Reader, live: Live, paths: Mapping[str, Sequence[str]] = PATHS
    ) -> None:
        """Makes the collector and its filter, of these properties by type.

        Raises:
            Fault, Garbage, BackendError
        """
        self._session, self._live = session, live
        self.epoch = live.epoch
        self.version = ""
        collector = live.content.propertyCollector.CreatePropertyCollector()
        self._own = collector
        self._id = sdk.id_of(collector)
        self._watch(reader, paths)

    def _watch(self, reader: Reader, paths: Mapping[str, Sequence[str]]) -> None:
        walk = Walk("ContainerView", self._live.view, "view")
        for _ in range(len(paths) * 20):
            spec = messages.filter_spec((), (walk,), reader.known(paths))
            try:
                self._session.raw(self._live, messages.create_filter(self._id, spec), FILTER)
            except Fault as fault:
                if not reader.unknown(fault):
                    raise
            else:
                return
        raise Garbage("the server refuses one property after another")

    def __iter__(self) -> Iterator[Row]:
        """What is new since the last time; the first time everything. Waits for nothing. Raises as `after`."""
        return self.after(0)

    def after(self, seconds: int) -> Iterator[Row]:
        """The same, and where nothing is new yet, what comes within so many seconds.

        Raises:
            Fault, Garbage, BackendError: nothing of it counts, and the feed is of no use any more.
        """
        for _ in range(SETS):
            fields: dict[str, str] = {}
            message = messages.wait(self._id, self.version, seconds=seconds, page=PAGE)
            patience = seconds + self._session.timeout if seconds else None
            for row in self._session.rows(self._live, message, fields, patience=patience):
                if not row.id:
                    raise Garbage("updates without an object")
                yield row
            if "version" not in fields:
                return
            self.version = fields["version"]
            if fields.get("truncated") not in {"true", "1"}:
                return
            seconds = 0
        raise Garbage(f"updates that do not end after {SETS} sets")

    def close(self) -> None:
        """Tell the server that it may forget the collector; errors do not matter."""
        try:
            self._own.DestroyPropertyCollector()
        except (Fault, Garbage):
            return  # it went with its session
