"""vcsim, VMware's own simulator of a vCenter (govmomi), built once from Debian's library and our 60 lines of main.go.

It judges the wire: login, TLS, properties, updates, tasks that start. It judges no migration: it takes every one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import queue
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from platformdirs import user_cache_path

from tests.real import debs
from tests.vcsim.sdk import Disconnect, SmartConnect
from tests.wire.certificates import authority

MAIN = Path(__file__).with_name("main.go")
PACKAGES = {
    "golang-go": Path("/usr/bin/go"),
    "golang-github-vmware-govmomi-dev": Path("/usr/share/gocode/src/github.com/vmware/govmomi/simulator"),
}
PATIENCE = 120.0
"""Seconds vcsim may take to begin to listen: 10,000 VMs take half a minute."""

USER, PASSWORD = "user", "pass"


class VCSim(Struct, frozen=True):
    """One that listens."""

    address: str
    """HOST:PORT."""
    ca: Path
    pem: str
    process: Any

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem)).hexdigest()


def built() -> Path:
    """The program, built if it has not been for this source: apt and Go, a minute or two, once per machine.

    Raises:
        LabError, CalledProcessError: it cannot be had here.
    """
    folder = user_cache_path("evac-tests") / f"vcsim-{hashlib.sha256(MAIN.read_bytes()).hexdigest()[:16]}"
    program = folder / "vcsim"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            debs.install(PACKAGES)
            _build(folder)
    return program


def _build(folder: Path) -> None:
    source = folder / "gopath" / "src" / "vcsim-evac"
    source.mkdir(parents=True, exist_ok=True)
    (source / "main.go").write_bytes(MAIN.read_bytes())
    env = os.environ | {
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPATH": f"{folder / 'gopath'}:/usr/share/gocode",
        "GOCACHE": str(folder / "gocache"),
    }
    fresh = folder / "vcsim.new"
    command = ["nice", "go", "build", "-ldflags", "-s -w", "-o", str(fresh), "vcsim-evac"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"vcsim could not be built:\n{done.stderr[-2000:]}"
    fresh.replace(folder / "vcsim")


@contextlib.contextmanager
def vcsim(folder: Path, *flags: str, days: int = 365) -> Iterator[VCSim]:
    """One that runs until the end of the block. `flags`: of main.go; `days`: of its certificate's life."""
    ca, _ = authority(folder, days=days, address="127.0.0.2")
    both = folder / "server.pem"
    command = [str(built()), "-l", "127.0.0.2:0", "-tlscert", str(both), "-tlskey", str(both), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        text = both.read_text()
        pem = text[text.index("-----BEGIN CERTIFICATE") :]
        yield VCSim(_address(process), ca, pem, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _address(process: subprocess.Popen[str]) -> str:
    """The line it prints when it listens; what it printed else, when it did not."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_passed_on, args=(process.stdout, lines), daemon=True).start()
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(queue.Empty):
        line = lines.get(timeout=max(0.0, end - time.monotonic())).strip()
        if line:
            return line
    process.kill()
    assert process.stderr is not None
    raise AssertionError(f"vcsim does not listen: {process.stderr.read()[-2000:]}")


def _passed_on(stream: Any, lines: queue.Queue[str]) -> None:
    lines.put(stream.readline())


@contextlib.contextmanager
def plain(server: VCSim) -> Iterator[Any]:
    """A pyvmomi client as its documentation has it, for a witness: its ServiceInstance."""
    host, _, port = server.address.partition(":")
    trusted = ssl.create_default_context(cafile=str(server.ca))
    client = SmartConnect(
        host=host, port=int(port), user=USER, pwd=PASSWORD, sslContext=trusted, httpConnectionTimeout=60
    )
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            Disconnect(client)
