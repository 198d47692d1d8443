"""Start and end the lab's daemons one by one, as a test or an admin does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from tests.real.ceph.layout import CONF, LAB, LOG, MGR, MGR_ID, MON, OSDS, RUN, osd
from tests.real.daemons import Daemons

DAEMONS = Daemons(RUN, LOG, cwd=LAB)
_GENTLE = ("nice", "-n", "5")
"""Before a daemon: what watches it comes first on a small machine."""


def environment() -> dict[str, str]:
    """Ours without anything that would lead Ceph elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CEPH_")}


def start_mon() -> None:
    """The monitor; its maps are on disk and outlive any kill."""
    DAEMONS.spawn(MON, [*_GENTLE, "ceph-mon", "-c", CONF, "-i", "a", "-f"], environment())


def start_mgr() -> None:
    """The manager; up to 9 s of CPU until its Python modules answer."""
    DAEMONS.spawn(MGR, [*_GENTLE, "ceph-mgr", "-c", CONF, "-i", MGR_ID, "-f"], environment())


def start_osds(numbers: Iterable[int] = OSDS) -> None:
    """Those that do not run."""
    for number in numbers:
        command = [*_GENTLE, "ceph-osd", "-c", CONF, "-i", number, "-f"]
        DAEMONS.spawn(osd(number), command, environment())


def stop_osds(numbers: Iterable[int]) -> None:
    """An orderly stop: a memstore writes itself to disk then, and to nothing else."""
    names = [osd(number) for number in numbers]
    for name in names:  # all at once, then collect
        DAEMONS.signal_only(name)
    for name in names:
        DAEMONS.end(name)


def kill(name: str) -> None:
    """SIGKILL: it crashes."""
    DAEMONS.end(name, signal.SIGKILL)
