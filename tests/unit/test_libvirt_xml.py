"""What is read out of a domain's, a pool's and a host's XML, and out of job statistics."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.libvirt import domainxml, hostxml, jobstats
from backends.libvirt.domainxml import NoDomain

DOMAIN = """<domain type='kvm'>
  <name>db1</name><uuid>00000000-0000-4000-9000-000000000003</uuid><title>orders</title>
  <memory unit='GiB'>4</memory><currentMemory unit='MiB'>2048</currentMemory>
  <vcpu current='2'>4</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/var/lib/libvirt/qemu/nvram/db1.fd</nvram></os>
  <cpu mode='custom' match='exact'><model>Westmere</model></cpu>
  <devices>
    <disk type='file' device='disk'><source file='/srv/nfs/db1.qcow2'/><target dev='vda'/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='vms/db1'/><target dev='vdb'/></disk>
    <disk type='block' device='disk'><source dev='/dev/vg0/db1'/><target dev='vdc'/></disk>
    <disk type='volume' device='disk'><source pool='gold' volume='db1'/><target dev='vdd'/></disk>
    <disk type='file' device='cdrom'><source file='/iso/debian.iso'/><target dev='sda'/><readonly/></disk>
    <tpm model='tpm-crb'><backend type='emulator'/></tpm>
    <hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source></hostdev>
    <hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/></source></hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883'/></source></hostdev>
    <interface type='bridge'><mac address='52:54:00:AB:00:01'/><source bridge='br0'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
  </devices>
