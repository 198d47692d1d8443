"""Guests in network namespaces of their own, whose silence is exact: suppressed in the kernel by one write to an open file.

    prober ns ──veth── near ns ──veth── far ns
               10.90.0.0/16 and fd90::/64 answer echo requests; `near` also forwards to `far`
                                        10.91.0.0/16 has TCP listeners, 10.92.0.0/16 a responder that obeys orders

Everything is addressed on `lo` of its namespace; nothing outside the namespaces is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Truth(NamedTuple):
    """A silence: nanoseconds of the monotonic clock before and after each of the two writes that made and ended it."""

    on: tuple[int, int]
    off: tuple[int, int]

    @property
    def least(self) -> float:
        return (self.off[0] - self.on[1]) / 1e9

    @property
    def most(self) -> float:
        return (self.off[1] - self.on[0]) / 1e9


class Lab:
    """Three namespaces; `close` removes them and ends what runs in them."""

    def __init__(self, *, near: int = 200, far: int = 40) -> None:
        tag = f"evp{os.getpid() % 100_000}"
        self.prober, self.near, self.far = f"{tag}a", f"{tag}b", f"{tag}c"
        self.guests = [f"10.90.{n // 250}.{n % 250 + 1}" for n in range(near)]
        self.guests6 = [f"fd90::1:{n + 1:x}" for n in range(40)]
        self.listeners = [f"10.91.0.{n + 1}" for n in range(far)]
        self.paused = [f"10.92.0.{n + 1}" for n in range(far)]
        self._files: list[int] = []
        self._children: list[subprocess.Popen[str]] = []
        for name in (self.prober, self.near, self.far):
            _ip("netns", "add", name)
            self.batch(name, ["link set lo up"])
        self._join(self.prober, self.near, "10.89.0", "fd89::")
        self._join(self.near, self.far, "10.89.1", "fd8a::")
        self._address()
        self.switches = {
            "icmp": self.switch(self.near, "/proc/sys/net/ipv4/icmp_echo_ignore_all"),
            "icmp6": self.switch(self.near, "/proc/sys/net/ipv6/icmp/echo_ignore_all"),
            "forwarding": self.switch(self.near, "/proc/sys/net/ipv4/conf/all/forwarding", reverse=True),
        }
        self.switches["forwarding"](False)

    def _join(self, left: str, right: str, net: str, net6: str) -> None:
        there, back = f"to{right[-1]}", f"to{left[-1]}"
        _ip("-n", left, "link", "add", there, "type", "veth", "peer", "name", back, "netns", right)
        for name, card, end in ((left, there, 1), (right, back, 2)):
            self.batch(
                name,
                [
                    f"addr add {net}.{end}/24 dev {card}",
                    f"addr add {net6}{end}/64 dev {card} nodad",
                    f"link set {card} up",
                ],
            )

    def _address(self) -> None:
        self.batch(self.near, [f"addr add {one}/32 dev lo" for one in self.guests])
        self.batch(self.near, [f"addr add {one}/128 dev lo nodad" for one in self.guests6])
        self.batch(self.far, [f"addr add {one}/32 dev lo" for one in (*self.listeners, *self.paused)])
        through = ["10.90.0.0/16", "10.91.0.0/16", "10.92.0.0/16"]
        self.batch(self.prober, [f"route add {net} via 10.89.0.2" for net in through])
        self.batch(self.prober, ["route add fd90::/64 via fd89::2"])
        self.batch(self.near, [f"route add {net} via 10.89.1.2" for net in through[1:]])
        self.batch(self.far, ["route add default via 10.89.1.1"])

    @staticmethod
    def batch(name: str, lines: Sequence[str]) -> None:
        for six in (False, True):
            mine = [line for line in lines if ("::" in line) == six]
            if mine:
                words = ["ip", *(["-6"] if six else []), "-n", name, "-batch", "-"]
                subprocess.run(words, input="\n".join(mine) + "\n", text=True, check=True)

    def switch(self, name: str, path: str, *, reverse: bool = False) -> Switch:
        """A file of a namespace, opened for good: writing to it takes microseconds."""
        with inside(name):
            self._files.append(os.open(path, os.O_WRONLY))
        return Switch(self._files[-1], reverse=reverse)

    def write(self, name: str, path: str, text: str) -> None:
        with inside(name):
            Path(path).write_text(text)

    def run(self, name: str, *words: str) -> subprocess.Popen[str]:
        """A program of this folder in a namespace, until the lab closes; it has said "ready"."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    def responder(self) -> Responder:
        """Answers for `paused`, with orders when not to."""
        self.write(self.far, "/proc/sys/net/ipv4/icmp_echo_ignore_all", "1")
        program = str(Path(__file__).with_name("ping_responder.py"))
        return Responder(self.run(self.far, program, "icmp"))

    def listen(self) -> None:
        """TCP listeners on all of `listeners`, port 22."""
        self.run(self.far, str(Path(__file__).with_name("ping_responder.py")), "tcp")

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()
        for file in self._files:
            os.close(file)
        for name in (self.prober, self.near, self.far):
            _ip("netns", "del", name)


class Switch:
    """Silence on and off."""

    def __init__(self, file: int, *, reverse: bool) -> None:
        self._file = file
        self._words = (b"1", b"0") if reverse else (b"0", b"1")

    def __call__(self, silent: bool) -> tuple[int, int]:
        before = time.monotonic_ns()
        os.pwrite(self._file, self._words[silent], 0)
        return before, time.monotonic_ns()


class Responder:
    """The responder's orders."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def order(self, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in a namespace: files of /proc/sys/net belong to the one of who opens them."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if _libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        _libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(there)


def silence(switches: Sequence[Switch], seconds: float) -> Truth:
    """All of them silent for exactly so long. To be called in a thread: it waits."""
    on = [switch(True) for switch in switches]
    until = on[0][1] + int(seconds * 1e9)
    time.sleep(max(0.0, (until - time.monotonic_ns()) / 1e9 - 0.002))
    for _ in itertools.takewhile(lambda _: time.monotonic_ns() < until, itertools.count()):
        pass
    off = [switch(False) for switch in switches]
    return Truth((on[0][0], on[-1][1]), (off[0][0], off[-1][1]))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
