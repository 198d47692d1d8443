"""VMs that the cluster says it is busy with, and nothing is at work on. Pure.

Nova writes the record of a move before it asks a compute for anything, so a server that has been "migrating" for long
without a record under way was left behind: by a compute that died, a message that was lost, a database put back.
Nothing ends such a state by itself, and no action is taken on the server until somebody resets it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from evac.jobs import Job
from evac.model import VM, Migration, Problem, VMState

if TYPE_CHECKING:
    from evac.fleet import Fleet

MOVE = 15 * 60.0
"""Seconds after which a move without a record is not merely late: Nova gives up its own calls after 60 to 1,800 s
(rpc_response_timeout, long_rpc_timeout), and a move that runs touches the server's record every few seconds."""

OTHER = 60 * 60.0
"""Seconds for any other task. None has a record, and a snapshot of a large disk may well take most of an hour."""

LATE: dict[VMState, float] = {VMState.MIGRATING: MOVE, VMState.BUILDING: OTHER}


class Stuck(Struct, frozen=True, kw_only=True):
    """A state that has lasted too long."""

    vm: VM
    since: float
    """Wall time at which the cluster last changed its record of the VM."""
    word: str
    """The platform's word for the task, or the state."""

    @property
    def problem(self) -> Problem:
        """As it is told."""
        where = f" Look on {self.vm.host} first" if self.vm.host else " Look first"
        return Problem(
            happened=f'{self.vm.name} is stuck: "{self.word}" for long, and nothing is reported to be at work on it.',
            unaffected="The guest itself may well run; no action is taken on it while it is in this state.",
            next_step=(
                f"{where.strip()} whether the guest runs and nothing still copies it. Then reset its state: to active "
                "if it runs there, to error if it does not."
            ),
            severity="warning",
        )


def busy(vm: VM) -> bool:
    """True for a VM that could be stuck: the only ones worth asking about."""
    return vm.state in LATE or bool(vm.task)


def stuck(vm: VM, job: Job | None, move: Migration | None, *, now: float) -> Stuck | None:
    """Whether a VM is stuck. `job`, `move`: what is under way with it, ours and as reported. `now`: wall time."""
    if (
        not busy(vm)
        or vm.state is VMState.DELETED
        or vm.updated is None
        or job is not None
        or move is not None
    ):
        return None
    moving = vm.state is VMState.MIGRATING or "migrating" in vm.task
    if now - vm.updated < (MOVE if moving else LATE.get(vm.state, OTHER)):
        return None
    return Stuck(vm=vm, since=vm.updated, word=vm.task or vm.native or vm.state.value)


def of_fleet(fleet: Fleet, now: float) -> list[Stuck]:
    """All there are, by cluster and name."""
    vms: Iterable[VM] = fleet.table("vms").values()
    suspects = sorted((vm for vm in vms if busy(vm)), key=lambda vm: (vm.cluster, vm.name, vm.id))
    if not suspects:
        return []
    jobs: Iterable[Job] = fleet.table("jobs").values()
    moves: Iterable[Migration] = fleet.table("migrations").values()
    ours = {
        f"{job.action.cluster}/{getattr(job.action, 'vm', '')}": job for job in jobs if not job.state.ended
    }
    theirs = {f"{move.cluster}/{move.vm}": move for move in moves if move.phase.active}
    found = (stuck(vm, ours.get(vm.key), theirs.get(vm.key), now=now) for vm in suspects)
    return [one for one in found if one is not None]
