"""Live migration: peer to peer, so that the source host sees it through even if evac ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from backends.libvirt import domainxml, jobstats, reading
from backends.libvirt.choice import target_of
from backends.libvirt.herd import Herd
from backends.libvirt.keeping import Record, new_id
from backends.libvirt.options import Moves
from backends.libvirt.reading import lv
from backends.libvirt.refusals import nobody, read_only, refuse, unwritten
from backends.libvirt.site import Site
from backends.libvirt.view import Seen
from evac.backend import Receipt
from evac.errors import BackendError, Refused, Uncertain
from evac.model import VM, Phase, VMState

EARLY = 0.7
"""Seconds a migration is watched before it is called accepted: most refusals come at once."""

LATEST = 10.0
"""Seconds after which it is called accepted though its host shows no job of it yet."""

GLANCE = 0.1
"""Seconds between two looks for that job."""

FOREVER = 30 * 86400.0
"""Seconds a migration may take before its thread is given up; the migration itself is not."""

ENDLESS = 60_000
"""Milliseconds of pause that force-complete allows: with the link to itself a guest's rest is sent by then."""

UNLIMITED = 8_796_093_022_207
"""MiB/s, the most libvirt takes (INT64_MAX bytes)."""

MOVABLE = frozenset({VMState.RUNNING, VMState.PAUSED})


