"""An engine that drives the lab's hosts, running where they and their guests can be reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from evac.api import Delta
from evac.jobs import Job
from evac.model import VM
from evac.probe import Felt
from tests.real.libvirt.layout import HOSTS, guest_address, guest_uuid, ssh_uri, uri
from tests.real.libvirt.wires import AS_OPERATOR
from tests.real.libvirt.witness import HOME
from tests.real.rig import CLUSTER, EngineRig

GRACE = 2
"""Seconds a guest is watched closely after its move."""
LIMIT = 30
"""Seconds of outage after which a move has failed: on a machine at load 14 a guest without KVM was truly out for 1.35 s."""


URIs = Mapping[str, tuple[str, str]]
"""Host → how evac reaches it, and how the other hosts do."""


def plain() -> URIs:
    """By tcp."""
    return {host: (uri(host), uri(host)) for host in HOSTS}


def by_ssh(command: Path) -> URIs:
    """By that ssh command. Peers reach each other by tcp: the lab's hosts have no keys for one another."""
    return {host: (ssh_uri(host, command), uri(host)) for host in HOSTS}


def _hosts(uris: URIs) -> str:
    return "\n".join(
        f'[[clusters.{CLUSTER}.hosts]]\nname = "{host}"\nuri = "{own}"\npeer_uri = "{peer}"'
        for host, (own, peer) in uris.items()
    )


class KVMRig(EngineRig):
    """One engine with one cluster: three hosts by qemu+tcp, which their network of their own makes safe."""

    enter = AS_OPERATOR

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        extra: str = "",
        uris: URIs | None = None,
        probe: str = "",
        cluster: str = "",
    ) -> None:
        """`extra`: more tables; `probe`, `cluster`: more lines of [probe] and of the cluster; `uris`: instead of plain tcp."""
        text = f"""{extra}
[probe]
grace = {GRACE}
limit = {LIMIT}
{probe}
{_rules()}
[clusters.{CLUSTER}]
kind = "libvirt"
allow_plain_tcp = true
poll_interval = 2
connect_timeout = 2
read_timeout = 10
read_only = {str(read_only).lower()}
{cluster}
{_hosts(uris or plain())}
"""
        super().__init__(folder, text)

    def known(self, delta: Delta) -> bool:
        """True once its guests are there, those of every host: on a busy machine one answers later than another."""
        return super().known(delta) and HOME.keys() <= {one.name for one in delta.vms}


def _rules() -> str:
    """A guest without DHCP and agent has no address that libvirt knows: the admin says it."""
    names = ("web1", "web2", "db1", "cache1", "odd1")
    return "\n".join(f'[[probe.rules]]\nname = "{name}"\naddress = "{guest_address(name)}"' for name in names)


def vm(delta: Delta, name: str) -> VM:
    """The guest of that name."""
    (found,) = [one for one in delta.vms if one.id == guest_uuid(name)]
    return found


async def measured(rig: KVMRig, jobs: Iterable[Job]) -> list[Job]:
    """These jobs once what their guests felt has been recorded: for one that was cancelled, some seconds after its end."""
    return [
        await rig.job(job.id, "it says what was felt", lambda one: bool(one.felt_words), 30) for job in jobs
    ]


def felt(jobs: Iterable[Job], name: str) -> Felt:
    """What that guest felt, by the job that moved it."""
    (job,) = [one for one in jobs if getattr(one.action, "vm", "") == guest_uuid(name)]
    assert job.felt, f"{name}: nothing was recorded: {job.felt_words}"
    (found,) = [one for one in job.felt if one.address == guest_address(name)]
    return found
