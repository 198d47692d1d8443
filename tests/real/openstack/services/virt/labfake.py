"""nova.virt.labfake: Nova's fake driver, made fit for a lab that outlives a process.

Differences from nova.virt.fake.FakeDriver:

- the node's UUID is kept in <state_path>/compute_id (there: random per process, so a restarted compute refuses to start)
- its "domains" are kept in <state_path>/domains.json: a restarted compute still has its servers
- a live migration lasts as long as control/lm_seconds says (default 3) and reports memory as the libvirt driver does;
  it can be aborted and force-completed; while control/lm_fail exists, it fails
- every live migration it carried out is a line in <state_path>/moves.jsonl: a witness beside Nova's database
- sizes come from control/<host>.json (vcpus, memory_mb, local_gb)
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import nova.conf  # type: ignore[import-not-found]  # of the lab's own environment
from nova import exception
from nova.compute import power_state  # type: ignore[import-not-found]
from nova.virt import fake, node  # type: ignore[import-not-found]

CONF = nova.conf.CONF
CONTROL = Path(os.environ["EVAC_LAB_STATE"]) / "control"


def control(name: str, default: Any) -> Any:
    try:
        return json.loads((CONTROL / name).read_text())
    except (OSError, ValueError):
        return default


class Domains(dict[str, Any]):
    """uuid -> FakeInstance, written to a file at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        for uuid, (name, state) in known.items():
            super().__setitem__(uuid, fake.FakeInstance(name, state, uuid))

    def save(self) -> None:
        # nova-compute moves several servers in threads of one process.
        with self.lock:
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(
                json.dumps({uuid: (one.name, one.state) for uuid, one in list(self.items())})
            )
            temporary.replace(self.path)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.save()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.save()

    def pop(self, *args: Any) -> Any:
        value = super().pop(*args)
        self.save()
        return value


class LabDriver(fake.FakeDriver):  # type: ignore[misc]  # its base has no types
    vcpus = 32
    memory_mb = 131072
    local_gb = 2000

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        size = control(f"{CONF.host}.json", {})
        self.vcpus = size.get("vcpus", self.vcpus)
        self.memory_mb = size.get("memory_mb", self.memory_mb)
        self.local_gb = size.get("local_gb", self.local_gb)
        super().__init__(virtapi, read_only)
        state = Path(CONF.state_path)
        state.mkdir(parents=True, exist_ok=True)
        self.instances = Domains(state / "domains.json")
        self.moves = state / "moves.jsonl"
        self.jobs: dict[str, str] = {}
        """uuid -> "", "abort" or "force"."""

    def init_host(self, host: str) -> None:
        self._host = host
        self._set_nodes([host])

    def get_available_resource(self, nodename: str) -> Any:
        resources = super().get_available_resource(nodename)
        resources["uuid"] = node.get_local_node_uuid()
        return resources

    def get_nodenames_by_uuid(self, refresh: bool = False) -> dict[str, str]:
        return {node.get_local_node_uuid(): self.get_available_nodes()[0]}

    def get_host_uptime(self) -> str:
        """The stock driver has none, and Nova logs a traceback at each listing from 2.88 on."""
        up = int(time.clock_gettime(time.CLOCK_BOOTTIME))
        clock = f"{time.strftime('%H:%M:%S')} up {up // 86400} days, {up // 3600 % 24}:{up // 60 % 60:02}"
        return f"{clock},  0 users,  load average: 0.50, 0.40, 0.30"

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        super().power_off(instance, timeout, retry_interval)
        self.instances.save()

    def power_on(self, *args: Any, **kwargs: Any) -> None:
        super().power_on(*args, **kwargs)
        self.instances.save()

    def _set(self, instance: Any, state: int) -> None:
        if instance.uuid not in self.instances:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        self.instances[instance.uuid].state = state
        self.instances.save()

    def pause(self, instance: Any) -> None:
        self._set(instance, power_state.PAUSED)

    def unpause(self, instance: Any) -> None:
        self._set(instance, power_state.RUNNING)

    def suspend(self, context: Any, instance: Any) -> None:
        self._set(instance, power_state.SUSPENDED)

    def resume(self, context: Any, instance: Any, network_info: Any, *args: Any, **kwargs: Any) -> None:
        self._set(instance, power_state.RUNNING)

    def migrate_disk_and_power_off(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
        if instance.uuid in self.instances:
            self._set(instance, power_state.SHUTDOWN)

    def live_migration(  # noqa: PLR0917 - Nova dictates the signature
        self,
        context: Any,
        instance: Any,
        dest: str,
        post_method: Any,
        recover_method: Any,
        block_migration: bool = False,
        migrate_data: Any = None,
    ) -> None:
        self.jobs[instance.uuid] = ""
        try:
            outcome = self._copy_memory(instance, migrate_data.migration if migrate_data else None)
        except Exception:
            recover_method(context, instance, dest, migrate_data)
            raise
        finally:
            self.jobs.pop(instance.uuid, None)
        if outcome == "abort":
            recover_method(context, instance, dest, migrate_data, migration_status="cancelled")
        elif outcome == "fail":
            recover_method(context, instance, dest, migrate_data)
        else:
            self._witness(instance, dest)
            post_method(context, instance, dest, block_migration, migrate_data)

    def _copy_memory(self, instance: Any, migration: Any) -> str:
        """How it ended: "", "force", "abort" or "fail"."""
        seconds = float(control("lm_seconds", 3))
        start = time.monotonic()
        reported = 0.0
        while True:
            elapsed = time.monotonic() - start
            share = min(1.0, elapsed / seconds) if seconds > 0 else 1.0
            wish = self.jobs[instance.uuid]
            if wish == "abort":
                return wish
            if (CONTROL / "lm_fail").exists():
                return "fail"
            if migration is not None and (elapsed - reported >= 0.5 or share == 1.0 or wish):
                reported = elapsed
                self._report(instance, migration, share)
            if share == 1.0 or wish == "force":
                return wish
            time.sleep(0.1)

    def _report(self, instance: Any, migration: Any, share: float) -> None:
        total = instance.flavor.memory_mb * 1024 * 1024
        migration.memory_total = total
        migration.memory_processed = int(total * share * 1.2)  # pages sent twice count twice
        migration.memory_remaining = int(total * (1 - share))
        migration.disk_total = migration.disk_processed = migration.disk_remaining = 0
        migration.save()
        instance.progress = int(100 * share)
        instance.save()

    def _witness(self, instance: Any, dest: str) -> None:
        with self.moves.open("a") as file:
            file.write(
                json.dumps({"at": time.time(), "vm": instance.uuid, "from": CONF.host, "to": dest}) + "\n"
            )

    def live_migration_abort(self, instance: Any) -> None:
        if instance.uuid in self.jobs:
            self.jobs[instance.uuid] = "abort"

    def live_migration_force_complete(self, instance: Any) -> None:
        if instance.uuid in self.jobs:
            self.jobs[instance.uuid] = "force"

    def post_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, migrate_data: Any = None
    ) -> None:
        self.destroy(context, instance, network_info=None, block_device_info=block_device_info)
