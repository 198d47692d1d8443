"""An engine that drives the lab's hosts, running where they and their guests can be reached."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evac.api import Delta
from evac.jobs import Job
from evac.model import VM
from evac.probe import Felt
from tests.real.libvirt.layout import HOSTS, guest_address, guest_uuid, uri
from tests.real.libvirt.wires import AS_OPERATOR
from tests.real.rig import CLUSTER, EngineRig

GRACE = 2
"""Seconds a guest is watched closely after its move."""


def _hosts() -> str:
    return "\n".join(f'[[clusters.{CLUSTER}.hosts]]\nname = "{host}"\nuri = "{uri(host)}"' for host in HOSTS)


class KVMRig(EngineRig):
    """One engine with one cluster: three hosts by qemu+tcp, which their network of their own makes safe."""

    enter = AS_OPERATOR

    def __init__(
        self, folder: Path, *, read_only: bool = False, table: str = "", hosts: str = "", probe: str = ""
    ) -> None:
        """`table`: more lines of the cluster's table; `hosts`: instead of the three; `probe`: more of [probe]."""
        text = f"""[probe]
grace = {GRACE}
{probe}
{_rules()}
[clusters.{CLUSTER}]
kind = "libvirt"
allow_plain_tcp = true
poll_interval = 2
connect_timeout = 2
read_timeout = 10
read_only = {str(read_only).lower()}
{table}
{hosts or _hosts()}
"""
        super().__init__(folder, text)

    def known(self, delta: Delta) -> bool:
        """True once its guests are there."""
        return super().known(delta) and bool(delta.vms)


def _rules() -> str:
    """A guest without DHCP and agent has no address that libvirt knows: the admin says it."""
    names = ("web1", "web2", "db1", "cache1", "odd1")
    return "\n".join(f'[[probe.rules]]\nname = "{name}"\naddress = "{guest_address(name)}"' for name in names)


def vm(delta: Delta, name: str) -> VM:
    """The guest of that name."""
    (found,) = [one for one in delta.vms if one.id == guest_uuid(name)]
    return found


def felt(jobs: Iterable[Job], name: str) -> Felt:
    """What that guest felt, by the job that moved it."""
    (job,) = [one for one in jobs if getattr(one.action, "vm", "") == guest_uuid(name)]
    assert job.felt, f"{name}: nothing was recorded: {job.felt_words}"
    (found,) = [one for one in job.felt if one.address == guest_address(name)]
    return found
