"""What the shared transport must know of Proxmox VE: which calls are ours, what to redact, what to advise."""

from __future__ import annotations

import re

from backends.proxmox.guard import judge
from backends.trouble import Hints
from backends.wire import Manners
from evac.secret import REDACTOR

_SECRET = re.compile(
    r"((?:password|PVEAPIToken|apitoken|ticket|CSRFPreventionToken)\"?\s*[=:]\s*\"?)[^\"&\s,]+", re.IGNORECASE
)

_ENDPOINT = re.compile(r"(target-endpoint=)[^&]*")
"""Of a form: the whole value, for the target's API token is in it."""

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
    """Without passwords, tickets and tokens, and without any secret that evac was ever given, wherever it stands."""
    return REDACTOR(_SECRET.sub(r"\1***", _ENDPOINT.sub(r"\1***", text)))


MANNERS = Manners(judge=judge, hints=HINTS, redact=redacted)
