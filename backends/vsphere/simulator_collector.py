"""The property collector's reading half: what a filter selects, RetrievePropertiesEx and its pages, and views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.vsphere.simulator_read import Paths, Rows, matching
from backends.vsphere.simulator_schema import Data, Raw, Ref, is_a, many, typed
from backends.vsphere.simulator_site import DATACENTER, FOLDERS, Site
from backends.vsphere.simulator_vms import Getter
from backends.vsphere.simulator_wire import Ask, Handler, Objects, Refusal, Session, refuse

MAIN = Ref("PropertyCollector", "propertyCollector")
VIEWS = Ref("ViewManager", "ViewManager")

PAGE = 2_000
"""Objects in one answer when the client sets no limit, or a higher one."""


@dataclass(slots=True)
class View:
    """A container view. What it shows is looked up anew each time."""

    container: Ref
    types: list[str]
    recursive: bool


def _view(site: Site, view: View) -> list[Ref]:
    return site.below(view.container, view.types, recursive=view.recursive)


VIEW_PROPERTIES: Mapping[str, Getter] = {
    "view": _view,
    "container": lambda _site, view: view.container,
    "type": lambda _site, view: view.types,
    "recursive": lambda _site, view: view.recursive,
}


class Selection:
    """A PropertyFilterSpec: which objects, and which paths of each."""

    def __init__(self, spec: Data, paths: Paths) -> None:
        """Raises InvalidProperty for a path that no object of its type can have."""
        self._paths = paths
        self.props: Sequence[Data] = many(spec.get("propSet"))
        self.objects: Sequence[Data] = many(spec.get("objectSet"))
        self.lenient = bool(spec.get("reportMissingObjectsInResults"))
        self._chosen: dict[str, tuple[str, ...] | None] = {}
        for prop in self.props:
            for path in prop.get("pathSet", ()):
                paths.check(prop.fields["type"], path)

    def roams(self, session: Session | None) -> bool:
        """True when the set of its objects may change because something moved or a task began."""
        for one in self.objects:
            start = session.objects.get(one.fields["obj"]) if session is not None else None
            select = many(one.get("selectSet"))
            if isinstance(start, View) and len(select) == 1 and not select[0].get("selectSet"):
                if start.container not in FOLDERS and start.container != DATACENTER:
                    return True
            elif select:
                return True
        return False

    def paths(self, type_: str) -> tuple[str, ...] | None:
        """What is asked of such an object; None: nothing, it is not reported."""
        if type_ not in self._chosen:
            self._chosen[type_] = matching(type_, self.props, self._paths)
        return self._chosen[type_]

    def walk(self, session: Session | None, objects: Objects) -> list[Ref]:
        """The selected objects, each once. Raises ManagedObjectNotFound for one to begin at that is not there."""
        found: dict[Ref, None] = {}
        for one in self.objects:
            start: Ref = one.fields["obj"]
            try:
                objects.find(start, session)
            except Refusal:
                if self.lenient:
                    continue
                raise
            named: dict[str, Data] = {}
            _gather(many(one.get("selectSet")), named)
            if not one.get("skip"):
                found[start] = None
            self._follow(start, many(one.get("selectSet")), named, session, found)
        return [ref for ref in found if self.paths(ref.type) is not None]

    def _follow(
        self,
        start: Ref,
        select: Sequence[Data],
        named: Mapping[str, Data],
        session: Session | None,
        found: dict[Ref, None],
    ) -> None:
        waiting = [(start, one) for one in select]
        seen: set[tuple[Ref, int]] = set()
        while waiting:
            ref, step = waiting.pop()
            step = named.get(step.get("name", ""), step) if step.type == "SelectionSpec" else step
            if step.type != "TraversalSpec" or (ref, id(step)) in seen:
                continue
            seen.add((ref, id(step)))
            if not is_a(ref.type, step.fields["type"]):
                continue
            further = many(step.get("selectSet"))
            for target in self._targets(ref, step, session):
                if not step.get("skip"):
                    found[target] = None
                if further:
                    waiting += [(target, one) for one in further]

    def _targets(self, ref: Ref, step: Data, session: Session | None) -> Iterable[Ref]:
        value = self._paths.value(ref, step.fields["path"], session)
        if value is None:
            return []
        return value if isinstance(value, list) else [value]


def _gather(select: Sequence[Data], named: dict[str, Data]) -> None:
    for one in select:
        if one.type == "TraversalSpec":
            if one.get("name"):
                named[one.fields["name"]] = one
            _gather(many(one.get("selectSet")), named)


@dataclass(slots=True)
class _Page:
    """What is still to be sent of an answer."""

    rest: list[tuple[Ref, tuple[str, ...]]]
    size: int


@dataclass(slots=True)
class Collector:
    """A property collector of a session: its filters and its unfinished answers."""

    filters: dict[Ref, object] = field(default_factory=dict)
    pages: dict[str, _Page] = field(default_factory=dict)
    made: int = 0


class Retrieval:
    """RetrievePropertiesEx and what goes with it; container views; Fetch."""

    def __init__(self, objects: Objects, paths: Paths, rows: Rows) -> None:
        self._objects = objects
        self._paths = paths
        self._rows = rows
        self.page = PAGE
        objects.tables["ContainerView"] = VIEW_PROPERTIES
        objects.tables["PropertyCollector"] = {"filter": lambda _site, one: list(one.filters)}
        objects.tables["ViewManager"] = {"viewList": lambda _site, _one: []}
        objects.kept[VIEWS] = self

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "Fetch": self._fetch,
            "RetrieveProperties": self._all,
            "RetrievePropertiesEx": self._first,
            "ContinueRetrievePropertiesEx": self._next,
            "CancelRetrievePropertiesEx": self._cancel,
            "CreateContainerView": self._create,
            "DestroyView": self._destroy,
        }

    def collector(self, ask: Ask) -> Collector:
        """The one that a call is for. Each session has a main one of its own under the same name."""
        if ask.this == MAIN:
            found = ask.login.objects.setdefault(MAIN, Collector())
        else:
            found = self._objects.find(ask.this, ask.session)
        assert isinstance(found, Collector), "only collectors have these methods"
        return found

    def select(self, ask: Ask) -> list[tuple[Ref, tuple[str, ...]]]:
        """All objects of a call's filters with the paths asked of them."""
        found: list[tuple[Ref, tuple[str, ...]]] = []
        for spec in ask.args.get("specSet", ()):
            selection = Selection(spec, self._paths)
            found += [
                (ref, selection.paths(ref.type) or ()) for ref in selection.walk(ask.session, self._objects)
            ]
        return found

    def _fetch(self, ask: Ask) -> Any:
        ref, path = ask.this, ask.args["prop"]
        thing = self._objects.find(ref, ask.session)
        kind, reader = self._paths.reader(ref.type, path)
        value = reader(self._objects.site, thing)
        return Raw("") if value is None else Raw(typed("returnval", value, kind))

    def _all(self, ask: Ask) -> Raw:
        return Raw(
            "".join(
                f"<returnval>{self._rows.content(ref, paths, ask.session)}</returnval>"
                for ref, paths in self.select(ask)
            )
        )

    def _first(self, ask: Ask) -> Raw:
        options = ask.args.get("options")
        asked = options.get("maxObjects") if options is not None else None
        if asked is not None and asked <= 0:
            raise refuse("InvalidArgument", "A specified parameter was not correct: maxObjects")
        page = _Page(self.select(ask), min(asked or self.page, self.page))
        return self._send(ask, page)

    def _next(self, ask: Ask) -> Raw:
        page = self.collector(ask).pages.pop(ask.args["token"], None)
        if page is None:
            raise refuse(
                "InvalidArgument", "A specified parameter was not correct: token", invalidProperty="token"
            )
        return self._send(ask, page)

    def _cancel(self, ask: Ask) -> None:
        self.collector(ask).pages.pop(ask.args["token"], None)

    def _send(self, ask: Ask, page: _Page) -> Raw:
        now, page.rest = page.rest[: page.size], page.rest[page.size :]
        body = "".join(self._content(ref, paths, ask) for ref, paths in now)
        if not body and not page.rest:
            return Raw("")
        token = ""
        if page.rest:
            collector = self.collector(ask)
            collector.made += 1
            name = f"{ask.login.key[:8]}:{collector.made}"
            collector.pages[name] = page
            token = f"<token>{name}</token>"
        return Raw(f"<returnval>{token}{body}</returnval>")

    def _content(self, ref: Ref, paths: tuple[str, ...], ask: Ask) -> str:
        try:
            return f"<objects>{self._rows.content(ref, paths, ask.session)}</objects>"
        except Refusal:  # it went away between two pages
            return ""

    def _create(self, ask: Ask) -> Ref:
        container: Ref = ask.args["container"]
        self._objects.find(container, ask.session)
        view = View(container, list(ask.args.get("type", ())), bool(ask.args.get("recursive")))
        return ask.login.keep("ContainerView", view)

    def _destroy(self, ask: Ask) -> None:
        self._objects.find(ask.this, ask.session)
        ask.login.objects.pop(ask.this, None)
