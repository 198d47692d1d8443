"""What of evac's actions has to be taken back, what takes it back, and whether the cluster shows it as it was. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from evac.actions import (
    Action,
    EnterMaintenance,
    ForceDown,
    LeaveMaintenance,
    SetNoout,
    StartVM,
    StopVM,
    TurnSwitch,
    UnsetNoout,
    subject_of,
)
from evac.admission import Ground
from evac.model import VM, Host, Switch, VMState
from evac.window.nouns import LedgerEntry

MAINTENANCE, NOOUT, DOWN, STOPPED, SWITCH = "maintenance", "noout", "forced down", "stopped", "switch"


class Debt(NamedTuple):
    """What an action switches, from what to what."""

    what: str
    was: str
    now: str


class Stand(Enum):
    """How the cluster shows what was switched."""

    WAS = "as it was"
    NOW = "switched"
    OTHER = "otherwise"
    """Somebody gave it a third value."""
    GONE = "gone"


def debt_of(action: Action, window: str) -> Debt | None:
    """What has to be taken back after this action; None: nothing. `window`: the Window.id that ordered it, or ""."""
    if isinstance(action, EnterMaintenance):
        return Debt(MAINTENANCE, "in use", "in maintenance")
    if isinstance(action, SetNoout):
        return Debt(NOOUT, "free of noout", "noout")
    if isinstance(action, ForceDown) and action.down:
        return Debt(DOWN, "not forced down", "forced down")
    if isinstance(action, StopVM) and window:
        # Who stops a VM by hand meant it to stay so; a window's plan says that it is started again.
        return Debt(STOPPED, "running", "stopped")
    if isinstance(action, TurnSwitch) and not action.back:
        return Debt(action.sort or SWITCH, action.was, action.to)
    return None


_PUTS_BACK: dict[type, str] = {LeaveMaintenance: MAINTENANCE, UnsetNoout: NOOUT, StartVM: STOPPED}


def takes_back(action: Action, entry: LedgerEntry) -> bool:
    """Whether this action puts back what the entry stands for."""
    if subject_of(action) != entry.subject:
        return False
    if isinstance(action, TurnSwitch):
        return isinstance(entry.did, TurnSwitch) and action.to == entry.was
    if isinstance(action, ForceDown):
        return entry.what == DOWN and not action.down
    return _PUTS_BACK.get(type(action)) == entry.what


def undo(entry: LedgerEntry, vm: VM | None = None) -> Action | None:
    """The action that puts it back, with the identity that was confirmed. `vm`: as it is now, of a VM that was stopped.

    None: it cannot be told (the VM is gone, or the entry says too little).
    """
    did = entry.did
    if isinstance(did, EnterMaintenance):
        return LeaveMaintenance(cluster=did.cluster, host=did.host, name=did.name, uuid=did.uuid)
    if isinstance(did, SetNoout):
        return UnsetNoout(cluster=did.cluster, host=did.host, name=did.name, uuid=did.uuid)
    if isinstance(did, ForceDown):
        return ForceDown(cluster=did.cluster, host=did.host, name=did.name, uuid=did.uuid, down=False)
    if isinstance(did, TurnSwitch):
        return TurnSwitch(
            cluster=did.cluster,
            switch=did.switch,
            name=did.name,
            was=did.to,
            to=did.was,
            sort=did.sort,
            back=True,
        )
    if isinstance(did, StopVM) and vm is not None:
        return StartVM(cluster=did.cluster, vm=did.vm, name=did.name, host=vm.host)
    return None


def was_so(action: Action, ground: Ground) -> bool:
    """Whether what was just read is as the action would make it: then it is none of evac's doing."""
    if isinstance(action, TurnSwitch):
        return ground.switch is not None and ground.switch.value == action.to
    if isinstance(action, StopVM):
        return ground.vm is not None and ground.vm.state is VMState.STOPPED
    host = ground.host
    if host is None:
        return False
    if isinstance(action, EnterMaintenance):
        return host.maintenance
    if isinstance(action, SetNoout):
        return "noout" in host.flags
    return isinstance(action, ForceDown) and action.down and host.forced_down


def host_stands(what: str, host: Host | None) -> Stand:
    """Of a host in an answer of the whole cluster."""
    if host is None:
        return Stand.GONE
    on = {MAINTENANCE: host.maintenance, NOOUT: "noout" in host.flags, DOWN: host.forced_down}[what]
    return Stand.NOW if on else Stand.WAS


def vm_stands(vm: VM | None) -> Stand:
    """Of a VM that was stopped."""
    if vm is None or vm.state is VMState.DELETED:
        return Stand.GONE
    if vm.task:
        return Stand.OTHER
    return {VMState.RUNNING: Stand.WAS, VMState.STOPPED: Stand.NOW}.get(vm.state, Stand.OTHER)


def switch_stands(entry: LedgerEntry, switch: Switch | None) -> Stand:
    """Of a switch that was just read."""
    if switch is None:
        return Stand.GONE
    return {entry.was: Stand.WAS, entry.now: Stand.NOW}.get(switch.value, Stand.OTHER)
