"""How VMs would go to another cluster, as the engine is asked about it. No widget, no terminal."""

from __future__ import annotations

from msgspec import Struct


class Across(Struct, frozen=True, kw_only=True):
    """How VMs would go to another cluster; as in `evac.actions.MoveAcross`."""

    to_cluster: str
    storage: str = ""
    networks: tuple[tuple[str, str], ...] = ()
    credential: str = ""
    """Handle; "": evac's rules alone judge it."""
