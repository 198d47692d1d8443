"""Every action kind: the protocol that promises it, and a call of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from evac import backend as contract
from evac.across import Credential, Crossing, Destination
from evac.backend import Receipt

PROTOCOLS: dict[str, type] = {
    "live_migrate": contract.MigratesLive,
    "cold_migrate": contract.MigratesCold,
    "confirm_move": contract.ConfirmsMoves,
    "revert_move": contract.ConfirmsMoves,
    "evacuate": contract.Evacuates,
    "reset_state": contract.ResetsState,
    "abort": contract.AbortsMigrations,
    "force_complete": contract.ForcesCompletion,
    "start": contract.ControlsPower,
    "stop": contract.ControlsPower,
    "enter_maintenance": contract.HasMaintenance,
    "leave_maintenance": contract.HasMaintenance,
    "force_down": contract.ForcesDown,
    "move_storage": contract.MovesStorage,
    "answer": contract.AnswersQuestions,
    "move_across": contract.MovesAcross,
    "turn_switch": contract.HasSwitches,
}

CHANGES: dict[str, Callable[[Any, str, str, str], Awaitable[Receipt]]] = {
    "live_migrate": lambda backend, vm, _, to: backend.live_migrate(vm, to),
    "cold_migrate": lambda backend, vm, _, to: backend.cold_migrate(vm, to),
    "confirm_move": lambda backend, vm, _, __: backend.confirm_move(vm),
    "revert_move": lambda backend, vm, _, __: backend.revert_move(vm),
    "evacuate": lambda backend, vm, _, to: backend.evacuate(vm, to),
    "reset_state": lambda backend, vm, _, __: backend.reset_state(vm, "error"),
    "abort": lambda backend, vm, _, __: backend.abort(vm, "1"),
    "force_complete": lambda backend, vm, _, __: backend.force_complete(vm, "1"),
    "start": lambda backend, vm, _, __: backend.start(vm),
    "stop": lambda backend, vm, _, __: backend.stop(vm),
    "enter_maintenance": lambda backend, _, host, __: backend.enter_maintenance(host, "test"),
    "leave_maintenance": lambda backend, _, host, __: backend.leave_maintenance(host),
    "force_down": lambda backend, _, host, __: backend.force_down(host, True),
    "move_storage": lambda backend, vm, _, __: backend.move_storage(vm, "local", ""),
    "answer": lambda backend, vm, _, __: backend.answer(vm, "1", "0"),
    "turn_switch": lambda backend, _, __, ___: backend.turn("drs", "on", "off"),
    "move_across": lambda backend, vm, _, to: backend.move_across(
        vm,
        Crossing(destination=Destination(cluster="far", kind="", host="127.0.0.1", port=1), host=to),
        Credential(user="nobody", secret="not-a-secret"),
    ),
}
"""Every changing method, called for (VM, its host, another host)."""
