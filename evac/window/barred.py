"""What keeps a window from changing anything while it is as well as before: a read-only cluster, or one that is not there.

Nothing of it is a failure: it is said what is not done, what stays switched meanwhile, and what makes it go on. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from evac.fleet import Fleet
from evac.model import ClusterState
from evac.window.nouns import LedgerEntry
from evac.window.owed import phrase
from evac.window.told import Told, held

NAMED = 3
"""Things still switched that one line names; more are counted."""


def locked(state: ClusterState | None) -> str:
    """As "pve is read-only (config.toml sets read_only = true for this cluster)"; "" while it may be changed."""
    if state is None or not state.read_only:
        return ""
    return f"{state.name} is read-only" + (f" ({state.read_only_why})" if state.read_only_why else "")


def absent(fleet: Fleet, backends: Container[str], cluster: str) -> str:
    """As "pve is not in the config"; "" for one that is, whether it answers or not."""
    there = fleet.cluster(cluster) is not None or cluster in backends
    return "" if there else f"{cluster} is not in the config of this engine"


def barred(fleet: Fleet, backends: Container[str], cluster: str) -> Told | None:
    """Why nothing may be changed on a cluster now; None: it may."""
    if told := unlisted(fleet, backends, cluster):
        return told
    if why := locked(fleet.cluster(cluster)):
        return held(f"{why}: nothing new is ordered on it; what is under way there goes on", WRITABLE)
    return None


def unlisted(fleet: Fleet, backends: Container[str], cluster: str) -> Told | None:
    """Why nothing of a cluster can even be seen; None: it is in the config."""
    why = absent(fleet, backends, cluster)
    return held(f"{why}: nothing can be seen or done there", back_into(cluster)) if why else None


WRITABLE = "Take that back and restart the engine: it goes on by itself."


def back_into(cluster: str) -> str:
    """What to do about a cluster that is not there."""
    return f"Put {cluster} back into the config and restart the engine: it goes on by itself. Or leave the host out."


def still(ledger: Iterable[LedgerEntry], window: str, cluster: str = "") -> str:
    """As "still switched: pve-a1 in maintenance (L1)"; "" when a window has nothing switched (on a cluster)."""
    ours = (row for row in ledger if row.window == window and cluster in ("", row.cluster))
    owed = [row for row in ours if row.state.owed and row.calls]
    if not owed:
        return ""
    more = f" and {len(owed) - NAMED} more" if len(owed) > NAMED else ""
    return "still switched: " + ", ".join(f"{phrase(row)} ({row.id})" for row in owed[:NAMED]) + more
