"""Property paths: checked against the schema once, then read and rendered for one object after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backends.simulation.things import SimVM
from backends.vsphere.simulator_places import ACTUAL
from backends.vsphere.simulator_schema import Data, Kind, Ref, element, fields_of, is_a, value_writer
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_vms import Getter
from backends.vsphere.simulator_wire import Objects, Session, refuse

Reader = Callable[[Site, Any], Any]


class Paths:
    """Readers by type and path."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[tuple[str, str], tuple[Kind, Reader]] = {}
        self._sets: dict[tuple[str, tuple[str, ...]], list[tuple[str, Kind, Reader]]] = {}

    def check(self, type_: str, path: str) -> Kind:
        """What the path holds. Raises InvalidProperty: the schema has no such path, whatever the object."""
        kind = Kind(type_, "data")
        walked = ""
        for name in path.split("."):
            if kind.many or kind.sort not in ("data", "fault"):
                raise refuse("InvalidProperty", "", name=path)
            try:
                found = fields_of(kind.wsdl).get(name)
            except KeyError:
                found = None
            if found is None:
                raise refuse("InvalidProperty", "", name=path)
            walked = f"{walked}.{name}" if walked else name
            actual = ACTUAL.get((type_, walked))
            kind = Kind(actual, "data") if actual else found
        return kind

    def reader(self, type_: str, path: str) -> tuple[Kind, Reader]:
        """How to read it. Raises InvalidProperty."""
        known = self._known.get((type_, path))
        if known is None:
            kind = self.check(type_, path)
            known = self._known[type_, path] = (
                kind,
                self._build(self._objects.tables.get(type_, {}), path, kind),
            )
        return known

    def value(self, ref: Ref, path: str, session: Session | None) -> Any:
        """One property of one object."""
        thing = self._objects.find(ref, session)
        return self.reader(ref.type, path)[1](self._objects.site, thing)

    def readers(self, type_: str, paths: tuple[str, ...]) -> list[tuple[str, Kind, Reader]]:
        """For all of these paths."""
        known = self._sets.get((type_, paths))
        if known is None:
            known = self._sets[type_, paths] = [(path, *self.reader(type_, path)) for path in paths]
        return known

    def everything(self, type_: str) -> tuple[str, ...]:
        """What "all" means: every top-level property we have something to say of."""
        names = {path.split(".", 1)[0] for path in self._objects.tables.get(type_, {})}
        return tuple(name for name in fields_of(type_) if name in names)

    def _build(self, table: Mapping[str, Getter], path: str, kind: Kind) -> Reader:
        if path in table:
            return table[path]
        parts = path.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            above = ".".join(parts[:cut])
            if above in table:
                return _walk(table[above], parts[cut:])
        if kind.sort == "data" and not kind.many:
            return self._assemble(table, path, kind)
        return lambda _site, _thing: None

    def _assemble(self, table: Mapping[str, Getter], path: str, kind: Kind) -> Reader:
        """A data object of which the table holds the leaves."""
        inner = {one.removeprefix(f"{path}.") for one in table if one.startswith(f"{path}.")}
        if not inner:
            return lambda _site, _thing: None
        kinds = fields_of(kind.wsdl)
        names = sorted({one.split(".", 1)[0] for one in inner})
        parts = [(name, self._build(table, f"{path}.{name}", kinds[name])) for name in names]

        def read(site: Site, thing: Any) -> Data:
            found = {name: reader(site, thing) for name, reader in parts}
            return Data(kind.wsdl, **{name: value for name, value in found.items() if value is not None})

        return read


def _walk(getter: Getter, parts: Sequence[str]) -> Reader:
    def read(site: Site, thing: Any) -> Any:
        value = getter(site, thing)
        for name in parts:
            if not isinstance(value, Data):
                return None
            value = value.fields.get(name)
        return value

    return read


class Rows:
    """Rendered properties: a VM's are kept until it changes, so that a bench does not measure the simulator."""

    NEVER_KEPT = frozenset({"recentTask"})

    def __init__(self, objects: Objects, paths: Paths) -> None:
        self._objects = objects
        self._paths = paths
        self._vms: dict[tuple[str, ...], dict[str, tuple[object, list[str]]]] = {}
        self.withheld: set[tuple[str, str]] = set()
        """(id, path) that the account may not read."""

    def row(self, ref: Ref, paths: tuple[str, ...], session: Session | None) -> list[str]:
        """Each path's <val>, in their order; "" where it is unset or withheld."""
        thing = self._objects.find(ref, session)
        if not isinstance(thing, SimVM) or not self.NEVER_KEPT.isdisjoint(paths):
            return self._render(ref, thing, paths)
        kept = self._vms.setdefault(paths, {})
        site = self._objects.site
        home = site.world.hosts[thing.host]
        mark = (thing.version, site.connected(home))
        known = kept.get(ref.id)
        if known is None or known[0] != mark:
            known = kept[ref.id] = (mark, self._render(ref, thing, paths))
        return known[1]

    def _render(self, ref: Ref, thing: object, paths: tuple[str, ...]) -> list[str]:
        site = self._objects.site
        found: list[str] = []
        for path, kind, reader in self._paths.readers(ref.type, paths):
            value = None if (ref.id, path) in self.withheld else reader(site, thing)
            found.append("" if value is None else value_writer(kind)(value))
        return found

    def missing(self, ref: Ref, paths: tuple[str, ...]) -> list[Data]:
        """The MissingProperty entries of an object."""
        if not self.withheld:
            return []
        hidden = [path for path in paths if (ref.id, path) in self.withheld]
        fault = Data("NoPermission", object=ref, privilegeId="System.Read", msg="")
        return [Data("MissingProperty", path=path, fault=fault) for path in hidden]

    def content(self, ref: Ref, paths: tuple[str, ...], session: Session | None) -> str:
        """An ObjectContent's inside."""
        props = "".join(
            f"<propSet><name>{path}</name>{val}</propSet>"
            for path, val in zip(paths, self.row(ref, paths, session), strict=True)
            if val
        )
        lacks = "".join(element("missingSet", one, _MISSING) for one in self.missing(ref, paths))
        return f'<obj type="{ref.type}">{ref.id}</obj>{props}{lacks}'


_MISSING = Kind("MissingProperty", "data")


def matching(type_: str, specs: Sequence[Data], paths: Paths) -> tuple[str, ...] | None:
    """The paths that a filter asks of an object of this type; None: it asks for no such object."""
    fits = [spec for spec in specs if is_a(type_, spec.fields["type"])]
    if not fits:
        return None
    spec = next((one for one in fits if one.fields["type"] == type_), fits[-1])
    return paths.everything(type_) if spec.get("all") else tuple(spec.get("pathSet", ()))
