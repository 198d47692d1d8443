"""Bring what the lab needs to a bare Debian 12: libvirt, QEMU, and, unpacked beside them, a newer QEMU and a guest."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from tests.real import debs
from tests.real.daemons import LabError, run, say
from tests.real.libvirt import guest
from tests.real.libvirt.layout import INITRD, KERNEL, PARTS, QEMU

_DEBS = {
    "qemu-system-x86": Path("/usr/bin/qemu-system-x86_64"),
    "libvirt-daemon": Path("/usr/sbin/libvirtd"),
    "libvirt-daemon-driver-qemu": Path(
        "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so"
    ),
    "libvirt-clients": Path("/usr/bin/virsh"),
    "python3-libvirt": Path("/usr/share/doc/python3-libvirt"),
    "busybox-static": Path("/usr/share/doc/busybox-static"),
    "iputils-ping": Path("/usr/bin/ping"),
    "iproute2": Path("/usr/bin/ip"),
    "cpio": Path("/usr/bin/cpio"),
    "openssh-server": Path("/usr/sbin/sshd"),
    "sasl2-bin": Path("/usr/sbin/saslpasswd2"),
    "libsasl2-modules": Path("/usr/lib/x86_64-linux-gnu/sasl2/libscram.so"),
    "openssh-client": Path("/usr/bin/ssh-keygen"),
}
_TO_BUILD = {
    "libvirt-dev": Path("/usr/include/libvirt/libvirt.h"),
    "pkg-config": Path("/usr/bin/pkg-config"),
    "gcc": Path("/usr/bin/gcc"),
    "libc6-dev": Path("/usr/include/stdio.h"),
    "python3-dev": Path(sysconfig.get_path("include")) / "Python.h",
}
"""What the binding of the Python that runs evac is built with; it has no wheels."""
"""Package → what shows that it is there. 24 MB to fetch; without libvirt-daemon-system nothing is set up to start."""
_UNITS = ("libvirtd", "virtlogd", "virtlockd", "ssh")
_KERNEL = "linux-image-cloud-amd64"
_NEWER = ("qemu-system-x86", "qemu-system-common", "qemu-system-data")
_RELEASE = "bookworm"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def install() -> None:
    """Idempotent: does only what is missing."""
    bound = find_spec("libvirt") is not None
    debs.install(_DEBS if bound else _DEBS | _TO_BUILD, _UNITS)
    if not bound:
        _build_binding()
    PARTS.mkdir(parents=True, exist_ok=True)
    if not KERNEL.exists():
        _fetch_kernel()
    if not QEMU.exists():
        _fetch_qemu()
    if not INITRD.exists():
        guest.pack(PARTS / "kernel", INITRD)


def _build_binding() -> None:
    """libvirt-python, of the version of the libvirt that is here."""
    version = run("pkg-config", "--modversion", "libvirt", env=_environment()).strip()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q")
    run(*pip, f"libvirt-python=={version}", env=_environment())
    invalidate_caches()


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def _workshop(name: str) -> Path:
    place = PARTS / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def _fetch_kernel() -> None:
    """The guests' kernel, unpacked and never installed."""
    say("fetching a kernel for the guests")
    told = run("apt-cache", "depends", _KERNEL, env=_environment())
    names = [line.split()[-1] for line in told.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise LabError(f"this machine's Debian mirror has no {_KERNEL}: {told}")
    place = _workshop("fetch")
    env = _environment()
    run("sh", "-c", f"cd '{place}' && apt-get -q download {names[0]}", env=env)
    _unpack(place, PARTS / "kernel")
    (image,) = (PARTS / "kernel" / "boot").glob("vmlinuz-*")
    image.rename(KERNEL)


def _fetch_qemu() -> None:
    """QEMU 10 from backports, with lists of packages of our own: the system's apt is not touched."""
    say("fetching QEMU 10 from backports")
    place = _workshop("fetch")
    for folder in ("lists/partial", "cache/archives/partial"):
        (place / folder).mkdir(parents=True)
    (place / "list").write_text(f"deb [signed-by={_KEYS}] {_mirror()} {_RELEASE}-backports main\n")
    apt = f"apt-get -q -o Dir::Etc::sourcelist={place}/list -o Dir::Etc::sourceparts=- "
    apt += f"-o Dir::State::lists={place}/lists -o Dir::Cache={place}/cache"
    wanted = " ".join(f"{name}/{_RELEASE}-backports" for name in _NEWER)
    steps = f"cd '{place}' && {apt} update && {apt} download {wanted} && apt-get -q download seabios"
    run("sh", "-c", steps, env=_environment())
    _unpack(place, QEMU)


def _mirror() -> str:
    """The Debian mirror that this machine is set up with."""
    told = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", env=_environment())
    for line in told.splitlines():
        site, release, part = (*line.split(), "", "", "")[:3]
        if (release, part) == (_RELEASE, "main"):
            return site
    raise LabError(f"the KVM lab needs Debian 12 ({_RELEASE}); this machine's apt knows: {told[:500]}")


def _unpack(place: Path, target: Path) -> None:
    """Into a folder that exists only when it is whole."""
    half = target.with_name(f"{target.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    for deb in sorted(place.glob("*.deb")):
        run("dpkg-deb", "-x", deb, half, env=_environment())
    shutil.rmtree(target, ignore_errors=True)
    half.rename(target)
    shutil.rmtree(place)
