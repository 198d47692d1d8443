"""vSphere's faults in an admin's words. The type decides (texts are translated); the server's own text is kept."""

from __future__ import annotations

from collections.abc import Mapping

from backends.trouble import quoted, unaffected, uncertain
from backends.vsphere.soap import Fault
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Problem

MEANING: Mapping[str, tuple[str, str]] = {
    "InvalidState": ("the object is not in a state for it", "Look at it again."),
    "InvalidPowerState": ("the VM is not in a power state for it", "Look at it again."),
    "TaskInProgress": ("another task works on it", "Wait until that has ended."),
    "ToolsUnavailable": (
        "VMware Tools does not run in the guest, so it cannot be asked to shut down",
        "Shut the guest down from within. evac never cuts its power.",
    ),
    "InsufficientResourcesFault": ("there is not enough free capacity", "Choose another host."),
    "InsufficientHostMemoryCapacityFault": ("the host has not enough memory", "Choose another host."),
    "InsufficientFailoverResourcesFault": (
        "HA's admission control: too little would be left for a fail-over",
        "Free capacity in the cluster, or have admission control relaxed for the window.",
    ),
    "InvalidHostState": (
        "the host is not in a state for it (maintenance, standby, disconnected)",
        "Choose another.",
    ),
    "HostNotConnected": ("the host is not connected to vCenter", "Connect it again in vCenter."),
    "HostNotReachable": ("vCenter cannot reach the host", "Check the host's management network."),
    "NoCompatibleHost": ("no host will do", "See the check of each host."),
    "NoCompatibleHostWithAccessToDevice": (
        "no host sees the VM's disks or devices",
        "See the check of each host.",
    ),
    "VirtualHardwareVersionNotSupported": (
        "the target runs no virtual hardware as new as the VM's",
        "Choose a host of a newer version.",
    ),
    "CpuIncompatible": (
        "the target's CPU lacks what the VM uses",
        "Choose a host of the same EVC mode, or power the VM off.",
    ),
    "CpuIncompatible1ECX": ("the target's CPU lacks what the VM uses", "Choose a host of the same EVC mode."),
    "CpuIncompatible81EDX": (
        "the target's CPU lacks what the VM uses",
        "Choose a host of the same EVC mode.",
    ),
    "VMotionNotConfigured": (
        "the host has no vMotion network",
        "Enable vMotion on one of its VMkernel adapters.",
    ),
    "VMotionLinkDown": ("the host's vMotion link is down", "Check its uplinks."),
    "VMotionInterfaceIssue": ("the vMotion network of the host is not well", "Check its VMkernel adapter."),
    "VMotionNotSupported": ("the host cannot vMotion", "Choose another host."),
    "MigrationFeatureNotSupported": (
        "the VM uses something that cannot be migrated",
        "See the check of the VM.",
    ),
    "AffinityConfigured": (
        "the VM is pinned to CPUs of its host",
        "Remove the CPU affinity, or move it powered off.",
    ),
    "VmHostAffinityRuleViolation": (
        "a mandatory VM-host rule forbids the target",
        "Choose a host of the rule's group.",
    ),
    "DisallowedMigrationDeviceAttached": (
        "a device of the host is attached to the VM",
        "Disconnect it from the VM.",
    ),
    "RemoteDeviceNotSupported": (
        "a device of somebody's client is attached to the VM",
        "Disconnect it from the VM.",
    ),
    "CannotAccessVmDevice": (
        "the target cannot reach a device of the VM",
        "Disconnect it, or choose another host.",
    ),
    "CannotAccessVmDisk": ("the target cannot reach a disk of the VM", "Move its disks as well."),
    "CannotAccessNetwork": (
        "the target has no network that the VM uses",
        "Give `networks` in the config a name for it.",
    ),
    "DatastoreNotWritableOnHost": (
        "the target cannot write to the VM's datastore",
        "Move its disks as well.",
    ),
    "NoDiskSpace": ("the datastore is full", "Choose another datastore."),
    "SnapshotCopyNotSupported": ("its snapshots cannot be moved so", "Remove the snapshots first."),
    "Timedout": ("it took longer than vSphere waits", "See the host's log, then try again."),
    "RequestCanceled": ("it was cancelled", ""),
    "AlreadyExists": ("it exists there already", "Look at the target."),
    "VmConfigFault": ("the VM's configuration does not allow it", "See the check of the VM."),
    "HostConfigFault": ("the host's configuration does not allow it", "See the host's log."),
    "SSLVerifyFault": (
        "vCenter finds another certificate at the target than evac does",
        "Is there a proxy between the two vCenters?",
    ),
    "LicenseRestricted": ("the licence does not include it", "vMotion needs a licence on both hosts."),
    "InvalidArgument": ("vSphere does not take what it was given", "Look at the VM and the host again."),
    "NotSupported": ("this server does not support it", ""),
    "MethodNotFound": ("this server does not know the call", ""),
    "ConcurrentAccess": ("somebody else changed it at the same time", "Look at it again."),
    "InvalidDatastore": ("the datastore cannot be used", "Choose another."),
}
"""Fault type → what it means, and what to do. Types not named here are shown by their own text."""

