"""What a move between two clusters needs of both: the far side's state for the check, the credential, the call, the look."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from evac.across import Crossing, Vault
from evac.actions import MoveAcross
from evac.admission import Ground
from evac.backend import Backend, MovesAcross, Receipt, ReceivesMoves
from evac.crossing import AGAIN, twins
from evac.errors import BackendError, Refused
from evac.fleet import Fleet
from evac.jobs import Job
from evac.model import VM, Problem
from evac.verdict import Look


class Bridge:
    """One per queue."""

    def __init__(self, fleet: Fleet, backends: Mapping[str, Backend], vault: Vault) -> None:
        self._fleet, self._backends, self._vault = fleet, backends, vault
        self._ready: dict[str, Crossing] = {}
        """Job → where it goes, as its target told at the check."""

    def far(self, action: MoveAcross) -> Backend:
        """The target's backend. Raises Refused where there is none, or it takes no VMs."""
        backend = self._backends.get(action.to_cluster)
        if backend is None:
            raise Refused(Problem(happened=f"no connection to {action.to_cluster} is set up"))
        return backend

    async def prepare(self, job: Job, action: MoveAcross, ground: Ground) -> Ground:
        """Read the far side. Raises BackendError."""
        far = self.far(action)
        if not isinstance(far, ReceivesMoves):
            raise Refused(Problem(happened=f"{action.to_cluster} takes no VMs from other clusters"))
        self._ready[job.id] = Crossing(
            destination=await far.destination(),
            host=action.to,
            storage=action.storage,
            networks=action.networks,
        )
        known = twins(action, self._rows(action))
        return replace(
            ground,
            target=await far.host(action.to),
            twins=tuple(known),
            credential=self._vault.get(action.credential, job.by.uid) is not None,
            datastore=self._fleet.datastore(action.to_cluster, action.storage),
        )

    def _rows(self, action: MoveAcross) -> list[VM]:
        return [vm for vm in self._fleet.table("vms").values() if vm.cluster == action.to_cluster]

    async def call(self, job: Job, action: MoveAcross, near: Backend) -> Receipt:
        """The one changing call. Raises as `evac.calls.call` does."""
        credential = self._vault.get(action.credential, job.by.uid)
        crossing = self._ready.pop(job.id, None)
        if credential is None or crossing is None or not isinstance(near, MovesAcross):
            happened = "the credential is no longer in memory"
            raise Refused(Problem(happened=happened, next_step=AGAIN))
        return await near.move_across(action.vm, crossing, credential)

    async def look(self, action: MoveAcross, look: Look) -> Look:
        """The same look, with what the far side shows now of the VM."""
        try:
            far = self.far(action)
            known = twins(action, self._rows(action))
            sights = await far.look([vm.id for vm in known]) if known else {}
        except BackendError as error:
            return replace(look, unseen=error.problem.happened)
        found = twins(action, [sight.vm for sight in sights.values() if sight.vm is not None])
        return replace(look, there=found[0] if found else None)
