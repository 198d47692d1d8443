"""How the server's certificate is known: by a CA, or by its SHA-256, compared once and then pinned. Never not at all.

pyvmomi's `thumbprint=` is not used: it looks at the certificate only after a failed check, leaves the context without
any, and its version negotiation does not look at all. Here the certificate is fetched over a connection that carries
nothing, compared, and becomes the only one that the context of every later connection accepts. It must still be valid
today: OpenSSL checks that of a pinned certificate too.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl

from backends.vsphere import words
from backends.vsphere.options import Options
from evac.backend import Settings
from evac.errors import Unreachable


def context(settings: Settings) -> ssl.SSLContext:
    """What connections to the server are made with. Blocking where a fingerprint is given: it fetches the certificate.

    Raises:
        Unreachable: the certificate is another one, or the CA file cannot be read.
        OSError: the certificate could not be fetched.
    """
    options: Options = settings.options
    if options.pin:
        return pinned(_fetched(settings))
    if not options.cacert:
        return ssl.create_default_context()
    path = settings.config_dir / options.cacert
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise Unreachable(words.no_ca(settings.name, str(path), error)) from error


def pinned(der: bytes) -> ssl.SSLContext:
    """Accepts this certificate only, whoever signed it and whatever name it is for."""
    only = ssl.create_default_context(cadata=der)
    only.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    only.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # on by default from Python 3.13; VMware's own CA does not meet it
    only.check_hostname = False  # the pin takes the name's place
    return only


def shown(settings: Settings) -> bytes:
    """The certificate the server shows, trusted or not (DER). Nothing is sent over that connection."""
    options: Options = settings.options
    look = ssl.create_default_context()
    look.check_hostname = False
    look.verify_mode = ssl.CERT_NONE
    with (
        words.connected(options.address, settings.connect_timeout) as plain,
        look.wrap_socket(plain, server_hostname=options.address[0]) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def fingerprint(der: bytes) -> str:
    """SHA-256 as vCenter shows it: AB:CD:… (95 characters)."""
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _fetched(settings: Settings) -> bytes:
    der = shown(settings)
    options: Options = settings.options
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), options.pin):
        raise Unreachable(words.other_certificate(settings, fingerprint(der)))
    return der
