"""The steps that put a host back to use: unfence → refill. What the window switched, and nothing else, is switched back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evac.actions import (
    ColdMigrate,
    LeaveMaintenance,
    LiveMigrate,
    Move,
    SetNoout,
    StartVM,
    UnsetNoout,
)
from evac.fleet import Fleet
from evac.jobs import Job, JobState
from evac.limits import at_dead_ends
from evac.model import VM, HostState, VMState
from evac.staying import largest_first, needs_stop
from evac.storage import Storage
from evac.window.at import At
from evac.window.crush import seen_host
from evac.window.judging import judge_moves, judge_order
from evac.window.moving import cut_off, listed
from evac.window.nouns import StepKind
from evac.window.plan import Refill
from evac.window.told import Halt, Told, done, held, needs, running

CLEAN = frozenset({"active", "clean"})

REST = "rest"
"""Part of a refill: the VMs whose state the cluster did not tell when the others went back."""


async def unfence(at: At) -> Told:
    """The flags once the PGs are clean, then the fence; then what was shut down is started."""
    words = []
    for told in (await _noout(at), await _maintenance(at), await _start(at)):
        if told is None:
            continue
        if not told.state.over:
            return told
        words.append(told.reason)
    return done("; ".join(words) or "nothing of it was switched by the window")


async def _noout(at: At) -> Told | None:
    jobs = await at.jobs_of(StepKind.NOOUT)
    words = []
    for action in {
        job.action.cluster: job.action for job in jobs if isinstance(job.action, SetNoout)
    }.values():
        told = await _unset(at, action)
        if not told.state.over:
            return told
        words.append(told.reason)
    return done("; ".join(words)) if words else None


async def _unset(at: At, action: SetNoout) -> Told:
    cluster = action.cluster
    given = await at.given(cluster)
    if given is not None:
        return judge_order(*given, f"noout taken back on {cluster}")
    at.fresh(cluster)
    if not at.polled(cluster, at.since):
        return running(f"{cluster} is being read anew")
    host = seen_host(at.tools.fleet, cluster, action.host)
    if host is not None and "noout" not in host.flags and _settled(at, StepKind.NOOUT):
        return done(f"noout was taken back on {cluster} already")
    unclean = dirty(at.tools.fleet.table("storages").get(cluster))
    if unclean:
        return held(f"noout stays on {cluster} until its PGs are clean: {unclean}")
    undo = UnsetNoout(cluster=cluster, host=action.host, name=action.name, uuid=action.uuid)
    given = await at.order([undo], f"noout off for {action.name}", part=cluster)
    return judge_order(*given, f"noout taken back on {cluster}")


def _settled(at: At, kind: StepKind) -> bool:
    """Every order of a step has ended: none of its calls can still take effect."""
    orders = [at.tools.fleet.order(order) for order in at.other(kind).orders]
    return all(order is None or order.ended is not None for order in orders)


def dirty(storage: Storage | None) -> str:
    """Why the PGs of a storage cluster are not all active and clean, in words; "" when they are. Pure."""
    if storage is None or not storage.pg_states:
        return "their state is not known"
    counts = {
        state.state: state.count for state in storage.pg_states if not set(state.state.split("+")) >= CLEAN
    }
    total = sum(counts.values())
    return f"{total} of {storage.pgs} are not ({max(counts, key=counts.__getitem__)})" if total else ""


async def _maintenance(at: At) -> Told | None:
    jobs = await at.jobs_of(StepKind.FENCE)
    if not jobs:
        return None
    given = await at.given("maintenance")
    if given is None:
        at.fresh(at.planned.cluster)
        if not at.polled(at.planned.cluster, at.since):
            return running(f"{at.planned.cluster} is being read anew")
        host = at.host()
        if host is None:
            return needs(_no_host(at), "It goes on by itself when it does; or skip this step.")
        if not host.maintenance and _settled(at, StepKind.FENCE):
            return done("it was taken out of maintenance already")
        if host.state is not HostState.UP or host.forced_down:
            word = "declared down by force" if host.forced_down else host.state.value
            return held(f"it stays in maintenance while it is {word}")
        leave = LeaveMaintenance(cluster=host.cluster, host=host.id, name=host.name, uuid=host.uuid)
        given = await at.order([leave], f"unfence {host.name}", part="maintenance")
    return judge_order(*given, "VMs may be placed on it again")


def _no_host(at: At) -> str:
    return f"{at.planned.cluster} knows no host {at.planned.host} now"


async def _start(at: At) -> Told | None:
    if not at.run.stopped:
        return None
    given = await at.given("start")
    if given is None:
        at.fresh(at.planned.cluster)
        if not at.polled(at.planned.cluster, at.since):
            return running(f"{at.planned.cluster} is being read anew")
        wanted = set(at.run.stopped)
        unsure = [vm for vm in at.vms() if vm.id in wanted and vm.state is VMState.UNKNOWN]
        if unsure:
            return _untold(at, unsure)
        found = [vm for vm in at.vms() if vm.id in wanted and vm.state is VMState.STOPPED]
        if not found:
            return done(f"{len(wanted)} that were shut down run")
        actions = [StartVM(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host) for vm in found]
        given = await at.order(actions, f"start what was shut down on {at.planned.name}", part="start")
    return judge_order(*given, f"{len(given[1])} started again")


# --- refill ----------------------------------------------------------------------------------------


async def refill(at: At) -> Told:
    """Each VM that left it for the window is back, where the plan wants that."""
    left = [*await at.jobs_of(StepKind.DRAIN), *await at.jobs_of(StepKind.EMPTY)]
    if any(not job.state.ended for job in left):
        return running("moves off it are still under way")
    gone = [vm for vm in at.run.going if _elsewhere(at, vm)]
    moved = tuple(dict.fromkeys((*at.run.moved, *_gone_from(left, at.planned.host), *gone)))
    if moved != at.run.moved:
        await at.note(moved=moved)
    if at.policy.refill is not Refill.RESTORE:
        return done("its VMs stay where they are, says the plan")
    for part in ("", REST):
        given = await at.given(part)
        if given is None:
            away, rest = await _to_order(at)
            if rest is not None and (part or not away):
                return rest
            if not away:
                return _refilled(at) if part else done("all are back" if moved else "none had left it")
            given = await at.order(away, f"refill {at.planned.name}", part=part)
        told = judge_moves(*given, at.planned.name, at_dead_ends(given[1], at.tools.fleet))
        # The platform's own HA may have been faster than our order.
        back = given[0].ended is not None and not any(_elsewhere(at, vm) for vm in at.run.moved)
        if back or not told.state.over:
            return _refilled(at) if back else told
    return _refilled(at)


def _elsewhere(at: At, vm: str) -> bool:
    found = at.tools.fleet.vm(at.planned.cluster, vm)
    return found is not None and found.host not in (at.planned.host, "")


async def _away(at: At) -> tuple[list[LiveMigrate | ColdMigrate], list[VM]]:
    """The moves that can be made now, and the VMs of which the cluster does not say enough. Raises Halt while it is read."""
    if not at.run.moved:
        return [], []
    at.fresh(at.planned.cluster)
    if not at.polled(at.planned.cluster, at.since):
        raise Halt(running(f"{at.planned.cluster} is being read anew"))
    host = at.host()
    if host is None:
        raise Halt(
            needs(_no_host(at), "It goes on by itself when it does; or skip this step: they stay there.")
        )
    if host.maintenance:
        step = f"{at.command('retry', StepKind.UNFENCE)}; or skip this step."
        raise Halt(needs(f"{at.planned.name} takes no VMs: it is in maintenance", step))
    fleet, cluster = at.tools.fleet, at.planned.cluster
    away = [vm for one in at.run.moved if (vm := fleet.vm(cluster, one)) and _elsewhere(at, one)]
    unsure = [vm for vm in away if vm.state is VMState.UNKNOWN]
    told = tuple(vm.id for vm in away if vm.state is not VMState.UNKNOWN)
    return coming_back(fleet, cluster, at.planned.host, told), unsure


async def _to_order(at: At) -> tuple[list[LiveMigrate | ColdMigrate], Told | None]:
    """The moves that can be made now, and what is said of the others."""
    away, unsure = await _away(at)
    going, cut = await _passable(at, away)
    return going, _untold(at, unsure) if unsure else cut


async def _passable(
    at: At, away: list[LiveMigrate | ColdMigrate]
) -> tuple[list[LiveMigrate | ColdMigrate], Told | None]:
    """Those whose link to the host carries migrations by a look of this moment, and what is said of the others."""
    home, cluster = at.planned.host, at.planned.cluster
    sources = list(dict.fromkeys(move.host for move in away))
    if not sources:
        return away, None
    at.may_begin()
    await at.links(sources, [home])
    bad = {one: why for one in sources if (why := cut_off(at.tools.fleet, cluster, one, home))}
    if not bad:
        return away, None
    count = sum(move.host in bad for move in away)
    names = listed(host.name for one in bad if (host := at.tools.fleet.host(cluster, one)))
    first = next(iter(bad.values()))
    told = held(
        f"{count} VM{'s' * (count != 1)} on {names} stay{'s' * (count == 1)} there: {first.why}",
        f"{first.fix} It goes on by itself then. Or skip this step: they stay there.".strip(),
    )
    return [move for move in away if move.host not in bad], told


def _untold(at: At, vms: Sequence[VM]) -> Told:
    """Proxmox VE calls guests "unknown" while a node of theirs settles, or is down, or its status daemon is.

    It does not tell their names then either: the plan has them.
    """
    planned = {one.vm: one.name for one in at.planned.rows}
    count = len(vms)
    words = (
        f"the cluster does not say in what state {count} VM{'s are' if count > 1 else ' is'}: "
        f"{listed(planned.get(vm.id, vm.name) for vm in vms)}"
    )
    hosts = [at.tools.fleet.host(at.planned.cluster, one) for one in dict.fromkeys(vm.host for vm in vms)]
    told = [f"{host.name} ({host.state.value})" for host in hosts if host is not None]
    if told:
        words += f"; on {listed(told)}"
    return held(
        words,
        "It goes on by itself when it does: see to the host they are on. Or skip this step: they stay there.",
    )


def _gone_from(jobs: Iterable[Job], host: str) -> list[str]:
    """VM.id of those that the window moved off a host, by what the queue has seen."""
    done_jobs = (job.action for job in jobs if job.state is JobState.DONE)
    return [action.vm for action in done_jobs if isinstance(action, Move) and action.host == host]


def coming_back(
    fleet: Fleet, cluster: str, host: str, moved: tuple[str, ...]
) -> list[LiveMigrate | ColdMigrate]:
    """The moves that bring VMs back to their host, the largest first. Those that exist no more are left out. Pure."""
    found = [vm for one in moved if (vm := fleet.vm(cluster, one)) is not None]
    away = [vm for vm in found if vm.host not in (host, "")]
    return [_home(vm, host) for vm in largest_first(away)]


def _home(vm: VM, host: str) -> LiveMigrate | ColdMigrate:
    kind = ColdMigrate if needs_stop(vm) else LiveMigrate
    return kind(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, to=host)


def _refilled(at: At) -> Told:
    fleet, cluster = at.tools.fleet, at.planned.cluster
    vms = [fleet.vm(cluster, one) for one in at.run.moved]
    back = [vm for vm in vms if vm is not None and vm.host == at.planned.host]
    gone = sum(vm is None for vm in vms)
    waiting = [vm.name for vm in vms if vm is not None and vm.state is VMState.AWAITING_CONFIRM]
    words = f"{len(back)} of {len(vms)} are back"
    if gone:
        words += f", {gone} exist no more"
    if waiting:
        words += f"; confirm the moves of {listed(waiting)} when you have seen them"
    return done(words)
