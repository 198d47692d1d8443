"""All hosts of a cluster together: inventory, fresh looks, and which host a guest is to be sent to."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from backends.libvirt import jobstats
from backends.libvirt.frames import Setup
from backends.libvirt.guard import Record as Recorder
from backends.libvirt.keeping import Keeper, Kept, Mark, Record, new_id
from backends.libvirt.progress import shown
from backends.libvirt.reading import Read
from backends.libvirt.site import Site
from backends.libvirt.view import SHUTOFF, Seen, Told, left_behind, tell
from evac.errors import Unreachable
from evac.model import VM, Host, HostState, Inventory, Migration, Phase, Problem, Sighting

RECENT = 3600.0
"""Seconds for which a move that has ended is still told."""


class Herd:
    """See the module's docstring."""

    def __init__(self, setup: Setup, recorder: Recorder) -> None:
        self.setup, self.cluster = setup, setup.cluster
        self.keeper = Keeper(setup.state_dir)
        self.sites = {entry.name: Site(setup, entry, recorder) for entry in setup.hosts}
        self.jobs: dict[str, jobstats.Job] = {}
        """The last figures of each move under way, by record."""
        self.doubted: set[str] = set()
        """Records of an earlier life whose migration may never have begun: nobody is told of them before it is known."""
        self.saving = asyncio.Lock()
        self._epoch = secrets.token_hex(4)
        self._count = 0
        self._vms: dict[str, tuple[int, VM]] = {}
        self._gone: dict[str, int] = {}

    async def attempted(self) -> None:
        """Returns when every host has been tried once, or has had its time."""
        waits = [asyncio.create_task(site.attempted.wait()) for site in self.sites.values()]
        _, late = await asyncio.wait(waits, timeout=self.setup.connect_timeout + 1)
        for task in late:
            task.cancel()

    # --- records ------------------------------------------------------------------------------------------------

    def record_of(self, vm: str) -> Record | None:
        """What is being done to a guest by evac or, as far as it was seen, by others."""
        return next((one for one in reversed(self.keeper.records) if one.vm == vm and one.open), None)

    async def save(self, record: Record) -> None:
        """On disk before it returns. Raises OSError."""
        async with self.saving:
            await asyncio.to_thread(self.keeper.put_record, record)

    async def begun(self, record: Record) -> None:
        """It was seen to run."""
        self.doubted.discard(record.id)
        known = next((one for one in self.keeper.records if one.id == record.id), None)
        if known is None or not known.open or known.phase is not Phase.PREPARING:
            return
        try:
            await self.save(replace(known, phase=Phase.RUNNING))
        except OSError as error:
            self.keeper.trouble = f"the ledger cannot be written: {error.strerror}"

    async def withdraw(self, record: Record) -> None:
        """As if it had never been written down: it has not begun."""
        try:
            async with self.saving:
                await asyncio.to_thread(self.keeper.withdraw, record)
        except OSError as error:
            self.keeper.trouble = f"the ledger cannot be written: {error.strerror}"
            return
        self.doubted.discard(record.id)

    async def end(self, record: Record, phase: Phase, message: str = "") -> None:
        """It has ended; the first word on it counts. What cannot be written down stays open on disk, and is settled by the next life."""
        if any(one.id == record.id and not one.open for one in self.keeper.records):
            return
        ended = replace(record, phase=phase, message=message, ended=time.time())
        self.jobs.pop(record.id, None)
        self.doubted.discard(record.id)
        try:
            await self.save(ended)
        except OSError as error:
            self.keeper.trouble = f"the ledger cannot be written: {error.strerror}"

    # --- all of it ----------------------------------------------------------------------------------------------

    async def inventory(self, since: str) -> Inventory:
        """As the contract says. Raises Unreachable if no host answers."""
        await self.attempted()
        moving = self._moving()
        reads = dict(
            zip(
                self.sites,
                await asyncio.gather(*(site.refresh(moving) for site in self.sites.values())),
                strict=True,
            )
        )
        if not any(reads.values()):
            raise self._nobody()
        told = await self._confirmed(self._tell_all())
        await self._settle(told)
        await self._keep(reads, told)
        hosts = await asyncio.gather(*(self.host(name) for name in self.sites))
        problems = [*self._problems(reads), *(one.problem for one in told.values() if one.problem)]
        epoch, _, count = since.partition(":")
        known = int(count) if epoch == self._epoch and count.isdecimal() else None
        self._note({uuid: one.vm for uuid, one in told.items() if one.vm is not None}, whole=True)
        return Inventory(
            hosts=tuple(host for host in hosts if host is not None),
            vms=tuple(vm for at, vm in self._vms.values() if known is None or at > known),
            gone=() if known is None else tuple(uuid for uuid, at in self._gone.items() if at > known),
            migrations=tuple(self.migrations()),
            complete=known is None,
            problems=tuple(problems),
            mark=f"{self._epoch}:{self._count}",
            skew=0.0,  # the ledger is written by this machine's clock
            calls=len(self.sites),
        )

    def _moving(self) -> set[str] | None:
        """Guests to ask for a job: those evac moves, those that two hosts have, and those that stand as in a move."""
        active: list[str] = [
            uuid for site in self.sites.values() for uuid, one in site.seen.items() if one.active
        ]
        doubled = {uuid for uuid in active if active.count(uuid) > 1} if len(active) < 2000 else set(active)
        odd = {uuid for site in self.sites.values() for uuid, one in site.seen.items() if one.in_move}
        return doubled | odd | {one.vm for one in self.keeper.records if one.open}

    def _nobody(self) -> Unreachable:
        troubles = [site.trouble.problem for site in self.sites.values() if site.trouble]
        first = troubles[0] if troubles else Problem(happened="No host answered in time.")
        many = f"None of the {len(self.sites)} hosts answers. " if len(self.sites) > 1 else ""
        return Unreachable(replace(first, happened=f"{self.cluster}: {many}{first.happened}"))

    def _tell_all(self) -> dict[str, Told]:
        kept = {uuid for uuid, one in self.keeper.guests.items() if not one.gone}
        every = {uuid for site in self.sites.values() for uuid in site.seen} | kept
        return {uuid: self.tell(uuid) for uuid in every}

    def tell(self, uuid: str) -> Told:
        """One guest, from what every host said last."""
        seen = {name: site.seen[uuid] for name, site in self.sites.items() if site.up and uuid in site.seen}
        away = [name for name, site in self.sites.items() if not site.up]
        return tell(
            self.cluster,
            seen,
            kept=self.keeper.guests.get(uuid),
            away=away,
            record=self.record_of(uuid),
        )

    async def _settle(self, told: Mapping[str, Told]) -> None:
        """Migrations others began are written down while they are seen, and ended when they are not."""
        for uuid, one in told.items():
            record = self.record_of(uuid)
            job, source = self._job_of(uuid)
            if record is not None and job is not None and jobstats.is_news(job, self.jobs.get(record.id)):
                self.jobs[record.id] = job
            if record is not None and job is not None:
                await self.begun(record)
            if record is None and job is not None and one.vm is not None:
                target = next(
                    (
                        name
                        for name, site in self.sites.items()
                        if name != one.vm.host and site.up and uuid in site.seen and site.seen[uuid].active
                    ),
                    "",
                )
                began = time.time() - (job.elapsed or 0.0)
                action = "live-migration"
                fresh = Record(
                    id=new_id(action), vm=uuid, action=action, started=began, source=source or one.vm.host,
                    target=target, foreign=True, post_copy=True, phase=Phase.RUNNING,
                )  # fmt: skip
                self.keeper.records.append(fresh)
            elif record is not None and record.foreign and not one.moving:
                await self._end_foreign(record, one.vm)

    async def _end_foreign(self, record: Record, vm: VM | None) -> None:
        where = vm.host if vm is not None else ""
        if where and where != record.source:
            await self.end(replace(record, target=where), Phase.COMPLETED, "not moved by evac")
        else:
            await self.end(record, Phase.FAILED, "it ended, and the guest is where it was; not moved by evac")

    def _job_of(self, uuid: str) -> tuple[jobstats.Job | None, str]:
        for name, site in self.sites.items():
            one = site.seen.get(uuid)
            if site.up and one is not None and one.job is not None and one.job.leaving:
                return one.job, name
        return None, ""

    async def _keep(self, reads: Mapping[str, Read | None], told: Mapping[str, Told]) -> None:
        """What is needed to start a guest elsewhere when its host is dead."""
        fresh: list[Kept] = []
        for uuid, one in told.items():
            old = self.keeper.guests.get(uuid)
            vm = one.vm
            if vm is None:
                if old is not None and not old.gone:
                    fresh.append(replace(old, gone=time.time()))
                continue
            site = self.sites.get(vm.host)
            if one.moving or site is None or not site.up or uuid not in site.seen:
                continue
            read = reads.get(vm.host)
            xml = read.xml.get(uuid, "") if read is not None else ""
            now = _kept(uuid, vm.host, site.seen[uuid], xml or (old.xml if old else ""))
            if old is None or replace(old, at=now.at, gone=0.0 if not old.gone else old.gone) != now:
                fresh.append(now)
        if fresh:
            async with self.saving:
                await asyncio.to_thread(self.keeper.put_guests, fresh)

    def _problems(self, reads: Mapping[str, Read | None]) -> Iterable[Problem]:
        for name, site in self.sites.items():
            mark = self.keeper.marks.get(name, Mark())
            if site.trouble is not None:
                if not mark.forced_down:
                    yield site.trouble.problem
            elif mark.forced_down:
                yield Problem(
                    happened=f"{name} answers, though it was declared dead.",
                    unaffected="Guests that were evacuated from it are not touched.",
                    next_step="Look for guests that are defined or run there as well, then take the declaration back.",
                    severity="warning",
                )
            if site.trouble is None and site.doubt is not None:
                yield site.doubt
            read = reads.get(name)
            for doubt in read.doubts[:5] if read is not None else ():
                yield Problem(happened=f"{name}: a guest's XML makes no sense: {doubt}.", severity="warning")
        up = {name: site.seen for name, site in self.sites.items() if site.up}
        yield from left_behind(self.cluster, self.keeper.records, up)
        if self.keeper.trouble:
            yield Problem(
                happened=f"{self.cluster}: {self.keeper.trouble}.",
                unaffected="Guests are not affected.",
                next_step="Until then an evacuation may lack the latest definitions.",
                severity="warning",
            )

    def _note(self, vms: Mapping[str, VM], *, whole: bool = False) -> None:
        """Count what changed."""
        self._count += 1
        for uuid, vm in vms.items():
            if uuid not in self._vms or self._vms[uuid][1] != vm:
                self._vms[uuid] = (self._count, vm)
            self._gone.pop(uuid, None)
        for uuid in [uuid for uuid in self._vms if whole and uuid not in vms]:
            del self._vms[uuid]
            self._gone[uuid] = self._count

    # --- one of it ----------------------------------------------------------------------------------------------

    async def look(self, uuids: Sequence[str]) -> dict[str, Sighting]:
        """As the contract says. Asks the hosts that should have them, and all the others about those not found active."""
        told = await self.fresh(uuids)
        await self._settle(told)
        await self._keep({}, told)
        self._note({uuid: one.vm for uuid, one in told.items() if one.vm is not None})
        return {
            uuid: Sighting(vm=told[uuid].vm, migrations=tuple(self.migrations(uuid)))
            for uuid in dict.fromkeys(uuids)
        }

    async def fresh(self, uuids: Sequence[str]) -> dict[str, Told]:
        """Each of these guests, from answers begun after this was called."""
        await self.attempted()
        likely: dict[str, set[str]] = {name: set() for name in self.sites}
        for uuid in uuids:
            for name in self._likely(uuid):
                likely[name].add(uuid)
        await self._glance(likely)
        rest = {uuid for uuid in uuids if (vm := self.tell(uuid).vm) is None or not self._active(vm)}
        await self._glance({name: rest - likely[name] for name in self.sites})
        return await self._confirmed({uuid: self.tell(uuid) for uuid in uuids})

    async def _confirmed(self, told: dict[str, Told]) -> dict[str, Told]:
        """Hosts are not read at one instant: a guest that moved meanwhile may seem to be on two. So it is read again."""
        doubtful = {
            uuid for uuid, one in told.items() if one.problem is not None and one.problem.severity == "error"
        }
        doubtful |= {uuid for uuid in told if self._unexplained(uuid)}
        if not doubtful:
            return told
        await self._glance(dict.fromkeys(self.sites, doubtful))
        return told | {uuid: self.tell(uuid) for uuid in doubtful}

    def _unexplained(self, uuid: str) -> bool:
        """Two hosts have it, and neither was asked for the job."""
        both = [site.seen[uuid] for site in self.sites.values() if site.up and uuid in site.seen]
        both = [one for one in both if one.active]
        return len(both) > 1 and not any(one.job is not None for one in both)

    def _active(self, vm: VM) -> bool:
        site = self.sites.get(vm.host)
        return site is not None and vm.id in site.seen and site.seen[vm.id].active

    def _likely(self, uuid: str) -> set[str]:
        kept, record = self.keeper.guests.get(uuid), self.record_of(uuid)
        last = next((one for one in reversed(self.keeper.records) if one.vm == uuid), None)
        names = {name for name, site in self.sites.items() if uuid in site.seen}
        names |= {kept.host} if kept else set()
        for one in filter(None, (record, last)):
            names |= {one.source, one.target}
        return names & set(self.sites)

    async def _glance(self, wanted: Mapping[str, set[str]]) -> None:
        async def one(site: Site, uuids: set[str]) -> None:
            with suppress(Unreachable):  # the site says so itself, as `trouble`
                await site.glance(sorted(uuids))

        await asyncio.gather(
            *(one(self.sites[name], uuids) for name, uuids in wanted.items() if uuids and self.sites[name].up)
        )

    async def host(self, name: str) -> Host | None:
        """As the contract says."""
        site = self.sites.get(name)
        if site is None:
            return None
        await self.attempted()
        mark = self.keeper.marks.get(name, Mark())
        used = await site.memory_used() if site.up else None
        facts, active = site.facts, [one for one in site.seen.values() if one.active]
        return Host(
            cluster=self.cluster,
            id=name,
            name=name,
            uuid=facts.uuid,
            state=HostState.UP if site.up else HostState.DOWN,
            forced_down=mark.forced_down,
            maintenance=mark.maintenance,
            reason=mark.reason if mark.maintenance else "",
            cpu_model=facts.cpu_model,
            cpu_vendor=facts.cpu_vendor,
            cpu_features=facts.cpu_features,
            hypervisor=facts.hypervisor,
            address=facts.hostname,
            vcpus=facts.vcpus or None,
            vcpus_used=sum(one.definition.vcpus for one in active) if site.up else None,
            memory=facts.memory or None,
            memory_used=used,
            vms=len(active) if site.up else None,
        )

    def migrations(self, vm: str = "") -> list[Migration]:
        """Those under way and, newest first, those that ended lately; of one guest, all that are remembered."""
        since = 0.0 if vm else time.time() - RECENT
        found = [
            one
            for one in reversed(self.keeper.records)
            if one.kind is not None
            and vm in {"", one.vm}
            and (one.ended is None or one.ended > since)
            and one.id not in self.doubted
        ]
        return [self._migration(one) for one in found]

    def _migration(self, record: Record) -> Migration:
        site = self.sites.get(record.source)
        one = site.seen.get(record.vm) if site is not None else None
        return shown(self.cluster, record, self.jobs.get(record.id, jobstats.Job()), one)

    async def close(self) -> None:
        """At once."""
        await asyncio.gather(*(site.close() for site in self.sites.values()))


def _kept(uuid: str, host: str, one: Seen, xml: str) -> Kept:
    return Kept(
        uuid=uuid,
        name=one.definition.name,
        host=host,
        active=one.state != SHUTOFF,
        persistent=one.persistent,
        xml=xml,
        definition=one.definition,
        at=time.time(),
    )
