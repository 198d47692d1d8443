"""Hosts that do not answer while VMs are on them, as problems; and those that are meant to be down, told as expected. Pure.

No poll failed, so these are in no `ClusterState.problems`: views derive them from the rows, as they do for storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evac.able import able
from evac.actions import Evacuate
from evac.jobs import Job, Order, OrderState
from evac.model import VM, ClusterState, Host, HostState, Problem, VMState
from evac.noun import Noun
from evac.window.nouns import HostRun, StepKind, StepState, Window, WindowState

if TYPE_CHECKING:
    from evac.fleet import Fleet

RESTARTS = frozenset({StepKind.SAFE, StepKind.HOOK, StepKind.BACK, StepKind.READY})
"""Steps of a window at which a host may be down: it was seen empty, and has not yet been found ready."""

LIVES = frozenset({VMState.RUNNING, VMState.PAUSED, VMState.MIGRATING, VMState.BUILDING})
"""What a VM is in when its host's end is an end for it too."""

FENCE = "If it stays dead: power it off for good (fence it), then:"
FENCED = "It is forced down. Once it is surely off:"


class DeadHost(Noun, frozen=True, kw_only=True):
    """A host that does not answer."""

    host: Host
    vms: int
    """Last seen on it."""
    problem: Problem
    """Of severity "info" where it is meant to be down."""

    @property
    def cluster(self) -> str:
        """Its cluster's name."""
        return self.host.cluster

    @property
    def key(self) -> str:
        """The host's."""
        return self.host.key

    @property
    def expected(self) -> bool:
        """True: nobody has to do anything about it."""
        return self.problem.severity == "info"


class Scene(Noun, frozen=True, kw_only=True):
    """What is known around such a host."""

    state: ClusterState
    vms: Sequence[VM]
    """Last seen on it."""
    windows: Iterable[Window] = ()
    orders: Iterable[Order] = ()
    jobs: Iterable[Job] = ()
    now: float
    """Unix seconds."""


def answers(host: Host) -> bool:
    """False for a host that is not seen up."""
    return host.state is HostState.UP and not host.forced_down


def dead_host(host: Host, scene: Scene) -> DeadHost | None:
    """What is told of a host; None: it answers, or nothing is on it and no window restarts it."""
    if answers(host):
        return None
    problem = _restarting(host, scene)
    if problem is None and scene.vms:
        problem = _resting(host, scene) or _lost(host, scene)
    return DeadHost(host=host, vms=len(scene.vms), problem=problem) if problem is not None else None


def of_fleet(fleet: Fleet, now: float) -> list[DeadHost]:
    """All there are, by cluster and name."""
    found = []
    hosts: Iterable[Host] = fleet.table("hosts").values()
    for host in sorted(hosts, key=lambda one: (one.cluster, one.name)):
        state = None if answers(host) else fleet.cluster(host.cluster)
        if state is not None:
            scene = Scene(
                state=state,
                vms=fleet.vms_on(host.cluster, host.id),
                windows=fleet.table("windows").values(),
                orders=fleet.table("orders").values(),
                jobs=fleet.table("jobs").values(),
                now=now,
            )
            found.append(dead_host(host, scene))
    return [one for one in found if one is not None]


# --- meant to be down ----------------------------------------------------------------------------


def _restarting(host: Host, scene: Scene) -> Problem | None:
    """A window has seen it empty, and it may be down until it is found ready."""
    for window in scene.windows:
        run = _run(window, host)
        step = run.step if run is not None and not run.left_out else None
        if step is None or step.kind not in RESTARTS:
            continue
        ran = _living(scene.vms)
        left = (
            f"{_vms(len(scene.vms))} stayed on it{f', {ran} running' if ran else ''}. " if scene.vms else ""
        )
        waits = step.state in (StepState.NEEDS_YOU, StepState.UNKNOWN)
        return Problem(
            happened=f"{host.name} is down as expected: window {window.id} restarts it (step {step.kind.value}).",
            unaffected=f"{left}Other hosts are not affected.",
            next_step=(waits and step.next_step) or f"Nothing for now: {window.id} waits until it is back.",
            severity="warning" if ran else "info",
        )
    return None


