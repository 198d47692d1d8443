"""Back to how every test finds the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from tests.real.ceph.daemons import start_mgr, start_mon, start_osds, stop_osds
from tests.real.ceph.lab import settle
from tests.real.ceph.layout import OSDS, osds_of
from tests.real.ceph.witness import Witness

FAST = {"osd_recovery_sleep_hdd": "0", "osd_recovery_max_active_hdd": "10", "osd_max_backfills": "10"}
"""As fast as it goes."""
SLOW = {"osd_recovery_sleep_hdd": "1", "osd_recovery_max_active_hdd": "1", "osd_max_backfills": "1"}
"""A drain of 100 objects then takes most of a minute instead of some seconds."""


def restore(witness: Witness) -> None:
    """Every daemon runs, everything is in, no flag is set, every PG is active+clean."""
    start_mon()
    start_mgr()
    start_osds()
    witness.until("the OSDs are up", lambda: witness.up() == set(OSDS))
    pace(witness, FAST)
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


def stop(witness: Witness, host: str) -> None:
    """Stop the OSDs of a host; back when all PGs that lay there have peered without them and said so.

    A start in the midst of peering makes it begin anew: clean again after 30 s instead of 5.
    """
    gone = set(osds_of(host))
    groups = witness.ask("pg dump", dumpcontents=["pgs_brief"])["pg_stats"]
    untouched = sum(gone.isdisjoint(one["acting"]) for one in groups)
    stop_osds(gone)

    def peered() -> bool:
        found = witness.states()
        return found.pop("active+clean", 0) == untouched and all(
            "active+undersized" in state for state in found
        )

    witness.until(f"the PGs of {host} have peered", peered)


def pace(witness: Witness, settings: Mapping[str, str]) -> None:
    """How fast data is copied from now on: FAST or SLOW."""
    for name, value in settings.items():
        witness.ask("config set", who="osd", name=name, value=value)
