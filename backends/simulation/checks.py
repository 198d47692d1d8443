"""What a checker of moves would say of a world. A few rules that are true here; no platform's own."""

from __future__ import annotations

from backends.simulation.things import SimHost, SimVM
from backends.simulation.world import World
from evac.model import MoveCheck, Outlook


def check_move(world: World, vm_id: str, target: str) -> MoveCheck:
    """One rule's word on one target: the worst there is."""
    vm, host = world.vm(vm_id), world.hosts.get(target)
    if host is None:
        why, fix = f"{target} is no host of this cluster", "Choose another."
        return MoveCheck(
            vm=vm_id, target=target, outlook=Outlook.UNKNOWN, rule="host", why=why, fix=fix, by="simulation"
        )
    outlook, rule, why, fix = _judge(world, vm, host)
    return MoveCheck(vm=vm_id, target=target, outlook=outlook, rule=rule, why=why, fix=fix, by="simulation")


def _judge(world: World, vm: SimVM, host: SimHost) -> tuple[Outlook, str, str, str]:
    if host.name == vm.host:
        return Outlook.FAIL, "host", "it is there already", "Choose another."
    if not world.host_up(host) or host.maintenance:
        return Outlook.FAIL, "host", "down or in maintenance", "Bring it back, or choose another."
    if host.memory - host.memory_used < vm.memory:
        return Outlook.FAIL, "memory", "not enough memory is free", "Choose another, or move something away."
    missing = set(world.hosts[vm.host].cpu_features) - set(host.cpu_features)
    if missing:
        why = f"its CPU lacks {', '.join(sorted(missing))}"
        return Outlook.RISK, "cpu", why, "Stop the guest and cold-migrate it."
    return Outlook.OK, "host", "", ""
