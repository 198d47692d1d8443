"""A self-signed certificate for a simulator that speaks TLS: made at its start, good for a few days, kept nowhere."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows, and its secret half."""

    pem: str
    """The certificate."""
    key: str
    """The private key, PEM."""
    fingerprint: str
    """SHA-256 of the DER form, as browsers and openssl show it: upper case, colons."""

    def context(self) -> ssl.SSLContext:
        """A server's TLS context."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # load_cert_chain reads files only
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.key + self.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def self_signed(name: str, address: str) -> Certificate:
    """A new one for a name and an IP address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    der = made.public_bytes(serialization.Encoding.DER)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        pem=ssl.DER_cert_to_PEM_cert(der),
        key=private.decode(),
        fingerprint=":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest()),
    )
