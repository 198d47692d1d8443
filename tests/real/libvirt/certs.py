"""TLS and SASL in the lab: an authority, a certificate for each host and the operator, wrong ones of every kind, a user."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.real.daemons import run
from tests.real.libvirt.layout import HOSTS, LAB, address, folder

TLS = LAB / "tls"
OPERATOR = TLS / "operator"
"""The folder for a URI's pkipath: the authority, and a certificate that hosts know; the hosts use it among one another."""
STRANGER = TLS / "stranger"
"""The same from an authority of somebody else, by which no host of the lab is known."""
OUTDATED = TLS / "outdated"
"""The right authority, but a certificate of one's own that has expired."""

SASL_HOST = "kvm02"
"""Over TLS it wants a user and a password besides."""
USER, PASSWORD = "evac", "dimm-4711"

ELSEWHERE = "192.0.2.1"


class _Pair(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make() -> None:
    """Everything anew."""
    ca, other = _authority("evac lab CA"), _authority("somebody else's CA")
    _store(OPERATOR, ca, _signed(ca, "operator"), "client")
    _store(STRANGER, other, _signed(other, "stranger"), "client")
    _store(OUTDATED, ca, _signed(ca, "operator", days=-1), "client")
    for host in HOSTS:
        place = folder(host) / "etc" / "pki"
        good = _signed(ca, host, address(host))
        _store(place, ca, good, "server")
        _store(place / "good", ca, good, "server")
        _store(place / "expired", ca, _signed(ca, host, address(host), days=-1), "server")
        _store(place / "elsewhere", ca, _signed(ca, host, ELSEWHERE), "server")
    sasl = folder(SASL_HOST) / "sasl"
    sasl.mkdir(exist_ok=True)
    (sasl / "libvirt.conf").write_text(
        "mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
    )
    line = ("saslpasswd2", "-p", "-c", "-a", "libvirt", "-u", SASL_HOST, "-f")
    database = folder(SASL_HOST) / "etc" / "passwd.db"
    database.unlink(missing_ok=True)
    run("sh", "-c", f"printf %s {PASSWORD} | {' '.join(line)} {database} {USER}", env=os.environ)


def present(host: str, kind: str = "good") -> None:
    """The host shows that certificate from its next start on: "expired", "elsewhere" (of another address), or "good"."""
    place = folder(host) / "etc" / "pki"
    for name in ("servercert.pem", "serverkey.pem"):
        (place / name).write_bytes((place / kind / name).read_bytes())


def tls_uri(host: str, pki: Path = OPERATOR) -> str:
    """How its libvirtd is reached by TLS, from the operator's namespace and from another host."""
    return f"qemu+tls://{address(host)}/system?pkipath={pki}"


def _authority(name: str) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    own = _name(name)
    built = _base(own, own, key, 3650).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return _Pair(key, built.sign(key, hashes.SHA256()))


def _signed(ca: _Pair, name: str, at: str = "", *, days: int = 365) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    built = _base(_name(name), ca.certificate.subject, key, days)
    if at:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(at))])
        built = built.add_extension(names, critical=False)
    return _Pair(key, built.sign(ca.key, hashes.SHA256()))


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _base(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
    )


def _store(place: Path, ca: _Pair, pair: _Pair, role: str) -> None:
    """As libvirt wants its files called."""
    place.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    (place / "cacert.pem").write_bytes(ca.certificate.public_bytes(pem))
    (place / f"{role}cert.pem").write_bytes(pair.certificate.public_bytes(pem))
    key = pair.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / f"{role}key.pem").write_bytes(key)
