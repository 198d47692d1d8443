"""What went wrong, in an admin's words: from a failed connection or an HTTP status to a Problem."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Problem

if TYPE_CHECKING:
    from backends.tls import Certificate

SHOWN = 300
"""Characters of a server's own words put into a message."""

_POLICY = re.compile(r"Policy doesn't allow (\S+) to be performed")

_ERRNO = {
    errno.ECONNREFUSED: ("refuses connections", "Is the API running there, and is the port right?"),
    errno.EHOSTUNREACH: ("cannot be reached: no route to the host", "Check the network, VPN and firewall."),
    errno.ENETUNREACH: ("cannot be reached: no route to its network", "Check the network, VPN and firewall."),
    errno.ETIMEDOUT: ("did not answer in time", "Check the network, VPN and firewall."),
    errno.ECONNRESET: ("reset the connection", "A proxy or load balancer in between may have given up."),
    errno.EPIPE: ("closed the connection", "A proxy or load balancer in between may have given up."),
}


class _Fault(msgspec.Struct):
    message: str


def unaffected(cluster: str) -> str:
    """The sentence for a read that failed."""
    return f"The VMs of {cluster} keep running and other clusters are not affected."


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
    error: BaseException, url: str, cluster: str, *, waited: str, shown: Certificate | None = None
) -> Problem:
    """A request that got no answer. `waited` says which time-out applied, `shown` is a certificate that was refused."""
    where = address(url)
    chain = list(causes(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return _tls(one, where, cluster, shown)
        if isinstance(one, TimeoutError) and "handshake" in str(one):
            return _problem(cluster, f"{where} did not begin TLS {waited}", PLAIN)
    for one in chain:
        if isinstance(one, socket.gaierror):
            return _problem(
                cluster,
                f"the name {urlsplit(url).hostname} cannot be resolved ({one.strerror})",
                f"Check the endpoint's spelling and this machine's DNS: getent hosts {urlsplit(url).hostname}",
            )
        if isinstance(one, TimeoutError) or type(one).__name__ in {"ReadTimeout", "ConnectTimeout"}:
            return _problem(
                cluster,
                f"{where} did not answer {waited}",
                "Check the network and the load of the API; a larger connect_timeout or read_timeout may be needed.",
            )
        if isinstance(one, OSError) and one.errno in _ERRNO:
            happened, step = _ERRNO[one.errno]
            return _problem(cluster, f"{where} {happened}", step)
    return _problem(
        cluster,
        f"{where} closed the connection without an answer",
        "A proxy or load balancer in between may have given up.",
    )


PLAIN = (
    "Is this an https endpoint? The address or the catalog may say https for a port that speaks plain http."
)

EXPIRED, NOT_YET = 10, 9
MISMATCHES = frozenset({62, 64})
"""X509_V_ERR_CERT_HAS_EXPIRED, _NOT_YET_VALID, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)."""


def _tls(error: ssl.SSLError, where: str, cluster: str, shown: Certificate | None) -> Problem:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _problem(cluster, f"no TLS connection to {where}: {error.reason or error}", PLAIN)
    code, why = error.verify_code, quoted(error.verify_message)
    details = f"; it is signed by {quoted(shown.issuer)}" if shown else ""
    step = "Point cacert (in the config or in clouds.yaml) to the CA that signed it."
    if code in {EXPIRED, NOT_YET}:
        ends = f" (it ends {shown.expires:%Y-%m-%d %H:%M} UTC)" if shown else ""
        details = f"{ends}{details}"
        step = "Renew it there; if it is good, this machine's clock is wrong: evac doctor."
    elif code in MISMATCHES:
        details = f"; it is for {quoted(', '.join(shown.names) or shown.subject)}" if shown else ""
        step = "Use an address that the certificate is for (auth_url, the endpoints in Keystone's catalog), or have it made anew."
    happened = f"the TLS certificate of {where} is not trusted: {why}{details}"
    return _problem(cluster, happened, f"{step} Checking is never turned off.")


def _problem(cluster: str, happened: str, step: str) -> Problem:
    return Problem(happened=f"{cluster}: {happened}.", unaffected=unaffected(cluster), next_step=step)


def message_of(body: bytes) -> str:
    """The words in a Nova or Keystone fault, else the beginning of whatever came."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return quoted(body[: 4 * SHOWN].decode(errors="replace"))
    if isinstance(decoded, dict):
        for inner in decoded.values():
            if isinstance(inner, dict) and isinstance(inner.get("message"), str):
                return str(inner["message"]).strip()
        if isinstance(decoded.get("errors"), list) and decoded["errors"]:
            first = decoded["errors"][0]
            if isinstance(first, dict):
                return str(first.get("detail") or first.get("title") or "").strip()
    return quoted(body[: 4 * SHOWN].decode(errors="replace"))


def refusal_of_rights(cluster: str, message: str, roles: tuple[str, ...]) -> Problem:
    """A 403: names the policy rule, and how to be granted it."""
    found = _POLICY.search(message)
    have = f" It has: {', '.join(roles)}." if roles else ""
    if not found:
        return Problem(
            happened=f'{cluster}: Nova forbids this: "{quoted(message)}"',
            unaffected="Nothing was changed.",
            next_step=f"Ask whoever runs the cloud for the right.{have}",
        )
    rule = found.group(1)
    return Problem(
        happened=f'{cluster}: the account may not do this: "{quoted(message)}"',
        unaffected="Nothing was changed; whatever the account may see is shown.",
        next_step=f"By default {rule} needs the role admin.{have} Ask for that role, or for {rule} in Nova's policy.yaml.",
    )


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


def read_failed(
    status: int, body: bytes, *, cluster: str, what: str, roles: tuple[str, ...], wait: float | None
) -> BackendError:
    """A GET that was answered with an error status."""
    if status == 403:
        return Forbidden(refusal_of_rights(cluster, message_of(body), roles))
    text = quoted(message_of(body))
    said = f' and said "{text}"' if text else ""
    pause = f" and asks to wait {wait:.0f} s" if wait is not None else ""
    kind, happened, step = _read_failure(status, what, pause)
    if kind is NotFound and not _of_nova(body):
        kind, happened = BadAnswer, f"{what} was answered with HTTP 404, but not by Nova itself"
        step = "A proxy before the API does so while that is restarted or moved; evac asks again."
    error = kind(
        Problem(happened=f"{cluster}: {happened}{said}.", unaffected=unaffected(cluster), next_step=step)
    )
    if status in OVERLOADED:
        error.retry_after = wait
    return error


def _of_nova(body: bytes) -> bool:
    """Whether an error has the shape Nova gives it, such as {"itemNotFound": {"code": 404, "message": "…"}}."""
    try:
        fault = msgspec.json.decode(body, type=dict[str, _Fault])
    except msgspec.MsgspecError:
        return False
    return len(fault) == 1


def _read_failure(status: int, what: str, pause: str) -> tuple[type[BackendError], str, str]:
    """Kind, words and remedy, by what an admin must do about it."""
    if 300 <= status < 400:
        return (
            BadAnswer,
            f"the API redirects {what} elsewhere (HTTP {status}), which is not followed",
            "The address in Keystone's catalog is not the API's own: correct the endpoint there.",
        )
    if status in OVERLOADED:
        return (
            Unreachable,
            f"the API is overloaded or limits us (HTTP {status}) for {what}{pause}",
            "evac asks again later; a longer poll_interval asks less often.",
        )
    known: dict[int, tuple[type[BackendError], str, str]] = {
        401: (
            AuthFailed,
            f"the token was refused for {what} (HTTP 401)",
            "Check that the credential still exists and that clocks agree: evac doctor.",
        ),
        404: (NotFound, f"{what} does not exist (HTTP 404)", ""),
        406: (
            BadAnswer,
            f"this Nova does not speak the API version asked for {what} (HTTP 406)",
            "Was it downgraded? evac finds out its versions anew and asks again.",
        ),
    }
    other = (
        Unreachable if status >= 500 else BadAnswer,
        f"HTTP {status} for {what}",
        "The API's own log has the reason (nova-api.log); evac asks again.",
    )
    return known.get(status, other)


def change_failed(
    status: int, body: bytes, *, cluster: str, what: str, roles: tuple[str, ...], wait: float | None
) -> BackendError:
    """A changing call that was answered with an error status: certainly not done, or uncertain."""
    text = quoted(message_of(body))
    said = f': "{text}"' if text else "."
    if status in {401, 403, 404}:
        problem = {
            401: Problem(
                happened=f"{cluster}: the credentials were refused for {what}{said}",
                unaffected="Nothing was changed.",
                next_step="Check the credential: evac doctor.",
            ),
            403: refusal_of_rights(cluster, message_of(body), roles),
            404: Problem(happened=f"{cluster}: {what} was refused{said}", unaffected="Nothing was changed."),
        }[status]
        return {401: AuthFailed, 403: Forbidden, 404: NotFound}[status](problem)
    if status >= 500 and status != 501:
        return Uncertain(
            Problem(
                happened=f"{cluster}: HTTP {status} for {what}{said}",
                unaffected="Whether it was carried out is not known.",
                next_step="evac looks at the VM before anything else is done to it.",
            ),
            pending=status == 504,  # a gateway that waited in vain: the API behind it may still be at it
        )
    pause = f" It asks to wait {wait:.0f} s." if wait is not None else ""
    return Refused(
        Problem(
            happened=f"{cluster}: {what} was refused (HTTP {status}){said}{pause}",
            unaffected="Nothing was changed.",
            next_step=_advice(status, text),
        )
    )


def _advice(status: int, text: str) -> str:
    """What to do about a refusal whose words we know (facts measured on Nova 34)."""
    known = (
        ("still in use", "The host counts as up. Evacuate is for a dead host: fence it, then force it down."),
        ("current host", "It is on that host already; choose another one."),
        ("same one", "That is the dead host itself; choose another one."),
        ("could not be found", "Check the host's name as Nova spells it: openstack compute service list."),
        (
            "in task_state",
            "Something else is being done to the VM; wait for it, or reset its state if it is stuck.",
        ),
        ("in vm_state error", "The VM is in error: reset its state to active first, if it really runs."),
        ("in vm_state stopped", "It is stopped: cold-migrate it instead."),
        ("Cannot abort", "The migration waits in Nova's queue; aborting it needs microversion 2.65."),
        (
            "`done` evacuation",
            "Restart its nova-compute first, so that it cleans up what was evacuated; then try again.",
        ),
        ("Service is unavailable", "The host counts as down: evacuate its VMs instead."),
        ("is unavailable at this time", "The host counts as down: evacuate its VMs instead."),
    )
    for words, advice in known:
        if words in text:
            return advice
    if 300 <= status < 400:
        return "The catalog's address redirects; correct the endpoint in Keystone's catalog."
    if status in {413, 429}:
        return "The API limits how often it may be asked; try again later."
    return ""
