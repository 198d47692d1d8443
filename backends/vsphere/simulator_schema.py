"""Values of the vim25 API in a neutral form, and their XML, by the schema that pyvmomi carries.

Nothing here is a pyvmomi object: a data object is a `Data`, a managed object's reference a `Ref`, an enumeration its
word. What a field is (a long or an int, one or many) is looked up in pyvmomi's type tables, so a misspelt field or
type is an error at once and not a strange answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from pyVmomi import VmomiSupport

NAMESPACE = "urn:vim25"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

_SUPPORT: Any = VmomiSupport

_PRIMITIVES: tuple[tuple[str, str], ...] = (
    ("bool", "boolean"),
    ("int", "int"),
    ("long", "long"),
    ("short", "short"),
    ("byte", "byte"),
    ("float", "float"),
    ("double", "double"),
    ("str", "string"),
    ("datetime", "dateTime"),
    ("binary", "base64Binary"),
    ("URI", "anyURI"),
    ("PropertyPath", "string"),
    ("ManagedMethod", "string"),
    ("type", "string"),
)
"""Name of pyvmomi's Python type → its word in XML Schema."""


class Ref(NamedTuple):
    """A managed object's reference."""

    type: str
    """WSDL name: "HostSystem"."""
    id: str


class Data:
    """A data object: its WSDL type and the fields that are set."""

    __slots__ = ("fields", "type")

    def __init__(self, type_: str, /, **fields: Any) -> None:
        self.type = type_
        self.fields: dict[str, Any] = fields

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or the default where it is unset."""
        found = self.fields.get(name)
        return default if found is None else found

    def __repr__(self) -> str:
        return f"{self.type}({self.fields})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Data) and (self.type, self.fields) == (other.type, other.fields)

    def __hash__(self) -> int:
        return hash(self.type)


class Raw(str):
    """XML that is ready to be sent."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field or a parameter holds."""

    wsdl: str
    """"VirtualMachine", "long", "VirtualDevice", "anyType"."""
    sort: str
    """"primitive", "enum", "data", "fault", "ref" or "any"."""
    many: bool = False

    @property
    def xsi(self) -> str:
        """How xsi:type names it."""
        if self.many:
            return f"ArrayOf{self.item_tag[0].upper()}{self.item_tag[1:]}"
        if self.sort == "primitive":
            return f"xsd:{self.wsdl}"
        return "ManagedObjectReference" if self.sort == "ref" else self.wsdl

    @property
    def item_tag(self) -> str:
        """Name of an element of an array whose type is only told by xsi:type."""
        return "ManagedObjectReference" if self.sort == "ref" else self.wsdl


ANY = Kind("anyType", "any")
STRING = Kind("string", "primitive")


@cache
def kind_of(declared: Any) -> Kind:
    """A pyvmomi type, or its name, as a Kind."""
    if isinstance(declared, str):
        declared = _SUPPORT.GetVmodlType(declared)
    many = issubclass(declared, _SUPPORT.Array)
    item = declared.Item if many else declared
    if item is object:
        return Kind("anyType", "any", many)
    if issubclass(item, _SUPPORT.ManagedObject):
        return Kind(_SUPPORT.GetWsdlName(item), "ref", many)
    if issubclass(item, _SUPPORT.Enum):
        return Kind(_SUPPORT.GetWsdlName(item), "enum", many)
    word = dict(_PRIMITIVES).get(item.__name__)
    if word is not None:
        return Kind(word, "primitive", many)
    fault = issubclass(item, _SUPPORT.GetVmodlType("vmodl.MethodFault"))
    return Kind(_SUPPORT.GetWsdlName(item), "fault" if fault else "data", many)


@cache
def python_type(wsdl: str) -> Any:
    """Pyvmomi's class by its WSDL name. Raises KeyError."""
    return _SUPPORT.GetWsdlType(NAMESPACE, wsdl)


@cache
def fields_of(wsdl: str) -> Mapping[str, Kind]:
    """The properties of a data object or a managed object, in the order of the WSDL."""
    return {info.name: kind_of(info.type) for info in python_type(wsdl)._GetPropertyList()}  # noqa: SLF001 - it has no public name


@dataclass(frozen=True, slots=True)
class Method:
    """One operation: what it takes and gives."""

    name: str
    params: Mapping[str, Kind]
    result: Kind | None
    privilege: str


@cache
def method_of(wsdl: str) -> Method | None:
    """An operation by its WSDL name; None: there is none."""
    try:
        info = _SUPPORT.GetWsdlMethod(NAMESPACE, wsdl).info
    except KeyError:
        return None
    params = {one.name: kind_of(one.type) for one in info.params}
    result = None if info.result is type(None) else kind_of(info.result)
    return Method(wsdl, params, result, info.privId or "")


@cache
def is_a(wsdl: str, base: str) -> bool:
    """True when the first type is, or inherits from, the second."""
    try:
        return issubclass(python_type(wsdl), python_type(base))
    except KeyError:
        return False


# --- writing -------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """A primitive or an enumeration's word as XML text."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return value if value.isalnum() else escape(_clean(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _clean(value: str) -> str:
    """Without what XML 1.0 cannot carry: vCenter escapes such characters in names as %xx."""
    if value.isprintable():
        return value
    return "".join(f"%{ord(one):02x}" if ord(one) < 32 and one not in "\t\n\r" else one for one in value)


