"""Where the lab lives and on which loopback ports. Only the standard library: any Python 3.11 runs it.

State goes to `.lab/openstack/` of the checkout (git-ignored), or to $EVAC_LAB_DIR. The ports can be moved with
EVAC_LAB_PORTS="nova=28774,keystone=25000". Both are written into the databases at `init`: to change them, destroy
the lab and bring it up again.
"""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
SERVICES = HERE / "services"
CONSTRAINTS = HERE / "constraints.txt"

ROOT = Path(os.environ.get("EVAC_LAB_DIR") or REPO / ".lab" / "openstack").resolve()
SVC = ROOT / "svc"
"""The virtual environment of Nova, Keystone, Placement, Glance and Masakari."""
LAB = ROOT / "lab"
"""All state: databases, queues, images, what the computes believe to run."""
RUN = LAB / "run"
LOG = LAB / "log"
CONTROL = LAB / "control"
"""Files by which a test steers the computes: lm_seconds, lm_fail, <host>.json."""
CLOUDS = LAB / "clouds.yaml"
READY = LAB / "initialised"

HOSTS = ("cmp01", "cmp02", "cmp03", "cmp04")
PASSWORD = "labpw"
"""Of a lab that listens on loopback only."""

_DEFAULT_PORTS = {
    "mysql": 13306,
    "epmd": 14369,
    "amqp": 15673,
    "edist": 15674,
    "keystone": 15000,
    "placement": 18778,
    "glance": 19292,
    "nova": 18774,
    "neutron": 19696,
    "masakari": 25868,
}


def _ports(text: str) -> dict[str, int]:
    """The default ports, with those named in `text` replaced. Raises ValueError on a name that is none."""
    ports = dict(_DEFAULT_PORTS)
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = item.partition("=")
        if name not in ports:
            raise ValueError(f"EVAC_LAB_PORTS: no port is called {name!r}; choose from {', '.join(ports)}")
        ports[name] = int(number)
    return ports


PORTS = _ports(os.environ.get("EVAC_LAB_PORTS", ""))
URL = {name: f"http://127.0.0.1:{port}" for name, port in PORTS.items()}


def database(name: str) -> str:
    """SQLAlchemy address of one of the seven databases. TCP, since a socket path can be too long for the kernel."""
    return f"mysql+pymysql://root@127.0.0.1:{PORTS['mysql']}/{name}?charset=utf8mb4"
