"""What a vCenter does by itself: evacuation of a host that enters maintenance, and restarts after a host has died."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from backends.simulation import deeds, scheduler
from backends.simulation.faults import Kind
from backends.simulation.things import Denied, SimHost, SimVM
from backends.vsphere.simulator_checks import Wish
from backends.vsphere.simulator_drs import Balancing
from backends.vsphere.simulator_facts import power_state
from backends.vsphere.simulator_moves import DRS, Moves
from backends.vsphere.simulator_power import Power
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_tasks import SimTask, Tasks
from backends.vsphere.simulator_wire import Ask, Handler, Objects, gone
from evac.model import VMState

HA_DELAY = 5.0
"""Seconds between the moment a host is given up and the restarts that vSphere HA begins."""


class Duty:
    """Maintenance mode, the part of DRS that empties hosts, and HA."""

    def __init__(self, objects: Objects, tasks: Tasks, moves: Moves, power: Power) -> None:
        self._objects = objects
        self._tasks = tasks
        self._moves = moves
        self._power = power
        objects.world.power_listeners.append(self._power_changed)

    @property
    def _site(self) -> Site:
        return self._objects.site

    def balance(self) -> None:
        """DRS that is fully automated truly moves VMs from now on, also where no host enters maintenance mode."""
        Balancing(self._site, self._moves)

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "EnterMaintenanceMode_Task": self._enter,
            "ExitMaintenanceMode_Task": self._exit,
            "ReconfigureComputeResource_Task": self._reconfigure,
        }

    # --- clusters --------------------------------------------------------------------------------

    def _reconfigure(self, ask: Ask) -> Ref:
        """Of a cluster's config only the automation level of DRS is known here; what is unset stays."""
        ask.want(ask.this, "Host.Inventory.EditCluster")
        zone = self._site.zone(ask.this)
        if not zone or ask.this.type != "ClusterComputeResource":
            raise gone(ask.this)
        task = self._tasks.start(ask.this, "ComputeResource.reconfigureEx", ask.login.account.name)
        drs = ask.args["spec"].get("drsConfig")
        level = drs.get("defaultVmBehavior") if drs is not None else None
        strikes = self._objects.world.strike("turn_switch")
        if level and not (strikes is not None and strikes.kind is Kind.NEVER_STARTS):
            plan = self._site.plans[zone]
            self._objects.world.note("turned", text=f"DRS of {zone}: {plan.level} → {level}")
            plan.level = level
        self._tasks.succeed(task)
        return task.ref

    # --- maintenance mode ------------------------------------------------------------------------

    def _host(self, ref: Ref) -> SimHost:
        found = self._site.host(ref)
        if found is None:
            raise gone(ref)
        return found

    def _enter(self, ask: Ask) -> Ref:
        host = self._host(ask.this)
        ask.want(ask.this, "Host.Config.Maintenance")
        site = self._site
        task = self._tasks.start(ask.this, "HostSystem.enterMaintenanceMode", ask.login.account.name)
        if host.maintenance:
            message = "The operation is not allowed in the current state."
            self._tasks.fail(task, Data("InvalidState", msg=message))
        elif not site.connected(host):
            message = "Unable to communicate with the remote host, since it is disconnected."
            self._tasks.fail(task, Data("InvalidHostConnectionState", msg=message, host=ask.this))
        else:
            site.entering.add(host.name)
            deeds.maintain(site.world, host.name, on=True, reason=task.key)
            self._stop_agents(host)
            guests = len(self._left(host))
            limit = ask.args.get("timeout") or 0
            off = bool(ask.args.get("evacuatePoweredOffVms"))
            task.follow = partial(self._proceed, host=host, guests=guests, limit=limit, off=off)
            task.cancel = lambda one: self._stay(one, host)
            task.follow(task)
        return task.ref

    def _left(self, host: SimHost) -> list[SimVM]:
        """Powered-on VMs that must leave."""
        vms = [self._objects.world.vms[vm_id] for vm_id in sorted(host.vms)]
        return [vm for vm in vms if power_state(vm) != "poweredOff"]

    def _proceed(self, task: SimTask, *, host: SimHost, guests: int, limit: int, off: bool) -> None:
        site = self._site
        if host.name not in site.entering:
            self._tasks.cancelled(task)
            return
        left = self._left(host)
        waiting = list(left)
        if off:
            waiting += [site.world.vms[one] for one in sorted(host.vms) if site.world.vms[one] not in left]
        plan = site.plan(host)
        if plan.drs and plan.level == "fullyAutomated":
            self._evacuate(waiting, host, task)
        moving_here = any(move.target == host.name for move in site.world.live.open_moves())
        if not left and not moving_here and (not off or not waiting or plan.level != "fullyAutomated"):
            site.entering.discard(host.name)
            self._tasks.succeed(task)
            return
        task.progress = min(99, 100 * max(0, guests - len(left)) // max(1, guests))
        if 0 < limit <= site.world.time - task.queued:
            self._give_up(host)
            self._tasks.fail(task, Data("Timedout", msg="Operation timed out."))

    def _evacuate(self, vms: list[SimVM], host: SimHost, task: SimTask) -> None:
        """DRS moves each VM once; what failed is not tried again, as DRS leaves it to the admin."""
        known = {one.entity for one in self._tasks.all if one.parent == task.key}
        for vm in vms:
            if self._site.vm_ref(vm.id) in known or self._site.trait(vm).agent:
                continue
            rated = self._moves.rated(vm, host.zone)
            if not rated:
                continue
            # what is under way has not arrived, but it has its place: spread over all that would do
            target = rated[len(known) % len(rated)]
            wish = Wish(vm, target, self._site.home(vm), self._site.trait(vm).networks)
            self._moves.begin(wish, DRS, "", parent=task.key)
            known.add(self._site.vm_ref(vm.id))

    def _stay(self, task: SimTask, host: SimHost) -> None:
        self._give_up(host)
        self._tasks.cancelled(task)

    def _give_up(self, host: SimHost) -> None:
        self._site.entering.discard(host.name)
        deeds.maintain(self._objects.world, host.name, on=False)
        self._start_agents(host)

    def _exit(self, ask: Ask) -> Ref:
        host = self._host(ask.this)
        ask.want(ask.this, "Host.Config.Maintenance")
        task = self._tasks.start(ask.this, "HostSystem.exitMaintenanceMode", ask.login.account.name)
        if not self._site.in_maintenance(host):
            message = "The operation is not allowed in the current state."
            self._tasks.fail(task, Data("InvalidState", msg=message))
        else:
            deeds.maintain(self._objects.world, host.name, on=False)
            self._start_agents(host)
            self._tasks.succeed(task)
        return task.ref

    def _agents(self, host: SimHost) -> list[SimVM]:
        vms = [self._objects.world.vms[vm_id] for vm_id in sorted(host.vms)]
        return [vm for vm in vms if self._site.trait(vm).agent]

    def _stop_agents(self, host: SimHost) -> None:
        """VCenter takes its own vCLS VMs out of the way by itself."""
        for vm in self._agents(host):
            if power_state(vm) == "poweredOn":
                self._power.stop(vm, "")

    def _start_agents(self, host: SimHost) -> None:
        for vm in self._agents(host):
            if power_state(vm) == "poweredOff":
                self._power.start(vm, "")

    # --- high availability -----------------------------------------------------------------------

    def _power_changed(self, host: SimHost) -> None:
        world = self._objects.world
        if not host.alive:
            world.later(world.timing.service_down + HA_DELAY, lambda: self._restart(host))

    def _restart(self, host: SimHost) -> None:
        site, world = self._site, self._objects.world
        site.sync()
        if host.alive or not site.plan(host).ha:
            return
        promised: dict[str, int] = {}
        for vm_id in sorted(host.vms):
            vm = world.vms[vm_id]
            if vm.state is not VMState.RUNNING or site.trait(vm).agent:
                continue
            target = self._shelter(vm, host, promised)
            if target is None:
                world.note("not restarted", vm, host=host.name, text="no host has room and sees its disk")
                continue
            promised[target.name] = promised.get(target.name, 0) + vm.memory
            try:
                world.evacuations.evacuate(vm_id, target.name, user="vSphere HA")
            except Denied as denied:
                world.note("not restarted", vm, host=host.name, text=denied.message)

    def _shelter(self, vm: SimVM, dead: SimHost, promised: Mapping[str, int]) -> SimHost | None:
        """The emptiest host of the cluster that sees the disk and has room for it."""
        site = self._site
        fitting = [
            host
            for host in site.hosts_of(dead.zone)
            if host.name in site.home(vm).hosts
            and scheduler.takes(site.world, host, vm)
            and host.memory_used + promised.get(host.name, 0) + vm.memory <= host.memory
        ]
        return max(
            fitting,
            key=lambda host: (host.memory - host.memory_used - promised.get(host.name, 0), host.name),
            default=None,
        )
