"""Which action exists in which pane, and which of them change something."""

from __future__ import annotations

from collections.abc import Callable, Collection

WINDOW_ACTIONS = (
    "stop_window",
    "resume_window",
    "end_window",
    "skip_step",
    "step_done",
    "retry_step",
    "leave_out",
    "restore_entry",
    "settle_entry",
)
"""Decisions about a window. Who may not take them sees them dim, with the reason: who looks on a window knows what it could do."""

WRITES: dict[str, frozenset[str]] = {
    "drain": frozenset({"hosts"}),
    "evacuate_host": frozenset({"hosts"}),
    "maintenance": frozenset({"hosts"}),
    "force_down": frozenset({"hosts"}),
    "migrate": frozenset({"vms"}),
    "cold_migrate": frozenset({"vms"}),
    "move_storage": frozenset({"vms"}),
    "move_across": frozenset({"vms"}),
    "answer": frozenset({"vms"}),
    "evacuate_vm": frozenset({"vms"}),
    "reset_state": frozenset({"vms"}),
    "confirm_move": frozenset({"vms"}),
    "revert_move": frozenset({"vms"}),
    "start_vm": frozenset({"vms"}),
    "stop_vm": frozenset({"vms"}),
    "abort": frozenset({"vms", "queue"}),
    "force_complete": frozenset({"vms", "queue"}),
    "retry": frozenset({"queue"}),
    "type_address": frozenset({"ping"}),
    "forget_address": frozenset({"ping"}),
    "pause": frozenset({"hosts", "vms", "queue", "events", "problems", "ceph", "ping", "window"}),
    "noout": frozenset({"ceph"}),
    **{action: frozenset({"window"}) for action in WINDOW_ACTIONS},
}
"""Actions that change something → panes they exist in. Without the right to write none of them exists."""

READS: dict[str, frozenset[str]] = {
    "vms_here": frozenset({"hosts"}),
    "plan_window": frozenset({"hosts"}),
    "preflight": frozenset({"vms"}),
    "audit": frozenset({"events"}),
    "freeze": frozenset({"ping"}),
    "reverse": frozenset({"hosts", "vms", "queue", "events", "problems", "ceph", "ping"}),
}


def allowed(action: str, pane: str, *, may_write: bool) -> bool:
    """Whether the action exists here and for this person."""
    if action in WRITES:
        return may_write and pane in WRITES[action]
    return pane in READS[action] if action in READS else True


def withheld(action: str, pane: str, *, may_write: bool) -> bool:
    """Whether it is shown dim to a person who may not do it."""
    return action in WINDOW_ACTIONS and pane in WRITES[action] and not may_write


KINDS: dict[str, tuple[str, ...]] = {
    "drain": ("live_migrate", "cold_migrate"),
    "evacuate_host": ("evacuate",),
    "maintenance": ("enter_maintenance",),
    "force_down": ("force_down",),
    "migrate": ("live_migrate",),
    "cold_migrate": ("cold_migrate",),
    "move_storage": ("move_storage",),
    "move_across": ("move_across",),
    "answer": ("answer",),
    "evacuate_vm": ("evacuate",),
    "reset_state": ("reset_state",),
    "confirm_move": ("confirm_move",),
    "revert_move": ("revert_move",),
    "start_vm": ("start",),
    "stop_vm": ("stop",),
    "noout": ("set_noout",),
}
"""Action → the kinds of which a cluster must be able to do one."""


def unable(action: str, clusters: Collection[str], able: Callable[[str, str], tuple[bool, str]]) -> str:
    """Why none of these clusters can do what an action asks for; "" when one can, or there is none to ask."""
    kinds = KINDS.get(action, ())
    why = ""
    for cluster in clusters:
        for kind in kinds:
            can, words = able(cluster, kind)
            if can:
                return ""
            why = why or words or f"{cluster} cannot do this"
    return why.rstrip(".")
