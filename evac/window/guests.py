"""Which guests are still on a host, by two different reads: a poll that began since, and a look at each by its id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from evac.errors import BackendError
from evac.model import VM, VMState
from evac.window.at import At
from evac.window.moving import listed
from evac.window.plan import Fate, PlannedStay
from evac.window.told import Halt, held, running

PATIENCE = 30.0
"""Seconds that one look may take."""


async def guests_on(at: At, *, since: float) -> list[VM]:
    """What is on the host now, templates and the like aside. Raises Halt while it cannot be seen."""
    planned, fleet = at.planned, at.tools.fleet
    at.fresh(planned.cluster)
    if not at.polled(planned.cluster, since):
        raise Halt(running(f"{planned.cluster} is being read anew"))
    ids = (
        {vm.id for vm in at.vms()} | {move.vm for move in planned.moves} | {stay.vm for stay in planned.stays}
    )
    if not ids:
        return []
    stamp = at.tools.now()
    try:
        async with asyncio.timeout(PATIENCE):
            sights = await at.backend(planned.cluster).look(sorted(ids))
    except BackendError as error:
        raise Halt(held(f"cannot see what is on it: {error.problem.happened}")) from None
    except TimeoutError:
        raise Halt(held(f"{planned.cluster} did not answer within {PATIENCE:g} s")) from None
    seen = [sight.vm for sight in sights.values() if sight.vm is not None]
    gone = [f"{planned.cluster}/{vm}" for vm, sight in sights.items() if sight.vm is None]
    fleet.looked(seen, gone=gone, at=stamp)
    return sorted((vm for vm in seen if vm.host == planned.host and not vm.stays), key=lambda vm: vm.name)


def in_the_way(there: Iterable[VM], stays: Iterable[PlannedStay]) -> tuple[list[VM], list[VM]]:
    """Of the guests on a host: those that must leave first, and among them those a person wants to move himself. Pure."""
    fates = {stay.vm: stay.fate for stay in stays}
    blocking = [vm for vm in there if not _may_stay(vm, fates.get(vm.id, Fate.UNDECIDED))]
    return blocking, [vm for vm in blocking if fates.get(vm.id) is Fate.HOLD]


def _may_stay(vm: VM, fate: Fate) -> bool:
    return fate is Fate.LEAVE or (fate is Fate.STOP and vm.state is VMState.STOPPED)


def counted(there: Iterable[VM]) -> str:
    """In words: "guests 0", or with what is left on it by decision. Pure."""
    left = list(there)
    if not left:
        return "guests 0"
    stopped = [vm.name for vm in left if vm.state is VMState.STOPPED]
    others = [vm.name for vm in left if vm.state is not VMState.STOPPED]
    parts = [f"stopped: {listed(stopped)}"] if stopped else []
    parts += [f"left as decided: {listed(others)}"] if others else []
    return f"guests 0 to move ({'; '.join(parts)})"
