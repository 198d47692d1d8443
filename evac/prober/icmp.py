"""ICMP echo to any number of addresses through one socket for each address family.

An unprivileged datagram socket where the kernel allows it (net.ipv4.ping_group_range): the kernel fills in identifier and
checksum and hands us our own replies only. Else a raw one, which sees every reply that reaches the machine.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

_ECHO = struct.Struct("!BBHHHQI")
"""type, code, checksum, identifier, sequence, token, number. The token is random and of one target alone: no guest can
answer in place of another, and no other pinger's replies, which a raw socket sees, are taken for ours."""

_STAMP = struct.Struct("=qq")
_COUNT = struct.Struct("=I")
SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
SO_RXQ_OVFL = getattr(socket, "SO_RXQ_OVFL", 40)
SO_RCVBUFFORCE = 33
SOL_RAW = 255
ICMP_FILTER = ICMP6_FILTER = 1
BUFFER = 16 << 20
BATCH = 512
"""Replies read at a time; others wait for the next turn of the loop."""

ROUTE = {
    errno.ENETUNREACH: "this machine has no route to it",
    errno.EHOSTUNREACH: "this machine has no route to it",
    errno.EPERM: "this machine's firewall forbids it",
    errno.EACCES: "this machine's firewall forbids it",
    errno.ENOBUFS: "this machine's send queue is full",
    errno.EAGAIN: "this machine's send queue is full",
    errno.EADDRNOTAVAIL: "this machine has no address to send from",
    errno.EINVAL: "the address cannot be sent to",
}


Where = tuple[socket.AddressFamily, tuple[Any, ...]]
"""An address family and an address as its sockets want it."""


class NotAllowed(Exception):
    """Neither kind of socket may be opened."""


class Kind(NamedTuple):
    """How the socket was obtained."""

    raw: bool
    family: socket.AddressFamily


class Echo:
    """One family's socket."""

    def __init__(self, family: socket.AddressFamily) -> None:
        """Raises NotAllowed."""
        six = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        self.socket, self.kind = _open(family, protocol)
        self.overflows = 0
        """Replies the kernel threw away because we were slow, as it counts them."""
        self._request, self._reply = (128, 129) if six else (8, 0)
        self._identifier = os.getpid() & 0xFFFF
        self._checksum = self.kind.raw and not six  # for ICMPv6 the kernel does it, also on raw sockets
        self._header = 20 if self.kind.raw and not six else 0
        self.socket.setblocking(False)
        if self.kind.raw:
            _only(self.socket, self._reply, six=six)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
                break
            except OSError:
                continue

    def send(self, address: tuple[Any, ...], token: int, number: int) -> str:
        """Ask; why it could not be sent, "" when it was."""
        sequence, count = number & 0xFFFF, number & 0xFFFFFFFF
        packet = _ECHO.pack(self._request, 0, 0, self._identifier, sequence, token, count)
        if self._checksum:
            packet = packet[:2] + _sum(packet).to_bytes(2) + packet[4:]
        try:
            self.socket.sendto(packet, address)
        except OSError as error:
            return ROUTE.get(error.errno or 0, f"sending failed: {error.strerror}")
        return ""

    def receive(self, came: Callable[[int, int, int], None]) -> bool:
        """Hand each reply's (token, number, kernel stamp in wall ns or 0) to `came`. True: there are no more for now."""
        read, head, reply, size = self.socket.recvmsg, self._header, self._reply, _ECHO.size
        for _ in range(BATCH):
            try:
                data, ancillary, _, _ = read(256, 128)
            except BlockingIOError:
                return True
            except OSError:  # an ICMP error about an earlier probe; that one simply stays unanswered
                continue
            if head:
                head = (data[0] & 15) * 4 if data else head
            if len(data) < head + size or data[head] != reply:
                continue
            _, _, _, _, _, token, number = _ECHO.unpack_from(data, head)
            stamp = 0
            for _level, kind, value in ancillary:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = _STAMP.unpack_from(value)
                    stamp = seconds * 1_000_000_000 + nanoseconds
                elif kind == SO_RXQ_OVFL:
                    self.overflows = _COUNT.unpack_from(value)[0]
            came(token, number, stamp)
        return False

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()


def _open(family: socket.AddressFamily, protocol: int) -> tuple[socket.socket, Kind]:
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol), Kind(raw=False, family=family)
    except OSError:
        try:
            return socket.socket(family, socket.SOCK_RAW, protocol), Kind(raw=True, family=family)
        except OSError as error:
            raise NotAllowed(str(error.strerror)) from None


def _only(sock: socket.socket, reply: int, *, six: bool) -> None:
    """Let the kernel drop what is no echo reply, our own requests on loopback among it (icmp(7), RFC 3542 section 3.2)."""
    if six:
        blocked = bytearray(b"\xff" * 32)
        blocked[reply // 8] &= ~(1 << reply % 8) & 0xFF
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(blocked))
    else:
        sock.setsockopt(SOL_RAW, ICMP_FILTER, (~(1 << reply) & 0xFFFFFFFF).to_bytes(4, sys.byteorder))


def _sum(packet: bytes) -> int:
    """The Internet checksum (RFC 1071) of a packet of even length.

    Adding 16-bit words with end-around carry is counting modulo 65,535, where two to the sixteenth is one.
    """
    return 0xFFFF - int.from_bytes(packet) % 0xFFFF


def usable(address: str) -> Where | str:
    """Family and socket address of an IP literal (a zone such as fe80::1%eth0 included), or why it cannot be asked."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return f"{address} is no IP address"
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    if known.is_multicast or known.is_unspecified or known == ipaddress.IPv4Address(0xFFFFFFFF):
        return f"{address} is no address of one machine"
    try:
        found = socket.getaddrinfo(str(known), 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return f"{address} cannot be used here: its zone is no network interface of this machine"
    family, _, _, _, where = found[0]
    return family, where


def allowed(family: socket.AddressFamily = socket.AF_INET) -> Kind | str:
    """Whether ICMP may be sent from here and how; else why not, for `evac doctor`."""
    six = family == socket.AF_INET6
    try:
        sock, kind = _open(family, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    except NotAllowed as no:
        return str(no)
    sock.close()
    return kind
