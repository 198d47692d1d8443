"""Back to how every test finds the cluster."""

from __future__ import annotations

from tests.real.ceph.daemons import start_mgr, start_mon, start_osds
from tests.real.ceph.lab import settle
from tests.real.ceph.layout import OSDS
from tests.real.ceph.witness import Witness

_SLOW = {"osd_recovery_sleep_hdd": "1", "osd_recovery_max_active_hdd": "1"}
"""A drain of 50 objects then takes a minute instead of a second."""


def restore(witness: Witness) -> None:
    """Every daemon runs, everything is in, no flag is set, every PG is active+clean."""
    start_mon()
    start_mgr()
    start_osds()
    witness.until("the OSDs are up", lambda: witness.up() == set(OSDS))
    hurry(witness)
    out = [str(one["osd"]) for one in witness.ask("osd dump")["osds"] if not one["in"]]
    if out:
        witness.ask("osd in", ids=out)
    for node in witness.node_flags():
        witness.ask("osd unset-group", flags="noup,nodown,noin,noout", who=[node])
    for flag in witness.ask("osd dump")["flags_set"]:
        if flag in ("noout", "norebalance", "nobackfill", "norecover"):
            witness.ask("osd unset", key=flag)
    witness.until("a manager", lambda: bool(witness.ask("mgr dump")["available"]))
    settle(witness)


def peered(witness: Witness) -> None:
    """Until every PG knows who holds it."""
    passing = ("peering", "activating", "unknown", "creating")
    witness.until(
        "the PGs have peered",
        lambda: not any(word in state for state in witness.states() for word in passing),
    )


def dawdle(witness: Witness) -> None:
    """From now on data is copied slowly, one object at a time."""
    for name, value in _SLOW.items():
        witness.ask("config set", who="osd", name=name, value=value)


def hurry(witness: Witness) -> None:
    """As fast as it goes."""
    for name in _SLOW:
        witness.ask("config rm", who="osd", name=name)
