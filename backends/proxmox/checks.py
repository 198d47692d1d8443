"""Whether a guest could move to a node: Proxmox VE's own answer, and rules over what it tells besides. Pure.

What is not known is UNKNOWN, never OK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from backends.proxmox.config import GuestConfig
from backends.proxmox.nodes import Details, version
from backends.proxmox.payload import CPUInfo, Guest, NotAllowed, Precondition, Resource
from evac.model import MoveCheck, Outlook

BY = "Proxmox VE"

GENERIC = ("kvm32", "kvm64", "qemu32", "qemu64", "x86-64-v")
"""CPU types that are the same on every node that can run them (qemu-server, CPUConfig.pm)."""

LEVELS: Mapping[str, frozenset[str]] = {
    "x86-64-v2": frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt"}),
    "x86-64-v2-AES": frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt", "aes"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What a node's CPU must have for the generic types, by the names of /proc/cpuinfo (x86-64 psABI)."""


class Case(Struct, frozen=True, kw_only=True):
    """Everything the rules look at."""

    row: Guest
    ready: Precondition | None
    refusal: str = ""
    """Why Proxmox VE would not even check, in its words."""
    config: GuestConfig | None
    nodes: Mapping[str, Resource]
    details: Mapping[str, Details]
    maintenance: Mapping[str, str]
    """Node → why."""
    copies: bool
    """Local disks may be copied."""
    target_storage: bool
    """A map of storages is configured, so a storage that is missing on the target may be no hindrance."""

    @property
    def running(self) -> bool:
        """As far as is known."""
        return self.row.status != "stopped"

    @property
    def container(self) -> bool:
        """It moves with a restart only."""
        return self.row.type == "lxc"


def checks(case: Case, targets: Sequence[str]) -> list[MoveCheck]:
    """What holds for every target first, then of each target, the platform's word before ours."""
    everywhere = list(_everywhere(case))
    return [*everywhere, *(check for target in targets for check in _of_target(case, target))]


def _check(
    case: Case, target: str, outlook: Outlook, rule: str, why: str = "", *, fix: str = "", by: str = ""
) -> MoveCheck:
    return MoveCheck(
        vm=str(case.row.vmid), target=target, outlook=outlook, rule=rule, why=why, fix=fix, by=by
    )


# --- whatever the target -------------------------------------------------------------------------


def _everywhere(case: Case) -> Iterator[MoveCheck]:
    if case.row.lock:
        fix = "Wait for the task that locked it; a lock that is left over is taken off by reset-state."
        yield _check(case, "", Outlook.FAIL, "locked", f"it is locked ({case.row.lock})", fix=fix)
    elif case.refusal:
        yield _check(case, "", Outlook.UNKNOWN, "platform", f'no answer: "{case.refusal}"', by=BY)
    if case.config is None:
        why = "its config cannot be read, so CPU type, snapshots and CDs are not known"
        yield _check(case, "", Outlook.UNKNOWN, "config", why, fix="Grant VM.Audit on it.")
    if case.container and case.running:
        why = "a container moves with a restart: it is stopped and started on the target"
        yield _check(case, "", Outlook.RISK, "restart", why)
    if case.ready is not None:
        yield from _by_platform(case, case.ready)
    yield from _by_config(case)


def _by_platform(case: Case, ready: Precondition) -> Iterator[MoveCheck]:
    if ready.local_resources and case.running:
        why = f"it uses {', '.join(ready.local_resources)} of its node"
        fix = "Shut it down and move it cold, or use a resource mapping."
        yield _check(case, "", Outlook.FAIL, "device", why, fix=fix, by=BY)
    mapped = ready.mapped if isinstance(ready.mapped, dict) else {}
    for name, told in sorted(mapped.items(), key=lambda one: one[0]):
        if case.running and not _moves_live(bytes(told)):
            why = f"mapped resource {name} cannot move with a running guest"
            yield _check(case, "", Outlook.FAIL, "device", why, fix="Shut it down and move it cold.", by=BY)
    if ready.dependent:
        why = f"HA moves along with it: {', '.join(ready.dependent)}"
        yield _check(case, "", Outlook.RISK, "ha", why, by=BY)
    yield from _by_local_disks(case, ready)


