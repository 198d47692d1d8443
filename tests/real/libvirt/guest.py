"""A guest: a kernel, 2 MB of initramfs, 96 MiB of memory and a network card. It answers pings 3 s after its start."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.real.daemons import LabError, run
from tests.real.libvirt.layout import (
    INITRD,
    KERNEL,
    MEMORY,
    SERVICES,
    folder,
    guest_address,
    guest_mac,
    guest_uuid,
)

_MODULES = (
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",  # before virtio, which needs it
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/net/virtio_net",
    "drivers/input/evdev",
    "drivers/acpi/button",
)
"""In the order in which they are loaded."""

PORTABLE = "<cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>Westmere</model></cpu>"
"""The newest that both QEMUs offer under TCG: it goes everywhere."""
HOST_MODEL = "<cpu mode='host-model' check='full'/>"
"""What the host has now: QEMU 7.2 lacks some of what 10.0 has."""


def pack(kernel: Path, target: Path) -> None:
    """The initramfs: busybox, the modules, and services/init."""
    place = target.with_suffix(".d")
    shutil.rmtree(place, ignore_errors=True)
    for name in ("bin", "dev", "proc", "sys", "modules", "tmp"):
        (place / name).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", place / "bin" / "busybox")
    shutil.copy(SERVICES / "init", place / "init")
    (place / "init").chmod(0o755)
    for module in _MODULES:
        (found,) = kernel.glob(f"lib/modules/*/kernel/{module}.ko")
        shutil.copy(found, place / "modules")
    (place / "modules" / "order").write_text("\n".join(Path(one).name for one in _MODULES))
    half = target.with_suffix(".new")
    pipe = f"cd '{place}' && find . | cpio -o -H newc --quiet | gzip -6 > '{half}'"
    run("sh", "-c", pipe, env=os.environ)
    half.rename(target)
    shutil.rmtree(place)


def disk(name: str, host: str) -> Path:
    """The file of its disk on that host, which no other host has."""
    return folder(host) / "lib" / "disks" / f"{name}.img"


def _disk(name: str) -> str:
    path = f"/var/lib/libvirt/disks/{name}.img"
    return f"""<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/><target dev='vda' bus='virtio'/></disk>"""


def xml(name: str, *, cpu: str = PORTABLE, dirty: int = 0, has_disk: bool = False) -> str:
    """A domain. `dirty`: how many 64 KiB it writes per tenth of a second."""
    # no_timer_check: an emulated CPU that is kept waiting fails that check, and the guest panics as it boots.
    words = f"console=ttyS0 loglevel=5 no_timer_check panic=1 lab.ip={guest_address(name)}/24 lab.name={name} lab.dirty={dirty}"
    return f"""<domain type='qemu'>
  <name>{name}</name><uuid>{guest_uuid(name)}</uuid>
  <memory unit='MiB'>{MEMORY}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
    <kernel>{KERNEL}</kernel><initrd>{INITRD}</initrd><cmdline>{words}</cmdline></os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  {cpu}
  <clock offset='utc'/>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <interface type='bridge'><mac address='{guest_mac(name)}'/><source bridge='br0'/>
      <model type='virtio'/><rom enabled='no'/></interface>
    {_disk(name) if has_disk else ""}
    <serial type='file'><source path='/var/log/libvirt/{name}.console'/><target port='0'/></serial>
  </devices>
</domain>
"""


def answers(name: str, inside: tuple[str, ...]) -> bool:
    """One ping; `inside` is the command that enters the operator's namespace."""
    line = [*inside, "ping", "-c", "1", "-W", "1", "-q", guest_address(name)]
    done = subprocess.run(line, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise LabError(f"ping cannot be used: {done.stderr.decode()[-500:]}")
    return done.returncode == 0
