"""TCP connect as a probe, for guests that do not answer ICMP.

The connection is dropped with a reset as soon as it stands, so that no TIME_WAIT piles up. "Connection refused" is an
answer: the guest's own kernel said so.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from evac.prober.icmp import ROUTE

_RESET = struct.pack("ii", 1, 0)
ANSWERS = frozenset({0, errno.ECONNREFUSED})
HARD = frozenset({
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EACCES, errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENOBUFS,
    errno.EAGAIN,
})  # fmt: skip
"""Of `connect` itself: nothing left this machine. The same found later means that nobody answered."""

RESENT = 900_000_000
"""Nanoseconds an attempt is kept past its deadline, so that a late answer is seen as late. After one second the kernel
asks again by itself, and what is answered then is another question (RFC 6298, section 2)."""

MOST = 4_096
"""Connections under way at once; beyond that nothing new is asked, and that is said."""


class Knock:
    """All TCP probes under way; `fd` becomes readable when one is decided."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._open: dict[int, tuple[socket.socket, int, int, int]] = {}

    @property
    def fd(self) -> int:
        """To be watched for reading."""
        return self._epoll.fileno()

    def send(
        self, family: socket.AddressFamily, address: tuple[Any, ...], token: int, number: int, *, until: int
    ) -> tuple[str, bool]:
        """Ask. Returns why it could not be (or ""), and whether the answer is already there."""
        if len(self._open) >= MOST:
            return f"{MOST} connections wait for an answer already", False
        until = max(until, time.monotonic_ns() + RESENT)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return f"no socket: {error.strerror}", False
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        code = sock.connect_ex(address)
        if code in ANSWERS:
            sock.close()
            return "", True
        if code != errno.EINPROGRESS:
            sock.close()
            return ROUTE.get(code, errno.errorcode.get(code, str(code))) if code in HARD else "", False
        self._open[sock.fileno()] = (sock, token, number, until)
        self._epoll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP)
        return "", False

    def receive(self, came: Callable[[int, int], None]) -> None:
        """Hand (token, number) of each one answered to `came`."""
        for fd, _ in self._epoll.poll(0, MOST):
            sock, token, number, _ = self._drop(fd)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            sock.close()
            if code in ANSWERS:
                came(token, number)

    def give_up(self, now: int) -> None:
        """Close those that wait past their time."""
        for fd in [fd for fd, (_, _, _, until) in self._open.items() if until <= now]:
            self._drop(fd)[0].close()

    def close(self) -> None:
        """All of them."""
        for fd in list(self._open):
            self._drop(fd)[0].close()
        self._epoll.close()

    def _drop(self, fd: int) -> tuple[socket.socket, int, int, int]:
        self._epoll.unregister(fd)
        return self._open.pop(fd)
