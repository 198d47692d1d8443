"""The lab: `python -m tests.real.libvirt up|down|status|install`.

`up` is all one needs: it installs what is missing and boots three KVM hosts (by TCG: it needs no nested
virtualisation) in namespaces of this machine, each with its own libvirtd and QEMU, plugged into one switch with an
operator beside them. `down` ends every process and removes every namespace, also what a crash has left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

from tests.real.daemons import LabError, say
from tests.real.libvirt import certs, configs, hosts, install, wires
from tests.real.libvirt.layout import GUESTS, HOSTS, LAB, LOG, NEW, OPERATOR, RUN, SSH, folder, guest_address
from tests.real.libvirt.virsh import domains, works


def is_begun() -> bool:
    """True when somebody brought it up and did not take it down, whatever a test has ended since."""
    return any(hosts.runs(host) for host in HOSTS)


def is_up() -> bool:
    """True when every host has power and its libvirtd answers."""
    return all(hosts.running_on(host, NEW) and works(host) for host in HOSTS)


def up() -> None:
    """Install what is missing, and make everything anew unless all three hosts answer."""
    began = time.monotonic()
    if os.geteuid() != 0:
        raise LabError("it needs root: namespaces, bridges and libvirtd are root's")
    install.install()
    if why := wires.possible():
        raise LabError(f"no namespaces can be made here: {why}")
    if not is_begun() or not is_up():
        down()
        _make()
    say(f"the KVM lab is up after {time.monotonic() - began:.1f} s: ip netns exec {OPERATOR} virsh -c …")


def _make() -> None:
    for place in (LOG, SSH, *(folder(host) for host in HOSTS)):
        shutil.rmtree(place, ignore_errors=True)
    for place in (RUN, LOG):
        place.mkdir(parents=True, exist_ok=True)
    LAB.chmod(0o755)
    for host in HOSTS:
        configs.write(host)
    configs.make_keys()
    certs.make()
    wires.lay()
    for host in HOSTS:
        hosts.power_on(host)
    for host in HOSTS:
        hosts.answering(host)


def down() -> None:
    """No process and no namespace is left; logs stay until the next start, what was fetched stays for ever."""
    for name in hosts.DAEMONS.recorded():
        hosts.DAEMONS.end(name, signal.SIGKILL)
    if shutil.which("ip"):
        wires.tear()


def status() -> None:
    """Each host, and what it runs."""
    hosts.DAEMONS.status()
    for host in HOSTS:
        told = domains(host) if hosts.runs(host) and works(host) else "no answer"
        say(f"{host}: {told}")
    say(f"guests' addresses: {', '.join(f'{name} {guest_address(name)}' for name in GUESTS)}")


_COMMANDS = {"up": up, "down": down, "status": status, "install": install.install}


def main(words: list[str]) -> int:
    """Exit code 0, 1 when the lab cannot, 2 for a word it does not know."""
    match words:
        case [command] if command in _COMMANDS:
            job = _COMMANDS[command]
        case _:
            say(__doc__ or "")
            return 2
    try:
        job()
    except (LabError, subprocess.SubprocessError) as error:
        say(f"the KVM lab cannot go on: {error}")
        return 1
    return 0
