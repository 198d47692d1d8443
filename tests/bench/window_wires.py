"""The wires of the site of `tests.bench.window`: APIs, Ceph's socket, and logins on loopback; and the config that names them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backends.ceph.simulator import CephSimulator
from backends.proxmox.simulator_shell import Door, Shell
from backends.simulation.sshd import Doors, Logins
from backends.vsphere.simulator import ADMIN, PASSWORD
from tests.bench.window_site import CEPH, NOVA, PVE, VC, Site

LIMITS = """
[limits]
total = 8
per_cluster = 8
per_source = 4
per_target = 4
[probe]
enabled = false
"""
PACE = "poll_interval = 1.0\nconnect_timeout = 3.0\nread_timeout = 4.0\nstale_after = 15.0\n"


@asynccontextmanager
async def served(site: Site, folder: Path) -> AsyncIterator[str]:
    """Listen; the text of the config. There is no login on the hosts of vSphere: a person restarts them."""
    socket = folder / "ceph.sock"
    async with (
        site.simulator.serve(nodes=["pve-a5", "pve-a6"]),
        site.cloud.serve(),
        site.vcenter.serve(),
        CephSimulator(site.ceph).serve(socket),
        Shell(site.simulator).serve(folder) as shell,
        Logins(site.pve).serve(folder, PVE) as onto_pve,
        Logins(site.nova).serve(folder, NOVA) as onto_nova,
        Logins(site.vc).serve(folder, VC),  # its machines follow the world's clock by it
    ):
        yield "".join(
            (
                LIMITS,
                _nova(site, folder, onto_nova),
                _ceph(socket),
                _vsphere(site, folder),
                _proxmox(site, folder, shell, onto_pve),
            )
        )


def _secret(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return f"file:{path}"


def _nova(site: Site, folder: Path, logins: Doors) -> str:
    clouds = folder / "clouds.yaml"
    clouds.write_text(json.dumps({"clouds": {"lab": site.cloud.cloud()}}))
    return f"""
[clusters.{NOVA}]
kind = "openstack"
cloud = "lab"
clouds_file = "{clouds}"
{PACE}{logins.table(NOVA)}"""


def _ceph(socket: Path) -> str:
    return f"""
[clusters.{CEPH}]
kind = "ceph"
carrier = "socket"
socket = "{socket}"
user = "client.evac"
write_user = "client.evac-rw"
{PACE}"""


def _vsphere(site: Site, folder: Path) -> str:
    return f"""
[clusters.{VC}]
kind = "vsphere"
server = "{site.vcenter.endpoint}"
username = "{ADMIN}"
password = "{_secret(folder / "vc.secret", PASSWORD)}"
fingerprint = "{site.vcenter.fingerprint}"
{PACE}"""


def _proxmox(site: Site, folder: Path, shell: Door, logins: Doors) -> str:
    ends = [f"https://{one}" for one in site.simulator.endpoints.values()]
    return f"""
[clusters.{PVE}]
kind = "proxmox"
endpoints = {json.dumps(ends)}
fingerprints = {json.dumps([site.simulator.fingerprint] * len(ends))}
token = "{site.simulator.token_id}"
token_secret = "{_secret(folder / "pve.secret", site.simulator.token)}"
{PACE}
[clusters.{PVE}.ssh]
host = "{shell.host}"
port = {shell.port}
user = "{shell.user}"
identity = "{shell.identity}"
known_hosts = "{shell.known_hosts}"
agent = false
{logins.table(PVE)}"""