def _moves_live(told: bytes) -> bool:
    """Whether the mapping is marked so (since 8.4)."""
    return b'"is-marked-as-live-migratable":1' in told.replace(b" ", b"")


def _by_local_disks(case: Case, ready: Precondition) -> Iterator[MoveCheck]:
    disks = [disk for disk in ready.local_disks if not disk.cdrom]
    for disk in ready.local_disks:
        if disk.cdrom and case.running:
            why = f"the CD {disk.volid} lies on its node"
            yield _check(case, "", Outlook.FAIL, "cdrom", why, fix="Eject it.", by=BY)
    if not disks:
        return
    names = ", ".join(disk.volid for disk in disks[:3]) + (" …" if len(disks) > 3 else "")
    size = sum(disk.size or 0 for disk in disks) / (1 << 30)
    if case.running and not case.copies:
        fix = "Set migration.local_disks = true to have them copied."
        yield _check(case, "", Outlook.FAIL, "local disk", f"{names} lie on its node alone", fix=fix)
    elif case.running and case.config is not None and case.config.snapshot:
        why = f"{names} lie on its node and have snapshots, which cannot be copied while it runs"
        yield _check(case, "", Outlook.FAIL, "snapshot", why, fix="Remove the snapshots, or shut it down.")
    else:
        why = f"{size:.1f} GiB lie on its node and are copied: {names}"
        yield _check(case, "", Outlook.RISK, "local disk", why)


def _by_config(case: Case) -> Iterator[MoveCheck]:
    """What the platform's answer does not hold: it finds such a CD only when the move has begun."""
    config = case.config
    if config is None or not case.running:
        return
    for key, volume in config.cdroms.items():
        if volume == "cdrom":
            why = f"{key} is the CD drive of its node"
            yield _check(case, "", Outlook.FAIL, "cdrom", why, fix="Take it off, or eject it.")


# --- each target ---------------------------------------------------------------------------------


def _of_target(case: Case, target: str) -> Iterator[MoveCheck]:
    node = case.nodes.get(target)
    if target == case.row.node:
        yield _check(case, target, Outlook.FAIL, "place", "it is there already")
        return
    if node is None:
        yield _check(case, target, Outlook.FAIL, "node", f"the cluster has no node {target}")
        return
    if node.status != "online":
        outlook = Outlook.FAIL if node.status == "offline" else Outlook.UNKNOWN
        yield _check(case, target, outlook, "node", f"{target} is {node.status or 'not told of'}")
        return
    yield from _allowed(case, target)
    if target in case.maintenance:
        why = f"{target} is in maintenance: {case.maintenance[target]}"
        outlook = Outlook.FAIL if case.row.hastate else Outlook.RISK
        yield _check(case, target, outlook, "maintenance", why, fix="Choose another, or take it out first.")
    yield _memory(case, target, node)
    if not case.container:
        yield _cpu(case, target)
        yield from _versions(case, target)


def _allowed(case: Case, target: str) -> Iterator[MoveCheck]:
    ready = case.ready
    why_not = (ready.not_allowed_nodes or {}).get(target) if ready else None
    if why_not is not None:
        yield from _reasons(case, target, why_not)
    elif ready is None or ready.allowed_nodes is None:
        yield _check(case, target, Outlook.UNKNOWN, "platform", "Proxmox VE did not say", by=BY)
    elif target in ready.allowed_nodes:
        yield _check(case, target, Outlook.OK, "platform", by=BY)
    else:
        why = "it is not among the nodes that Proxmox VE allows"
        yield _check(case, target, Outlook.FAIL, "platform", why, by=BY)


def _reasons(case: Case, target: str, why_not: NotAllowed) -> Iterator[MoveCheck]:
    if why_not.unavailable_storages:
        why = f"{', '.join(why_not.unavailable_storages)} is not available on {target}"
        outlook = Outlook.UNKNOWN if case.target_storage else Outlook.FAIL
        fix = "" if case.target_storage else "Set migration.target_storage, or choose another target."
        yield _check(case, target, outlook, "storage", why, fix=fix, by=BY)
    if why_not.unavailable_resources:
        why = f"mapped resources are missing on {target}: {', '.join(why_not.unavailable_resources)}"
        yield _check(case, target, Outlook.FAIL, "device", why, by=BY)
    for one in why_not.blocking_ha:
        why = f"HA keeps it off {target}: {one.sid} ({one.cause})"
        yield _check(case, target, Outlook.FAIL, "ha", why, fix="See ha-manager rules list.", by=BY)
    told = (why_not.unavailable_storages, why_not.unavailable_resources, why_not.blocking_ha)
    if not any(told):
        why = f"Proxmox VE does not allow {target} and gives no reason"
        yield _check(case, target, Outlook.FAIL, "platform", why, by=BY)


