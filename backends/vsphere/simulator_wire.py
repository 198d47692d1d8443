"""The SOAP wire: a request taken apart, an answer or a fault put together, sessions, and what every room shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

from backends.simulation.world import World
from backends.vsphere.simulator_schema import (
    STRING,
    Data,
    Method,
    Nonsense,
    Raw,
    Ref,
    arguments,
    element,
    inside,
    method_of,
    text,
    typed,
)
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_vms import Getter

ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope '
    'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
    "<soapenv:Body>\n{body}\n</soapenv:Body>\n</soapenv:Envelope>"
)


class Refusal(Exception):
    """The server answers with a fault; nothing was done."""

    def __init__(self, fault: Data) -> None:
        super().__init__(fault.get("msg", ""))
        self.fault = fault


def refuse(kind: str, message: str = "", /, **fields: Any) -> Refusal:
    """A fault by its WSDL name. Raise what it returns."""
    return Refusal(Data(kind, msg=message, **fields))


def gone(ref: Ref) -> Refusal:
    """The object is not, or no longer, there."""
    message = (
        f"The object '{_vmodl(ref)}:{ref.id}' has already been deleted or has not been completely created"
    )
    return refuse("ManagedObjectNotFound", message, obj=ref)


def _vmodl(ref: Ref) -> str:
    plain = {"PropertyCollector", "PropertyFilter"}
    return f"vmodl.query.{ref.type}" if ref.type in plain else f"vim.{ref.type}"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in."""

    name: str
    password: str
    writes: bool = True
    denied: frozenset[str] = frozenset()
    """Privileges it lacks although it writes, such as "Resource.HotMigrate"."""

    def may(self, privilege: str) -> bool:
        """Reading is everybody's."""
        if privilege.startswith("System.") or not privilege:
            return True
        return self.writes and privilege not in self.denied


@dataclass(slots=True)
class Session:
    """A login."""

    key: str
    account: Account
    since: float
    """Seconds of the world's wall clock."""
    used: float = field(default_factory=time.monotonic)
    objects: dict[Ref, object] = field(default_factory=dict)
    """Views, collectors and filters: nobody else sees them, and they end with it."""
    made: int = 0

    def keep(self, type_: str, thing: object) -> Ref:
        """A new object of this session."""
        self.made += 1
        ref = Ref(type_, f"session[{self.key}]{self.key[:8]}-{self.made}")
        self.objects[ref] = thing
        return ref


@dataclass(slots=True)
class Ask:
    """One call."""

    method: Method
    this: Ref
    args: dict[str, Any]
    session: Session | None = None

    @property
    def login(self) -> Session:
        """The session; only routes that anybody may call have none."""
        assert self.session is not None, "the dispatcher lets nobody else through"
        return self.session

    def want(self, entity: Ref, privilege: str) -> None:
        """Raises NoPermission."""
        if not self.login.account.may(privilege):
            message = "Permission to perform this operation was denied."
            raise refuse("NoPermission", message, object=entity, privilegeId=privilege)


Handler = Callable[[Ask], Any]
"""Gives the answer's value, or a coroutine of it. Raises Refusal."""


class Objects:
    """Everything a reference can mean: the inventory, what the rooms keep, and what belongs to a session."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.tables: dict[str, Mapping[str, Getter]] = {}
        """Type → its properties."""
        self.kept: dict[Ref, object] = {}
        """Managers, tasks and the like."""

    @property
    def world(self) -> World:
        """The world below."""
        return self.site.world

    def find(self, ref: Ref, session: Session | None) -> object:
        """What it means. Raises ManagedObjectNotFound."""
        own = session.objects.get(ref) if session is not None else None
        found = own or self.kept.get(ref) or self.site.thing(ref)
        if found is None:
            raise gone(ref)
        return found


# --- requests ------------------------------------------------------------------------------------------------------


def parse(body: bytes) -> Ask:
    """A call from its envelope. Raises Refusal for what is no call, or one that nobody knows."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - a simulator on loopback; expat expands no external entity
    except ET.ParseError as error:
        raise refuse("InvalidRequest", f"Malformed request: {error}") from None
    node = next(iter(root.iterfind("{*}Body/*")), None)
    if node is None:
        raise refuse("InvalidRequest", "Malformed request: no body")
    name = node.tag.rsplit("}", 1)[-1]
    method = method_of(name)
    if method is None and name == "Fetch":
        method = FETCH
    this = node.find("{*}_this")
    if method is None or this is None:
        raise refuse("InvalidRequest", f"Unable to resolve WSDL method name: {name}")
    target = Ref(this.get("type") or "", (this.text or "").strip())
    try:
        return Ask(method, target, arguments(node, method))
    except Nonsense as wrong:
        raise refuse("InvalidRequest", f"Error parsing {name}: {wrong}") from None


FETCH = Method("Fetch", {"prop": STRING}, None, "")
"""How pyvmomi reads one property of one object; it is in no WSDL."""


# --- answers -------------------------------------------------------------------------------------------------------


def answer(ask: Ask, value: Any) -> bytes:
    """The envelope of a result."""
    name = ask.method.name
    if isinstance(value, Raw):
        inner: str = value
    elif value is None:
        inner = ""
    elif ask.method.result is None:
        inner = typed("returnval", value)
    else:
        inner = element("returnval", value, ask.method.result)
    return ENVELOPE.format(body=f'<{name}Response xmlns="urn:vim25">{inner}</{name}Response>').encode()


def fault_body(fault: Data) -> bytes:
    """The envelope of a fault."""
    fields = {key: value for key, value in fault.fields.items() if key != "msg"}
    detail = f'<{fault.type}Fault xmlns="urn:vim25" xsi:type="{fault.type}">{inside(Data(fault.type, **fields))}</{fault.type}Fault>'
    body = (
        f"<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{text(fault.get('msg', ''))}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>"
    )
    return ENVELOPE.format(body=body).encode()
