"""Whether a cluster can do a kind of action, by what its backend told of itself. Pure."""

from __future__ import annotations

from evac.model import ClusterState


def able(state: ClusterState, kind: str) -> tuple[bool, str]:
    """Whether it can, and if not, why not. A kind that it does not name it cannot do; before it has told any, nothing is known."""
    if not state.capabilities:
        return True, ""
    found = next((entry for entry in state.capabilities if entry.action == kind), None)
    if found is None:
        return False, f"{state.name} cannot do this"
    return found.able, found.why_not
