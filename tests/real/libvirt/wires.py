"""The lab's network: a switch, an operator, hosts, each a network namespace of its own; nothing outside is touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from tests.real.daemons import LabError, alive, run
from tests.real.libvirt.layout import HOSTS, NETWORK, OPERATOR, SWITCH, TAG, address, guest_mac, namespace


def inside(name: str) -> tuple[str, ...]:
    """Before a command: it runs in that network namespace, and in nothing else of it."""
    return ("nsenter", f"--net=/run/netns/{name}")


AS_OPERATOR = inside(OPERATOR)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def ours() -> list[str]:
    """Network namespaces of this lab that exist, whoever left them."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(f"{TAG}-")]


def lay() -> None:
    """Everything from nothing."""
    for name in (SWITCH, OPERATOR, *(namespace(host) for host in HOSTS)):
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
    _bridge(SWITCH)
    _plug(OPERATOR, "eth0", "operator")
    _ip("-n", OPERATOR, "addr", "add", f"{NETWORK}.1/24", "dev", "eth0")
    # A new namespace lets nobody but root ping.
    sysctl = ("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
    run(*AS_OPERATOR, *sysctl, env=os.environ)
    for host in HOSTS:
        name = namespace(host)
        _bridge(name)
        _plug(name, "up0", host)
        _ip("-n", name, "link", "set", "up0", "master", "br0")
        _ip("-n", name, "addr", "add", f"{address(host)}/24", "dev", "br0")


def _bridge(name: str) -> None:
    _ip("-n", name, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
    _ip("-n", name, "link", "set", "br0", "up")


def _plug(name: str, card: str, port: str) -> None:
    _ip("-n", name, "link", "add", card, "type", "veth", "peer", "name", port, "netns", SWITCH)
    _ip("-n", name, "link", "set", card, "up")
    _ip("-n", SWITCH, "link", "set", port, "master", "br0", "up")


def cut(host: str) -> None:
    """Pull a host's cable: nobody hears that it is gone."""
    _ip("-n", SWITCH, "link", "set", host, "down")


def mend(host: str) -> None:
    """Plug it in again."""
    _ip("-n", SWITCH, "link", "set", host, "up")


def set_mtu(host: str, size: int) -> None:
    """Of a host's card and bridge; what it is plugged into stays as it is."""
    for link in ("up0", "br0"):
        _ip("-n", namespace(host), "link", "set", link, "mtu", str(size))


def deafen(host: str, guest: str) -> None:
    """From now on nothing reaches this guest while it is on that host: its bridge holds it to be outside."""
    _bridge_table("replace", host, guest)


def hear(host: str, guest: str) -> None:
    """Take that back."""
    _bridge_table("del", host, guest)


def _bridge_table(verb: str, host: str, guest: str) -> None:
    words = ["bridge", "-n", namespace(host), "fdb", verb, guest_mac(guest), "dev", "up0", "master", "static"]
    if verb == "replace":
        words.append("sticky")  # else its first own packet would move the entry
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip()}")


def tear() -> None:
    """Kill whatever lives in our namespaces, by pid, and remove them."""
    for name in ours():
        _empty(name)
        _ip("netns", "delete", name)


def _empty(name: str) -> None:
    # A test that is just ending may have its own thread in there (setns.py): it leaves by itself.
    pids = [int(word) for word in _ip("netns", "pids", name).split() if int(word) != os.getpid()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)


def possible() -> str:
    """Why no network namespace can be made here; "" when it can."""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.strip() or f"unshare ended with {done.returncode}"
