"""What other orders are doing already, so that a plan does not promise the same moves again. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from msgspec import Struct

from evac.actions import Action, Carrying, MoveStorage
from evac.fleet import Fleet
from evac.jobs import Job, Order
from evac.model import VM, Host


class Claims(Struct, frozen=True, kw_only=True):
    """The VMs of a host that orders not yet ended are moving."""

    vms: frozenset[str] = frozenset()
    """VM.id"""
    words: tuple[str, ...] = ()
    """One sentence per order."""
    goal_held: bool = False
    """True when one of these orders is itself judged by whether the host ends up empty."""

    def left(self, vms: Sequence[VM]) -> list[VM]:
        """Those that nobody is moving."""
        return [vm for vm in vms if vm.id not in self.vms]


def claims_on(fleet: Fleet, host: Host, vms: Sequence[VM]) -> Claims:
    """Which of these VMs of a host are in jobs that have not ended."""
    jobs = _moves(fleet, host.cluster)
    claimed = [jobs[vm.id] for vm in vms if vm.id in jobs]
    counts = Counter(job.order for job in claimed)
    orders = fleet.table("orders")
    return Claims(
        vms=frozenset(vm.id for vm in vms if vm.id in jobs),
        words=tuple(_words(count, order, orders) for order, count in counts.items()),
        goal_held=any(order in orders and orders[order].empties == host.key for order in counts),
    )


def _moves(fleet: Fleet, cluster: str) -> dict[str, Job]:
    return {
        job.action.vm: job
        for job in fleet.table("jobs").values()
        if not job.state.ended and job.action.cluster == cluster and _leaves(job.action)
    }


def _leaves(action: Action) -> TypeGuard[Carrying]:
    """Disks alone may move while the VM stays: such an order empties no host."""
    return isinstance(action, Carrying) and not (isinstance(action, MoveStorage) and not action.to)


def _words(count: int, order: str, orders: Mapping[str, Order]) -> str:
    name = f"{order} ({orders[order].title})" if order in orders else order
    subject = "1 VM is" if count == 1 else f"{count} VMs are"
    return f"{subject} already being moved by order {name}; left out here"
