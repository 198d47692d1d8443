"""Which capability an action needs, and the one changing call it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

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
from evac.backend import (
    AbortsMigrations,
    AnswersQuestions,
    Backend,
    ConfirmsMoves,
    ControlsPower,
    Evacuates,
    FlagsHosts,
    ForcesCompletion,
    ForcesDown,
    HasMaintenance,
    HasSwitches,
    MigratesCold,
    MigratesLive,
    MovesAcross,
    MovesStorage,
    Receipt,
    ResetsState,
)


def _never() -> Awaitable[Receipt]:
    raise AssertionError("a move to another cluster is made by evac.bridge, which holds the credential")


_Make = Callable[[Any, Any], Awaitable[Receipt]]

# Any: the capability protocol and the action's class of each row belong together; `call` checks the first.
_CALLS: dict[type, tuple[type, _Make]] = {
    LiveMigrate: (MigratesLive, lambda on, do: on.live_migrate(do.vm, do.to)),
    ColdMigrate: (MigratesCold, lambda on, do: on.cold_migrate(do.vm, do.to)),
    MoveStorage: (MovesStorage, lambda on, do: on.move_storage(do.vm, do.storage, do.to)),
    MoveAcross: (MovesAcross, lambda *_: _never()),
    AnswerQuestion: (AnswersQuestions, lambda on, do: on.answer(do.vm, do.question, do.choice)),
    ConfirmMove: (ConfirmsMoves, lambda on, do: on.confirm_move(do.vm)),
    RevertMove: (ConfirmsMoves, lambda on, do: on.revert_move(do.vm)),
    Evacuate: (Evacuates, lambda on, do: on.evacuate(do.vm, do.to)),
    ResetState: (ResetsState, lambda on, do: on.reset_state(do.vm, do.to)),
    Abort: (AbortsMigrations, lambda on, do: on.abort(do.vm, do.migration)),
    ForceComplete: (ForcesCompletion, lambda on, do: on.force_complete(do.vm, do.migration)),
    StartVM: (ControlsPower, lambda on, do: on.start(do.vm)),
    StopVM: (ControlsPower, lambda on, do: on.stop(do.vm)),
    EnterMaintenance: (HasMaintenance, lambda on, do: on.enter_maintenance(do.host, do.reason)),
    LeaveMaintenance: (HasMaintenance, lambda on, do: on.leave_maintenance(do.host)),
    ForceDown: (ForcesDown, lambda on, do: on.force_down(do.host, do.down)),
    SetNoout: (FlagsHosts, lambda on, do: on.set_noout(do.host)),
    UnsetNoout: (FlagsHosts, lambda on, do: on.unset_noout(do.host)),
    TurnSwitch: (HasSwitches, lambda on, do: on.turn(do.switch, do.was, do.to)),
}


def can(backend: Backend, action: Action) -> bool:
    """True if the backend has the capability the action needs."""
    return isinstance(backend, _CALLS[type(action)][0])


async def call(backend: Backend, action: Action) -> Receipt:
    """Make the call. Its errors are those of the contract (`evac.backend`); the capability was checked before."""
    return await _CALLS[type(action)][1](backend, action)
