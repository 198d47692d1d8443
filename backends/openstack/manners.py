"""What the shared transport must know of OpenStack: which calls are ours, what to redact, what to advise."""

from __future__ import annotations

import re
from collections.abc import Mapping

from backends.openstack.guard import judge
from backends.trouble import Hints
from backends.wire import Manners

_SECRET = re.compile(
    r'("(?:adminPass|admin_pass|password|secret|token)"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE
)

HINTS = Hints(
    plain="Is this an https endpoint? The address or the catalog may say https for a port that speaks plain http.",
    untrusted="Point cacert (in the config or in clouds.yaml) to the CA that signed it.",
    mismatch=(
        "Use an address that the certificate is for (auth_url, the endpoints in Keystone's catalog), or have it made anew."
    ),
)


def redacted(text: str) -> str:
    """Without passwords and tokens: an evacuation's answer may hold a new adminPass."""
    return _SECRET.sub(r'\1"***"', text)


def request_id(headers: Mapping[str, str]) -> str:
    """Nova's id of a call, by which the server's log of actions knows it."""
    return headers.get("X-Openstack-Request-Id") or headers.get("X-Compute-Request-Id") or ""


MANNERS = Manners(judge=judge, hints=HINTS, redact=redacted, request_id=request_id)
