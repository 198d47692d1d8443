"""What can be done to VMs: each verb with the states it fits, what it risks, and whether it can be taken back."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from evac.model import VMState


class Verb(Struct, frozen=True, kw_only=True):
    """One kind of thing done to VMs."""

    kind: str
    words: str
    """"live-migrate" """
    states: frozenset[VMState] | None
    """States it fits; None: any."""
    else_do: str
    """What to do where the state does not fit."""
    risk: str
    back: str
    """Whether and how it can be taken back."""
    fence: bool = False


_MOVABLE = frozenset({VMState.RUNNING, VMState.PAUSED})

VERBS: Mapping[str, Verb] = {
    "live_migrate": Verb(
        kind="live_migrate",
        words="live-migrate",
        states=_MOVABLE,
        else_do="a VM that is not running is moved with c (cold-migrate)",
        risk="A guest that writes memory faster than the link carries it may not converge; it pauses briefly at the end.",
        back="Reversible: migrate it back.",
    ),
    "cold_migrate": Verb(
        kind="cold_migrate",
        words="cold-migrate",
        states=frozenset({VMState.RUNNING, VMState.STOPPED, VMState.PAUSED, VMState.SUSPENDED}),
        else_do="it must be running or stopped",
        risk="A running guest is SHUT DOWN for the move. Afterwards the move waits for C (confirm) or B (bring back).",
        back="Reversible until it is confirmed.",
    ),
    "move_storage": Verb(
        kind="move_storage",
        words="move the disks of",
        states=frozenset({VMState.RUNNING, VMState.STOPPED, VMState.PAUSED, VMState.SUSPENDED}),
        else_do="it must be running or stopped",
        risk="Every byte of its disks is read and written again: this loads both datastores, and can take hours.",
        back="Reversible: move them back.",
    ),
    "move_across": Verb(
        kind="move_across",
        words="move to another cluster",
        states=frozenset({VMState.RUNNING, VMState.STOPPED, VMState.PAUSED, VMState.SUSPENDED}),
        else_do="it must be running or stopped",
        risk="All its memory and disks are copied. What belongs to this cluster stays behind: HA, affinity, backups, tags.",
        back="Reversible only by moving it back, if this cluster still has what it needs.",
    ),
    "answer": Verb(
        kind="answer",
        words="answer the question of",
        states=None,
        else_do="",
        risk="The guest goes on, or is ended, as the answer says.",
        back="NOT reversible.",
    ),
    "evacuate": Verb(
        kind="evacuate",
        words="evacuate",
        states=None,
        else_do="",
        risk="Rebuilds the VM on another host. If the old host still runs it, TWO COPIES WRITE ONE DISK and destroy it.",
        back="NOT reversible. A local disk is lost.",
        fence=True,
    ),
    "reset_state": Verb(
        kind="reset_state",
        words="reset the state of",
        states=None,
        else_do="",
        risk="Overwrites the state in the platform's database. It repairs no guest; a task still at work may collide.",
        back="Changes no guest; the state can be reset again.",
    ),
    "confirm_move": Verb(
        kind="confirm_move",
        words="confirm the move of",
        states=frozenset({VMState.AWAITING_CONFIRM}),
        else_do="nothing waits for a confirmation",
        risk="Frees what the source host still keeps.",
        back="NOT reversible: after this it cannot be brought back.",
    ),
    "revert_move": Verb(
        kind="revert_move",
        words="bring back",
        states=frozenset({VMState.AWAITING_CONFIRM}),
        else_do="nothing waits for a confirmation",
        risk="The guest stops on the new host and starts on the old one; what it wrote since is lost with local disks.",
        back="Reversible: move it again.",
    ),
    "start": Verb(
        kind="start",
        words="power on",
        states=frozenset({VMState.STOPPED}),
        else_do="it is not stopped",
        risk="The guest boots.",
        back="Reversible: power it off.",
    ),
    "stop": Verb(
        kind="stop",
        words="power off",
        states=_MOVABLE,
        else_do="it is not running",
        risk="The guest is shut down: WHAT IT SERVES STOPS.",
        back="Reversible: power it on.",
    ),
    "abort": Verb(
        kind="abort",
        words="abort the migration of",
        states=None,
        else_do="",
        risk="The VM stays where it is; what was copied is thrown away.",
        back="Reversible: migrate again.",
    ),
    "force_complete": Verb(
        kind="force_complete",
        words="force-complete the migration of",
        states=None,
        else_do="",
        risk="The platform pauses the guest, or switches to post-copy: if the link breaks then, the guest is lost.",
        back="NOT reversible once it has begun.",
    ),
}
