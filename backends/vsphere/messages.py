"""Messages to the property collector, as text: what pyvmomi would make of the same call, without its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

from msgspec import Struct

ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
    '<{method} xmlns="urn:vim25"><_this type="PropertyCollector">{collector}</_this>{body}</{method}>'
    "</soapenv:Body></soapenv:Envelope>"
)


class Walk(Struct, frozen=True):
    """From one object along a property to those that are read."""

    type: str
    id: str
    along: str
    """Name of the property that lists them, such as a view's "view"."""


def _reference(tag: str, kind: str, id_: str) -> str:
    return f'<{tag} type="{escape(kind)}">{escape(id_)}</{tag}>'


def _message(method: str, collector: str, body: str) -> bytes:
    return ENVELOPE.format(method=method, collector=escape(collector), body=body).encode()


def filter_spec(
    objects: Iterable[tuple[str, str]], walks: Iterable[Walk], paths: Mapping[str, Sequence[str]]
) -> str:
    """The inside of a PropertyFilterSpec: what is read of which objects. `paths`: type → properties."""
    props = "".join(
        f"<propSet><type>{escape(kind)}</type>{''.join(f'<pathSet>{escape(path)}</pathSet>' for path in those)}</propSet>"
        for kind, those in paths.items()
    )
    sets = [f"<objectSet>{_reference('obj', kind, id_)}</objectSet>" for kind, id_ in objects]
    sets += [
        f"<objectSet>{_reference('obj', walk.type, walk.id)}<skip>true</skip>"
        f'<selectSet xsi:type="TraversalSpec"><type>{escape(walk.type)}</type><path>{escape(walk.along)}</path>'
        "<skip>false</skip></selectSet></objectSet>"
        for walk in walks
    ]
    return props + "".join(sets)


def retrieve(collector: str, spec: str, page: int) -> bytes:
    """RetrievePropertiesEx, at most `page` objects in one answer."""
    options = f"<options><maxObjects>{page}</maxObjects></options>"
    return _message("RetrievePropertiesEx", collector, f"<specSet>{spec}</specSet>{options}")


def more(collector: str, token: str) -> bytes:
    """ContinueRetrievePropertiesEx."""
    return _message("ContinueRetrievePropertiesEx", collector, f"<token>{escape(token)}</token>")


def create_filter(collector: str, spec: str) -> bytes:
    """CreateFilter, which tells whole properties where parts of them change."""
    return _message("CreateFilter", collector, f"<spec>{spec}</spec><partialUpdates>false</partialUpdates>")


def wait(collector: str, version: str, *, seconds: int, page: int) -> bytes:
    """WaitForUpdatesEx. `version` "": everything."""
    options = f"<maxWaitSeconds>{seconds}</maxWaitSeconds><maxObjectUpdates>{page}</maxObjectUpdates>"
    return _message(
        "WaitForUpdatesEx", collector, f"<version>{escape(version)}</version><options>{options}</options>"
    )
