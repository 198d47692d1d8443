"""Answers of the property collector, decoded while they arrive: RetrievePropertiesEx and WaitForUpdatesEx.

pyvmomi's own decoder builds an object for every element, in Python: that is its cost. Here expat calls us for the ends
of elements, a simple value is a string, and only what is nested becomes a `Node`. The order of elements is not relied
upon, nor the names of prefixes. A document type, which SOAP forbids (SOAP 1.1, section 3), ends the decoding: with it
go all tricks with entities.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from xml.parsers import expat

DEEPEST = 64
"""Elements within one another that a value may have; VMware's types stay below 20."""

ROWS = frozenset({"objects", "objectSet"})
"""What holds one object: of RetrievePropertiesEx, of WaitForUpdatesEx."""

PAIRS = frozenset({"propSet", "changeSet"})
FIELDS = frozenset({"token", "version", "truncated"})


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


class Node(list["tuple[str, str | Node]"]):
    """A nested value: its elements in order, by local name, and the type the sender says it has."""

    __slots__ = ("type",)

    def __init__(self, type_: str = "") -> None:
        super().__init__()
        self.type = type_

    def text(self, name: str) -> str:
        """The first simple value of that name; "" when there is none."""
        return next((value for key, value in self if key == name and isinstance(value, str)), "")

    def node(self, name: str) -> Node | None:
        """The first nested value of that name."""
        return next((value for key, value in self if key == name and isinstance(value, Node)), None)

    def nodes(self, *names: str) -> list[Node]:
        """Every nested value of these names, or of any where none is given."""
        return [value for key, value in self if isinstance(value, Node) and (not names or key in names)]

    def texts(self, *names: str) -> list[str]:
        """Every simple value of these names, or of any."""
        return [value for key, value in self if isinstance(value, str) and (not names or key in names)]

    def deep(self, name: str) -> list[str]:
        """Every simple value of that name, at any depth."""
        found: list[str] = []
        for key, value in self:
            if isinstance(value, Node):
                found += value.deep(name)
            elif key == name:
                found.append(value)
        return found


class Row:
    """One object, and what was told of it."""

    __slots__ = ("id", "kind", "missing", "props", "type")

    def __init__(self) -> None:
        self.kind = ""
        """"enter", "modify" or "leave" in updates; "" otherwise."""
        self.type = ""
        self.id = ""
        self.props: dict[str, str | Node] = {}
        self.missing: dict[str, str] = {}
        """Property that could not be read → type of the fault, such as "NoPermission"."""

    def text(self, path: str) -> str:
        """A simple value; "" when it was not told."""
        value = self.props.get(path, "")
        return value if isinstance(value, str) else ""

    def node(self, path: str) -> Node:
        """A nested value; an empty one when it was not told."""
        value = self.props.get(path)
        return value if isinstance(value, Node) else Node()


Start = Callable[[str, dict[str, str]], None]
End = Callable[[str], None]


