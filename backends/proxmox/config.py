"""A guest's config, as far as a move depends on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_DISK = re.compile(r"(?:(?:ide|scsi|sata|virtio|mp)\d+|efidisk0|tpmstate0|rootfs)", re.ASCII)
_NET = re.compile(r"net\d+", re.ASCII)
_MAC = re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])", re.ASCII)
_DEVICE = re.compile(r"(?:hostpci|usb|serial|parallel)\d+", re.ASCII)


class GuestConfig(Struct, frozen=True, kw_only=True):
    """What GET …/config says."""

    disks: Mapping[str, str]
    """Key ("scsi0", "rootfs") → storage. No CDs, nothing unused."""
    cdroms: Mapping[str, str]
    """Key → volume, of CDs that are in."""
    cpu: str = ""
    """"" for what the platform takes by default: kvm64 or x86-64-v2-AES by the guest's age."""
    agent: bool = False
    snapshot: str = ""
    """The latest snapshot; "": there is none."""
    devices: tuple[str, ...] = ()
    lock: str = ""
    macs: tuple[str, ...] = ()
    machine_id: str = ""
    """SMBIOS UUID."""


def read(config: Mapping[str, object]) -> GuestConfig:
    """As it was answered: keys with strings or numbers."""
    texts = {key: str(value) for key, value in config.items()}
    volumes = {key: text for key, text in texts.items() if _DISK.fullmatch(key)}
    nets = (text for key, text in sorted(texts.items()) if _NET.fullmatch(key))
    cds = {key: _volume(text) for key, text in volumes.items() if "media=cdrom" in text.split(",")}
    disks = {key: _volume(text).partition(":")[0] for key, text in volumes.items() if key not in cds}
    return GuestConfig(
        disks={key: storage for key, storage in disks.items() if storage and not storage.startswith("/")},
        cdroms={key: volume for key, volume in cds.items() if volume not in {"none", ""}},
        cpu=_first(texts.get("cpu", ""), "cputype"),
        agent=_first(texts.get("agent", ""), "enabled") in {"1", "yes", "on", "true"},
        snapshot=texts.get("parent", ""),
        devices=tuple(sorted(key for key, text in texts.items() if _DEVICE.fullmatch(key) and _real(text))),
        lock=texts.get("lock", ""),
        macs=tuple(mac[0].lower() for text in nets if (mac := _MAC.search(text))),
        machine_id=_first(texts.get("smbios1", ""), "uuid").lower(),
    )


def _volume(text: str) -> str:
    first = text.split(",", 1)[0]
    return first.partition("=")[2] if first.startswith(("file=", "volume=")) else first


def _first(text: str, name: str) -> str:
    """The value of a property string whose default key is `name`."""
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            return key
        if key == name:
            return value
    return ""


def _real(text: str) -> bool:
    """Neither SPICE's redirection nor a socket: something of the node itself."""
    return not text.startswith(("spice", "socket"))
