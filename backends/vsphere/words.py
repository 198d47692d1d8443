"""What went wrong, in an admin's words: from a failed connection, an HTTP status or a fault to a Problem."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from evac.errors import AuthFailed, BackendError, BadAnswer, Forbidden, Unreachable
from evac.model import Problem

if TYPE_CHECKING:
    from backends.vsphere.options import Options
    from evac.backend import Settings

SHOWN = 300
"""Characters of a server's own words put into a message."""

_ERRNO = {
    errno.ECONNREFUSED: ("refuses connections", "Is vCenter (or ESXi) up, and is the port right?"),
    errno.EHOSTUNREACH: ("cannot be reached: no route to the host", "Check the network, VPN and firewall."),
    errno.ENETUNREACH: ("cannot be reached: no route to its network", "Check the network, VPN and firewall."),
    errno.ECONNRESET: ("reset the connection", "vCenter's services (vpxd) may be restarting."),
    errno.EPIPE: ("closed the connection", "vCenter's services (vpxd) may be restarting."),
}

EXPIRED, NOT_YET = 10, 9
MISMATCHES = frozenset({62, 64})
"""X509_V_ERR_CERT_HAS_EXPIRED, _NOT_YET_VALID, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)."""


def unaffected(cluster: str) -> str:
    """The sentence for a read that failed."""
    return f"The VMs of {cluster} keep running and other clusters are not affected."


def quoted(text: str) -> str:
    """A server's own words on one line, cut to a length that fits a screen."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 1] + "…"


def connected(address: tuple[str, int], timeout: float) -> socket.socket:
    """A TCP connection and nothing on it."""
    return socket.create_connection(address, timeout=timeout)


def bad_answer(cluster: str, what: str, how: str) -> BadAnswer:
    """An answer that cannot be used."""
    return BadAnswer(
        Problem(
            happened=f"{cluster}: the answer to {what} is {how}.",
            unaffected=unaffected(cluster),
            next_step="Is this a vCenter or an ESXi host? A proxy in between may cut answers; evac asks again.",
        )
    )


def status(code: int, cluster: str, what: str) -> BackendError:
    """An HTTP status that is neither an answer nor a fault of the API's."""
    happened = f"{cluster}: {what} was answered with HTTP {code}"
    if code in {502, 503, 504}:
        step = "vCenter's services are starting or overloaded; evac asks again."
        return Unreachable(
            Problem(
                happened=f"{happened}: the API is not up.", unaffected=unaffected(cluster), next_step=step
            )
        )
    if code in {401, 403}:
        step = "A proxy in between may want a login of its own."
        return Forbidden(Problem(happened=f"{happened}.", unaffected=unaffected(cluster), next_step=step))
    step = "Is this a vCenter or an ESXi host? Its API is below /sdk."
    return BadAnswer(Problem(happened=f"{happened}.", unaffected=unaffected(cluster), next_step=step))


# --- connections ------------------------------------------------------------------------------------------------


def transport(error: BaseException, settings: Settings) -> Problem:
    """A request that got no answer."""
    options: Options = settings.options
    name, port = options.address
    where = f"{name}:{port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, where, settings)
    if isinstance(error, ssl.SSLError):
        step = "Is this an https port?"
        return _problem(settings.name, f"no TLS connection to {where}: {error.reason or error}", step)
    if isinstance(error, socket.gaierror):
        happened = f"the name {name} cannot be resolved ({error.strerror})"
        return _problem(
            settings.name, happened, f"Check its spelling and this machine's DNS: getent hosts {name}"
        )
    if isinstance(error, TimeoutError):
        waited = f"within {settings.connect_timeout:g} s, or fell silent for {settings.read_timeout:g} s"
        step = "Check the network and the load of vCenter; a larger connect_timeout or read_timeout may be needed."
        return _problem(settings.name, f"{where} did not answer {waited}", step)
    if isinstance(error, OSError) and error.errno in _ERRNO:
        happened, step = _ERRNO[error.errno]
        return _problem(settings.name, f"{where} {happened}", step)
    step = "vCenter's services (vpxd) may be restarting, or a proxy in between gave up."
    return _problem(settings.name, f"{where} closed the connection without an answer", step)


def _untrusted(error: ssl.SSLCertVerificationError, where: str, settings: Settings) -> Problem:
    options: Options = settings.options
    why = quoted(error.verify_message)
    step = "Set cacert to the CA that signed it, or fingerprint to its SHA-256 (evac doctor shows it)."
    if error.verify_code in {EXPIRED, NOT_YET}:
        step = "Renew it there; if it is good, this machine's clock is wrong: evac doctor."
    elif error.verify_code in MISMATCHES:
        step = "Use a name that the certificate is for as server."
    elif options.pin:
        why = f"it is not the one with the fingerprint in the config ({why})"
        step = (
            "If vCenter's certificate was renewed, compare the new one at its console, then set fingerprint."
        )
    happened = f"the TLS certificate of {where} is not trusted: {why}"
    return _problem(settings.name, happened, f"{step} Checking is never turned off.")


def other_certificate(settings: Settings, found: str) -> Problem:
    """The fingerprint is another one."""
    options: Options = settings.options
    name, port = options.address
    return _problem(
        settings.name,
        f"{name}:{port} shows a certificate that is not the one in the config; its SHA-256 is {found}",
        "If vCenter's certificate was renewed, compare this at its console, then set fingerprint. If not, somebody"
        " may be in between: no password was sent.",
    )


def no_ca(cluster: str, path: str, error: Exception) -> Problem:
    """The CA file is of no use."""
    why = getattr(error, "strerror", None) or "it holds no certificate"
    return _problem(
        cluster, f"the CA file {path} cannot be used: {why}", "Give cacert the path of a PEM file."
    )


def _problem(cluster: str, happened: str, step: str) -> Problem:
    return Problem(happened=f"{cluster}: {happened}.", unaffected=unaffected(cluster), next_step=step)


# --- the login --------------------------------------------------------------------------------------------------


def login_refused(cluster: str, user: str, text: str) -> AuthFailed:
    """InvalidLogin."""
    return AuthFailed(
        Problem(
            happened=f'{cluster}: vSphere refuses the login of {user}: "{quoted(text)}"',
            unaffected=unaffected(cluster),
            next_step="Check username (user@domain, such as ops@vsphere.local) and password. evac does not try the"
            " same password again for five minutes, so that the account is not locked.",
        )
    )
