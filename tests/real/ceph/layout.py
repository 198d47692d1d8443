"""Where the Ceph lab lives, and what it is made of.

State goes to `.lab/ceph/` of the checkout (git-ignored), or to $EVAC_CEPH_LAB_DIR. Ports are chosen at each start from
those that are free, and written down in `lab.json`.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

REPO = Path(__file__).resolve().parents[3]
SERVICES = Path(__file__).resolve().parent / "services"

LAB = Path(os.environ.get("EVAC_CEPH_LAB_DIR") or REPO / ".lab" / "ceph").resolve()
RUN = LAB / "run"
LOG = LAB / "log"
CONF = LAB / "ceph.conf"
FACTS = LAB / "lab.json"
"""What was chosen at this start. Written last: while it is not there, the lab is not up."""
SSH = LAB / "ssh"
"""Host keys, the client's key, known_hosts."""

HOSTS = ("node01", "node02", "node03", "node04")
RACKS = {"rack1": HOSTS[:2], "rack2": HOSTS[2:]}
OSDS = {number: HOSTS[number % len(HOSTS)] for number in range(12)}
"""OSD → its CRUSH host: three on each."""

POOLS = tuple(f"pool{number:02d}" for number in range(1, 16))
PG_NUM = 128
SIZE = 3
ERASURE = "shards"
"""The erasure-coded pool: k=2, m=1 over hosts."""
ERASURE_PGS = 2
"""So few that the mean stays 480 PGs per OSD: (15 x 128 x 3 + 2 x 3) / 12 = 480.5, which Ceph rounds down."""
PGS = len(POOLS) * PG_NUM + ERASURE_PGS
MAX_PGS_PER_OSD = 300
OBJECTS = 400
"""Small objects in the first pool, so that a lost copy shows as degraded and a drain as work."""

ADMIN = "client.admin"
READER = "client.evac"
"""What watching needs: mon 'allow r' mgr 'allow r'."""
WRITER = "client.evac-rw"
"""Reader, and noout for a host."""
MON, MGR, SSHD = "mon", "mgr", "sshd"
MGR_ID = "x"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from start to start."""

    fsid: str
    mon_port: int
    ssh_port: int


def facts() -> Facts:
    """Of the lab that is up. Raises FileNotFoundError when none is."""
    return msgspec.json.decode(FACTS.read_bytes(), type=Facts)


def osd(number: int) -> str:
    """Name of the daemon."""
    return f"osd.{number}"


def osds_of(host: str) -> tuple[int, ...]:
    """Ids of the OSDs of a CRUSH host."""
    return tuple(number for number, home in OSDS.items() if home == host)


def keyring(name: str) -> Path:
    """File with the key of one client or daemon."""
    return LAB / f"{name}.keyring"
