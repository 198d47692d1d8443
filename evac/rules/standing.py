"""Rules about the hosts at both ends, and about what keeps the VM where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evac.able import able
from evac.model import Host, HostState, VMState
from evac.rules.context import Case
from evac.rules.said import Said, fail, unknown
from evac.window.plan import Way

NO_HOST = unknown("the cluster knows no such host", "Choose another.")
THERE = fail("it is there already", "Choose another.")


def question(case: Case) -> Iterator[Said]:
    """A VM that asks something stands still until it is answered (vSphere API, VirtualMachineQuestionInfo)."""
    if case.vm.question is not None:
        yield fail("it stands still until somebody answers", "Answer it: evac answer.")


STATES: Mapping[VMState, tuple[str, str]] = {
    VMState.ERROR: ("in error", "Find out why first."),
    VMState.BUILDING: ("still being built", "Wait until it runs."),
    VMState.AWAITING_CONFIRM: ("its last move waits for a confirm", "Confirm or revert that move first."),
    VMState.SUSPENDED: ("suspended: its memory lies on this host", "Resume it first."),
    VMState.MIGRATING: ("already being migrated", "Wait for that migration."),
    VMState.DELETED: ("being deleted", "It goes by itself."),
}


ABILITIES: Mapping[Way, tuple[str, str]] = {
    Way.LIVE: ("live_migrate", "live-migrate"),
    Way.COLD: ("cold_migrate", "cold-migrate"),
    Way.RESTART: ("cold_migrate", "cold-migrate"),
}
"""The capability that a way needs, and its name in words."""


def state(case: Case) -> Iterator[Said]:
    """Nova moves servers that are active, paused or shut off; the others' platforms are no freer (compute API, "migrate")."""
    if case.vm.state in STATES:
        yield fail(*STATES[case.vm.state])
    elif case.vm.state is VMState.UNKNOWN:
        yield unknown(
            f"in a state evac does not know ({case.vm.native or 'not told'})", "Look at it by hand."
        )


def state_lost(case: Case) -> Iterator[Said]:
    """Nova rebuilds servers that were active, shut off or in error; the memory of others went with the host (compute API)."""
    if case.vm.state in (VMState.BUILDING, VMState.AWAITING_CONFIRM, VMState.DELETED):
        yield fail(*STATES[case.vm.state])
    elif case.vm.state in (VMState.PAUSED, VMState.SUSPENDED):
        yield fail(
            f"{case.vm.state.value}: its memory is lost with the host",
            "Reset-state to error, then evacuate it.",
        )


def ability(case: Case) -> Iterator[Said]:
    """What the platform, its version and our rights allow (`Backend.capabilities`)."""
    cluster = case.world.cluster
    if cluster.read_only:
        return
    kind, verb = ABILITIES[case.way] if case.world.fenced is None else ("evacuate", "evacuate")
    can, why = able(cluster, kind)
    if not can:
        yield fail(f"{cluster.name} cannot {verb}: {why}", "Move it by hand, or shut it down with its host.")


def locked(case: Case) -> Iterator[Said]:
    """Nova answers 409 for a locked server, Proxmox VE "VM is locked (backup)"."""
    if case.vm.locked and not case.vm.task:  # a lock that a task holds goes with the task
        yield fail("it is locked in the platform", "Unlock it there.")


def busy(case: Case) -> Iterator[Said]:
    """One task at a time: Nova's task_state, Proxmox VE's lock, vSphere's TaskInProgress."""
    move = case.world.moving.get(case.vm.id)
    if move is not None:
        to = f" to {move.target}" if move.target else ""
        yield fail(f"it is already being moved{to}", "Wait for that move, or abort it.")
    elif "backup" in case.vm.task:
        yield fail("a backup of it is running", "Wait until it has ended, or stop the backup.")
    elif case.vm.task:
        yield fail(f"the cluster is busy with it ({case.vm.task})", "Wait until that has ended.")


def source_up(case: Case) -> Iterator[Said]:
    """Live and cold moves need the agents of both hosts (Nova admin guide, "Migrate instances": a dead host is evacuated)."""
    host = case.source
    if host is None:
        yield unknown("the host it is on is not told", "Look at it on the platform.")
    elif host.state is HostState.DOWN or host.forced_down:
        yield fail(f"{host.name} is down: nothing moves off it", "Fence it and evacuate, or bring it back.")
    elif host.state is HostState.UNKNOWN:
        yield unknown(f"whether {host.name} is up is not told", "Look at it on the platform.")


def source_dead(case: Case) -> Iterator[Said]:
    """A VM is rebuilt only when its host is down and fenced: two copies destroy its disk (Nova admin guide, "Evacuate instances")."""
    host = case.source
    if host is None:
        yield unknown("the host it is on is not told", "Look at it on the platform.")
    elif host.state is not HostState.DOWN and not host.forced_down:
        yield fail(
            f"{host.name} is {host.state.value}: rebuilding it would run it twice", "Drain it instead."
        )
    elif not (case.world.fenced or "").strip():
        yield fail(
            f"nobody stated that {host.name} is fenced", "Power it off, and say how you know (--fenced)."
        )


def target_up(case: Case, host: Host) -> Iterator[Said]:  # noqa: ARG001  # every rule takes both
    """The target's agent must answer, and must take guests."""
    if host.state is HostState.DOWN or host.forced_down:
        yield fail("the host is down", "Bring it back, or choose another.")
    elif host.maintenance:
        yield fail("the host is in maintenance", "Take it out, or choose another.")
    elif host.state is HostState.UNKNOWN:
        yield unknown("whether the host is up is not told", "Look at it on the platform.")
