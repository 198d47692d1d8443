"""A look at several VMs of which one makes no sense."""

from __future__ import annotations

from collections.abc import Sequence

from evac.backend import Backend, HasSwitches
from evac.errors import BackendError, BadAnswer
from evac.model import Sighting, Switch

MOST_SENSELESS = 5
"""VMs asked for alone without one answer that makes sense, before it is put down to the cluster."""


async def one_by_one(
    backend: Backend, vms: Sequence[str]
) -> tuple[dict[str, Sighting], dict[str, BackendError]]:
    """A look at each alone, when one of them makes no sense: it must not hide the others.

    Raises:
        BadAnswer: none can be seen, so it is the cluster.
    """
    sights: dict[str, Sighting] = {}
    unseen: dict[str, BackendError] = {}
    for vm in vms:
        try:
            sights |= await backend.look([vm])
        except BadAnswer as error:
            unseen[vm] = error
            if not sights and len(unseen) in (len(vms), MOST_SENSELESS):
                raise
    return sights, unseen


async def switches_of(backend: Backend) -> dict[str, Switch]:
    """A fresh look at the switches of a cluster, by id; none where it has no such thing."""
    if not isinstance(backend, HasSwitches):
        return {}
    return {one.id: one for one in await backend.switches()}
