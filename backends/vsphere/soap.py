"""Answers of the property collector, decoded while they arrive: RetrievePropertiesEx and WaitForUpdatesEx.

pyvmomi's own decoder builds an object for every element, in Python: that is its cost. Here the standard library's parser
builds a tree, all of it in C, and Python looks at whole objects only, which are taken out of the tree as soon as another
element has begun after them. A simple value is a string, and only what is nested becomes a `Node`. The order of elements
is not relied upon, nor the names of prefixes. A document type, which SOAP forbids (SOAP 1.1, section 3), ends the
decoding: with it go all tricks with entities.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser
from xml.parsers import expat

DEEPEST = 64
"""Elements within one another that a value may have; VMware's types stay below 20."""

ROWS = frozenset({"objects", "objectSet"})
"""What holds one object: of RetrievePropertiesEx, of WaitForUpdatesEx."""

PAIRS = frozenset({"propSet", "changeSet"})
FIELDS = frozenset({"token", "version", "truncated"})

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


class Garbage(Exception):
    """The answer cannot be what was asked for; says why."""


class Fault(Exception):
    """A soap:Fault: the server understood, and says no."""

    def __init__(self, kind: str, text: str, detail: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        """As the WSDL names its type: "NotAuthenticated"."""
        self.text = text
        self.detail = detail or {}
        """Its simple properties, such as "name" of an InvalidProperty, "privilegeId" of a NoPermission."""


class Node:
    """A nested value: an element that has others in it, or that says all by its type."""

    __slots__ = ("_at",)

    def __init__(self, at: Element | None = None) -> None:
        self._at = Element("") if at is None else at

    @property
    def type(self) -> str:
        """What a reference is of, else the type the sender says it has; "" when it says none."""
        return _type_of(self._at)

    def text(self, name: str) -> str:
        """The first simple value of that name; "" when there is none."""
        first = self._at.find(name)
        if first is None or not _nested(first):
            return "" if first is None else first.text or ""
        return next(iter(self.texts(name)), "")

    def node(self, name: str) -> Node | None:
        """The first nested value of that name."""
        return next((Node(one) for one in self._at if one.tag == name and _nested(one)), None)

    def nodes(self, *names: str) -> list[Node]:
        """Every nested value of these names, or of any where none is given."""
        return [Node(one) for one in self._at if (not names or one.tag in names) and _nested(one)]

    def texts(self, *names: str) -> list[str]:
        """Every simple value of these names, or of any."""
        return [one.text or "" for one in self._at if (not names or one.tag in names) and not _nested(one)]

    def deep(self, name: str) -> list[str]:
        """Every simple value of that name, at any depth."""
        return [one.text or "" for one in self._at.iter(name) if one is not self._at and not _nested(one)]

    def simple(self) -> dict[str, str]:
        """Its simple values by name; of one name the last."""
        return {one.tag: one.text or "" for one in self._at if not _nested(one)}


class Row:
    """One object, and what was told of it."""

    __slots__ = ("id", "kind", "missing", "nested", "simple", "type")

    def __init__(self) -> None:
        self.kind = ""
        """"enter", "modify" or "leave" in updates; "" otherwise."""
        self.type = ""
        self.id = ""
        self.simple: dict[str, str] = {}
        """Property → its value, where that is one value."""
        self.nested: dict[str, Node] = {}
        """Property → its value, where that has others in it."""
        self.missing: dict[str, str] = {}
        """Property that could not be read → type of the fault, such as "NoPermission"."""

    def text(self, path: str) -> str:
        """A simple value; "" when it was not told."""
        return self.simple.get(path, "")

    def node(self, path: str) -> Node:
        """A nested value; an empty one when it was not told."""
        return self.nested.get(path) or Node()

    def told(self, path: str) -> bool:
        """Whether the property came, be it an empty one."""
        return path in self.simple or path in self.nested


class Decoder:
    """Feed it the answer's bytes; `rows` fill up while it goes on, and may be taken out. The last come with `close`."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.fields: dict[str, str] = {}
        """token, version, truncated."""
        self._method = ""
        self._fault: Element | None = None
        self._names = _Names()
        builder = TreeBuilder()  # itself, no class of ours: then the parser fills it without Python
        self._root = builder.start("", {})
        self._parser = XMLParser(target=builder)  # noqa: S314 - no document type passes _Prolog
        self._prolog = _Prolog()

    def feed(self, piece: bytes) -> None:
        """More of the answer.

        Raises:
            Garbage: it is no SOAP.
        """
        self._parse(piece, last=False)

    def close(self) -> None:
        """The answer is at its end.

        Raises:
            Garbage: it is cut off, or no answer to a call.
            Fault: the server said no.
        """
        self._parse(b"", last=True)
        if self._fault is not None:
            raise fault_of(self._fault)
        if not self._method.endswith("Response"):
            raise Garbage(f"no answer to a call but a {self._method or 'document of another kind'}")

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self._prolog.see(piece)
            if last:
                self._parser.close()
            else:
                self._parser.feed(piece)
        except (ParseError, expat.ExpatError, ValueError, LookupError) as error:
            raise Garbage(f"no whole XML ({error})") from error
        self._take(self._root, 0, whole=last)

    def _take(self, at: Element, depth: int, *, whole: bool) -> None:
        """What has come of an element. Where it is not known to be whole, its last element may still grow."""
        local = self._names[at.tag]
        if depth == 3:  # Envelope, Body, and what is in it
            self._method = local
        if local in ROWS or (depth == 3 and local == "Fault"):
            self._thing(at, local, whole=whole)
            return
        if whole and local in FIELDS:
            self.fields[local] = at.text or ""
        if depth > DEEPEST:
            raise Garbage(f"nested more than {DEEPEST} deep")
        last = len(at) - 1
        for number, one in enumerate(at):
            self._take(one, depth + 1, whole=whole or number < last)
        del at[: last + whole]

    def _thing(self, at: Element, local: str, *, whole: bool) -> None:
        """An object, or a soap:Fault."""
        if not whole:
            _grown(at)
            return
        if local == "Fault":
            self._names.plain(at)
            self._fault = at
        else:
            self.rows.append(_row(at, self._names))


def _row(at: Element, names: _Names) -> Row:
    row = Row()
    simple, nested = row.simple, row.nested
    space = at.tag.removesuffix(names[at.tag])
    title, worth = f"{space}name", f"{space}val"
    for part in at:
        tag = names[part.tag]
        if tag in PAIRS and len(part):
            # nearly always the first and the last, but they may stand in any order, among others
            name: Element | None = part[0]
            value: Element | None = part[-1]
            if name.tag != title:  # type: ignore[union-attr]
                name = part.find(title)
            if value.tag != worth:  # type: ignore[union-attr]
                value = part.find(worth)
            if name is None or value is None:
                continue  # an update of a property that is not set
            if len(value):
                nested[name.text or ""] = _nest(value, names)
            else:
                simple[name.text or ""] = value.text or ""
        elif tag == "obj":
            row.id, row.type = part.text or "", _type_of(part)
        elif tag == "kind":
            row.kind = part.text or ""
        elif tag == "missingSet" and len(part):
            names.plain(part)
            lacking = Node(part)
            row.missing[lacking.text("path")] = _fault_type(lacking.node("fault"))
    return row


def _nest(at: Element, names: _Names) -> Node:
    """A property's value that has others in it."""
    if names.plain(at) > DEEPEST:
        _measure(at)
    return Node(at)


def _nested(at: Element) -> bool:
    """Also an empty element may say all by its type: <fault xsi:type="RequestCanceled"/>."""
    return len(at) > 0 or (not at.text and bool(_type_of(at)))


def _measure(at: Element) -> None:
    """Refuse what is nested too deep, whole as it is."""
    level = [at]
    for _ in range(DEEPEST):
        level = [below for one in level for below in one]
    if level:
        raise Garbage(f"nested more than {DEEPEST} deep")


def _grown(at: Element) -> None:
    """Refuse what is nested too deep while it still grows, at its last element."""
    for _ in range(DEEPEST):
        if not len(at):
            return
        at = at[-1]
    raise Garbage(f"nested more than {DEEPEST} deep")


class _Names(dict[str, str]):
    """Tag as the parser names it, "{urn:vim25}val" → without its namespace."""

    def __missing__(self, tag: str) -> str:
        self[tag] = local = sys.intern(tag.rpartition("}")[2])
        return local

    def plain(self, at: Element) -> int:
        """Name an element, and all in it, without namespaces. Returns how many they are."""
        every = [*at.iter()]
        for one in every:
            one.tag = self[one.tag]
        return len(every)


class _Prolog:
    """Looks at what stands before the first element, the only place for a document type, which the parser passes over."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = _no_doctype
        self._parser.StartElementHandler = self._begun
        self._over = False

    def see(self, piece: bytes) -> None:
        """More of the answer."""
        if not self._over:
            self._parser.Parse(piece)

    def _begun(self, *_: object) -> None:
        self._over = True


def _no_doctype(*_: object) -> None:
    raise Garbage("XML with a document type, which SOAP forbids")


def _type_of(at: Element) -> str:
    """What a reference is of ("VirtualMachine"), else what a value says it is."""
    own = at.get("type")
    return sys.intern(at.get(XSI_TYPE, "").rpartition(":")[2] if own is None else own)


def _fault_type(fault: Node | None) -> str:
    """The type of a LocalizedMethodFault's fault."""
    inner = fault.node("fault") if fault is not None else None
    if inner is not None:
        return inner.type
    return "unknown"


def fault_of(at: Element) -> Fault:
    """A soap:Fault's kind and text."""
    fault = Node(at)
    kind, said = "", Node()
    detail = at.find("detail")
    for one in () if detail is None else detail:
        said = Node(one)
        kind = said.type or one.tag.removesuffix("Fault")
    return Fault(kind, fault.text("faultstring"), said.simple())
