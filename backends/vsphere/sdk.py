"""pyvmomi, without its connections: its types make a message and read an answer, and our wire carries both.

The only module that imports it. `vim` is dynamic, so it is Any here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pyVmomi
from pyVmomi import SoapAdapter, VmomiSupport

from backends.vsphere.guard import method_of
from backends.vsphere.soap import Fault, Garbage

vim: Any = vars(pyVmomi)["vim"]

Post = Callable[[bytes, str], tuple[int, bytes]]
"""A message and the SOAPAction → HTTP status and body."""

_VERSION = re.compile(rb"<version>([\w.]+)</version>")
_support: Any = VmomiSupport
_adapter: Any = SoapAdapter

OLDEST = "vim.version.version9"
"""5.5, which pyvmomi speaks where nothing better was agreed upon."""

SIMPLE = (str, int, bool, float)


class Stub(_adapter.SoapStubAdapterBase):  # type: ignore[misc]
    """What pyvmomi's managed objects call; it holds no connection."""

    def __init__(self, version: str, post: Post) -> None:
        super().__init__(version=version)
        self.requestContext: dict[str, str] = {}
        self._post = post

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """One call.

        Raises:
            Fault: the server said no.
            Garbage: the answer makes no sense.
            BackendError: as the wire says.
        """
        del outerStub
        message = self.SerializeRequest(mo, info, args)
        status, body = self._post(message, self.versionId)
        answer = decoded(self, body, info.result)
        if status == 200:
            return answer
        raise fault_of(answer)

    def __deepcopy__(self, memo: object) -> Stub:
        """Managed objects are copied with their stub; this one is shared."""
        del memo
        return self


def decoded(stub: Any, body: bytes, kind: Any) -> Any:
    """A whole answer as pyvmomi's objects.

    Raises:
        Garbage: it is no answer of that kind.
    """
    if b"<!DOCTYPE" in body or b"\0" in body:
        raise Garbage("XML with a document type, which SOAP forbids")
    if not method_of(body).endswith(("Response", "Fault")):
        raise Garbage("no answer to a call")  # pyvmomi would take a page of a proxy for a result of None
    try:
        # As a file, so that the parser is told of the end: from a string it takes half an answer for a whole one.
        return _adapter.SoapResponseDeserializer(stub).Deserialize(io.BytesIO(body), kind)
    except Exception as error:  # its decoder fails in every way: KeyError, TypeError, ExpatError, …
        raise Garbage(f"not what the API describes ({type(error).__name__}: {error})") from error


def fault_of(answer: Any) -> Fault:
    """What pyvmomi made of a soap:Fault."""
    if not isinstance(answer, Exception):
        raise Garbage("an error without a fault")
    facts = {
        name: str(value)
        for name, value in vars(answer).items()
        if isinstance(value, SIMPLE) and name not in {"msg", "faultMessage"}
    }
    return Fault(kind_of(answer), str(getattr(answer, "msg", "") or ""), facts)


def kind_of(thing: Any) -> str:
    """The type's name as the WSDL has it: "InvalidLogin" of vim.fault.InvalidLogin."""
    return type(thing).__name__.rpartition(".")[2]


def best_version(told: bytes) -> str:
    """The newest version of the API that both speak, from the server's vimServiceVersions.xml."""
    offered = {match.decode() for match in _VERSION.findall(told)}
    for version in _support.GetServiceVersions("vim25"):
        if _support.versionIdMap.get(version) in offered:
            return str(version)
    return OLDEST


def id_of(thing: Any) -> str:
    """The value of a managed object's reference: "vm-123"."""
    return str(thing._moId)  # noqa: SLF001 - pyvmomi has no other name for it


def named(name: str) -> Any:
    """A type by its name, such as "vim.VirtualMachine"."""
    return _support.GetVmodlType(name)
