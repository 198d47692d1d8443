"""Which action exists in which pane, and which of them change something."""

from __future__ import annotations

WRITES: dict[str, frozenset[str]] = {
    "drain": frozenset({"hosts"}),
    "evacuate_host": frozenset({"hosts"}),
    "maintenance": frozenset({"hosts"}),
    "force_down": frozenset({"hosts"}),
    "migrate": frozenset({"vms"}),
    "cold_migrate": frozenset({"vms"}),
    "move_storage": frozenset({"vms"}),
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
    "pause": frozenset({"hosts", "vms", "queue", "events", "problems", "ceph", "ping"}),
    "noout": frozenset({"ceph"}),
}
"""Actions that change something → panes they exist in. Without the right to write none of them exists."""

READS: dict[str, frozenset[str]] = {
    "vms_here": frozenset({"hosts"}),
    "preflight": frozenset({"vms"}),
    "audit": frozenset({"events"}),
    "freeze": frozenset({"ping"}),
}


def allowed(action: str, pane: str, *, may_write: bool) -> bool:
    """Whether the action exists here and for this person."""
    if action in WRITES:
        return may_write and pane in WRITES[action]
    return pane in READS[action] if action in READS else True
