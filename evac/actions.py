"""Intents as data. What is queued can be shown, confirmed, journaled, cancelled, resumed and tested.

Each action carries the identity it was confirmed against: native id, name, and the host the admin saw. The queue
re-reads the object before it fires and refuses when any of them differs.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class _Action(
    Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, forbid_unknown_fields=True
):
    # A misspelt "to" must be refused: left out, it would let the scheduler choose.
    cluster: str

    verb: ClassVar[str] = ""
    """What a person reads: "live-migrate"."""


class VMAction(_Action, frozen=True, kw_only=True):
    """Something done to one VM."""

    vm: str
    """VM.id"""
    name: str
    """The name it had when it was confirmed; must still match."""
    host: str
    """Host.id it was on when it was confirmed; must still match."""


class HostAction(_Action, frozen=True, kw_only=True):
    """Something done to one host."""

    host: str
    """Host.id"""
    name: str
    uuid: str = ""
    """The second identity; compared when both sides know it."""


class ClusterAction(_Action, frozen=True, kw_only=True):
    """Something done to a cluster as a whole."""

    name: str
    """Of what it is done to; must still match."""


class LiveMigrate(VMAction, frozen=True, kw_only=True, tag="live_migrate"):
    """Move a running VM to another host without stopping it."""

    verb: ClassVar[str] = "live-migrate"
    to: str = ""
    """Host.id; "" lets the platform's scheduler choose."""


class ColdMigrate(VMAction, frozen=True, kw_only=True, tag="cold_migrate"):
    """Move a VM that is stopped, or stop it, move it, and start it there."""

    verb: ClassVar[str] = "cold-migrate"
    to: str = ""


class MoveStorage(VMAction, frozen=True, kw_only=True, tag="move_storage"):
    """Move a VM's disks to another datastore, and the VM to another host with them where `to` is given."""

    verb: ClassVar[str] = "move the disks of"
    storage: str
    """Datastore.id"""
    storage_name: str = ""
    """The name it had when it was confirmed; must still match where it is given."""
    to: str = ""
    """Host.id; "": it stays on its host."""


class MoveAcross(VMAction, frozen=True, kw_only=True, tag="move_across"):
    """Move a VM, with its disks, to a host of another cluster of the same kind."""

    verb: ClassVar[str] = "move to another cluster"
    uuid: str = ""
    """VM.uuid when it was confirmed; by it the VM is known again over there, else by its name."""
    to_cluster: str
    to: str
    """Host.id there"""
    storage: str = ""
    """Datastore.id there; "": the platform's choice."""
    networks: tuple[tuple[str, str], ...] = ()
    """(network of the VM now, network there)"""
    credential: str
    """Handle of a credential in the engine's memory (POST /v1/credentials). The credential itself is written nowhere."""


class AnswerQuestion(VMAction, frozen=True, kw_only=True, tag="answer"):
    """Answer what the platform asks about a VM that stands still."""

    verb: ClassVar[str] = "answer the question of"
    question: str
    """Question.id; must still be the one that is asked."""
    choice: str
    """Choice.key"""
    label: str = ""
    """What that choice said when it was confirmed; must still match where it is given."""


class ConfirmMove(VMAction, frozen=True, kw_only=True, tag="confirm_move"):
    """Accept a cold migration that has arrived; frees what the source still holds."""

    verb: ClassVar[str] = "confirm the move of"


class RevertMove(VMAction, frozen=True, kw_only=True, tag="revert_move"):
    """Take a cold migration back to where it came from."""

    verb: ClassVar[str] = "revert the move of"


class Evacuate(VMAction, frozen=True, kw_only=True, tag="evacuate"):
    """Rebuild on another host a VM whose host is dead. Two running copies destroy its disk: the host must be fenced."""

    verb: ClassVar[str] = "evacuate"
    to: str = ""
    fenced: str = ""
    """The admin's own statement that the host is fenced, such as "powered off by IPMI 03:12"; never empty."""


class ResetState(VMAction, frozen=True, kw_only=True, tag="reset_state"):
    """Overwrite a stuck state in the platform's database. It changes no guest."""

    verb: ClassVar[str] = "reset-state"
    to: str = "active"
    """"active" or "error"."""


class Abort(VMAction, frozen=True, kw_only=True, tag="abort"):
    """Stop a running or queued live migration; the VM stays where it is."""

    verb: ClassVar[str] = "abort the migration of"
    migration: str
    """Migration.id"""


class ForceComplete(VMAction, frozen=True, kw_only=True, tag="force_complete"):
    """Finish a live migration that does not converge, by pausing the guest or by post-copy."""

    verb: ClassVar[str] = "force-complete the migration of"
    migration: str


class StartVM(VMAction, frozen=True, kw_only=True, tag="start"):
    """Power a VM on."""

    verb: ClassVar[str] = "start"


