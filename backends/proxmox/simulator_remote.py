"""…/remote_migrate: a VM moves to another simulated cluster over a websocket tunnel. Experimental, as PVE itself says.

The other cluster is found by the endpoint that is named, as a network would find it: it must be served in this process.
What is checked there is checked as PVE does: its certificate's fingerprint, the API token, the VM's number, the storage.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.proxmox.simulator_access import Access
from backends.proxmox.simulator_guests import Guests
from backends.proxmox.simulator_live import LOOK, LiveRun
from backends.proxmox.simulator_run import Wish
from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_tasks import Task, Tasks
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from backends.simulation.physics import Stream
from backends.simulation.things import SimHost
from evac.model import VMState

TAKES = (
    "target-endpoint!",
    "target-storage!",
    "target-bridge!",
    "target-vmid:int",
    "online:bool",
    "delete:bool",
    "bwlimit:int",
)


@dataclass(slots=True)
class Served:
    """A cluster that listens, as others on the network see it."""

    site: Site
    access: Access
    fingerprint: str


NETWORK: dict[str, Served] = {}
"""host:port → who listens there."""


@dataclass(slots=True, kw_only=True)
class Far:
    """Where a VM is to go."""

    site: Site
    host: SimHost
    vmid: int
    storage: str
    delete: bool


class Remote:
    """The call, and what is refused at once."""

    def __init__(self, site: Site, guests: Guests, tasks: Tasks) -> None:
        self._site = site
        self._guests = guests
        self._tasks = tasks

    def routes(self) -> list[Route]:
        """What is served."""
        path = "/nodes/{node}/qemu/{vmid}/remote_migrate"
        return [Route("POST", path, "move_across", self._migrate, TAKES)]

    def _migrate(self, ask: Ask) -> Answer:
        guest = self._guests.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Migrate")
        if guest.lock:
            raise Wrong(500, f"VM is locked ({guest.lock})")
        if self._site.ha_state(guest):
            raise wrong_parameter("vmid", "cannot remote-migrate VM that is configured for HA")
        far = self._far(ask, guest)
        if guest.running and not ask.flag("online"):
            raise Wrong(500, "can't migrate running VM without --online")
        task = self._tasks.begin(guest.vm.host, "qmigrate", str(guest.vmid), ask.account.name)
        wish = Wish(target=far.host.name, online=guest.running, limit=ask.number("bwlimit") * 1024)
        RemoteRun(self._site, self._tasks, task, guest, wish, far=far).begin()
        return Answer(task.upid)

    def _far(self, ask: Ask, guest: Guest) -> Far:
        pairs: dict[str, str] = {}
        for item in ask.text("target-endpoint").split(","):
            key, _, value = item.strip().partition("=")
            pairs[key] = value
        if "host" not in pairs or "apitoken" not in pairs:
            raise wrong_parameter(
                "target-endpoint", "invalid format - missing key in comma-separated list property"
            )
        place = f"{pairs['host']}:{pairs.get('port', '8006')}"
        served = NETWORK.get(place)
        if served is None:
            raise Wrong(500, f"Can't connect to {place} (Connection refused)")
        given = pairs.get("fingerprint", "").upper()
        if given != served.fingerprint:
            raise Wrong(
                500, f"Can't connect to {place} (fingerprint '{served.fingerprint}' not verified, abort!)"
            )
        served.access.who({"Authorization": pairs["apitoken"]}, {}, writes=True)
        if ask.text("target-storage") == "1":
            raise Wrong(500, "remote migration requires explicit storage mapping!")
        number = ask.number("target-vmid", guest.vmid)
        local = served.site.local()
        storage = ask.text("target-storage").rpartition(":")[2]
        host = served.site.world.hosts[local]
        return Far(site=served.site, host=host, vmid=number, storage=storage, delete=ask.flag("delete"))


class RemoteRun(LiveRun):
    """Disk and memory go through one tunnel; the guest goes on over there under its new number."""

    def __init__(self, site: Site, tasks: Tasks, task: Task, guest: Guest, wish: Wish, *, far: Far) -> None:
        super().__init__(site, tasks, task, guest, wish)
        self._far = far
        self._settled = self.world.time
        self._stream = Stream(memory=0)

    @property
    def address(self) -> str:
        """Of the target."""
        return self._far.host.address

    def begin(self) -> None:
        """Check over there, lock, and send."""
        far = self._far
        far.site.sync()
        for line in (
            "remote: started tunnel worker",
            "local WS tunnel version: 2",
            "remote WS tunnel version: 2",
        ):
            self.say(line)
        if far.vmid in far.site.guests:
            self.refuse(
                f"error - tunnel command failed - Guest with ID '{far.vmid}' already exists on remote cluster"
            )
            return
        if not far.site.has(far.host.name, far.storage):
            self.refuse(f"error - tunnel command failed - storage '{far.storage}' does not exist")
            return
        if self.guest.devices:
            self.refuse(f"can't migrate VM which uses local devices: {', '.join(self.guest.devices)}")
            return
        vm = self.guest.vm
        self.guest.lock, vm.task = "migrate", "migrating"
        self.say(f"starting migration of VM {self.guest.vmid} to node '{far.host.name}' ({self.address})")
        self.say(f"found local disk '{self.guest.volume}' (attached)")
        running = vm.state is VMState.RUNNING
        self._stream = Stream(
            memory=vm.memory if self.guest.running else 0,
            dirty_rate=vm.dirty_rate if running else 0.0,
            working_set=vm.working_set,
            disk=vm.disk,
            max_downtime=self.world.timing.max_downtime,
            pause=self.world.timing.pause,
        )
        links = [self.world.hosts[self.source].link, far.host.link]
        self._stream.rate = min([*links, wish.limit] if (wish := self.wish).limit else links)
        self.task.stop = self.cancel
        self.world.touch(vm)
        self.world.later(0.0, self._step)

    def cancel(self) -> None:
        """It stays where it is, and goes on."""
        self._wake()
        self._fail("interrupted by signal")

    def _wake(self) -> None:
        vm = self.guest.vm
        vm.task = ""
        if self.guest.running and self.world.hosts[self.source].alive:
            vm.runs_on = self.source
        self.world.touch(vm)

    def _step(self) -> None:
        """One second, or until the stage ends."""
        if self.task.ended is not None or self.task.broken:
            return
        stream, passed = self._stream, self.world.time - self._settled
        self._settled = self.world.time
        stream.advance(min(passed, stream.ends_in))
        if not self._far.host.alive:
            self._wake()
            self._fail("tunnel closed unexpectedly")
            return
        while stream.ends_in <= 1e-6 and stream.stage.value != "done":
            stream.end_pass()
        self.guest.vm.runs_on = "" if stream.paused or stream.at_target else self.guest.vm.runs_on
        if stream.stage.value == "done":
            self._arrive()
            return
        self._tell(stream)
        self.world.later(min(LOOK, max(stream.ends_in, 1e-3)), self._step)

    def _arrive(self) -> None:
        vm, far = self.guest.vm, self._far
        state = vm.state
        vm.task = ""
        far.site.world.advance()
        self._create(state)
        if state is not VMState.STOPPED:
            self.say(f"average migration speed: 1.0 GiB/s - downtime {self._stream.downtime * 1000:.0f} ms")
        self.say("migration status: completed")
        vm.state, vm.power, vm.runs_on = VMState.STOPPED, "shutdown", ""
        self.world.touch(vm)
        self.succeed()
        if far.delete:
            self.world.remove_vm(vm.id)
        else:  # PVE leaves it stopped and locked, so that nobody starts it beside the other
            self.guest.lock = "migrate"

    def _create(self, state: VMState) -> None:
        vm, far = self.guest.vm, self._far
        kept = (
            "memory",
            "vcpus",
            "disk",
            "addresses",
            "tags",
            "dirty_rate",
            "working_set",
            "flavor",
            "project",
        )
        details = {name: getattr(vm, name) for name in kept}
        local = not far.site.storages[far.storage].shared
        far.site.expect(vm.id, far.vmid)
        far.site.world.add_vm(vm.name, far.host.name, id=vm.id, state=state, local_disk=local, **details)
        far.site.guest(vm.id).storage = far.storage
