"""Nova's word for a server's state, and the filters a list of servers takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from backends.openstack.simulator_keystone import Keystone
from backends.openstack.simulator_wire import Ask, Wrong
from backends.simulation.things import SimVM
from evac.model import VMState

STATUS = {
    VMState.RUNNING: "ACTIVE",
    VMState.STOPPED: "SHUTOFF",
    VMState.PAUSED: "PAUSED",
    VMState.SUSPENDED: "SUSPENDED",
    VMState.BUILDING: "BUILD",
    VMState.AWAITING_CONFIRM: "VERIFY_RESIZE",
    VMState.ERROR: "ERROR",
    VMState.DELETED: "DELETED",
}
KNOWN_STATUS = frozenset(
    {*STATUS.values(), "MIGRATING", "REBUILD", "RESIZE", "REBOOT", "REVERT_RESIZE", "UNKNOWN"}
)
POWER = {"running": 1, "paused": 3, "shutdown": 4, "crashed": 6, "suspended": 7}


def status_of(vm: SimVM) -> str:
    """Nova's status from its vm_state and task_state (nova/api/openstack/common.py)."""
    if vm.native:
        return vm.native
    if vm.task == "migrating":
        return "MIGRATING"
    if vm.task.startswith("rebuild"):
        return "REBUILD"
    if vm.task.startswith("resize"):
        return "RESIZE"
    return STATUS.get(vm.state, "UNKNOWN")


def narrow(ask: Ask, keystone: Keystone, *, everyone: bool) -> Callable[[SimVM], bool] | None:
    """A predicate for the query's filters; None when everything passes."""
    query = ask.query
    tests: list[Callable[[SimVM], bool]] = []
    if not everyone:
        tests.append(lambda vm: vm.project == ask.account.project)
    if "host" in query and ask.account.sees_all:
        tests.append(lambda vm: vm.host == query["host"] and not vm.hostless)
    if "status" in query:
        words = {value.upper() for name, value in ask.queries if name == "status"}
        if not words & KNOWN_STATUS:
            raise Wrong(400, "Invalid status value")
        tests.append(lambda vm: status_of(vm) in words)
    if "name" in query:
        pattern = _regex(query["name"])
        tests.append(lambda vm: pattern.search(vm.name) is not None)
    tenant = query.get("project_id") or query.get("tenant_id")
    if tenant and ask.account.sees_all:
        tests.append(lambda vm: keystone.project_id(vm.project) == tenant)
    if "uuid" in query:
        tests.append(lambda vm: vm.id == query["uuid"])
    if flag(query, "deleted"):
        tests.append(lambda vm: vm.state is VMState.DELETED)
    if not tests:
        return None
    return lambda vm: all(test(vm) for test in tests)


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error:
        raise Wrong(
            400, f"Invalid input for query parameters name. Value: {text}. '{text}' is not a 'regex'"
        ) from None


def flag(query: Mapping[str, str], key: str) -> bool:
    """True when the query says yes to this, in one of the words oslo takes for it."""
    return str(query.get(key, "")).lower() in ("1", "true", "t", "yes", "y", "on")
