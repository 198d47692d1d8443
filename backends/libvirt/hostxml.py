"""What evac reads out of a host's capabilities. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from msgspec import Struct


class HostFacts(Struct, frozen=True, kw_only=True):
    """What a host is, which does not change while libvirtd runs."""

    uuid: str = ""
    hostname: str = ""
    cpu_model: str = ""
    cpu_vendor: str = ""
    cpu_features: tuple[str, ...] = ()
    arch: str = ""
    virt_types: tuple[str, ...] = ()
    """kvm, qemu, …"""
    hypervisor: str = ""
    """"QEMU 10.0.2"."""
    libvirt: str = ""
    vcpus: int = 0
    memory: int = 0
    """Bytes."""
    page_size: int = 4096


def parse(text: str) -> HostFacts:
    """From `virsh capabilities`; what is not in it stays empty."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - see the import
    except ET.ParseError:
        return HostFacts()
    cpu = root.find("host/cpu")
    cpu = ET.Element("cpu") if cpu is None else cpu
    kinds = {one.get("type", "") for one in root.iterfind("guest/arch/domain")}
    return HostFacts(
        uuid=(root.findtext("host/uuid") or "").strip(),
        cpu_model=(cpu.findtext("model") or "").strip(),
        cpu_vendor=(cpu.findtext("vendor") or "").strip(),
        cpu_features=tuple(sorted(name for one in cpu.iterfind("feature") if (name := one.get("name")))),
        arch=(cpu.findtext("arch") or "").strip(),
        virt_types=tuple(sorted(kinds - {""})),
    )


def host_cpu(text: str) -> tuple[str, tuple[str, ...]]:
    """Model and required features of the "host-model" CPU in `virsh domcapabilities`; what a guest can have at best."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - see the import
    except ET.ParseError:
        return "", ()
    mode = next((one for one in root.iterfind("cpu/mode") if one.get("name") == "host-model"), None)
    if mode is None:
        return "", ()
    features = (one.get("name") for one in mode.iterfind("feature") if one.get("policy") == "require")
    return (mode.findtext("model") or "").strip(), tuple(sorted(name for name in features if name))


def version(number: int) -> str:
    """Libvirt's 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
