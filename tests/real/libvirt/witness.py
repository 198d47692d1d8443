"""The lab as a witness sees it, by the unmodified `virsh` alone, and put back into the state each test begins with."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.real.daemons import run
from tests.real.libvirt import guest, hosts, wires
from tests.real.libvirt.layout import GUESTS, HOSTS, NEW, address, guest_uuid, namespace, uri
from tests.real.libvirt.virsh import ask, domains, virsh
from tests.real.libvirt.wires import AS_OPERATOR

HOME = {"web1": "kvm01", "web2": "kvm01", "db1": "kvm01", "cache1": "kvm02"}
"""Where each guest is when a test begins."""
CROWD = HOME | {"app1": "kvm02", "app2": "kvm03", "app3": "kvm03"}
"""Seven, so that of three hosts one always has three, wherever they are."""

FASTEST = 1_000_000
"""MiB/s: no limit."""
SENT = 75
"""MiB that QEMU sends of an idle guest, measured."""


class Witness:
    """Asks and arranges. Every wait is bounded and says what it waited for."""

    # --- what is --------------------------------------------------------------------------------------------

    def running(self) -> dict[str, list[str]]:
        """Guest → hosts on which it runs, of those hosts that have power."""
        found: dict[str, list[str]] = {}
        for host in HOSTS:
            if hosts.runs(host):
                for name, state in domains(host).items():
                    if state == "running":
                        found.setdefault(name, []).append(host)
        return found

    def defined(self) -> dict[str, list[str]]:
        """Guest → hosts that have its definition, of those that have power."""
        found: dict[str, list[str]] = {}
        for host in HOSTS:
            if hosts.runs(host):
                for name in virsh(host, "list", "--all", "--persistent", "--name").split():
                    found.setdefault(name, []).append(host)
        return found

    def job(self, host: str, name: str) -> dict[str, str]:
        """What `virsh domjobinfo` says; nothing of a guest that does not run there."""
        told = ask(host, "domjobinfo", name).stdout.splitlines()
        rows = (line.split(":", 1) for line in told if ":" in line)
        return {key.strip(): value.strip() for key, value in rows}

    def answers(self, *names: str) -> bool:
        """Each of them answers a ping."""
        return all(guest.answers(name, AS_OPERATOR) for name in names)

    # --- arranging ------------------------------------------------------------------------------------------

    def settle(self, crew: Mapping[str, str] = HOME, *, home: bool = True) -> None:
        """Every host has power and QEMU 10; these guests and no others run, once, at full speed; `home`: where they belong."""
        for host in HOSTS:
            if not hosts.running_on(host, NEW):
                hosts.power_off(host)
                hosts.power_on(host)
        for host in HOSTS:
            hosts.answering(host)
        well = self._well(crew)
        for host in HOSTS:
            for name in domains(host):
                if name not in well:
                    self.forget(name, host)
        away = [name for name in well if home and well[name] != crew[name]]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name: self.migrate(name, well[name], crew[name]), away))
        for name in crew.keys() - well.keys():
            self.create(name, crew[name])
        self.speed(FASTEST)
        self.until("every guest answers", lambda: self.answers(*crew))

    def _well(self, crew: Mapping[str, str]) -> dict[str, str]:
        """Guest → host of those that run on one host, are defined there and nowhere else, and are left alone."""
        running, kept = self.running(), self.defined()
        once = {
            name: where[0]
            for name, where in running.items()
            if name in crew and len(where) == 1 and where == kept.get(name)
        }
        return {name: host for name, host in once.items() if not self.busy(host, name)}

    def busy(self, host: str, name: str) -> bool:
        """It is being migrated from or to that host, or libvirt does something else to it."""
        return self.job(host, name).get("Job type", "None") != "None"

    def forget(self, name: str, host: str) -> None:
        """It neither runs there nor is it defined."""
        if self.busy(host, name):
            virsh(host, "domjobabort", name)
            self.until(f"{name} is left alone", lambda: not self.busy(host, name))
        if domains(host).get(name) not in {None, "shut off"}:
            virsh(host, "destroy", name)
        if name in virsh(host, "list", "--all", "--persistent", "--name").split():
            virsh(host, "undefine", name)

    def create(
        self, name: str, host: str, *, cpu: str = guest.PORTABLE, dirty: int = 0, disk: int = 0
    ) -> None:
        """A persistent guest on that host, started; it answers some 3 s later. `disk`: bytes of one on that host alone."""
        if disk:
            path = guest.disk(name, host)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(disk))
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(guest.xml(name, cpu=cpu, dirty=dirty, has_disk=bool(disk)))
            file.flush()
            virsh(host, "define", file.name)
        virsh(host, "start", name)

    def qemu(self, host: str, name: str, question: str) -> Any:
        """What its QEMU answers to a question of QMP."""
        told = json.loads(virsh(host, "qemu-monitor-command", name, json.dumps({"execute": question})))
        return told["return"]

    def sockets(self, source: str, target: str) -> list[int]:
        """The target's ports to which something on the source has a connection, one for each."""
        told = run(*wires.inside(namespace(source)), "ss", "-Htn", "state", "established", env=os.environ)
        peers = (line.split()[3] for line in told.splitlines())
        return [
            int(port) for host, _, port in (one.rpartition(":") for one in peers) if host == address(target)
        ]

    def speed(self, rate: int) -> None:
        """MiB/s of migrations that begin from now on, of every guest where it is now."""
        for name, where in self.running().items():
            for host in where:
                virsh(host, "migrate-setspeed", name, str(rate))

    def last(self, seconds: float) -> None:
        """A migration of an idle guest that begins from now on takes about that long; 0: as short as can be."""
        self.speed(max(1, round(SENT / seconds)) if seconds else FASTEST)

    def migrate(self, name: str, source: str, target: str) -> None:
        """By hand, to the end; also from a host that evac does not drive."""
        flags = ("--live", "--p2p", "--persistent", "--undefinesource")
        virsh(source, "migrate", *flags, name, uri(target), seconds=120)

    def until(self, what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}; running: {self.running()}"
            time.sleep(0.2)


def uuids() -> dict[str, str]:
    """Guest → UUID."""
    return {name: guest_uuid(name) for name in GUESTS}


def inside(*command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command where the operator is."""
    line = [*AS_OPERATOR, *command]
    return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False, cwd=Path("/"))
