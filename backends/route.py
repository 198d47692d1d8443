"""The way to a server, for `evac doctor`: its name, TCP, and the certificate it shows."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from backends import tls
from evac.model import Finding, Problem

EXPIRES_SOON = 30
"""Days before a certificate's end at which it is reported."""


def reached(
    host: str, port: int, *, timeout: float, trouble: Callable[[OSError], Problem], prefix: str = ""
) -> Iterator[Finding]:
    """Name and TCP; ends at the first that fails. `trouble` tells in words why nobody answers."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        detail, fix = f"{host}: {error.strerror}", f"Check DNS: getent hosts {host}"
        yield Finding(check=f"{prefix}name", ok=False, detail=detail, fix=fix)
        return
    addresses = ", ".join(sorted({str(one[4][0]) for one in found}))
    yield Finding(check=f"{prefix}name", ok=True, detail=f"{host} is {addresses}")
    began = time.monotonic()
    try:
        with socket.create_connection((host, port), timeout=timeout):
            took = time.monotonic() - began
    except OSError as error:
        problem = trouble(error)
        yield Finding(check=f"{prefix}TCP", ok=False, detail=problem.happened, fix=problem.next_step)
        return
    yield Finding(check=f"{prefix}TCP", ok=True, detail=f"{host}:{port} answers in {took * 1000:.0f} ms")


def certificate(
    host: str,
    port: int,
    *,
    timeout: float,
    plain: str,
    renew: str,
    prefix: str = "",
    more: Callable[[tls.Certificate], str] = lambda _: "",
) -> Finding:
    """Issuer, end, and `more`. Whether it is trusted shows at the login, through the same code as every call.

    `plain`: what to do where no TLS is spoken; `renew`: where the certificate ends soon.
    """
    try:
        shown = tls.certificate(host, port, timeout=timeout)
    except (OSError, ValueError) as error:
        return Finding(check=f"{prefix}TLS", ok=False, detail=f"no TLS at {host}:{port}: {error}", fix=plain)
    days = (shown.expires - datetime.now(UTC)).days
    detail = f"issued by {shown.issuer}, ends {shown.expires:%Y-%m-%d} (in {days} days){more(shown)}"
    late = days <= EXPIRES_SOON
    return Finding(
        check=f"{prefix}TLS", ok=days >= 0 and (not late or None), detail=detail, fix=renew if late else ""
    )