class LiveMoves:
    """See the module's docstring."""

    def __init__(self, herd: Herd, background: Callable[[Any], None]) -> None:
        """`background` keeps a coroutine running after its request was answered."""
        self._herd, self._background = herd, background

    async def start(self, vm_id: str, to: str) -> Receipt:
        """Raises as `evac.backend` says."""
        herd = self._herd
        if herd.setup.read_only:
            raise read_only("live-migrate")
        vm, one = await found(herd, vm_id)
        if herd.record_of(vm_id) is not None or vm.task:
            raise refuse(
                f"Something is being done to {vm.name} already ({vm.task}).", "Wait until it has ended."
            )
        if vm.state not in MOVABLE:
            step = "Cold-migrate it." if vm.state is VMState.STOPPED else ""
            raise refuse(f"{vm.name} is {one.native}: it cannot be migrated live.", step)
        source = herd.sites[vm.host]
        target = await target_of(herd, vm_id, one, vm.host, to)
        moves = herd.setup.migration
        action = "live-migration"
        record = Record(
            id=new_id(action), vm=vm_id, action=action, started=time.time(), source=vm.host, target=target.name,
            post_copy=moves.post_copy,
        )  # fmt: skip
        await begin(herd, record, f"the migration of {vm.name}")
        task = asyncio.ensure_future(self._carry_out(record, source, target, one))
        self._background(task)
        self._background(asyncio.ensure_future(self._watch(record, source)))
        if moves.max_downtime:
            self._background(asyncio.ensure_future(self._set_downtime(record, source, moves.max_downtime)))
        beginning = asyncio.ensure_future(self._begins(record, source))
        self._background(beginning)
        await asyncio.wait({task}, timeout=EARLY)
        await asyncio.wait({task, beginning}, timeout=LATEST, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and (trouble := task.result()) is not None:
            raise trouble
        return Receipt(task=record.id, note=f"to {target.name}")

    async def _carry_out(self, record: Record, source: Site, target: Site, one: Seen) -> BackendError | None:
        """Until it has ended; why it failed, if nothing was moved."""
        params, flags = parameters(self._herd.setup.migration, target, one, source)

        def work(conn: Any) -> None:
            domain = conn.lookupByUUIDString(record.vm)
            domain.migrateToURI3(target.entry.peer_uri, params, flags)

        try:
            await source.see_through(f"migrating {one.definition.name}", work, patience=FOREVER)
        except Uncertain as error:
            return await self._unsure(record, error)
        except BackendError as error:
            return await self._failed(record, error)
        await self._arrived(record, target)
        return None

    async def _begins(self, record: Record, source: Site) -> None:
        """Until its host shows a job, and that is written down; or it has ended. A call that was sent proves nothing."""

        def work(conn: Any) -> bool:
            return bool(conn.lookupByUUIDString(record.vm).jobInfo()[0] != lv.VIR_DOMAIN_JOB_NONE)

        while (ours := self._herd.record_of(record.vm)) is not None and ours.id == record.id:
            with suppress(BackendError):
                if await source.ask("looking for its job", work):
                    await self._herd.begun(record)
                    return
            await asyncio.sleep(GLANCE)

    async def _watch(self, record: Record, source: Site) -> None:
        """A connection that broke without a word leaves the call waiting: then what the hosts show decides."""
        epoch = source.epoch
        while (open_record := self._herd.record_of(record.vm)) is not None and open_record.id == record.id:
            await asyncio.sleep(2.0)
            if source.up and source.epoch != epoch:
                await settle(self._herd, record, "the connection to its source broke meanwhile")
                return

    async def _set_downtime(self, record: Record, source: Site, limit: int) -> None:
        """It can only be told to a migration that runs; libvirt has no parameter for it."""

        def work(conn: Any) -> None:
            conn.lookupByUUIDString(record.vm).migrateSetMaxDowntime(limit, 0)

        while (ours := self._herd.record_of(record.vm)) is not None and ours.id == record.id:
            await asyncio.sleep(0.1)
            with suppress(BackendError):
                await source.change("setting the longest pause", work)
                return

    async def _arrived(self, record: Record, target: Site) -> None:
        job = None
        with suppress(BackendError):
            job = await target.ask("reading its job", lambda conn: reading.completed_job(conn, record.vm))
        await self._herd.end(record, Phase.COMPLETED, jobstats.summary(job))

    async def _failed(self, record: Record, error: BackendError) -> BackendError:
        problem = error.problem
        aborted = "canceled by client" in problem.happened or "operation aborted" in problem.happened
        phase = Phase.CANCELLED if aborted else Phase.FAILED
        await self._herd.end(record, phase, " ".join(filter(None, (problem.happened, problem.next_step))))
        return error

    async def _unsure(self, record: Record, error: BackendError) -> BackendError | None:
        """The connection broke: libvirt goes on by itself, or gives up. Looked for until it is known."""
        await settle(self._herd, record, error.problem.happened)
        return None

    # --- interventions ------------------------------------------------------------------------------------------

    async def abort(self, vm_id: str, migration: str) -> Receipt:
        """Stop it; the guest stays.

        libvirt logs nothing of it, and evac's own ledger keeps migrations only. Twice is harmless: it is refused unless
        this very migration is still open, and virDomainAbortJob only asks QEMU to cancel what runs ("migrate_cancel").
        """
        record, site = self._running(vm_id, migration, "abort")
        await site.change("aborting the migration", lambda conn: conn.lookupByUUIDString(vm_id).abortJob())
        return Receipt(task=record.id)

    async def force_complete(self, vm_id: str, migration: str) -> Receipt:
        """Post-copy if the migration was started so that it can, else with all of the link and a long pause.

        Logged nowhere either. Twice is harmless: post-copy is a flag that QEMU finds set already ("migrate-start-postcopy"
        in qemu's migration.c), and the other way sets the same two values again.
        """
        record, site = self._running(vm_id, migration, "force-complete")
        if record.post_copy:
            try:
                await site.change(
                    "switching to post-copy",
                    lambda conn: conn.lookupByUUIDString(vm_id).migrateStartPostCopy(0),
                )
            except Refused:
                if not record.foreign:
                    raise
            else:
                note = "switched to post-copy: it runs on the target now; if the link breaks before the end, it is lost"
                return Receipt(task=record.id, note=note)
        await site.change("forcing the migration", lambda conn: _hurry(conn, vm_id))
        return Receipt(
            task=record.id,
            note=f"without a limit of speed, and with a pause of up to {ENDLESS // 1000} s (no post-copy: it was not allowed)",
        )

    def _running(self, vm_id: str, migration: str, verb: str) -> tuple[Record, Site]:
        if self._herd.setup.read_only:
            raise read_only(verb)
        record = self._herd.record_of(vm_id)
        if record is None or record.id != migration:
            raise refuse(f"Migration {migration} is over already.", "Look again.")
        if record.action != "live-migration":
            raise refuse(f"{verb} is for live migrations; this is a {record.action}.", "Let it end.")
        return record, self._herd.sites[record.source]

    # --- after a restart ----------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Follow what an earlier life began, or was about to."""
        herd = self._herd
        for record in herd.keeper.records:
            if not record.open or record.action != "live-migration":
                continue
            if record.phase is Phase.PREPARING:
                herd.doubted.add(record.id)
            self._background(asyncio.ensure_future(settle(herd, record, "evac's worker ended meanwhile")))


async def found(herd: Herd, vm_id: str) -> tuple[VM, Seen]:
    """A guest as it is now. Raises NotFound, or Refused where it cannot be seen."""
    told = (await herd.fresh([vm_id]))[vm_id]
    if told.vm is None:
        raise nobody(herd.cluster, vm_id)
    site = herd.sites.get(told.vm.host)
    if site is None or not site.up or vm_id not in site.seen:
        raise refuse(
            f"{told.vm.name} cannot be seen: {told.vm.native}.", "Bring its host back, or evacuate it."
        )
    if told.problem is not None and told.problem.severity == "error":
        raise refuse(told.problem.happened, told.problem.next_step)
    return told.vm, site.seen[vm_id]


async def begin(herd: Herd, record: Record, what: str) -> None:
    """Written down before it is done. Raises Refused."""
    try:
        await herd.save(record)
    except OSError as error:
        raise unwritten(what, error) from None


def _hurry(conn: Any, vm_id: str) -> None:
    domain = conn.lookupByUUIDString(vm_id)
    domain.migrateSetMaxSpeed(UNLIMITED, 0)
    domain.migrateSetMaxDowntime(ENDLESS, 0)


def parameters(moves: Moves, target: Site, one: Seen, source: Site) -> tuple[dict[str, Any], int]:
    """Of migrateToURI3."""
    flags = lv.VIR_MIGRATE_LIVE | lv.VIR_MIGRATE_PEER2PEER | lv.VIR_MIGRATE_ABORT_ON_ERROR
    params: dict[str, Any] = {}
    if one.persistent:
        flags |= lv.VIR_MIGRATE_PERSIST_DEST | lv.VIR_MIGRATE_UNDEFINE_SOURCE
    for wanted, flag in (
        (moves.auto_converge, lv.VIR_MIGRATE_AUTO_CONVERGE),
        (moves.post_copy, lv.VIR_MIGRATE_POSTCOPY),
        (moves.tunnelled, lv.VIR_MIGRATE_TUNNELLED),
        (moves.unsafe, lv.VIR_MIGRATE_UNSAFE),
        (moves.parallel > 1, lv.VIR_MIGRATE_PARALLEL),
    ):
        flags |= flag if wanted else 0
    if moves.parallel > 1:
        params[lv.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = moves.parallel
    if moves.bandwidth:
        params[lv.VIR_MIGRATE_PARAM_BANDWIDTH] = moves.bandwidth
    if target.entry.migrate_uri:
        params[lv.VIR_MIGRATE_PARAM_URI] = target.entry.migrate_uri
    if moves.storage != "shared" and (disks := _to_copy(one, source)):
        flags |= lv.VIR_MIGRATE_NON_SHARED_DISK if moves.storage == "copy" else lv.VIR_MIGRATE_NON_SHARED_INC
        params[lv.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = disks
    return params, flags


def _to_copy(one: Seen, source: Site) -> list[str]:
    shared = [name for pool in source.pools for name in (pool.name, pool.path) if name]
    local = domainxml.local_parts(one.definition, source.shared_paths, shared)
    return [disk.target for disk in local if not disk.shareable]


async def settle(herd: Herd, record: Record, why: str) -> None:
    """Look until libvirt shows no job and the guest is in one place, twice in a row; then end the record by where that is.

    A migration of which nobody has seen that it began is withdrawn instead: the queue's own rule says what becomes of it.
    """
    agreed = ""
    while True:
        await asyncio.sleep(1.0)
        told = (await herd.fresh([record.vm]))[record.vm]
        vm = told.vm
        if told.moving and record.id in herd.doubted:
            await herd.begun(record)
        if vm is None or told.moving or vm.state in {VMState.UNKNOWN, VMState.MIGRATING}:
            agreed = ""
            continue
        if agreed != vm.host:
            agreed = vm.host
            continue
        if vm.host == record.source and record.id in herd.doubted:
            await herd.withdraw(record)
        elif vm.host == record.source:
            await herd.end(record, Phase.FAILED, f"{why}; the guest is where it was, and no job runs")
        else:
            fresh = replace(record, target=vm.host)
            await herd.end(fresh, Phase.COMPLETED, f"{why}; the guest is {vm.native} on {vm.host}")
        return
