"""One of each: every action there is, every verb of the command line that changes something, every changing call."""

from __future__ import annotations

from typing import get_args

from evac.actions import (
    Abort,
    Action,
    AnswerQuestion,
    ColdMigrate,
    ConfirmMove,
    EnterMaintenance,
    Evacuate,
    ForceComplete,
    ForceDown,
    LeaveMaintenance,
    LiveMigrate,
    MoveAcross,
    MoveStorage,
    ResetState,
    RevertMove,
    SetNoout,
    StartVM,
    StopVM,
    TurnSwitch,
    UnsetNoout,
)
from evac.model import VM, Host
from tests.real.rig import host_identity, vm_identity

FENCED = "powered off by IPMI, seen dark at 03:12"


def every_action(vm: VM, host: Host, migration: str) -> list[Action]:
    """One of each kind; `migration` is one of that VM's that runs."""
    on_vm, on_host = vm_identity(vm), host_identity(host)
    actions: list[Action] = [
        LiveMigrate(**on_vm),
        ColdMigrate(**on_vm),
        MoveStorage(**on_vm, storage="nfs-1"),
        MoveAcross(**on_vm, to_cluster="lab2", to="cmp01", credential="none"),
        AnswerQuestion(**on_vm, question="1", choice="0"),
        ConfirmMove(**on_vm),
        RevertMove(**on_vm),
        Evacuate(**on_vm, fenced=FENCED),
        ResetState(**on_vm, to="error"),
        Abort(**on_vm, migration=migration),
        ForceComplete(**on_vm, migration=migration),
        StartVM(**on_vm),
        StopVM(**on_vm),
        EnterMaintenance(**on_host, reason="tried by the suite"),
        LeaveMaintenance(**on_host),
        ForceDown(**on_host, fenced=FENCED),
        SetNoout(**on_host),
        UnsetNoout(**on_host),
        TurnSwitch(cluster=vm.cluster, switch="drs", name="DRS", was="on", to="off"),
    ]
    assert {type(action) for action in actions} == set(get_args(Action)), "a kind of action is missing here"
    return actions


def every_verb(vm: str, moving: str, host: str) -> list[list[str]]:
    """Command lines of every verb that takes --yes; `moving` is a VM that migrates."""
    return [
        ["drain", host],
        ["evacuate", host, "--fenced", FENCED],
        ["maintenance", "enter", host, "--reason", "tried by the suite"],
        ["maintenance", "leave", host],
        ["force-down", host, "--fenced", FENCED],
        ["force-down", host, "--undo"],
        ["migrate", vm],
        ["migrate", vm, "--to", "cmp04"],
        ["migrate", vm, "--cold"],
        ["move-storage", vm, "--to", "nfs-1"],
        ["move-across", vm, "--to-cluster", "lab", "--host", "cmp04", "--user", "nobody", "--secret-stdin"],
        ["answer", vm, "0"],
        ["confirm", vm],
        ["revert", vm],
        ["reset-state", vm, "--to", "error"],
        ["abort", moving],
        ["force-complete", moving],
        ["start", vm],
        ["stop", vm],
        ["restore", "L1"],
        ["noout", host],
        ["noout", host, "--undo"],
        ["plan", "rebalance", "lab", "--spread"],
        ["plan", "restore", "no-such-plan.toml"],
        ["window", "start", "0123456789abcdef"],
        ["approve", "0123456789abcdef"],
    ]