</domain>"""


def test_a_domain_is_read_with_its_units_and_disks() -> None:
    read = domainxml.parse(DOMAIN)
    assert (read.name, read.uuid, read.title) == ("db1", "00000000-0000-4000-9000-000000000003", "orders")
    assert (read.memory, read.vcpus) == (2 << 30, 2)
    assert (read.virt_type, read.arch, read.machine, read.cpu_mode) == (
        "kvm",
        "x86_64",
        "pc-q35-7.2",
        "custom",
    )
    assert "Westmere" in read.cpu
    assert [disk.target for disk in read.disks] == ["vda", "vdb", "vdc", "vdd"]
    assert (read.has_tpm, read.has_agent) == (True, True)
    assert read.nvram == "/var/lib/libvirt/qemu/nvram/db1.fd"


def test_what_a_guest_has_of_its_host_and_in_its_drives_is_named() -> None:
    read = domainxml.parse(DOMAIN)
    assert read.devices == ("pci 0000:3b:00.1", "usb 046d:c52b", "mdev c2177883")
    assert read.macs == ("52:54:00:ab:00:01",)
    assert read.media == ("/iso/debian.iso",)
    assert read.cpu_name == "Westmere"
    passed = domainxml.parse("<domain><name>a</name><uuid>u</uuid><cpu mode='host-passthrough'/></domain>")
    assert (passed.cpu_name, passed.devices, passed.media) == ("host-passthrough", (), ())


def test_a_disk_is_local_unless_its_folder_its_pool_or_its_kind_says_otherwise() -> None:
    read = domainxml.parse(DOMAIN)
    assert [disk.target for disk in domainxml.local_parts(read, (), ())] == ["vda", "vdc", "vdd"]
    assert [disk.target for disk in domainxml.local_parts(read, ("/srv/nfs/",), ("gold",))] == ["vdc"]
    assert [disk.target for disk in domainxml.local_parts(read, ("/srv/nf",), ())] == ["vda", "vdc", "vdd"]
    assert domainxml.local_parts(read, (), ("/srv/nfs", "/dev/vg0", "gold")) == []


@pytest.mark.parametrize("text", ["", "<a>", "<pool/>", "<domain><name>x</name></domain>", "no xml"])
def test_what_is_no_domain_is_said_so(text: str) -> None:
    with pytest.raises(NoDomain):
        domainxml.parse(text)


@pytest.mark.parametrize(
    ("unit", "size"), [("KiB", 1 << 10), ("b", 1), ("MB", 10**6), ("GiB", 1 << 30), ("KB", 10**3)]
)
def test_memory_is_bytes_whatever_its_unit(unit: str, size: int) -> None:
    text = f"<domain><name>x</name><uuid>u</uuid><memory unit='{unit}'>8</memory></domain>"
    assert domainxml.parse(text).memory == 8 * size


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_xml(text: str) -> None:
    hostxml.parse(text)
    hostxml.host_cpu(text)
    domainxml.shared_pool(text)
    try:
        domainxml.parse(text)
    except NoDomain:
        return


@pytest.mark.parametrize(
    ("kind", "shared"), [("netfs", True), ("rbd", True), ("dir", False), ("logical", False), ("fs", False)]
)
def test_a_pool_is_shared_only_if_its_kind_lies_outside_the_host(kind: str, shared: bool) -> None:
    text = f"<pool type='{kind}'><name>gold</name><target><path>/srv/gold</path></target></pool>"
    pool = domainxml.shared_pool(text)
    assert (pool is not None) is shared
    assert pool is None or (pool.name, pool.path) == ("gold", "/srv/gold")


def test_a_host_is_read_from_its_capabilities() -> None:
    read = hostxml.parse(
        "<capabilities><host><uuid>h1</uuid><cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor>"
        "<feature name='x2apic'/><feature name='acpi'/></cpu></host>"
        "<guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>"
    )
    assert (read.uuid, read.cpu_model, read.cpu_vendor) == ("h1", "EPYC", "AMD")
    assert read.cpu_features == ("acpi", "x2apic")
    assert read.virt_types == ("kvm", "qemu")
    assert hostxml.version(10_000_002) == "10.0.2"


SENDING: dict[str, Any] = {
    "type": 2, "operation": 5, "time_elapsed": 8042, "memory_total": 201_000_000, "memory_processed": 556_000_000,
    "memory_remaining": 12_000_000, "memory_page_size": 4096, "memory_dirty_rate": 5000, "memory_iteration": 4,
    "downtime": 2166, "disk_total": 0,
}  # fmt: skip


def test_figures_of_a_job_are_bytes_and_seconds() -> None:
    job = jobstats.parse(SENDING)
    assert job is not None
    assert (job.memory_total, job.memory_remaining) == (201_000_000, 12_000_000)
    assert job.dirty_rate == 5000 * 4096
    assert (job.elapsed, job.downtime) == (8.042, 2.166)
    assert job.disk_total is None
    assert job.leaving
    assert jobstats.words(job) == "pass 4, the guest writes 20 MB/s, expected pause 2.2 s"


def test_a_job_that_has_just_begun_has_no_figures_rather_than_zeros() -> None:
    job = jobstats.parse({"type": 2, "operation": 5, "memory_total": 0, "memory_remaining": 0})
    assert job is not None
    assert (job.memory_total, job.memory_remaining, job.counted) == (None, None, False)
    assert jobstats.words(job) == "setting up"


def test_while_disks_are_copied_the_memory_is_still_to_come() -> None:
    copying = jobstats.parse(
        {"type": 2, "operation": 5, "memory_total": 0, "disk_total": 32, "disk_processed": 16}
    )
    sending, over = jobstats.parse(SENDING), jobstats.parse({"type": 2, "operation": 5, "memory_total": 0})
    assert copying is not None
    assert sending is not None
    assert over is not None
    assert (copying.copying, sending.copying) == (True, False)
    assert jobstats.words(copying) == "copying its disks, then its memory"
    assert [jobstats.is_news(job, None) for job in (over, copying, sending)] == [True, True, True]
    assert [jobstats.is_news(job, sending) for job in (over, copying, sending)] == [False, False, True]
    assert [jobstats.is_news(job, copying) for job in (over, copying, sending)] == [False, True, True]


def test_no_job_is_no_job() -> None:
    assert jobstats.parse({"type": 0}) is None
    assert jobstats.parse({}) is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(SENDING)), st.one_of(st.integers(), st.text(), st.none(), st.booleans())
    )
)
def test_no_nonsense_in_statistics_breaks_them(stats: dict[str, Any]) -> None:
    job = jobstats.parse(stats)
    assert job is None or jobstats.words(job)
    jobstats.summary(job)
