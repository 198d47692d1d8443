"""Cold migration, evacuation, start and stop. Everything here could start a guest twice, so everything asks first.

libvirt has no lock between hosts. What evac has instead: a guest is started only where no other host that answers has
it active, never twice by evac itself (the record is on disk before the call), and from a dead host only when that host
does not answer and every other one has said that it does not have it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from backends.libvirt import domainxml
from backends.libvirt.choice import target_of
from backends.libvirt.herd import Herd
from backends.libvirt.keeping import Kept, Mark, Record, new_id
from backends.libvirt.live import begin, found, settle
from backends.libvirt.reading import lv
from backends.libvirt.refusals import nobody, read_only, refuse
from backends.libvirt.site import Site
from backends.libvirt.view import CRASHED, RUNNING, SHUTOFF, Seen
from evac.backend import Receipt
from evac.errors import BackendError
from evac.model import VM, Phase, VMState

TICK = 0.5
"""Seconds between two looks whether a guest has shut down."""


class ColdMoves:
    """See the module's docstring."""

    def __init__(self, herd: Herd, background: Callable[[Any], None]) -> None:
        """`background` keeps a coroutine running after its request was answered."""
        self._herd, self._background = herd, background

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(self, vm_id: str) -> Receipt:
        """Where it is defined, if it is active nowhere."""
        self._writable("start")
        vm, one = await found(self._herd, vm_id)
        self._idle(vm)
        if one.active:
            raise refuse(f"{vm.name} is {one.native} on {vm.host} already.")
        await self._nowhere(vm_id, vm.name, but=())
        record = self._record("start", vm_id, vm.host, vm.host)
        await begin(self._herd, record, f"the start of {vm.name}")
        site = self._herd.sites[vm.host]
        await self._do(record, site.change(f"starting {vm.name}", lambda conn: _create(conn, vm_id)))
        return Receipt(task=record.id)

    async def stop(self, vm_id: str) -> Receipt:
        """Asks the guest; it may take its time, or not listen."""
        self._writable("stop")
        vm, one = await found(self._herd, vm_id)
        self._idle(vm)
        if not one.active:
            raise refuse(f"{vm.name} is shut off already.")
        if not one.persistent:
            raise refuse(
                f"{vm.name} is transient: it would vanish from {vm.host} once it is shut down.",
                "Make it persistent first: virsh dumpxml, virsh define.",
            )
        record = self._record("stop", vm_id, vm.host, vm.host)
        await begin(self._herd, record, f"the shutdown of {vm.name}")
        site = self._herd.sites[vm.host]
        await self._do(
            record,
            site.change(f"shutting down {vm.name}", lambda conn: conn.lookupByUUIDString(vm_id).shutdown()),
        )
        return Receipt(
            task=record.id, note="asked to shut down; a guest without ACPI or agent does not listen"
        )

    async def _do(self, record: Record, call: Coroutine[Any, Any, Any]) -> None:
        try:
            await call
        except BackendError as error:
            await self._herd.end(record, Phase.FAILED, error.problem.happened)
            raise
        await self._herd.end(record, Phase.COMPLETED)

    # --- cold migration -----------------------------------------------------------------------------------------

    async def migrate(self, vm_id: str, to: str) -> Receipt:
        """Accepted once everything that can be known before is known."""
        self._writable("cold-migrate")
        herd = self._herd
        vm, one = await found(herd, vm_id)
        self._idle(vm)
        if not one.persistent:
            raise refuse(f"{vm.name} is transient: it has no definition to move.", "Migrate it live.")
        if one.state not in {RUNNING, SHUTOFF, CRASHED}:
            raise refuse(f"{vm.name} is {one.native}.", "Resume it, or shut it down, first.")
        source = herd.sites[vm.host]
        _only_shared(vm.name, one.definition, source)
        saved = await source.ask(
            "looking for saved memory",
            lambda conn: bool(conn.lookupByUUIDString(vm_id).hasManagedSaveImage(0)),
        )
        if saved:
            raise refuse(
                f"{vm.name} has its memory saved on {vm.host} (managed save).",
                "Start it first, or remove that.",
            )
        target = await target_of(herd, vm_id, one, vm.host, to)
        record = self._record("cold-migration", vm_id, vm.host, target.name)
        await begin(herd, record, f"the move of {vm.name}")
        self._background(asyncio.ensure_future(self._carry_out(record, vm, one, source, target)))
        return Receipt(task=record.id, note=f"to {target.name}")

    async def _carry_out(self, record: Record, vm: VM, one: Seen, source: Site, target: Site) -> None:
        ran = one.active
        try:
            if ran:
                await self._shut_down(vm, source)
            xml = await source.ask("reading its definition", lambda conn: _whole_xml(conn, vm.id))
            await target.change(f"defining {vm.name}", lambda conn: _define(conn, xml))
            await self._proof(vm, source, target)
            await source.change(
                f"undefining {vm.name}", lambda conn: _undefine(conn, vm.id, one.definition.nvram)
            )
            if ran:
                await self._nowhere(vm.id, vm.name, but=())
                await target.change(f"starting {vm.name}", lambda conn: _create(conn, vm.id))
        except BackendError as error:
            problem = error.problem
            words = " ".join(filter(None, (problem.happened, problem.next_step)))
            await self._herd.end(record, Phase.FAILED, words)
            return
        await self._herd.end(record, Phase.COMPLETED)

    async def _shut_down(self, vm: VM, source: Site) -> None:
        await source.change(
            f"shutting down {vm.name}", lambda conn: conn.lookupByUUIDString(vm.id).shutdown()
        )
        end = time.monotonic() + self._herd.setup.shutdown_timeout
        while time.monotonic() < end:
            await asyncio.sleep(TICK)
            one = (await source.glance([vm.id])).get(vm.id)
            if one is not None and not one.active:
                return
        raise refuse(
            f"{vm.name} did not shut down within {self._herd.setup.shutdown_timeout:.0f} s: it runs on on {source.name}.",
            "Shut it down from inside, or migrate it live. evac does not switch it off.",
        )

    async def _proof(self, vm: VM, source: Site, target: Site) -> None:
        """Before the source forgets it: the target has it, and it runs on neither."""
        here = (await source.glance([vm.id])).get(vm.id)
        there = (await target.glance([vm.id])).get(vm.id)
        if there is None:
            raise refuse(
                f"{target.name} took the definition of {vm.name}, and does not show it.",
                "It is still defined on the source.",
            )
        if here is None or here.active or there.active:
            raise refuse(
                f"{vm.name} was started by somebody else meanwhile.",
                f"It is defined on both {source.name} and {target.name}: undefine it where it does not run.",
            )

    # --- evacuation ---------------------------------------------------------------------------------------------

    async def evacuate(self, vm_id: str, to: str) -> Receipt:
        """From the definition last seen. The caller has the statement that the host is fenced."""
        self._writable("evacuate")
        herd = self._herd
        kept = herd.keeper.guests.get(vm_id)
        if kept is None:
            raise nobody(herd.cluster, vm_id)
        self._dead(kept)
        if herd.record_of(vm_id) is not None and herd.record_of(vm_id).action == "evacuation":  # type: ignore[union-attr]
            raise refuse(f"{kept.name} is being evacuated already.")
        if not kept.xml:
            raise refuse(
                f"evac has no definition of {kept.name}: it could only read {kept.host}.",
                "Define it by hand from a copy of its XML.",
            )
        await self._nowhere(vm_id, kept.name, but=(kept.host,))
        _only_shared(kept.name, kept.definition, next(site for site in herd.sites.values() if site.up))
        one = Seen(definition=kept.definition, state=SHUTOFF, persistent=kept.persistent)
        target = await target_of(herd, vm_id, one, kept.host, to)
        await self._end_lost(vm_id)
        record = self._record("evacuation", vm_id, kept.host, target.name)
        await begin(herd, record, f"the evacuation of {kept.name}")
        await self._rebuild(record, kept, target)
        return Receipt(task=record.id, note=f"on {target.name}, from the definition of {_age(kept)}")

    async def _rebuild(self, record: Record, kept: Kept, target: Site) -> None:
        """Awaited: it takes seconds, and its failure must be told as a failure."""
        what = f"{'starting' if kept.active else 'defining'} {kept.name}"
        try:
            await target.change(what, lambda conn: _rebuild(conn, kept))
        except BackendError as error:
            await self._herd.end(record, Phase.FAILED, error.problem.happened)
            raise
        await target.glance([kept.uuid])
        async with self._herd.saving:
            moved = replace(kept, host=target.name, at=time.time())
            await asyncio.to_thread(self._herd.keeper.put_guests, [moved])
        await self._herd.end(record, Phase.COMPLETED, f"from the definition of {_age(kept)}")

    def _dead(self, kept: Kept) -> None:
        site = self._herd.sites.get(kept.host)
        if site is not None and site.up:
            raise refuse(
                f"{kept.host} answers: evacuating {kept.name} would run it twice and destroy its disk.",
                f"Drain {kept.host} instead. If it is really dead, what answers there?",
            )

    async def _end_lost(self, vm_id: str) -> None:
        """What the dead host was doing will never end by itself."""
        record = self._herd.record_of(vm_id)
        if record is not None:
            await self._herd.end(record, Phase.FAILED, f"{record.source} died")

    async def _nowhere(self, vm_id: str, name: str, *, but: tuple[str, ...]) -> None:
        """Every host is asked. Raises Refused: it is active on one of them, or one cannot say."""
        herd = self._herd
        others = [site for site in herd.sites.values() if site.name not in but]
        silent = [
            site.name
            for site in others
            if not site.up and not herd.keeper.marks.get(site.name, Mark()).forced_down
        ]
        answers = await asyncio.gather(
            *(site.glance([vm_id]) for site in others if site.up), return_exceptions=True
        )
        for site, answer in zip((site for site in others if site.up), answers, strict=True):
            if isinstance(answer, BaseException):
                silent.append(site.name)
            elif vm_id in answer and answer[vm_id].active:
                raise refuse(
                    f"{name} is {answer[vm_id].native} on {site.name}: a second start would destroy its disk.",
                    "Look at it there.",
                )
        if silent and (but or _was_on(herd, vm_id, silent)):
            raise refuse(
                f"{', '.join(sorted(set(silent)))} cannot be asked whether {name} runs there.",
                "Bring it back; or, if it is powered off, declare it dead as well (force down).",
            )

    # --- small things -------------------------------------------------------------------------------------------

    def _writable(self, verb: str) -> None:
        if self._herd.setup.read_only:
            raise read_only(verb)

    def _idle(self, vm: VM) -> None:
        record = self._herd.record_of(vm.id)
        if record is not None or vm.task or vm.state is VMState.MIGRATING:
            doing = vm.task or (record.action if record else "") or vm.state.value
            raise refuse(f"Something is being done to {vm.name} ({doing}).", "Wait until it has ended.")

    def _record(self, action: str, vm: str, source: str, target: str) -> Record:
        return Record(
            id=new_id(action),
            vm=vm,
            action=action,
            started=time.time(),
            source=source,
            target=target,
            phase=Phase.RUNNING,
        )

    def adopt(self) -> None:
        """What an earlier life began is judged by what the hosts show; it is never begun again."""
        for record in self._herd.keeper.records:
            if record.open and record.kind is not None and record.action != "live-migration":
                why = "evac's worker ended in the middle of it"
                self._background(asyncio.ensure_future(settle(self._herd, record, why)))
            elif record.open and record.kind is None:
                self._background(
                    asyncio.ensure_future(
                        self._herd.end(record, Phase.UNKNOWN, "evac's worker ended meanwhile")
                    )
                )


