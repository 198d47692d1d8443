"""probes.py MILLISECONDS ADDRESS…: ask every so often until stdin is closed; then print every probe as JSON.

The second opinion on what evac's prober says: it shares no code with it. One line per address:
[address, [[sent, received or null], …]], in Unix seconds; received is the kernel's stamp.
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

_ECHO = struct.Struct("!BBHHHQ")
_STAMP = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35


def main(interval: float, addresses: list[str]) -> None:
    """Send on time, take answers in between."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setblocking(False)
    probes: dict[str, list[list[float | None]]] = {address: [] for address in addresses}
    begin, turn = time.monotonic(), 0
    print("asking", flush=True)
    while True:
        wait = begin + turn * interval - time.monotonic()
        ready, _, _ = select.select([sock, sys.stdin], [], [], max(wait, 0))
        if sys.stdin in ready:
            break
        if sock in ready:
            take(sock, probes)
        if wait <= 0:
            for address, sent in probes.items():
                sent.append([time.time(), None])
                packet = _ECHO.pack(8, 0, 0, 0, turn & 0xFFFF, len(sent) - 1)
                try:
                    sock.sendto(packet, (address, 0))
                except OSError:  # no route to it now: a probe without an answer
                    continue
            turn += 1
    time.sleep(1.2)  # for what is still under way
    take(sock, probes)
    for address, sent in probes.items():
        print(json.dumps([address, sent]))


def take(sock: socket.socket, probes: dict[str, list[list[float | None]]]) -> None:
    """Everything that has come, each answer with the moment at which the kernel had it."""
    while True:
        try:
            data, notes, _, (address, _) = sock.recvmsg(256, 128)
        except BlockingIOError:
            return
        except OSError:  # "host unreachable", told of a probe that was lost
            continue
        if len(data) < _ECHO.size or address not in probes:
            continue
        number = _ECHO.unpack_from(data)[5]
        stamps = [_STAMP.unpack(body) for _, kind, body in notes if kind == _SO_TIMESTAMPNS]
        probe = probes[address][number]
        if stamps and probe[1] is None:
            probe[1] = stamps[0][0] + stamps[0][1] / 1e9


if __name__ == "__main__":
    with contextlib.suppress(OSError):  # a busy machine must not make the witness the one that is late
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    main(float(sys.argv[1]) / 1000, sys.argv[2:])
