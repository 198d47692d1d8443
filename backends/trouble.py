"""A request that got no answer, or an answer that says no to everybody: in an admin's words."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from msgspec import Struct

from backends.tls import Certificate
from evac.model import Problem


class Hints(Struct, frozen=True, kw_only=True):
    """What to do about a connection that cannot be had, in the words of the platform's own settings."""

    plain: str
    """TLS was not spoken at all."""
    untrusted: str
    """Nobody we trust signed the certificate."""
    mismatch: str
    """The certificate is for another name."""
    pinned: str = ""
    """It is not the certificate whose fingerprint is in the config."""


SHOWN = 300
"""Characters of a server's own words put into a message."""

_ERRNO = {
    errno.ECONNREFUSED: ("refuses connections", "Is the API running there, and is the port right?"),
    errno.EHOSTUNREACH: ("cannot be reached: no route to the host", "Check the network, VPN and firewall."),
    errno.ENETUNREACH: ("cannot be reached: no route to its network", "Check the network, VPN and firewall."),
    errno.ETIMEDOUT: ("did not answer in time", "Check the network, VPN and firewall."),
    errno.ECONNRESET: ("reset the connection", "A proxy or load balancer in between may have given up."),
    errno.EPIPE: ("closed the connection", "A proxy or load balancer in between may have given up."),
}


def unaffected(cluster: str) -> str:
    """The sentence for a read that failed."""
    return f"The VMs of {cluster} keep running and other clusters are not affected."


def read_only(cluster: str, what: str) -> Problem:
    """A guard's answer; `what`: "x was not sent"."""
    return Problem(
        happened=f"{cluster} is read-only here: {what}.",
        unaffected="Nothing was changed.",
        next_step="Remove read_only from the config, or start without --read-only, to allow changes.",
    )


def uncertain(happened: str, at: str = "") -> Problem:
    """A change whose answer is lost, or tells nothing. `at`: what evac looks at, where it is one thing."""
    look = f"looks at {at} before anything else is done to it" if at else "looks before anything else is done"
    return Problem(
        happened=happened,
        unaffected="Whether it was carried out is not known.",
        next_step=f"evac {look}.",
    )


def quoted(text: str) -> str:
    """A server's own words on one line, cut to a length that fits a screen."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 1] + "…"


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it wraps; urllib3 and requests hide the reason in `reason` and in `args`."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        queue += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def address(url: str) -> str:
    """host:port, as a person looks for it in a firewall."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.hostname or url}:{port}"


def transport(
    error: BaseException,
    url: str,
    cluster: str,
    *,
    waited: str,
    hints: Hints,
    shown: Certificate | None = None,
) -> Problem:
    """A request that got no answer. `waited` says which time-out applied, `shown` is a certificate that was refused."""
    where = address(url)
    chain = list(causes(error))
    for one in chain:
        if type(one).__module__.startswith("urllib3") and "ingerprint" in str(one):
            return _pinned(where, cluster, shown, hints)
        if isinstance(one, ssl.SSLError):
            return _tls(one, where, cluster, shown, hints)
        if isinstance(one, TimeoutError) and "handshake" in str(one):
            return _problem(cluster, f"{where} did not begin TLS {waited}", hints.plain)
    happened, step = _of_network(chain, url, where, waited)
    return _problem(cluster, happened, step)


def _of_network(chain: list[BaseException], url: str, where: str, waited: str) -> tuple[str, str]:
    host = urlsplit(url).hostname
    for one in chain:
        if isinstance(one, socket.gaierror):
            happened = f"the name {host} cannot be resolved ({one.strerror})"
            return happened, f"Check the endpoint's spelling and this machine's DNS: getent hosts {host}"
        if isinstance(one, TimeoutError) or type(one).__name__ in {"ReadTimeout", "ConnectTimeout"}:
            step = "Check the network and the load of the API; a larger connect_timeout or read_timeout may be needed."
            return f"{where} did not answer {waited}", step
        if isinstance(one, OSError) and one.errno in _ERRNO:
            happened, step = _ERRNO[one.errno]
            return f"{where} {happened}", step
    step = "A proxy or load balancer in between may have given up."
    return f"{where} closed the connection without an answer", step


EXPIRED, NOT_YET = 10, 9
MISMATCHES = frozenset({62, 64})
"""X509_V_ERR_CERT_HAS_EXPIRED, _NOT_YET_VALID, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)."""


def _tls(error: ssl.SSLError, where: str, cluster: str, shown: Certificate | None, hints: Hints) -> Problem:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _problem(cluster, f"no TLS connection to {where}: {error.reason or error}", hints.plain)
    code, why = error.verify_code, quoted(error.verify_message)
    details = f"; it is signed by {quoted(shown.issuer)}" if shown else ""
    step = hints.untrusted
    if code in {EXPIRED, NOT_YET}:
        ends = f" (it ends {shown.expires:%Y-%m-%d %H:%M} UTC)" if shown else ""
        details = f"{ends}{details}"
        step = "Renew it there; if it is good, this machine's clock is wrong: evac doctor."
    elif code in MISMATCHES:
        details = f"; it is for {quoted(', '.join(shown.names) or shown.subject)}" if shown else ""
        step = hints.mismatch
    happened = f"the TLS certificate of {where} is not trusted: {why}{details}"
    return _problem(cluster, happened, f"{step} Checking is never turned off.")


def _pinned(where: str, cluster: str, shown: Certificate | None, hints: Hints) -> Problem:
    """urllib3 raises a bare SSLError of its own for a fingerprint that differs."""
    has = f": it shows {shown.fingerprint}, signed by {quoted(shown.issuer)}" if shown else ""
    happened = f"the TLS certificate of {where} is not the one whose fingerprint is in the config{has}"
    return _problem(cluster, happened, f"{hints.pinned} Checking is never turned off.")


def _problem(cluster: str, happened: str, step: str) -> Problem:
    return Problem(happened=f"{cluster}: {happened}.", unaffected=unaffected(cluster), next_step=step)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which may be a date (RFC 9110, 10.2.3); None for nonsense or more than a day."""
    value = headers.get("Retry-After") or ""
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, headers.get("Date") or "")
    return seconds if 0 <= seconds < 86_400 else None


def _until(then: str, now: str) -> float:
    """Seconds between two dates of one answer, both by the server's clock; -1 where they are none."""
    try:
        return max(0.0, (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds())
    except (ValueError, TypeError):
        return -1.0


OVERLOADED = frozenset({413, 429, 503})
