"""Start, shut down, stop, suspend and resume: each a task, and through HA where HA manages the guest."""

from __future__ import annotations

from collections.abc import Callable

from backends.proxmox.simulator_crm import Manager
from backends.proxmox.simulator_guests import Guests
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from backends.simulation import deeds
from backends.simulation.things import Denied
from evac.model import VMState

LOOK = 0.1
TAKES = {
    "qemu": {
        "start": ("skiplock:bool", "timeout:int"),
        "stop": ("skiplock:bool", "timeout:int", "keepActive:bool", "overrule-shutdown:bool"),
        "shutdown": ("skiplock:bool", "timeout:int", "forceStop:bool", "keepActive:bool"),
        "suspend": ("skiplock:bool", "todisk:bool"),
        "resume": ("skiplock:bool", "nocheck:bool"),
    },
    "lxc": {
        "start": ("skiplock:bool", "debug:bool"),
        "stop": ("skiplock:bool", "overrule-shutdown:bool"),
        "shutdown": ("timeout:int", "forceStop:bool"),
        "suspend": (),
        "resume": (),
    },
}
"""Kind and verb → parameters."""


class Power:
    """…/status/start and its like."""

    def __init__(self, site: Site, guests: Guests, tasks: Tasks, manager: Manager) -> None:
        self._site = site
        self._world = site.world
        self._guests = guests
        self._tasks = tasks
        self._manager = manager

    def routes(self) -> list[Route]:
        """What is served."""
        found = []
        for kind, verbs in TAKES.items():
            one = f"/nodes/{{node}}/{kind}/{{vmid}}/status"
            found += [
                Route("POST", f"{one}/start", "start", self._verb("start", on=True), verbs["start"]),
                Route("POST", f"{one}/stop", "stop", self._verb("stop", on=False), verbs["stop"]),
                Route("POST", f"{one}/shutdown", "stop", self._verb("shutdown", on=False), verbs["shutdown"]),
                Route("POST", f"{one}/suspend", "suspend", self._pause, verbs["suspend"]),
                Route("POST", f"{one}/resume", "resume", self._pause, verbs["resume"]),
            ]
        return found

    def _verb(self, word: str, *, on: bool) -> Callable[[Ask], Answer]:
        def act(ask: Ask) -> Answer:
            guest = self._admit(ask, locked=on)
            user = ask.account.name
            if self._site.ha_state(guest) and word != "shutdown":
                return self._through_ha(guest, user, on=on)
            task = self._tasks.begin(guest.vm.host, _type(guest, word), str(guest.vmid), user)
            if guest.lock and not ask.flag("skiplock"):
                self._tasks.end(task, f"{guest.word} is locked ({guest.lock})")
            else:
                self._run(task, guest, on=on)
            return Answer(task.upid)

        return act

    def _admit(self, ask: Ask, *, locked: bool = False) -> Guest:
        """`locked`: a lock is found by the worker only, whose task then fails."""
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.PowerMgmt")
        if ask.flag("skiplock") and not ask.account.root:
            raise wrong_parameter("skiplock", "Only root may use this option.")
        if guest.lock and not locked and not ask.flag("skiplock"):
            raise Wrong(500, f"{guest.word} is locked ({guest.lock})")
        return guest

    def _through_ha(self, guest: Guest, user: str, *, on: bool) -> Answer:
        verb = "start" if on else "stop"
        self._manager.want(self._manager.resource(guest.sid), "started" if on else "stopped")
        line = f"Requesting HA {verb} for {guest.word} {guest.vmid}"
        task = self._tasks.whole(guest.vm.host, f"ha{verb}", str(guest.vmid), user, line)
        return Answer(task.upid)

    def _run(self, task: Task, guest: Guest, *, on: bool) -> None:
        if guest.running is on:
            word = "already running" if on else "not running"
            self._tasks.end(task, f"{guest.word} {guest.vmid} {word}")
            return
        vm = guest.vm
        if vm.state is VMState.PAUSED:
            vm.state = VMState.RUNNING
        try:
            (deeds.start if on else deeds.stop)(self._world, vm.id, user=task.user)
        except Denied:
            self._tasks.end(
                task, f"can't lock file '/var/lock/qemu-server/lock-{guest.vmid}.conf' - got timeout"
            )
            return
        task.stop = lambda: self._tasks.end(task, "received interrupt")
        self._world.later(LOOK, lambda: self._look(task, guest, on=on))

    def _look(self, task: Task, guest: Guest, *, on: bool) -> None:
        if task.ended is not None or task.broken:
            return
        if guest.running is on:
            self._tasks.end(task)
        else:
            self._world.later(LOOK, lambda: self._look(task, guest, on=on))

    def _pause(self, ask: Ask) -> Answer:
        guest = self._admit(ask)
        word = ask.path.rpartition("/")[2]
        before, after = VMState.RUNNING, VMState.PAUSED
        if word == "resume":
            before, after = after, before
        task = self._tasks.begin(guest.vm.host, _type(guest, word), str(guest.vmid), ask.account.name)
        if guest.vm.state is before:
            guest.vm.state = after
            self._world.touch(guest.vm)
            self._tasks.end(task)
        else:
            self._tasks.end(task, f"{guest.word} {guest.vmid} is not {before.value}")
        return Answer(task.upid)


def _type(guest: Guest, word: str) -> str:
    return f"{'qm' if guest.kind == 'qemu' else 'vz'}{word}"
