"""A guest's config, as far as a move depends on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_DISK = re.compile(r"(?:(?:ide|scsi|sata|virtio|mp)\d+|efidisk0|tpmstate0|rootfs)", re.ASCII)
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


def read(config: Mapping[str, object]) -> GuestConfig:
    """As it was answered: keys with strings or numbers."""
    texts = {key: str(value) for key, value in config.items()}
    volumes = {key: text for key, text in texts.items() if _DISK.fullmatch(key)}
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