class Decoder:
    """Feed it the answer's bytes; `rows` fill up while it goes on, and may be taken out."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.fields: dict[str, str] = {}
        """token, version, truncated."""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = _no_doctype
        self.texts: list[str] = []
        self.parser.CharacterDataHandler = self.texts.append
        self._depth = 0
        self._prefixed = False
        self._method = ""
        self._fault: Node | None = None
        self._tree = _tree_builder(self)
        self._row = _row_reader(self, self._tree)
        self.switch(self._start, self._end)

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

    def switch(self, start: Start, end: End) -> None:
        """Who hears of the next elements, by their local names."""
        if self._prefixed:  # nobody has been seen to send such, so it may take longer
            plain_start, plain_end = start, end
            start = lambda tag, attributes: plain_start(_local(tag), attributes)  # noqa: E731
            end = lambda tag: plain_end(_local(tag))  # noqa: E731
        self.parser.StartElementHandler, self.parser.EndElementHandler = start, end

    def outside(self) -> None:
        """An object is over."""
        self._depth -= 1
        self._prefixed = False
        self.switch(self._start, self._end)

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self.parser.Parse(piece, last)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise Garbage(f"no whole XML ({error})") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        local = _local(tag)
        self._depth += 1
        self.texts.clear()
        if self._depth == 3:  # Envelope, Body, and what is in it
            self._method = local
        if local in ROWS:
            self._prefixed = ":" in tag
            self.switch(*self._row)
        elif self._depth == 3 and local == "Fault":
            self._prefixed = True
            self._tree(attributes, self._end_of_fault)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        local = _local(tag)
        if local in FIELDS:
            self.fields[local] = "".join(self.texts)
        self.texts.clear()

    def _end_of_fault(self, node: Node) -> None:
        self._fault = node
        self.outside()


Tree = Callable[[dict[str, str], Callable[[Node], None]], Start]
"""Begins a tree, and gives back who hears of its first element."""


class _At:
    """Where in an object we are."""

    __slots__ = ("attributes", "name", "row", "value", "within")

    def __init__(self) -> None:
        self.row = Row()
        self.name = ""
        self.value: str | Node = ""
        self.within = ""
        """"val" or "missingSet" while in one that may turn out to be nested."""
        self.attributes: dict[str, str] = {}


def _row_start(decoder: Decoder, at: _At, tree: Tree, done: Callable[[Node], None]) -> Start:
    """What hears of the starts of elements in an object. A closure, as its likes: this is where the time goes."""
    clear = decoder.texts.clear

    def start(tag: str, found: dict[str, str]) -> None:
        clear()
        if at.within:  # so what was begun is no simple value
            tree(at.attributes, done)(tag, found)
        elif tag == "val" or tag == "missingSet":  # noqa: PLR1714 - this is run for every element
            at.within, at.attributes = tag, found
        elif found and tag == "obj":
            at.row.type = _type_of(found)

    return start


def _row_end(decoder: Decoder, at: _At) -> End:
    """What hears of the ends of elements in an object."""
    texts, clear, rows, intern = decoder.texts, decoder.texts.clear, decoder.rows, sys.intern

    def end(tag: str) -> None:
        if tag == "val":
            at.value, at.within = texts[0] if len(texts) == 1 else "".join(texts), ""
        elif tag == "name":
            at.name = intern(texts[0]) if len(texts) == 1 else "".join(texts)
        elif tag in PAIRS:
            at.row.props[at.name] = at.value
            at.value = ""
        elif tag == "obj":
            at.row.id = "".join(texts)
        elif tag == "kind":
            at.row.kind = "".join(texts)
        elif tag == "missingSet":
            at.within = ""
        elif tag in ROWS:
            rows.append(at.row)
            at.row, at.value = Row(), ""
            decoder.outside()
        clear()

    return end


def _row_reader(decoder: Decoder, tree: Tree) -> tuple[Start, End]:
    at = _At()

    def nested(node: Node) -> None:
        if at.within == "val":
            at.value = node
        else:
            at.row.missing[node.text("path")] = _fault_type(node.node("fault"))
        at.within = ""
        decoder.switch(start, end)

    start, end = _row_start(decoder, at, tree, nested), _row_end(decoder, at)
    return start, end


def _tree_builder(decoder: Decoder) -> Tree:
    """What hears of the elements of a nested value, from after its start until its end."""
    texts, clear = decoder.texts, decoder.texts.clear
    stack: list[tuple[str, Node]] = []
    done: Callable[[Node], None] = _forget

    def begin(attributes: dict[str, str], then: Callable[[Node], None]) -> Start:
        nonlocal done
        done = then
        stack.append(("", Node(_type_of(attributes))))
        decoder.switch(start, end)
        return start

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > DEEPEST:
            raise Garbage(f"nested more than {DEEPEST} deep")
        clear()
        stack.append((tag, Node(_type_of(attributes) if attributes else "")))

    def end(tag: str) -> None:
        del tag
        name, node = stack.pop()
        if stack:
            # An empty element may say all by its type: <fault xsi:type="RequestCanceled"/>.
            stack[-1][1].append((name, node if node or (node.type and not texts) else "".join(texts)))
            clear()
        else:
            done(node)

    return begin


def _forget(_: Node) -> None:
    """Nothing asked for it."""


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


def _no_doctype(*_: object) -> None:
    raise Garbage("XML with a document type, which SOAP forbids")


def _type_of(attributes: Mapping[str, str]) -> str:
    """What a reference is of ("VirtualMachine"), else what a value says it is."""
    if not attributes:
        return ""
    own = attributes.get("type")
    if own is not None:
        return sys.intern(own)
    said = next((value for key, value in attributes.items() if key.endswith(":type")), "")
    return sys.intern(said.rpartition(":")[2])


def _fault_type(fault: Node | None) -> str:
    """The type of a LocalizedMethodFault's fault."""
    inner = fault.node("fault") if fault is not None else None
    if inner is not None:
        return inner.type
    return "unknown"


def fault_of(fault: Node) -> Fault:
    """A soap:Fault's kind and text."""
    kind, said = "", Node()
    for name, value in fault.node("detail") or ():
        said = value if isinstance(value, Node) else Node()
        kind = said.type or name.removesuffix("Fault")
    return Fault(
        kind, fault.text("faultstring"), {key: value for key, value in said if isinstance(value, str)}
    )