def _run(window: Window, host: Host) -> HostRun | None:
    if window.state not in (WindowState.RUNNING, WindowState.STOPPED):
        return None
    return next((run for run in window.hosts if run.key == host.key), None)


def _resting(host: Host, scene: Scene) -> Problem | None:
    """It is in maintenance, nothing that ran is known on it, and nobody is just emptying it."""
    if not host.maintenance or host.forced_down or _living(scene.vms) or _emptied(host, scene):
        return None
    why = f" ({host.reason})" if host.reason else ""
    none = "None of them is known to run." if any(vm.state is VMState.UNKNOWN for vm in scene.vms) else ""
    return Problem(
        happened=f"{host.name} is down as expected: it is in maintenance{why}, with {_vms(len(scene.vms))} on it.",
        unaffected=f"{none or 'None of them runs.'} Other hosts are not affected.",
        next_step="Nothing, if somebody works on it.",
        severity="info",
    )


def _living(vms: Iterable[VM]) -> int:
    return sum(vm.state in LIVES for vm in vms)


def _emptied(host: Host, scene: Scene) -> bool:
    """Its maintenance is the fence of a drain, or of a window that has not yet seen it empty."""
    if any(order.state is OrderState.OPEN and order.empties == host.key for order in scene.orders):
        return True
    steps = (run.step for one in scene.windows if (run := _run(one, host)) is not None)
    return any(step is not None and step.kind is not StepKind.PREFLIGHT for step in steps)


# --- not meant to be down ------------------------------------------------------------------------


def _lost(host: Host, scene: Scene) -> Problem:
    here = _vms(len(scene.vms))
    fenced = "; it is in maintenance, but not empty" if host.maintenance else ""
    said = f" ({host.reason})" if host.reason and not host.maintenance else ""
    since = _since(host, scene.now)
    if host.state is HostState.UNKNOWN and not host.forced_down:
        return Problem(
            happened=f"{host.name} with {here} on it: whether it is up is not known{said}{since}{fenced}.",
            unaffected="Its VMs may well run. Other hosts are not affected.",
            next_step="Look at the host itself, then at what its cluster says of it.",
            severity="warning",
        )
    return Problem(
        happened=f"{host.name} is down with {here} on it{said}{since}{fenced}.",
        unaffected="Other hosts. Whether its VMs still run cannot be seen from here.",
        next_step=_next(host, scene),
    )


def _since(host: Host, now: float) -> str:
    """The earlier of what its cluster says and what evac has seen."""
    seen, noticed = host.seen, host.silent_since
    if seen is not None and (noticed is None or seen <= noticed):
        return f", last heard of at {_time(seen, now)}"
    return f", seen so since {_time(noticed, now)}" if noticed is not None else ""


def _time(at: float, now: float) -> str:
    moment, today = (datetime.fromtimestamp(one, UTC) for one in (at, now))
    return f"{moment:%H:%M:%S} UTC" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M} UTC"


def _next(host: Host, scene: Scene) -> str:
    if rebuilding := sum(_rebuilds(job, host) for job in scene.jobs):
        return f"Being rebuilt elsewhere: {_vms(rebuilding)}. See the queue."
    if scene.state.read_only:
        why = scene.state.read_only_why or f"{host.cluster} is read-only"
        return f"Find out at the host whether it is off. evac changes nothing here: {why.rstrip('.')}."
    can, why_not = able(scene.state, "evacuate")
    if not can:
        managed = sum(bool(vm.ha) for vm in scene.vms)
        ha = f" HA manages {managed} of its {_vms(len(scene.vms))}." if managed else ""
        return (
            f"Find out at the host whether it is off. evac cannot rebuild its VMs: {why_not.rstrip('.')}.{ha}"
        )
    fence = FENCED if host.forced_down else FENCE
    return f"{fence} e in Hosts, or evac evacuate {host.name} --fenced HOW."


def _rebuilds(job: Job, host: Host) -> bool:
    action = job.action
    here = isinstance(action, Evacuate) and (action.cluster, action.host) == (host.cluster, host.id)
    return here and not job.state.ended


def _vms(count: int) -> str:
    return f"{count} VM{'s' * (count != 1)}"
