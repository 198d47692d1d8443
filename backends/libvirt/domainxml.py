"""What evac reads out of a domain's XML. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from msgspec import Struct

NETWORKED = frozenset({"network"})
"""Disk types whose source is named the same on every host: rbd, iscsi, nbd, gluster, http."""

SHARED_POOLS = frozenset(
    {"netfs", "gluster", "rbd", "sheepdog", "iscsi", "iscsi-direct", "mpath", "scsi", "vstorage"}
)
"""Kinds of storage pool that lie outside the host (libvirt's storage driver). LVM and plain folders do not tell."""


class Disk(Struct, frozen=True, kw_only=True):
    """A disk that can be written."""

    target: str
    """vda"""
    kind: str
    """file, block, network, volume, …"""
    source: str = ""
    """Path, device, or POOL/VOLUME."""
    pool: str = ""
    shareable: bool = False


class Definition(Struct, frozen=True, kw_only=True):
    """The parts of a domain's XML that evac needs."""

    uuid: str
    name: str
    memory: int = 0
    """Bytes."""
    vcpus: int = 0
    virt_type: str = ""
    """kvm, qemu, …"""
    arch: str = ""
    machine: str = ""
    cpu: str = ""
    """The <cpu> element as text; "" if there is none."""
    cpu_mode: str = ""
    disks: tuple[Disk, ...] = ()
    nvram: str = ""
    has_tpm: bool = False
    """An emulated TPM: its state lies on the host."""
    cpu_name: str = ""
    """The model it was given, or "host-passthrough", "host-model", "maximum"."""
    macs: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Devices of the host that are passed through: "pci 0000:3b:00.0", "usb 046d:c52b"."""
    media: tuple[str, ...] = ()
    """What lies in its CD and floppy drives."""
    has_agent: bool = False
    """The guest agent is connected."""
    title: str = ""


class NoDomain(Exception):
    """The XML is not that of a domain."""


UNITS = {
    "b": 1, "bytes": 1, "kb": 10**3, "k": 2**10, "kib": 2**10, "mb": 10**6, "m": 2**20, "mib": 2**20,
    "gb": 10**9, "g": 2**30, "gib": 2**30, "tb": 10**12, "t": 2**40, "tib": 2**40,
}  # fmt: skip
"""libvirt's scaled integers; without a unit it is KiB (formatdomain)."""


def parse(text: str) -> Definition:
    """Raises NoDomain."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - see the import
    except ET.ParseError as error:
        raise NoDomain(str(error)) from None
    uuid, name = _text(root, "uuid"), _text(root, "name")
    if root.tag != "domain" or not uuid or not name:
        raise NoDomain("no domain with a name and a UUID")
    kind = root.find("os/type")
    cpu = root.find("cpu")
    devices = root.find("devices")
    devices = ET.Element("devices") if devices is None else devices
    return Definition(
        uuid=uuid,
        name=name,
        memory=_bytes(root.find("currentMemory")) or _bytes(root.find("memory")),
        vcpus=_vcpus(root.find("vcpu")),
        virt_type=root.get("type", ""),
        arch=kind.get("arch", "") if kind is not None else "",
        machine=kind.get("machine", "") if kind is not None else "",
        cpu="" if cpu is None else ET.tostring(cpu, encoding="unicode").strip(),
        cpu_mode="" if cpu is None else cpu.get("mode", "custom"),
        disks=tuple(_disks(devices.iterfind("disk"))),
        nvram=_nvram(root),
        has_tpm=any(one.get("type") == "emulator" for one in devices.iterfind("tpm/backend")),
        cpu_name=_cpu_name(cpu),
        macs=tuple(mac.lower() for one in devices.iterfind("interface/mac") if (mac := one.get("address"))),
        devices=tuple(_passed(one) for one in devices.iterfind("hostdev")),
        media=tuple(_media(devices.iterfind("disk"))),
        has_agent=_has_agent(devices),
        title=_text(root, "title"),
    )


def _text(root: ET.Element, path: str) -> str:
    return (root.findtext(path) or "").strip()


def _number(text: str | None) -> int:
    try:
        return max(0, int((text or "").strip()))
    except ValueError:
        return 0


def _bytes(element: ET.Element | None) -> int:
    if element is None:
        return 0
    return _number(element.text) * UNITS.get(element.get("unit", "KiB").lower(), 2**10)


def _vcpus(element: ET.Element | None) -> int:
    if element is None:
        return 0
    return _number(element.get("current")) or _number(element.text)


def _cpu_name(cpu: ET.Element | None) -> str:
    """Of a running guest libvirt shows what "host-model" became: a model, and features beside it."""
    if cpu is None:
        return ""
    mode = cpu.get("mode", "custom")
    return _text(cpu, "model") if mode == "custom" else mode


def _passed(device: ET.Element) -> str:
    """As the admin finds it again on the host (lspci, lsusb)."""
    kind = device.get("type", "device")
    place = device.find("source/address")
    vendor, product = device.find("source/vendor"), device.find("source/product")
    if kind == "pci" and place is not None:
        parts = [_hex(place.get(key)) for key in ("domain", "bus", "slot", "function")]
        return "pci {:04x}:{:02x}:{:02x}.{:x}".format(*parts)
    if vendor is not None and product is not None:
        return f"{kind} {_hex(vendor.get('id')):04x}:{_hex(product.get('id')):04x}"
    return f"{kind} {place.get('uuid', '')}".strip() if place is not None else kind


def _hex(text: str | None) -> int:
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0


def _media(elements: Iterable[ET.Element]) -> Iterable[str]:
    for element in elements:
        source = element.find("source")
        if element.get("device") in {"cdrom", "floppy"} and source is not None:
            yield next(
                (value for key in ("file", "dev", "name", "volume") if (value := source.get(key))), "?"
            )


def _disks(elements: Iterable[ET.Element]) -> Iterable[Disk]:
    for element in elements:
        source, target = element.find("source"), element.find("target")
        written = element.get("device", "disk") in {"disk", "lun"} and element.find("readonly") is None
        if source is None or not written:
            continue
        pool = source.get("pool", "")
        path = next((value for key in ("file", "dev", "dir", "name") if (value := source.get(key))), "")
        yield Disk(
            target=target.get("dev", "") if target is not None else "",
            kind=element.get("type", ""),
            source=f"{pool}/{source.get('volume', '')}" if pool else path,
            pool=pool,
            shareable=element.find("shareable") is not None,
        )


def _nvram(root: ET.Element) -> str:
    element = root.find("os/nvram")
    if element is None:
        return ""
    source = element.find("source")
    path = source.get("file", "") if source is not None else (element.text or "").strip()
    return path or "(a file libvirt chooses)"


def _has_agent(devices: ET.Element) -> bool:
    return any(
        target.get("name") == "org.qemu.guest_agent.0" and target.get("state") == "connected"
        for target in devices.iterfind("channel/target")
    )


def local_parts(
    definition: Definition, shared_paths: Iterable[str], shared_pools: Iterable[str]
) -> list[Disk]:
    """The disks that are not known to be the same on every host.

    A plain file or block device counts as local unless its folder is named in `shared_paths`, or belongs to a pool of a
    network kind.
    """
    folders = tuple(path.rstrip("/") + "/" for path in (*shared_paths, *shared_pools) if path.startswith("/"))
    pools = {pool for pool in shared_pools if not pool.startswith("/")}
    return [
        disk
        for disk in definition.disks
        if disk.kind not in NETWORKED and disk.pool not in pools and not disk.source.startswith(folders)
    ]


class Pool(Struct, frozen=True, kw_only=True):
    """A storage pool that lies outside the host."""

    name: str
    path: str
    """Where it is mounted; "" for one without."""


def shared_pool(text: str) -> Pool | None:
    """From a pool's XML: the pool if its kind says that other hosts can have it too."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - see the import
    except ET.ParseError:
        return None
    if root.get("type") not in SHARED_POOLS:
        return None
    return Pool(name=_text(root, "name"), path=_text(root, "target/path"))
