"""What went wrong, in an admin's words: from a failed connection, an HTTP status or a fault to a Problem."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backends import trouble
from backends.trouble import Hints, quoted, unaffected
from evac.errors import AuthFailed, BackendError, BadAnswer, Forbidden, Unreachable
from evac.model import Problem

if TYPE_CHECKING:
    from backends.tls import Certificate
    from backends.vsphere.options import Options
    from evac.backend import Settings

HINTS = Hints(
    plain="Is this the https port of a vCenter or an ESXi host?",
    untrusted="Set cacert to the CA that signed it, or fingerprint to its SHA-256 (evac doctor shows it).",
    mismatch="Use a name that the certificate is for as server.",
)
PINNED = (
    "It is not the one whose fingerprint is in the config. If vCenter's was renewed, compare the new one at its console,"
    " then set fingerprint."
)


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


def rest_status(code: int, cluster: str, what: str) -> BackendError:
    """An HTTP status of vCenter's REST API."""
    happened = f"{cluster}: {what} was answered with HTTP {code}"
    if code == 401:
        step = "The account logs in by SOAP but not by REST: is it one of vCenter's SSO (user@domain)?"
        return AuthFailed(Problem(happened=f"{happened}.", unaffected=unaffected(cluster), next_step=step))
    if code in {404, 405}:
        step = "Tags are read from vCenter 6.5 on, by its REST API."
        return BadAnswer(
            Problem(
                happened=f"{happened}: there is no REST API.", unaffected=unaffected(cluster), next_step=step
            )
        )
    return status(code, cluster, what)


# --- connections ------------------------------------------------------------------------------------------------


def transport(error: BaseException, settings: Settings, shown: Certificate | None) -> Problem:
    """A request that got no answer. `shown` is a certificate that was refused."""
    options: Options = settings.options
    name, port = options.address
    hints = replace(HINTS, untrusted=PINNED) if options.pin else HINTS
    waited = f"within {settings.connect_timeout:g} s, or fell silent for {settings.read_timeout:g} s"
    url = f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"
    return trouble.transport(error, url, settings.name, waited=waited, hints=hints, shown=shown)


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
