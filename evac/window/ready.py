"""Whether a host that was restarted is back, and fit to take VMs again: reading first, then judging, as findings.

A finding with `ok` False stands against it, with `passes` when it goes away by itself; None could not be told, and holds
nobody up: a host without SSH tells nothing of its links. What is compared is what the same teller said before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from evac.backend import Backend
from evac.errors import BackendError
from evac.fleet import Fleet
from evac.model import VM, ClusterState, Finding, Host, HostState
from evac.noun import Noun
from evac.storage import OSD, PGState, Storage
from evac.window.nouns import HostFacts, HostRun
from evac.window.plan import Policy, StorageHost
from evac.window.reach import Reach

LONGEST = 30.0
"""Seconds that one look takes at most: what has not answered by then is said to be silent."""

BOOT_JITTER = 20.0
"""Seconds between two words for the same boot. No host is up again so soon after it was booted."""

NAMED = 5
"""Names in one line; the rest is counted."""

CLEAN = "active+clean"

_Of = Callable[[HostFacts], tuple[str, ...]]
"""Which of a host's facts are compared."""


class StorageSeen(Noun, frozen=True, kw_only=True):
    """What was read of the OSDs of the same machine."""

    cluster: str
    host: str
    fresh: bool
    """False: the cluster has not answered since the host is back."""
    wanted: tuple[int, ...] = ()
    osds: tuple[OSD, ...] = ()
    storage: Storage | None = None


class Seen(Noun, frozen=True, kw_only=True):
    """All that was read in one look."""

    host: Host | None = None
    silence: str = ""
    """Why the cluster did not answer for the host; "" when it did."""
    before: HostFacts | None = None
    after: HostFacts | None = None
    mute: str = ""
    """Why the host told nothing of itself; "" when it did."""
    fresh: bool = True
    """False: what the cluster lists is from before the host was back."""
    storages: tuple[StorageSeen, ...] = ()
    vms: tuple[VM, ...] = ()
    """Those that are on it now."""
    stopped: tuple[str, ...] = ()
    """VM.id of those that are to be started on it."""


async def look_ready(
    run: HostRun,
    storage: Sequence[StorageHost],
    policy: Policy,
    *,
    fleet: Fleet,
    backends: Mapping[str, Backend],
    reach: Reach,
    since: float,
) -> tuple[Finding, ...]:
    """One look at a host that came back, whole; it is ready when `is_ready`. Raises nothing, and takes `LONGEST` at most.

    `since` is a boot-clock stamp, no earlier than the moment at which another boot than before was seen: what a poll
    brought in before it says nothing.
    """
    (host, silence), (after, mute) = await asyncio.gather(
        _host(backends.get(run.cluster), run), _facts(reach, run)
    )
    seen = Seen(
        host=host,
        silence=silence,
        before=run.before,
        after=after,
        mute=mute,
        fresh=_newer(fleet.cluster(run.cluster), since),
        storages=tuple(_storage(fleet, one, since) for one in storage),
        vms=tuple(fleet.vms_on(run.cluster, run.host)),
        stopped=run.stopped,
    )
    return judge_ready(seen, policy)


def is_ready(findings: Iterable[Finding]) -> bool:
    """True when nothing stands against it."""
    return all(finding.ok is not False for finding in findings)


# --- reading -----------------------------------------------------------------------------------------


async def _host(backend: Backend | None, run: HostRun) -> tuple[Host | None, str]:
    if backend is None:
        return None, f"no connection to {run.cluster} is set up"
    try:
        async with asyncio.timeout(LONGEST):
            return await backend.host(run.host), ""
    except BackendError as error:
        return None, error.problem.happened
    except TimeoutError:
        return None, f"{run.cluster} did not answer within {LONGEST:g} s"


async def _facts(reach: Reach, run: HostRun) -> tuple[HostFacts | None, str]:
    try:
        async with asyncio.timeout(LONGEST):
            return await reach.facts(run.cluster, run.host), ""
    except BackendError as error:
        return None, error.problem.happened
    except TimeoutError:
        return None, f"{run.name} did not answer within {LONGEST:g} s"


def _newer(state: ClusterState | None, since: float) -> bool:
    return state is not None and state.fresh_stamp is not None and state.fresh_stamp > since


def _storage(fleet: Fleet, asked: StorageHost, since: float) -> StorageSeen:
    osds: Iterable[OSD] = fleet.table("osds").values()
    return StorageSeen(
        cluster=asked.cluster,
        host=asked.host,
        fresh=_newer(fleet.cluster(asked.cluster), since),
        wanted=asked.osds,
        osds=tuple(osd for osd in osds if (osd.cluster, osd.host) == (asked.cluster, asked.host)),
        storage=fleet.table("storages").get(asked.cluster),
    )