class StopVM(VMAction, frozen=True, kw_only=True, tag="stop"):
    """Shut a VM down."""

    verb: ClassVar[str] = "stop"


class EnterMaintenance(HostAction, frozen=True, kw_only=True, tag="enter_maintenance"):
    """Tell the scheduler to place nothing new on a host. Moves no guest by itself."""

    verb: ClassVar[str] = "put into maintenance"
    reason: str


class LeaveMaintenance(HostAction, frozen=True, kw_only=True, tag="leave_maintenance"):
    """Let the scheduler use the host again."""

    verb: ClassVar[str] = "take out of maintenance"


class ForceDown(HostAction, frozen=True, kw_only=True, tag="force_down"):
    """Declare a host dead (`down=True`) or take that back."""

    verb: ClassVar[str] = "force down"
    down: bool = True
    fenced: str = ""
    """As for Evacuate; needed when `down` is true."""


class SetNoout(HostAction, frozen=True, kw_only=True, tag="set_noout"):
    """Tell a storage cluster to keep this host's OSDs in while they are down: no data moves for a short stop."""

    verb: ClassVar[str] = "set noout for"


class UnsetNoout(HostAction, frozen=True, kw_only=True, tag="unset_noout"):
    """Take it back: an OSD that stays down is marked out again, and its data is copied elsewhere."""

    verb: ClassVar[str] = "unset noout for"


class TurnSwitch(ClusterAction, frozen=True, kw_only=True, tag="turn_switch"):
    """Turn a balancer, or a backup job, of the platform to another value: to calm for a window, or back."""

    verb: ClassVar[str] = "turn"
    switch: str
    """Switch.id"""
    was: str
    """Its value when this was confirmed; must still be so."""
    to: str
    sort: str = ""
    """Switch.kind: "balancer", "ha" or "backup"."""
    back: bool = False
    """It puts back what was turned before: nothing is owed for it."""


Action = (
    LiveMigrate
    | ColdMigrate
    | MoveStorage
    | MoveAcross
    | AnswerQuestion
    | ConfirmMove
    | RevertMove
    | Evacuate
    | ResetState
    | Abort
    | ForceComplete
    | StartVM
    | StopVM
    | EnterMaintenance
    | LeaveMaintenance
    | ForceDown
    | SetNoout
    | UnsetNoout
    | TurnSwitch
)
"""Any intent; msgspec decodes the union by its `kind`."""

Move = LiveMigrate | ColdMigrate | Evacuate | MoveStorage
"""Actions that carry a VM or its disks somewhere else within its cluster."""

Carrying = Move | MoveAcross
"""Actions that carry a VM or its disks somewhere else: they count against the limits."""

ABORTABLE = (LiveMigrate, MoveStorage, MoveAcross)
"""Actions whose move a platform can be asked to abort once it has begun."""


def kind_of(action: Action) -> str:
    """The tag on the wire, also the capability's name: "live_migrate"."""
    tag = action.__struct_config__.tag
    return str(tag)


def clusters_of(action: Action) -> tuple[str, ...]:
    """The clusters that it changes."""
    return (action.cluster, action.to_cluster) if isinstance(action, MoveAcross) else (action.cluster,)


def subject_of(action: Action) -> str:
    """Key of what is acted upon: "cluster/vm/id", "cluster/host/id" or "cluster/switch/id"."""
    if isinstance(action, VMAction):
        return f"{action.cluster}/vm/{action.vm}"
    if isinstance(action, ClusterAction):
        return f"{action.cluster}/switch/{action.switch}"
    return f"{action.cluster}/host/{action.host}"


def host_of(action: Action) -> str:
    """Host.id of the host it is done to, or on which its VM was when it was confirmed; "": it is about no host."""
    return "" if isinstance(action, ClusterAction) else action.host


def describe(action: Action) -> str:
    """One line: verb, name, from→to. For queue rows, audit and messages."""
    head = f"{action.verb} {action.name}"
    if isinstance(action, Carrying):
        return _carried(head, action)
    if isinstance(action, AnswerQuestion):
        return f'{head} with "{action.label or action.choice}"'
    if isinstance(action, ResetState):
        return f"{head} to {action.to}"
    if isinstance(action, TurnSwitch):
        return f"{head} from {action.was} to {action.to}"
    if isinstance(action, ForceDown) and not action.down:
        return f"take back force-down of {action.name}"
    return head


def _carried(head: str, action: Carrying) -> str:
    if isinstance(action, MoveAcross):
        return f"move {action.name} to {action.to_cluster}: {action.host}→{action.to}"
    if isinstance(action, MoveStorage):
        along = f", {action.host}→{action.to}" if action.to else ""
        return f"{head} to {action.storage_name or action.storage}{along}"
    return f"{head} {action.host}→{action.to or '(scheduler)'}"
