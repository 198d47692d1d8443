"""What the shared transport must know of Proxmox VE: which calls are ours, what to redact, what to advise."""

from __future__ import annotations

import re

from backends.proxmox.guard import judge
from backends.trouble import Hints
from backends.wire import Manners

_SECRET = re.compile(
    r"((?:password|PVEAPIToken|apitoken|ticket|CSRFPreventionToken)\"?\s*[=:]\s*\"?)[^\"&\s,]+", re.IGNORECASE
)

HINTS = Hints(
    plain="Is that the port of the API? pveproxy speaks https on 8006.",
    untrusted=(
        "Put the certificate's SHA-256 into fingerprints (on the node: pvenode cert info), or point cacert to a copy of"
        " /etc/pve/pve-root-ca.pem."
    ),
    mismatch=(
        "Use the name that the certificate is for in endpoints, or put its SHA-256 into fingerprints"
        " (on the node: pvenode cert info)."
    ),
    pinned=(
        "If it was renewed, compare it on the node (pvenode cert info) and correct fingerprints;"
        " if not, somebody stands in between."
    ),
)


def redacted(text: str) -> str:
    """Without passwords, tickets and tokens."""
    return _SECRET.sub(r"\1***", text)


MANNERS = Manners(judge=judge, hints=HINTS, redact=redacted)
