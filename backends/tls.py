"""Looks at a server's certificate without trusting it. Nothing is sent but the handshake."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from msgspec import Struct


class Certificate(Struct, frozen=True, kw_only=True):
    """What a server shows."""

    issuer: str
    subject: str
    expires: datetime
    """UTC."""
    names: tuple[str, ...] = ()
    """Host names and addresses it holds for."""
    fingerprint: str = ""
    """SHA-256, as openssl prints it: pairs of hexadecimal digits with colons."""


def certificate(host: str, port: int, *, timeout: float, cafile: str = "") -> Certificate:
    """The certificate `host` shows: with `cafile` only one that was signed by that CA for this host, else trusted or not.

    Raises:
        OSError: no connection, or no TLS there, or not trusted (ssl.SSLError is one).
        ValueError: the certificate cannot be read.
    """
    context = ssl.create_default_context(cafile=cafile or None)
    if not cafile:
        context.check_hostname = False
        # Only to show who signed a certificate that was refused, or when it ends; no request goes over this connection.
        context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        raw = secure.getpeercert(binary_form=True)
    if not raw:
        raise ValueError("no certificate")
    shown = x509.load_der_x509_certificate(raw)
    return Certificate(
        issuer=_name(shown.issuer),
        subject=_name(shown.subject),
        expires=shown.not_valid_after_utc,
        names=_names(shown),
        fingerprint=shown.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def shown(url: str, *, timeout: float) -> Certificate | None:
    """The certificate at `url`; None when it cannot be looked at."""
    parts = urlsplit(url)
    try:
        return certificate(parts.hostname or "", parts.port or 443, timeout=timeout)
    except (OSError, ValueError):
        return None


def _names(shown: x509.Certificate) -> tuple[str, ...]:
    try:
        held = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    names = held.get_values_for_type(x509.DNSName)
    return (*names, *map(str, held.get_values_for_type(x509.IPAddress)))


def _name(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        found = name.get_attributes_for_oid(oid)
        if found:
            return str(found[0].value)
    return name.rfc4514_string()