# --- judging: pure -----------------------------------------------------------------------------------


def judge_back(before: HostFacts | None, after: HostFacts, policy: Policy) -> tuple[Finding, ...]:
    """Whether it is another boot than before, with the kernel that was wanted."""
    return tuple(_boot(before, after)) + tuple(_kernel(before, after, policy))


def judge_ready(seen: Seen, policy: Policy) -> tuple[Finding, ...]:
    """What stands against using it again, and what does not; see the module's docstring."""
    return (
        _up(seen),
        *_kept("datastores", "datastore", seen, lambda facts: facts.datastores),
        *_of_the_host(seen, policy),
        *(finding for storage in seen.storages for finding in _of_storage(storage)),
        *_locks(seen),
    )


def rebooted(before: HostFacts | None, after: HostFacts) -> bool | None:
    """True: another boot than before. None: it cannot be told, for nobody told before, or another teller did.

    A platform tells when a host was booted, and never twice to the same second: it counts back from the uptime.
    """
    if before is None or not before.boot or not after.boot or before.how != after.how:
        return None
    try:
        then, now = (datetime.fromisoformat(facts.boot) for facts in (before, after))
    except ValueError:
        return before.boot != after.boot
    return abs((now - then).total_seconds()) > BOOT_JITTER


def _boot(before: HostFacts | None, after: HostFacts) -> Iterator[Finding]:
    again = rebooted(before, after)
    if again is None:
        yield Finding(
            check="boot",
            ok=None,
            detail="whether it was restarted cannot be told: nobody said before how it was booted",
            fix="Look on its console; then say that it is back.",
        )
    elif not again:
        yield Finding(
            check="boot", ok=False, passes=True, detail="it still runs the boot it had before", fix=""
        )
    else:
        yield Finding(check="boot", ok=True, detail=f"another boot than before, says {after.how}")


def _kernel(before: HostFacts | None, after: HostFacts, policy: Policy) -> Iterator[Finding]:
    old, new, wanted = before.kernel if before else "", after.kernel, policy.kernel
    if not wanted:
        return
    if not new:
        yield Finding(check="kernel", ok=None, detail="nobody says which kernel it runs", fix="uname -r")
    elif wanted == "new":
        same = old == new
        detail = f"it runs {new}, as before; another was wanted" if same else f"{old or '?'} → {new}"
        yield Finding(check="kernel", ok=not same, detail=detail, fix=_WRONG_KERNEL if same else "")
    else:
        good = new == wanted
        detail = f"{old or '?'} → {new}" if good else f"it runs {new}; {wanted} was wanted"
        yield Finding(check="kernel", ok=good, detail=detail, fix="" if good else _WRONG_KERNEL)


_WRONG_KERNEL = "Choose the right one in the boot loader and restart it, or skip this step and say why."


def _up(seen: Seen) -> Finding:
    if seen.silence:
        return Finding(check="cluster", ok=False, passes=True, detail=seen.silence)
    if seen.host is None:
        fix = "See on the host whether its agent runs and joined the right cluster."
        return Finding(check="cluster", ok=False, detail="the cluster does not know it any more", fix=fix)
    if seen.host.forced_down:
        fix = "Take that back when it is certain that it is well."
        return Finding(check="cluster", ok=False, detail="it is still declared down by force", fix=fix)
    if seen.host.state is not HostState.UP:
        detail = f"the cluster says it is {seen.host.state.value}"
        return Finding(check="cluster", ok=False, passes=True, detail=detail)
    return Finding(check="cluster", ok=True, detail="the cluster answers, and says it is up")


def _of_the_host(seen: Seen, policy: Policy) -> Iterator[Finding]:
    if seen.after is None:
        told = seen.before is not None and bool(seen.before.how)
        # Whoever told before and is silent now is a sign; where nobody ever told, there is nothing to miss.
        yield Finding(
            check="host",
            ok=False if told else None,
            passes=told,
            detail=seen.mute or "nobody tells anything of the host itself",
        )
        return
    yield from _kept("links", "link or bridge", seen, lambda facts: facts.links)
    yield from _mtus(seen.before, seen.after)
    yield from _kept("mounts", "network mount", seen, lambda facts: facts.mounts)
    yield _clock(seen.after, policy)