def _memory(case: Case, target: str, node: Resource) -> MoveCheck:
    needed = case.row.maxmem
    if node.maxmem is None or node.mem is None or needed is None:
        why = f"how much memory {target} has free is not told"
        return _check(case, target, Outlook.UNKNOWN, "memory", why, fix="Grant Sys.Audit on the node.")
    free = node.maxmem - node.mem
    if not case.running or free > needed:
        return _check(case, target, Outlook.OK, "memory")
    why = f"{target} has {free / (1 << 30):.1f} GiB free of the {needed / (1 << 30):.1f} it may use"
    return _check(case, target, Outlook.RISK, "memory", why, fix="Choose one with more room.")


def _cpu(case: Case, target: str) -> MoveCheck:
    """Proxmox VE compares nothing: a guest of type host that meets another CPU may crash after its move (pve-docs, qm)."""
    if not case.running:
        return _check(case, target, Outlook.OK, "cpu")
    here, there = case.details.get(case.row.node), case.details.get(target)
    if case.config is None or here is None or there is None:
        return _check(case, target, Outlook.UNKNOWN, "cpu", "the CPUs of the two nodes are not known")
    return _cpu_pair(case, target, case.config.cpu, (here.status.cpuinfo, there.status.cpuinfo))


def _cpu_pair(case: Case, target: str, kind: str, pair: tuple[CPUInfo, CPUInfo]) -> MoveCheck:
    source, goal = pair
    if not source.flags or not goal.flags:
        return _check(case, target, Outlook.UNKNOWN, "cpu", "the nodes' CPU flags are not told")
    lost = sorted(set(source.flags.split()) - set(goal.flags.split()))
    if not kind or kind.startswith(GENERIC):
        return _generic(case, target, kind, frozenset(goal.flags.split()))
    if not lost and (source.model == goal.model or kind not in {"host", "max"}):
        return _check(case, target, Outlook.OK, "cpu")
    if kind in {"host", "max"}:
        return _host_cpu(case, target, (source.model, goal.model), lost)
    why = f"whether {goal.model} can be {kind} is not known; it lacks {_some(lost)} of {source.model}"
    return _check(case, target, Outlook.UNKNOWN, "cpu", why, fix="Use a generic type such as x86-64-v2-AES.")


def _generic(case: Case, target: str, kind: str, flags: frozenset[str]) -> MoveCheck:
    lacking = sorted(LEVELS.get(kind, frozenset()) - flags)
    if lacking:
        return _check(case, target, Outlook.FAIL, "cpu", f"{target} lacks {_some(lacking)} for {kind}")
    return _check(case, target, Outlook.OK, "cpu")


def _host_cpu(case: Case, target: str, models: tuple[str, str], lost: Sequence[str]) -> MoveCheck:
    fix = "Use a CPU type that both have, such as x86-64-v2-AES; it takes effect at the guest's next start."
    if lost:
        why = f"CPU type host: {target} ({models[1]}) lacks {_some(lost)} of {models[0]}"
        return _check(case, target, Outlook.FAIL, "cpu", why, fix=fix)
    why = f"CPU type host: from {models[0]} to {models[1]}, which has all its flags but is another CPU"
    return _check(case, target, Outlook.RISK, "cpu", why, fix=fix)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _versions(case: Case, target: str) -> Iterator[MoveCheck]:
    here, there = case.details.get(case.row.node), case.details.get(target)
    if not case.running or here is None or there is None:
        return
    old, new = version(here.status.pveversion), version(there.status.pveversion)
    if _numbers(new) < _numbers(old):
        why = f"{target} runs Proxmox VE {new}, older than {old} here: a live move to older is not supported"
        yield _check(case, target, Outlook.RISK, "version", why, fix="Upgrade it first.")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
