"""Runs inside a namespace of the ping lab: answers for guests, by the book or as ordered on stdin (one JSON a line).

`{"pause": [FROM, TO]}`: what arrives between these monotonic nanoseconds is answered at TO, as by a guest that was paused.
`{"twice": true}`: every request is answered two times.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time
from typing import Any

STAMP = struct.Struct("=qq")
SO_TIMESTAMPNS = 35


class Guests:
    """All addresses of this namespace; the kernel itself is told to ignore echo requests."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setblocking(False)
        self.pause = (0, 0)
        self.twice = False
        self.held: list[bytes] = []

    def read(self) -> None:
        """Judge each request by when the kernel received it, not by when we get to it."""
        offset = time.time_ns() - time.monotonic_ns()
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self.socket.recvmsg(2048, 128)
                if data[20] != 8:
                    continue
                seconds, nanoseconds = STAMP.unpack(ancillary[0][2])
                if self.pause[0] <= seconds * 1_000_000_000 + nanoseconds - offset < self.pause[1]:
                    self.held.append(data)
                else:
                    self.answer(data)

    def answer(self, data: bytes) -> None:
        source, destination = data[12:16], data[16:20]
        total = int.from_bytes(data[22:24]) + 0x0800  # RFC 1624: the type goes from 8 to 0
        checksum = (total & 0xFFFF) + (total >> 16)
        echo = b"\0" + data[21:22] + checksum.to_bytes(2) + data[24:]
        packet = data[:12] + destination + source + echo
        for _ in range(1 + self.twice):
            self.socket.sendto(packet, (socket.inet_ntoa(source), 0))

    def go_on(self) -> None:
        if self.held and time.monotonic_ns() >= self.pause[1]:
            held, self.held = self.held, []
            for data in held:
                self.answer(data)

    def obey(self, order: dict[str, Any]) -> None:
        if "pause" in order:
            self.pause = (order["pause"][0], order["pause"][1])
        self.twice = order.get("twice", self.twice)


def icmp() -> None:
    guests = Guests()
    watched: list[Any] = [guests.socket, 0]
    print("ready", flush=True)
    while True:
        wait = max(0.0, (guests.pause[1] - time.monotonic_ns()) / 1e9) if guests.held else 1.0
        ready = select.select(watched, [], [], wait)[0]
        if 0 in ready:
            line = sys.stdin.readline()
            if not line:
                return
            guests.obey(json.loads(line))
        guests.read()
        guests.go_on()


def tcp() -> None:
    """One listener for every address here: a connection is accepted by the kernel and dropped by us."""
    with socket.create_server(("", 22), backlog=4096) as server:
        print("ready", flush=True)
        while True:
            with contextlib.suppress(OSError):
                server.accept()[0].close()


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    {"icmp": icmp, "tcp": tcp}[sys.argv[1]]()