UNSURE = frozenset({"SystemError", "RuntimeFault", "HostCommunication", "RequestCanceled", "MethodFault", ""})
"""Faults that may come after something was begun."""


def meaning(kind: str, text: str) -> str:
    """A fault in one line: what it means, and the server's own words in quotes."""
    known = MEANING.get(kind, ("", ""))[0]
    own = f'"{quoted(text)}"' if text else kind
    return f"{known}: {own}" if known and text else known or own


def remedy(kind: str) -> str:
    """What to do about it; "" when nothing is known."""
    return MEANING.get(kind, ("", ""))[1]


def of_read(fault: Fault, cluster: str, what: str) -> BackendError:
    """A read that was answered with a fault."""
    problem = Problem(
        happened=f"{cluster}: {what} failed: {meaning(fault.kind, fault.text)}.",
        unaffected=unaffected(cluster),
        next_step=remedy(fault.kind) or "evac asks again.",
    )
    if fault.kind == "NoPermission":
        return Forbidden(no_right(fault, cluster, what))
    if fault.kind == "ManagedObjectNotFound":
        return NotFound(problem)
    if fault.kind in {"NotAuthenticated", "InvalidLogin", "PasswordExpired"}:
        return AuthFailed(problem)
    return (
        Unreachable(problem)
        if fault.kind in {"HostCommunication", "HostNotReachable"}
        else BadAnswer(problem)
    )


def of_change(fault: Fault, cluster: str, what: str) -> BackendError:
    """A changing call that was answered with a fault: it was not begun, unless vSphere itself had trouble."""
    problem = Problem(
        happened=f"{cluster}: vSphere refuses {what}: {meaning(fault.kind, fault.text)}.",
        unaffected="Nothing was changed.",
        next_step=remedy(fault.kind),
    )
    if fault.kind == "NoPermission":
        return Forbidden(no_right(fault, cluster, what))
    if fault.kind == "ManagedObjectNotFound":
        return NotFound(problem)
    if fault.kind in {"NotAuthenticated", "InvalidLogin"}:
        return AuthFailed(problem)
    if fault.kind in UNSURE:
        return Uncertain(
            uncertain(
                f"{cluster}: {what} was sent, and vSphere had trouble of its own: {meaning(fault.kind, fault.text)}."
            )
        )
    return Refused(problem)


def no_right(fault: Fault, cluster: str, what: str) -> Problem:
    """NoPermission: names the privilege."""
    right = fault.detail.get("privilegeId", "")
    named = f' the privilege "{right}"' if right else " a privilege"
    return Problem(
        happened=f"{cluster}: the account lacks{named}, which {what} needs.",
        unaffected="Nothing was changed.",
        next_step=f"Have{named} added to the account's role in vCenter, on the object or above it.",
    )
