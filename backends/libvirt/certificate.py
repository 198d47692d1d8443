"""Why a host's certificate was refused. libvirt's library says only that it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from backends.libvirt.options import transport_of
from backends.libvirt.words import Failure

if TYPE_CHECKING:
    from backends.tls import Certificate

PORT = 16514
REFUSED = "verify peer's certificate"
AUTHORITY = "/etc/pki/CA/cacert.pem"
"""Where libvirt looks for it unless the URI has a pkipath (remote.html, "TLS certificates")."""


def reason(failure: Failure, uri: str, timeout: float) -> tuple[str, str]:
    """What is wrong with it and what to do; ("", "") where that is not the trouble, or it cannot be looked at. Blocks."""
    if transport_of(uri) != "tls" or REFUSED not in failure.message:
        return "", ""
    from backends.tls import certificate  # noqa: PLC0415 - its library takes 50 ms, and is for this alone

    parts = urlsplit(uri)
    host = parts.hostname or ""
    try:
        shown = certificate(host, parts.port or PORT, timeout=timeout)
    except (OSError, ValueError):
        return "", ""
    return judged(shown, host, authority(uri), datetime.now(UTC))


def authority(uri: str) -> str:
    """The file with the authority that the URI trusts."""
    folder = parse_qs(urlsplit(uri).query).get("pkipath", [""])[0]
    return str(Path(folder) / "cacert.pem") if folder else AUTHORITY


def judged(shown: Certificate, host: str, trusted: str, now: datetime) -> tuple[str, str]:
    """Of a certificate that was refused: the first fault that shows. Pure."""
    if shown.expires <= now:
        when = f"{shown.expires:%Y-%m-%d %H:%M} UTC"
        return (
            f"its certificate expired on {when}",
            "Give the host a new certificate, and restart libvirtd there.",
        )
    names = shown.names or (shown.subject,)
    if host.lower() not in {name.lower() for name in names}:
        said = ", ".join(names[:3])
        return (
            f"its certificate is for {said}, not for {host}",
            "Use a name from the certificate in the URI, or give the host a certificate with this one.",
        )
    return (
        f'its certificate was signed by "{shown.issuer}", which {trusted} does not hold',
        f"If that authority is yours, put its certificate into {trusted}. Else: who answers there?",
    )
