"""What a vCenter is as the target of a move from another one. Blocking."""

from __future__ import annotations

import hashlib
import ssl

from backends.vsphere import pin
from backends.vsphere.options import Options
from backends.vsphere.session import Session
from evac.across import Destination
from evac.backend import Settings
from evac.errors import Refused
from evac.model import Problem


def destination(session: Session, settings: Settings) -> Destination:
    """How a source reaches it, with the certificate that it shows now and that evac trusts.

    Raises:
        Refused: it is no vCenter.
        BackendError: kinds of a read.
    """
    options: Options = settings.options
    live = session.live()
    if not live.vcenter:
        happened = f"{settings.name} is an ESXi host that stands alone: it takes no VM from a vCenter."
        raise Refused(Problem(happened=happened, unaffected="Nothing was changed."))
    der = session.wire.certificate()
    host, port = options.address
    return Destination(
        cluster=settings.name,
        kind="vsphere",
        host=host,
        port=port,
        certificate=ssl.DER_cert_to_PEM_cert(der),
        fingerprint=pin.fingerprint(der),
        fingerprint_sha1=_sha1(der),
        instance=str(live.content.about.instanceUuid or ""),
    )


def _sha1(der: bytes) -> str:
    """As ServiceLocator.sslThumbprint wants it: upper case, colons. Not by this is evac's own trust decided."""
    return hashlib.sha1(der, usedforsecurity=False).digest().hex(":").upper()
