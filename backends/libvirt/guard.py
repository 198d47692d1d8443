"""Which calls of libvirt may be made. Everything that touches a host goes through `Guarded`, reads and changes alike.

It is below every other line of this backend, so that no mistake above it can change a host that is only to be read.
libvirtd refuses a second time: hosts of a read-only cluster are opened with openReadOnly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

READS = frozenset(
    {
        # of a connection
        "close",
        "compareHypervisorCPU",
        "domainEventDeregisterAny",
        "domainEventRegisterAny",
        "getAllDomainStats",
        "getCapabilities",
        "getDomainCapabilities",
        "getFreeMemory",
        "getHostname",
        "getInfo",
        "getLibVersion",
        "getMemoryStats",
        "getType",
        "getURI",
        "getVersion",
        "isAlive",
        "listAllDomains",
        "listAllStoragePools",
        "lookupByName",
        "lookupByUUIDString",
        "registerCloseCallback",
        "unregisterCloseCallback",
        # of a domain or a storage pool
        "UUIDString",
        "XMLDesc",
        "hasManagedSaveImage",
        "interfaceAddresses",
        "isActive",
        "isPersistent",
        "jobInfo",
        "jobStats",
        "name",
        "snapshotNum",
        "state",
    }
)

CHANGES = frozenset(
    {
        "abortJob",
        "createWithFlags",
        "createXML",
        "defineXMLFlags",
        "migrateSetMaxDowntime",
        "migrateSetMaxSpeed",
        "migrateStartPostCopy",
        "migrateToURI3",
        "shutdown",
        "undefineFlags",
    }
)
"""The changing calls evac makes; anything else the library could do is refused."""

Record = Callable[[str, tuple[Any, ...], Any, Exception | None], None]
"""Method, arguments, the object's name, and how it failed; called after each changing call, in the thread that made it."""

_WRAPPED = frozenset({"virDomain", "virStoragePool", "virConnect"})


class GuardRefused(Exception):
    """A call that may not be made; nothing was sent."""


class Guarded:
    """A connection, domain or pool of libvirt of which only known methods can be called."""

    __slots__ = ("_record", "_thing")

    def __init__(self, thing: Any, record: Record | None = None) -> None:
        """Without `record` nothing can be changed."""
        self._thing = thing
        self._record = record

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in READS:
            return lambda *args: self._wrap(getattr(self._thing, name)(*map(_bare, args)))
        if name in CHANGES and self._record is not None:
            return lambda *args: self._change(name, args)
        raise GuardRefused(f"{name} may not be called here")

    def _change(self, name: str, args: tuple[Any, ...]) -> Any:
        assert self._record is not None
        subject = self._thing.name() if type(self._thing).__name__ == "virDomain" else ""
        try:
            answer = getattr(self._thing, name)(*map(_bare, args))
        except Exception as error:
            self._record(name, args, subject, error)
            raise
        self._record(name, args, subject, None)
        return self._wrap(answer)

    def _wrap(self, answer: Any) -> Any:
        if isinstance(answer, list):
            return [self._wrap(one) for one in answer]
        if isinstance(answer, tuple):
            return tuple(self._wrap(one) for one in answer)
        return Guarded(answer, self._record) if type(answer).__name__ in _WRAPPED else answer


def _bare(argument: Any) -> Any:
    return argument._thing if isinstance(argument, Guarded) else argument  # noqa: SLF001 - its own kind
