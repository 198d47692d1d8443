"""fakepve, somebody else's Proxmox VE, with what it lacks: migrations that move, their logs, the cluster's tasks."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakePve
from fakepve.certs import make_cert
from fakepve.model import PveError, TaskError
from fakepve.server import USER, error, ok, params

from backends.proxmox import PLUGIN
from backends.proxmox.options import Options
from evac.backend import Call, Settings
from tests.pve_schema import request_troubles


class Site(FakePve):  # type: ignore[misc]  # fakepve has no types
    """Runs on a loop of its own, in a thread; tests look at it from theirs between calls."""

    def __init__(self) -> None:
        super().__init__(host="127.0.0.1", port=0)
        self.fingerprint = ""
        self.cafile = ""
        self.steps = 4
        self.hold = threading.Event()
        """Migrations stop before their last step until it is set."""
        self.hold.set()
        self.precondition: dict[str, Any] = {}
        """Laid over what GET …/migrate answers."""
        self.extra_log: list[str] = []
        self.fault = ""
        """What the next migrations fail with."""
        self.forms: list[tuple[str, str, dict[str, Any]]] = []
        self.manager: dict[str, Any] = {}
        self.backups: dict[str, dict[str, Any]] = {}
        """Backup jobs by id."""
        self.options: dict[str, Any] = {"keyboard": "en-us"}
        """The cluster's; crs is an object, as Proxmox VE hands it out whatever its schema says."""
        self.workers: dict[str, asyncio.Task[Any]] = {}
        self.before: Callable[[web.Request], web.Response | None] = lambda _: None
        """Answers a request itself, where it wants to."""

    # --- what fakepve lacks --------------------------------------------------------------------------------------

    def _build_app(self) -> Any:
        app = super()._build_app()
        app.middlewares.append(self._seen)
        return app

    @web.middleware
    async def _seen(self, request: web.Request, handler: Any) -> Any:
        values = {**request.query, **(await params(request))}
        if not request.path.endswith("/access/ticket"):
            self.forms.append((request.method, request.path, values))
        early = self.before(request)
        if request.method == "PUT" and "skiplock" in values:
            early = self._skipping_the_lock(request)
        return early if early is not None else await handler(request)

    def _register_stateful(self, router: Any, formats: Any) -> Any:
        for prefix in formats:
            router.add_get(f"{prefix}/cluster/tasks", self._cluster_tasks)
            router.add_get(f"{prefix}/cluster/ha/status/manager_status", self._manager)
            router.add_get(f"{prefix}/cluster/backup", self._backups)
            router.add_put(f"{prefix}/cluster/backup/{{id}}", self._turn_backup)
            router.add_get(f"{prefix}/cluster/options", self._options)
            router.add_put(f"{prefix}/cluster/options", self._set_options)
            guest = f"{prefix}/nodes/{{node}}/qemu/{{vmid}}"
            router.add_get(f"{guest}/migrate", self._may_migrate)
            router.add_post(f"{guest}/migrate", self._migrate)
            router.add_post(f"{guest}/move_disk", self._move_disk)
            router.add_delete(f"{prefix}/nodes/{{node}}/tasks/{{upid}}", self._stop_task)
        return super()._register_stateful(router, formats)

    async def _cluster_tasks(self, request: web.Request) -> Any:
        return ok([self._task_view(task, True) for task in reversed(self.tasklog)])

    async def _manager(self, request: web.Request) -> Any:
        self.require(request[USER], "/", "Sys.Audit")
        return ok({"manager_status": {"node_status": {}}, **self.manager})

    async def _backups(self, request: web.Request) -> Any:
        self.require(request[USER], "/", "Sys.Audit")
        return ok(list(self.backups.values()))

    async def _turn_backup(self, request: web.Request) -> Any:
        self.require(request[USER], "/", "Sys.Modify")
        form = self._verify(request, await params(request))
        job = self.backups[request.match_info["id"]]
        job.update({key: value for key, value in form.items() if key != "id"})
        return ok()

    async def _options(self, request: web.Request) -> Any:
        self.require(request[USER], "/", "Sys.Audit")
        return ok(self.options)

    async def _set_options(self, request: web.Request) -> Any:
        self.require(request[USER], "/", "Sys.Modify")
        form = self._verify(request, await params(request))
        pairs = (part.split("=") for part in form["crs"].split(","))
        self.options["crs"] = dict(pairs)
        return ok()

    async def _may_migrate(self, request: web.Request) -> Any:
        vm = self._vm(request, "VM.Migrate")
        self._check_lock(vm)
        others = [name for name in sorted(self.nodes) if name != vm.node]
        answer = {
            "running": int(vm.status == "running"),
            "allowed_nodes": others,
            "not_allowed_nodes": {},
            "local_disks": [],
            "local_resources": [],
            "mapped-resources": [],
            "mapped-resource-info": {},
            "dependent-ha-resources": [],
            "has-dbus-vmstate": 1,
        }
        return ok({**answer, **self.precondition})

    async def _migrate(self, request: web.Request) -> Any:
        vm = self._vm(request, "VM.Migrate")
        form = self._verify(request, await params(request))
        self.need_quorum()
        if form["target"] == vm.node:
            return error(400, "Parameter verification failed.", {"target": "target is local node."})
        self._check_lock(vm)
        if vm.status == "running" and not form.get("online"):
            raise PveError(500, "can't migrate running VM without --online")
        return ok(await self._work(vm, form["target"], request[USER]))

    async def _move_disk(self, request: web.Request) -> Any:
        vm = self._vm(request, "VM.Config.Disk")
        form = self._verify(request, await params(request))
        self._check_lock(vm)

        async def body() -> str:
            name, _, rest = str(vm.config[form["disk"]]).partition(":")
            vm.config[form["disk"]] = f"{form['storage']}:{rest}"
            return f"moved away from {name}"

        return ok(await self.task(vm.node, "qmmove", vm.vmid, request[USER], body, vm=vm))

    def _skipping_the_lock(self, request: web.Request) -> Any:
        """fakepve lets nobody skip a lock; Proxmox VE lets root, and no token."""
        if request[USER] != "root@pam":
            return error(
                400, "Parameter verification failed.", {"skiplock": "Only root may use this option."}
            )
        vmid = int(request.path.split("/")[-2])
        self.vm(vmid).lock = None
        return ok()

    async def _work(self, vm: Any, target: str, user: str) -> str:
        box: list[str] = []

        async def body() -> str:
            record, running = self.tasks[box[0]], vm.status == "running"
            self.workers[box[0]] = asyncio.current_task()  # type: ignore[assignment]
            vm.lock = "migrate"
            try:
                await self._carry(record["log"], running)
                vm.node = target
            except asyncio.CancelledError:
                record["log"].append("ERROR: online migrate failure - interrupted by signal")
                raise TaskError("migration problems") from None
            finally:
                vm.lock = None
            return "migration finished successfully (duration 00:00:04)"

        named: Any = getattr(self, "_upid")  # noqa: B009 - it is set below too, which puzzles mypy

        def caught(*args: Any) -> Any:
            made = named(*args)
            box.append(made[0])
            return made

        self._upid = caught
        try:
            log = [f"2026-01-01 10:00:00 starting migration of VM {vm.vmid} to node '{target}' (192.0.2.9)"]
            upid: str = await self.task(vm.node, "qmigrate", vm.vmid, user, body, vm=vm, log=log)
        finally:
            self._upid = named
        return upid

    async def _carry(self, log: list[str], running: bool) -> None:
        await asyncio.sleep(0.01)
        log += self.extra_log
        if self.fault:
            log.append(f"ERROR: migration aborted (duration 00:00:01): {self.fault}")
            raise TaskError("migration aborted")
        if running:
            log.append("starting online/live migration on unix:/run/qemu-server/100.migrate")
        for step in range(1, self.steps + 1):
            if step == self.steps:
                await self._held()
            if running:
                log.append(
                    f"migration active, transferred {step}.0 GiB of {self.steps}.0 GiB VM-state, 1.0 GiB/s"
                )
            await asyncio.sleep(0.01)
        if running:
            log += ["average migration speed: 1.0 GiB/s - downtime 52 ms", "migration status: completed"]

    async def _held(self) -> None:
        """The event belongs to the tests' thread, so this loop can only look at it."""
        while not self.hold.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _stop_task(self, request: web.Request) -> Any:
        task = self._get_task(request)
        worker = self.workers.get(task["upid"])
        if worker is not None and task["status"] == "running":
            worker.cancel()
        return ok()

    # --- what tests ask ------------------------------------------------------------------------------------------

    @property
    def changing(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Requests that were no reads."""
        return [one for one in self.forms if one[0] != "GET"]

    def misfits(self) -> list[tuple[str, str, dict[str, str]]]:
        """Requests that do not fit Proxmox VE's schema."""
        checked = (
            (method, path, request_troubles(method, path, values)) for method, path, values in self.forms
        )
        return [one for one in checked if one[2]]

    def settings(self, calls: list[Call] | None = None, **more: Any) -> Settings:
        """Of a cluster that is this site; `more` are options, and `read_only`, `state_dir`, `name`, `read_timeout`."""
        own = {key: more.pop(key) for key in ("read_only", "state_dir", "read_timeout") if key in more}
        login = {} if "token" in more else {"username": "root@pam", "password": "secret"}
        pins = {} if "cacert" in more else {"fingerprints": (self.fingerprint,)}
        options = Options(**{"endpoints": (self.url,), **login, **pins, **more})
        return Settings(
            name="lab",
            options=options,
            connect_timeout=2,
            record=calls.append if calls is not None else None,
            **{"read_only": False, **own},
        )

    def backend(self, calls: list[Call] | None = None, **more: Any) -> Any:
        return PLUGIN.build(self.settings(calls, **more))


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """A site of three nodes with four running VMs on pve1, a stopped one, and a container."""
    site = Site()
    site.time_scale = 0.001
    site.add_node("pve2")
    site.add_node("pve3")
    for number in range(4):
        site.add_vm(100 + number, f"vm-{number}", node="pve1", status="running")
    site.add_vm(110, "stopped", node="pve2", status="stopped")
    cert, key, der = make_cert(str(folder), hosts=(site.host,))
    site.cafile, site.fingerprint = cert, hashlib.sha256(der).hexdigest()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pve-site")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(site.start(cert, key), loop).result(10)
        yield site
    finally:
        site.hold.set()
        asyncio.run_coroutine_threadsafe(site.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
