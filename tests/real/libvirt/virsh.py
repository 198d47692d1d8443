"""The unmodified `virsh`, run where the operator is. Nothing of evac."""

from __future__ import annotations

import subprocess

from tests.real.libvirt.layout import uri
from tests.real.libvirt.wires import AS_OPERATOR


class Refused(Exception):
    """libvirt said no; the text is what virsh printed."""


def ask(host: str, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run virsh on a host's libvirtd, whatever comes of it. A host without power is given up after 3 s."""
    line = [*AS_OPERATOR, "virsh", "-k", "1", "-K", "2", "-q", "-c", uri(host), *words]
    try:
        return subprocess.run(
            line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(line, 124, "", f"no answer in {seconds:.0f} s")


def virsh(host: str, *words: str, seconds: float = 60) -> str:
    """What virsh prints; it must succeed.

    Raises:
        Refused: with what it printed instead.
    """
    done = ask(host, *words, seconds=seconds)
    if done.returncode:
        raise Refused(f"{host}: virsh {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def works(host: str) -> bool:
    """True when its libvirtd answers within 3 s."""
    return ask(host, "uri", seconds=3).returncode == 0


def domains(host: str) -> dict[str, str]:
    """Name → state by virsh's word of every domain that the host knows."""
    rows = [line.split(maxsplit=2) for line in virsh(host, "list", "--all").splitlines()]
    return {name: state for _, name, state in (row for row in rows if len(row) == 3)}
