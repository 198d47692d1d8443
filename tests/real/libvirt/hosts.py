"""Hosts: each a machine of its own by network, mounts, process ids and name, with its libvirtd and QEMU."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.real.daemons import Daemons, LabError, alive, descendants, tail
from tests.real.libvirt.layout import LAB, LOG, NEW, OLD, QEMU, RUN, SERVICES, folder, namespace
from tests.real.libvirt.virsh import works
from tests.real.libvirt.wires import cut, mend

DAEMONS = Daemons(RUN, LOG, cwd=LAB)
_ALONE = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_PRIVATE = ("--propagation", "private")


def runs(host: str) -> bool:
    """True while its power is on."""
    return DAEMONS.pid_of(host) is not None


def power_on(host: str, *, qemu: str = NEW) -> None:
    """Boot it; returns at once. What runs in /run is gone, as after any boot."""
    if runs(host):
        return
    mend(host)
    place = folder(host)
    shutil.rmtree(place / "run", ignore_errors=True)
    (place / "run").mkdir()
    if _version(host) != qemu:  # what libvirt remembers of a QEMU, it remembers by path
        shutil.rmtree(place / "cache", ignore_errors=True)
        (place / "cache").mkdir()
    (place / "qemu").write_text(qemu)
    for needed in (
        "/etc/libvirt",
        "/var/lib/libvirt",
        "/var/cache/libvirt",
        "/var/log/libvirt",
        "/run/libvirt",
        "/etc/sasl2",
    ):
        Path(needed).mkdir(parents=True, exist_ok=True)  # to be mounted over
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    newer = {NEW: str(QEMU), OLD: ""}[qemu]
    enter = ("nice", "-n", "5", "ip", "netns", "exec", namespace(host), *_ALONE, *_PRIVATE)
    DAEMONS.spawn(host, [*enter, "bash", SERVICES / "host.sh", host, place, newer], os.environ)


def _version(host: str) -> str:
    try:
        return (folder(host) / "qemu").read_text()
    except FileNotFoundError:
        return ""


def running_on(host: str, qemu: str) -> bool:
    """True while its power is on and that is its QEMU."""
    return runs(host) and _version(host) == qemu


def answering(host: str, seconds: float = 30) -> None:
    """Until its libvirtd answers."""
    try:
        DAEMONS.wait(f"libvirtd of {host} answers", lambda: works(host), process=host, seconds=seconds)
    except LabError as error:
        log = tail(folder(host) / "log" / "libvirtd.log", 1500)
        raise LabError(f"{error}\n--- libvirtd.log\n{log}") from error


def power_off(host: str, *, silent: bool = True) -> None:
    """SIGKILL of its process 1, which takes libvirtd and every guest along; `silent`: nobody is told by the network."""
    outer = DAEMONS.pid_of(host)
    if outer is None:
        return
    if silent:
        cut(host)
    everything = descendants(outer)
    (first,) = [pid for pid in everything if _parent(pid) == outer]
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 10
    while any(alive(pid) for pid in everything):
        if time.monotonic() > end:
            raise LabError(f"{host} still has processes 10 s after its process 1 was killed")
        time.sleep(0.01)
    DAEMONS.end(host, signal.SIGKILL)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
