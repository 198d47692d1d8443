"""The reads of one vCenter or ESXi host: blocking functions over a Session that return rows and nouns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from backends.vsphere import mapping, messages, sdk, soap, taskinfo
from backends.vsphere.messages import Walk
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Row

PAGE = 500
"""Objects asked for in one answer; vCenter may send fewer."""

PAGES = 2000
"""Bound of the paging loop: a million objects."""

PATHS: Mapping[str, Sequence[str]] = {
    "VirtualMachine": mapping.VM_PATHS,
    "HostSystem": mapping.HOST_PATHS,
    "ClusterComputeResource": mapping.CLUSTER_PATHS,
    "ComputeResource": mapping.RESOURCE_PATHS,
    "Datastore": mapping.STORE_PATHS,
}

GROUPS = ("ClusterComputeResource", "ComputeResource")
GONE = "ManagedObjectNotFound"


class Reader:
    """Reads by the property collector. What a server does not know is left out from then on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.cluster = session.cluster
        self._unknown: set[str] = set()

    def paths(self, *types: str) -> dict[str, list[str]]:
        """What the inventory shows, by type, without what this server does not know."""
        return self.known({kind: PATHS[kind] for kind in types})

    def known(self, paths: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """These without what this server does not know."""
        return {kind: [path for path in those if path not in self._unknown] for kind, those in paths.items()}

    def unknown(self, fault: Fault) -> bool:
        """Whether a fault tells of a property this server does not know, which is then not asked for again."""
        name = fault.detail.get("name", "")
        if fault.kind != "InvalidProperty" or not name or name in self._unknown:
            return False
        self._unknown.add(name)
        return True

    # --- by kind ------------------------------------------------------------------------------------------------

    def viewed(self, live: Live, *types: str) -> list[Row]:
        """Every object of these types."""
        walk = Walk("ContainerView", live.view, "view")
        return self._retrieved(live, lambda: messages.filter_spec((), (walk,), self.paths(*types)))

    def objects(self, live: Live, wanted: Sequence[tuple[str, str]], *types: str) -> list[Row]:
        """These (type, id) with what the inventory shows of them; those that do not exist are left out."""
        return self.many(live, wanted, {kind: PATHS[kind] for kind in types})

    def many(
        self, live: Live, wanted: Sequence[tuple[str, str]], paths: Mapping[str, Sequence[str]]
    ) -> list[Row]:
        """These (type, id) with these properties; those that do not exist are left out."""
        if not wanted:
            return []
        try:
            return self._retrieved(live, lambda: messages.filter_spec(wanted, (), self.known(paths)))
        except Fault as fault:
            if fault.kind != GONE:
                raise
        if len(wanted) == 1:
            return []
        middle = len(wanted) // 2  # one that is gone spoils the whole question
        return [*self.many(live, wanted[:middle], paths), *self.many(live, wanted[middle:], paths)]

    def walked(
        self, live: Live, kind: str, ids: Sequence[str], along: str, paths: Mapping[str, Sequence[str]]
    ) -> list[Row]:
        """What these objects point to by a property, each once."""
        if not ids:
            return []
        walks = [Walk(kind, id_, along) for id_ in ids]
        rows = self._retrieved(live, lambda: messages.filter_spec((), walks, self.known(paths)))
        return list({(row.type, row.id): row for row in rows}.values())

    def group_of(self, live: Live, host: str) -> list[Row]:
        """The cluster of a host, or the compute resource that it is alone."""
        return self.walked(live, "HostSystem", [host], "parent", self.paths(*GROUPS))

    def host_names(self, live: Live) -> dict[str, str]:
        """Every host: id → name."""
        walk = Walk("ContainerView", live.view, "view")
        rows = self._retrieved(live, lambda: messages.filter_spec((), (walk,), {"HostSystem": ["name"]}))
        return {row.id: row.text("name") or row.id for row in rows}

    def properties(self, live: Live, kind: str, id_: str, paths: Sequence[str]) -> Row | None:
        """One object's properties, whichever; None when it does not exist."""
        rows = self.many(live, [(kind, id_)], {kind: paths})
        return rows[0] if rows else None

    def tasks(self, live: Live) -> list[Row]:
        """Tasks that run, wait, or ended in the last ten minutes (at most 200 of those), oldest first."""
        walk = Walk("TaskManager", sdk.id_of(live.content.taskManager), "recentTask")
        rows = self._retrieved(live, lambda: messages.filter_spec((), (walk,), {"Task": taskinfo.TASK_PATHS}))
        return sorted(rows, key=lambda row: (row.text("info.queueTime"), row.id))

    # --- pages --------------------------------------------------------------------------------------------------

    def _retrieved(self, live: Live, spec: Callable[[], str]) -> list[Row]:
        """All pages; again without a property where the server does not know it."""
        for _ in range(len(PATHS) * 20):
            try:
                return list(self._pages(live, spec()))
            except Fault as fault:
                if not self.unknown(fault):
                    raise
        raise soap.Garbage("the server refuses one property after another")

    def _pages(self, live: Live, spec: str) -> Iterator[Row]:
        collector = live.collector
        message = messages.retrieve(collector, spec, PAGE)
        for _ in range(PAGES):
            fields: dict[str, str] = {}
            for row in self._session.rows(live, message, fields):
                if not row.id:
                    raise soap.Garbage("objects without an id")
                yield row
            if not fields.get("token"):
                return
            message = messages.more(collector, fields["token"])
        raise soap.Garbage(f"a list that does not end after {PAGES} pages")