def _was_on(herd: Herd, vm_id: str, hosts: list[str]) -> bool:
    """One of the silent hosts may have it: it had it before, or was the end of a move of it."""
    kept = herd.keeper.guests.get(vm_id)
    had = {kept.host} if kept is not None else set()
    had |= {name for one in herd.keeper.records if one.vm == vm_id for name in (one.source, one.target)}
    return bool(had & set(hosts))


def _only_shared(name: str, definition: domainxml.Definition, site: Site) -> None:
    shared = [text for pool in site.pools for text in (pool.name, pool.path) if text]
    local = domainxml.local_parts(definition, site.shared_paths, shared)
    if local:
        disks = ", ".join(disk.source or disk.target for disk in local[:3])
        raise refuse(
            f"{name} has a disk that is not known to be on shared storage: {disks}.",
            "If the other hosts have the same storage there, name its folder in shared_paths.",
        )
    own = (*site.shared_paths, *(text for text in shared if text.startswith("/")))
    if definition.nvram and not definition.nvram.startswith(
        tuple(path.rstrip("/") + "/" for path in own) or ("\0",)
    ):
        raise refuse(
            f"{name} keeps its firmware's variables on the host: {definition.nvram}.",
            "Put that file on shared storage.",
        )
    if definition.has_tpm:
        raise refuse(
            f"{name} has an emulated TPM, whose state lies on the host.",
            "Migrate it live, which carries it along.",
        )
    if definition.devices:
        raise refuse(
            f"{name} uses a device of the host (hostdev).", "Take the device out of its definition first."
        )


def _age(kept: Kept) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.at))


def _create(conn: Any, vm_id: str) -> None:
    conn.lookupByUUIDString(vm_id).createWithFlags(0)


def _whole_xml(conn: Any, vm_id: str) -> str:
    """With passwords of its displays; it goes straight to the other host."""
    flags = lv.VIR_DOMAIN_XML_INACTIVE | lv.VIR_DOMAIN_XML_SECURE
    return str(conn.lookupByUUIDString(vm_id).XMLDesc(flags))


def _define(conn: Any, xml: str) -> None:
    conn.defineXMLFlags(xml, 0)


def _undefine(conn: Any, vm_id: str, nvram: str) -> None:
    """The file of its firmware's variables stays: it is on shared storage, and the other host has it now."""
    conn.lookupByUUIDString(vm_id).undefineFlags(lv.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if nvram else 0)


def _rebuild(conn: Any, kept: Kept) -> None:
    if not kept.persistent:
        conn.createXML(kept.xml, 0)
        return
    domain = conn.defineXMLFlags(kept.xml, 0)
    if kept.active:
        domain.createWithFlags(0)
