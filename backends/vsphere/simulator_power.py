"""Power, the guest's shutdown, and the answer to what a VM stands still for."""

from __future__ import annotations

from collections.abc import Mapping

from backends.simulation import deeds
from backends.simulation.things import Denied, SimAction, SimVM
from backends.vsphere.simulator_facts import power_state
from backends.vsphere.simulator_moves import Moves, power_fault
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_tasks import SimTask, Tasks
from backends.vsphere.simulator_wire import Ask, Handler, Objects, refuse


class Power:
    """Switches VMs on and off."""

    def __init__(self, objects: Objects, tasks: Tasks, moves: Moves) -> None:
        self._objects = objects
        self._tasks = tasks
        self._moves = moves

    @property
    def _site(self) -> Site:
        return self._objects.site

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "PowerOnVM_Task": self._on,
            "PowerOnMultiVM_Task": self._on_many,
            "PowerOffVM_Task": self._off,
            "ShutdownGuest": self._shut_down,
            "AnswerVM": self._answer,
        }

    def _on(self, ask: Ask) -> Ref:
        vm = self._moves.vm(ask.this)
        ask.want(ask.this, "VirtualMachine.Interact.PowerOn")
        return self.start(vm, ask.login.account.name).ref

    def _on_many(self, ask: Ask) -> Ref:
        user = ask.login.account.name
        attempted: list[Data] = []
        for ref in ask.args["vm"]:
            ask.want(ref, "VirtualMachine.Interact.PowerOn")
            task = self.start(self._moves.vm(ref), user)
            attempted.append(Data("ClusterAttemptedVmInfo", vm=ref, task=task.ref))
        whole = self._tasks.start(ask.this, "Datacenter.powerOnVm", user)
        self._tasks.succeed(
            whole, Data("ClusterPowerOnVmResult", attempted=attempted, notAttempted=[], recommendations=[])
        )
        return whole.ref

    def start(self, vm: SimVM, user: str) -> SimTask:
        """Power on, as a task."""
        site = self._site
        task = self._tasks.start(site.vm_ref(vm.id), "VirtualMachine.powerOn", user)
        home = site.world.hosts[vm.host]
        if power_state(vm) == "poweredOn":
            self._tasks.fail(task, power_fault(vm, "poweredOn").fault)
        elif not site.connected(home):
            message = "Unable to communicate with the remote host, since it is disconnected."
            self._tasks.fail(
                task, Data("InvalidHostConnectionState", msg=message, host=site.host_ref(home.name))
            )
        elif home.maintenance:
            message = "The operation is not allowed in the current state of the host."
            self._tasks.fail(task, Data("InvalidHostState", msg=message, host=site.host_ref(home.name)))
        else:
            site.boot(vm)
            self._order(vm, task, on=True)
        return task

    def stop(self, vm: SimVM, user: str) -> SimTask:
        """Power off, as a task."""
        task = self._tasks.start(self._site.vm_ref(vm.id), "VirtualMachine.powerOff", user)
        if power_state(vm) == "poweredOff":
            self._tasks.fail(task, power_fault(vm, "poweredOff").fault)
        else:
            self._order(vm, task, on=False)
        return task

    def _off(self, ask: Ask) -> Ref:
        vm = self._moves.vm(ask.this)
        ask.want(ask.this, "VirtualMachine.Interact.PowerOff")
        return self.stop(vm, ask.login.account.name).ref

    def _shut_down(self, ask: Ask) -> None:
        vm = self._moves.vm(ask.this)
        ask.want(ask.this, "VirtualMachine.Interact.PowerOff")
        if power_state(vm) != "poweredOn":
            raise power_fault(vm, "poweredOff")
        if not self._site.trait(vm).tools:
            message = "The operation cannot be completed because VMware Tools is not running in this virtual machine."
            raise refuse("ToolsUnavailable", message)
        try:
            deeds.stop(self._objects.world, vm.id, user=ask.login.account.name)
        except Denied as denied:
            raise refuse("InvalidState", denied.message) from None

    def _order(self, vm: SimVM, task: SimTask, *, on: bool) -> None:
        world = self._objects.world
        deed = deeds.start if on else deeds.stop
        try:
            action = deed(world, vm.id, request=task.key, user=task.user)
        except Denied as denied:
            self._tasks.fail(task, Data("InvalidState", msg=denied.message))
            return
        task.follow = lambda one: self._follow(one, action)

    def _follow(self, task: SimTask, action: SimAction) -> None:
        if action.ended is not None:
            self._tasks.succeed(task, at=action.ended)

    def _answer(self, ask: Ask) -> None:
        vm = self._moves.vm(ask.this)
        ask.want(ask.this, "VirtualMachine.Interact.AnswerQuestion")
        asked = vm.question
        if asked is None or asked.id != ask.args["questionId"]:
            message = "Another operation has modified the state of the virtual machine, or the question was answered."
            raise refuse("ConcurrentAccess", message)
        try:
            self._objects.world.placing.answer(vm.id, asked.id, ask.args["answerChoice"])
        except Denied as denied:
            raise refuse("InvalidArgument", denied.message, invalidProperty="answerChoice") from None
