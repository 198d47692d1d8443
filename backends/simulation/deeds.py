"""The rest of what can be done to a world: power, states, maintenance, and the blows of fate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation.faults import Kind
from backends.simulation.live import vm_state
from backends.simulation.things import Denied, SimAction, SimHost, SimVM
from evac.model import VMState

if TYPE_CHECKING:
    from backends.simulation.world import World


def start(world: World, vm_id: str, *, request: str = "", user: str = "admin") -> SimAction:
    """Power on. Raises Denied."""
    return _power(world, vm_id, "start", VMState.STOPPED, request=request, user=user)


def stop(world: World, vm_id: str, *, request: str = "", user: str = "admin") -> SimAction:
    """Shut down. Raises Denied. On a dead host the task stays for ever, as on Nova."""
    return _power(world, vm_id, "stop", VMState.RUNNING, request=request, user=user)


def _power(world: World, vm_id: str, verb: str, needs: VMState, *, request: str, user: str) -> SimAction:
    vm = world.vm(vm_id)
    if vm.state not in (needs, VMState.ERROR if verb == "stop" else needs):
        raise Denied(409, f"Cannot '{verb}' instance {vm_id} while it is in vm_state {vm_state(vm)}")
    if vm.task:
        raise Denied(409, f"Cannot '{verb}' instance {vm_id} while it is in task_state {vm.task}")
    fault = world.strike(verb, vm)
    action = world.new_action(vm, verb, f"compute_{verb}_instance", request=request, user=user)
    vm.task = "powering-on" if verb == "start" else "powering-off"
    world.touch(vm)
    if fault is None or fault.kind not in (Kind.STUCK, Kind.NEVER_STARTS):
        world.later(world.timing.power, lambda: _powered(world, vm, verb, action))
    return action


def _powered(world: World, vm: SimVM, verb: str, action: SimAction) -> None:
    if vm.id not in world.vms or not world.hosts[vm.host].alive or not vm.task.startswith("powering"):
        return
    on = verb == "start"
    if not on:
        world.live.interrupt(vm.id)
    vm.state = VMState.RUNNING if on else VMState.STOPPED
    vm.power = "running" if on else "shutdown"
    vm.runs_on = vm.host if on else ""
    vm.task = ""
    world.end_action(action)
    world.touch(vm)
    world.note("started guest" if on else "stopped guest", vm, host=vm.host)


def reset_state(
    world: World, vm_id: str, to: str, *, request: str = "", user: str = "admin"
) -> SimAction | None:
    """Overwrite the database's state, and its task with it; no guest changes. Raises Denied for a bad word."""
    if to not in ("active", "error"):
        raise Denied(
            400,
            f"Invalid input for field/attribute state. Value: {to}. '{to}' is not one of ['active', 'error']",
        )
    vm = world.vm(vm_id)
    fault = world.strike("reset_state", vm)
    action = world.new_action(vm, "reset-state", "reset_state", request=request, user=user)
    if fault is None or fault.kind is not Kind.NEVER_STARTS:
        vm.state = VMState.RUNNING if to == "active" else VMState.ERROR
        vm.task = ""
        vm.fault = "" if to == "active" else vm.fault
        if vm.resized_from:
            world.release(world.hosts[vm.resized_from], vm)
            vm.resized_from = ""
        world.touch(vm)
    world.end_action(action)
    world.note("reset", vm, host=vm.host, text=to)
    return action


def maintain(world: World, name: str, *, on: bool, reason: str = "") -> SimHost:
    """Take a host away from the scheduler, or give it back."""
    host = world.host(name)
    host.maintenance = on
    host.reason = reason if on else ""
    host.changed = world.time
    world.note("maintenance" if on else "back in service", host=name, text=reason)
    return host


def turn(world: World, switch_id: str, was: str, to: str) -> None:
    """Turn a switch that still has the value `was`. Raises Denied."""
    switch = world.switches.get(switch_id)
    if switch is None:
        raise Denied(404, f"There is no switch {switch_id}.")
    if switch.value != was:
        raise Denied(409, f"{switch.name} is {switch.value}, and not {was}.")
    fault = world.strike("turn_switch")
    if fault is None or fault.kind is not Kind.NEVER_STARTS:
        switch.value = to
    world.note("turned", text=f"{switch.name}: {was} → {to}")


def force_down(world: World, name: str, *, down: bool) -> SimHost:
    """Declare a host dead, or take that back. Raises Denied."""
    host = world.host(name)
    if not down and world.evacuations.unfinished(name):
        raise Denied(
            400,
            f"Unable to force up host {name} as `done` evacuation migration records remain associated with the host. "
            "Ensure the compute service has been restarted, allowing these records to move to `completed` before "
            "retrying this request.",
        )
    host.forced_down = down
    host.changed = world.time
    world.note("forced down" if down else "no longer forced down", host=name)
    return host


def kill(world: World, name: str) -> None:
    """The machine loses power: every guest on it is gone and its agent falls silent."""
    world.advance()
    host = world.hosts[name]
    host.alive = False
    stop_agent(world, name)
    for vm in world.vms.values():
        if vm.runs_on == name:
            vm.runs_on = ""
    world.note("killed", host=name)
    world.live.host_died(name)
    for listener in world.power_listeners:
        listener(host)


def revive(world: World, name: str) -> None:
    """The machine is back: its agent starts and guests the database still places here are started again."""
    world.advance()
    host = world.hosts[name]
    host.alive = True
    host.machine.boot(world.time)
    world.note("revived", host=name)
    start_agent(world, name)
    for vm_id in sorted(host.vms):
        vm = world.vms[vm_id]
        if vm.state is VMState.RUNNING and not vm.task:
            vm.runs_on = name
    for listener in world.power_listeners:
        listener(host)


def stop_agent(world: World, name: str) -> None:
    """Only the agent stops; guests go on. After service_down_time the cluster takes the host for dead."""
    world.advance()
    host = world.hosts[name]
    if host.agent:
        host.agent = False
        host.lost = world.time


def start_agent(world: World, name: str) -> None:
    """The agent runs again and tidies up."""
    world.advance()
    world.hosts[name].agent = True
    world.evacuations.host_returned(name)
    world.live.agent_restarted(name)