def _mtus(before: HostFacts | None, after: HostFacts) -> Iterator[Finding]:
    """No link takes smaller packets than before: set by hand and never written down, an MTU is gone after a restart."""
    if before is None or before.how != after.how:
        return
    both = [name for name in before.mtus if name in after.mtus]
    less = [name for name in both if after.mtus[name] < before.mtus[name]]
    if less:
        detail = _names(f"{name} {after.mtus[name]}, before {before.mtus[name]}" for name in less)
        fix = f"ip link set dev {less[0]} mtu {before.mtus[less[0]]}, and in its network configuration."
        yield Finding(check="mtu", ok=False, passes=True, detail=f"MTU of {detail}", fix=fix)
    elif both:
        yield Finding(check="mtu", ok=True, detail=f"{len(both)} as before")


def _clock(facts: HostFacts, policy: Policy) -> Finding:
    if facts.clock is None:
        return Finding(check="clock", ok=None, detail=f"{facts.how or 'nobody'} does not tell its clock")
    off, unsure = abs(facts.clock), facts.clock_unsure
    shown = f"{facts.clock:+.1f} s against this machine (±{unsure:.1f} s)"
    if off - unsure > policy.clock_within:
        fix = "On the host: chronyc tracking; it steps or slews by itself when its time servers answer."
        return Finding(check="clock", ok=False, passes=True, detail=shown, fix=fix)
    ok = True if off + unsure <= policy.clock_within else None
    return Finding(check="clock", ok=ok, detail=shown)


def _kept(check: str, what: str, seen: Seen, of: _Of) -> Iterator[Finding]:
    """What was there before is there again. More than before is no harm, and a hint when something else is missing."""
    before, after = seen.before, seen.after
    if before is None or not (had := set(of(before))):
        return
    if after is None:
        return
    if check == "datastores" and not seen.fresh:
        yield Finding(check=check, ok=False, passes=True, detail="not read since it is back")
        return
    if check != "datastores" and before.how != after.how:
        yield Finding(check=check, ok=None, detail=f"{after.how} does not tell them; {before.how} did before")
        return
    has = set(of(after))
    if missing := had - has:
        new = f"; new: {_names(has - had)}" if has - had else ""
        fix = "It may have come up under another name." if new else ""
        detail = f"{what} missing: {_names(missing)}{new}"
        yield Finding(check=check, ok=False, passes=True, detail=detail, fix=fix)
        return
    yield Finding(check=check, ok=True, detail=f"{len(had)} as before")


def _of_storage(seen: StorageSeen) -> Iterator[Finding]:
    check = f"{seen.cluster} OSDs"
    if not seen.fresh or seen.storage is None:
        detail = f"{seen.cluster} has not answered since it is back"
        yield Finding(check=check, ok=False, passes=True, detail=detail)
        return
    wanted = set(seen.wanted) or {osd.id for osd in seen.osds}
    up = {osd.id for osd in seen.osds if osd.up}
    if down := sorted(wanted - up):
        names = _names(f"osd.{one}" for one in down)
        fix = f"If they stay down, on {seen.host}: systemctl --failed"
        detail = f"{len(wanted) - len(down)} of {len(wanted)} up; down: {names}"
        yield Finding(check=check, ok=False, passes=True, detail=detail, fix=fix)
    else:
        yield Finding(check=check, ok=True, detail=f"{len(wanted)} of {len(wanted)} up")
    yield _pgs(seen.cluster, seen.storage)


def _pgs(cluster: str, storage: Storage) -> Finding:
    check = f"{cluster} PGs"
    if not storage.pg_states:
        return Finding(check=check, ok=False, passes=True, detail="the state of its PGs is not known yet")
    unclean = sum(state.count for state in storage.pg_states if not _is_clean(state))
    if not unclean:
        return Finding(check=check, ok=True, detail=f"{storage.pgs} active+clean")
    left = [work.remaining for work in storage.work if work.remaining is not None]
    eta = f", about {_minutes(max(left))} by its own estimate" if left else ""
    waits = "" if left or storage.copying else "; nothing is being copied at the moment"
    detail = f"{unclean} of {storage.pgs} not active+clean{eta}{waits}"
    return Finding(check=check, ok=False, passes=True, detail=detail)


def _is_clean(state: PGState) -> bool:
    """A PG that is being scrubbed is active+clean+scrubbing: well."""
    return set(CLEAN.split("+")) <= set(state.state.split("+"))


def _locks(seen: Seen) -> Iterator[Finding]:
    busy = [vm.name for vm in seen.vms if vm.task]
    if busy:
        detail = f"something is being done to {_names(busy)}"
        yield Finding(check="locks", ok=False, passes=True, detail=detail)
    locked = [vm for vm in seen.vms if vm.locked]
    if locked:
        stands = any(vm.id in seen.stopped for vm in locked)
        fix = "Take the lock off where nothing works on it any more." if stands else ""
        detail = f"locked: {_names(vm.name for vm in locked)}"
        yield Finding(check="locks", ok=False if stands else None, detail=detail, fix=fix)


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