def element(tag: str, value: Any, kind: Kind) -> str:  # noqa: PLR0911 - one return for each sort of value
    """One field; "" for None, several elements for an array."""
    if value is None:
        return ""
    if isinstance(value, Raw):
        return value
    if kind.many:
        item = Kind(kind.wsdl, kind.sort)
        return "".join(element(tag, one, item) for one in value)
    if kind.sort == "any":
        return typed(tag, value)
    if isinstance(value, Ref):
        return f'<{tag} type="{value.type}">{escape(value.id)}</{tag}>'
    if isinstance(value, Data):
        if kind.sort == "fault":
            return f"<{tag}>{_localized(value)}</{tag}>"
        mark = "" if value.type == kind.wsdl else f' xsi:type="{value.type}"'
        return f"<{tag}{mark}>{inside(value)}</{tag}>"
    return f"<{tag}>{text(value)}</{tag}>"


def inside(value: Data) -> str:
    """The fields of a data object. Raises KeyError for one that its type does not have."""
    known = fields_of(value.type)
    strange = value.fields.keys() - known.keys()
    if strange:
        raise KeyError(f"{value.type} has no {sorted(strange)}")
    return "".join(
        element(name, value.fields[name], kind) for name, kind in known.items() if name in value.fields
    )


def _localized(fault: Data) -> str:
    message = text(fault.get("msg", ""))
    body = inside(Data(fault.type, **{key: one for key, one in fault.fields.items() if key != "msg"}))
    return f'<fault xsi:type="{fault.type}">{body}</fault><localizedMessage>{message}</localizedMessage>'


def typed(tag: str, value: Any, kind: Kind | None = None) -> str:
    """A value where the schema says anyType: it carries its own type. `kind`: what it is declared to be elsewhere."""
    kind = kind or _guess(value)
    if kind.sort == "any":
        kind = _guess(value)
    if kind.many:
        item = Kind(kind.wsdl, kind.sort)
        write = typed if kind.sort == "ref" else lambda name, one: element(name, one, item)
        return f'<{tag} xsi:type="{kind.xsi}">{"".join(write(kind.item_tag, one) for one in value)}</{tag}>'
    if isinstance(value, Ref):
        return f'<{tag} type="{value.type}" xsi:type="ManagedObjectReference">{escape(value.id)}</{tag}>'
    if isinstance(value, Data):
        if kind.sort == "fault":
            return f'<{tag} xsi:type="LocalizedMethodFault">{_localized(value)}</{tag}>'
        return f'<{tag} xsi:type="{value.type}">{inside(value)}</{tag}>'
    return f"<{tag} xsi:type={quoteattr(kind.xsi)}>{text(value)}</{tag}>"


@cache
def value_writer(kind: Kind) -> Callable[[Any], str]:
    """How a property of this kind is written as the <val> of a property set: a bulk answer has a hundred thousand."""
    if not kind.many and kind.sort in ("primitive", "enum"):
        head = f'<val xsi:type="{kind.xsi}">'
        return lambda value: f"{head}{text(value)}</val>"
    if not kind.many and kind.sort == "ref":
        return lambda ref: f'<val type="{ref.type}" xsi:type="ManagedObjectReference">{ref.id}</val>'
    if kind.sort == "data" and not kind.many:
        return lambda value: typed("val", value, Kind(value.type, "data"))
    return lambda value: typed("val", value, kind)


def _guess(value: Any) -> Kind:
    if isinstance(value, list):
        first = _guess(value[0]) if value else STRING
        return Kind(first.wsdl, first.sort, many=True)
    if isinstance(value, Ref):
        return Kind(value.type, "ref")
    if isinstance(value, Data):
        return Kind(value.type, "fault" if is_a(value.type, "MethodFault") else "data")
    words = {bool: "boolean", int: "int", float: "double", str: "string", datetime: "dateTime"}
    return Kind(words[type(value)], "primitive")


# --- reading -------------------------------------------------------------------------------------------------------


class Nonsense(Exception):
    """A request that does not keep to the schema."""


def arguments(node: ET.Element, method: Method) -> dict[str, Any]:
    """The parameters of a call. Raises Nonsense."""
    found = _children(node, method.params)
    found.pop("_this", None)
    return found


def _children(node: ET.Element, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in node:
        name = child.tag.rsplit("}", 1)[-1]
        if name == "_this":
            continue
        kind = kinds.get(name)
        if kind is None:
            raise Nonsense(f"Unexpected element {name}")
        value = _value(child, kind)
        if kind.many:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _value(node: ET.Element, kind: Kind) -> Any:
    actual = (node.get(XSI_TYPE) or "").rsplit(":", 1)[-1]
    if kind.sort == "ref" or node.get("type"):
        return Ref(node.get("type") or kind.wsdl, (node.text or "").strip())
    if kind.sort in ("data", "fault") or (kind.sort == "any" and _is_data(actual)):
        name = actual or kind.wsdl
        return Data(name, **_children(node, _fields_or_nonsense(name)))
    return _primitive(node.text or "", actual if kind.sort == "any" else kind.wsdl)


def _is_data(wsdl: str) -> bool:
    return bool(wsdl) and is_a(wsdl, "DynamicData")


def _fields_or_nonsense(wsdl: str) -> Mapping[str, Kind]:
    try:
        return fields_of(wsdl)
    except KeyError:
        raise Nonsense(f"Unknown type {wsdl}") from None


def _primitive(value: str, word: str) -> Any:
    try:
        if word == "boolean":
            return value.strip() in ("true", "1")
        if word in ("int", "long", "short", "byte"):
            return int(value)
        if word in ("float", "double"):
            return float(value)
        if word == "dateTime":
            return datetime.fromisoformat(value.strip())
    except ValueError:
        raise Nonsense(f"{value!r} is no {word}") from None
    return value


def many(value: Iterable[Any] | None) -> Sequence[Any]:
    """An optional array as a list."""
    return [] if value is None else list(value)
