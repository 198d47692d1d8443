"""Watcher's API over a simulated world, and what its continuous audits do by themselves: they move VMs to emptier hosts.

A continuous audit that triggers its plans is a switch of the world: "watcher/AUDIT". States, transitions, pages and texts as
of Watcher 17.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, micro
from backends.openstack.watcher import ONGOING, PREFIX, SUSPENDED
from backends.simulation import deeds
from backends.simulation.things import Denied, SimSwitch
from backends.simulation.world import World

MOST = 1000
"""Watcher's [api]max_limit."""

TRANSITIONS = {
    "PENDING": ("ONGOING", "CANCELLED"),
    "ONGOING": ("FAILED", "SUCCEEDED", "CANCELLED", "SUSPENDED"),
    "SUSPENDED": ("ONGOING", "DELETED"),
}
"""Of an audit's state by PATCH; from the others only to DELETED (AuditStateTransitionManager)."""

LOOKED = 1.0
"""Seconds between two looks of the applier at what it ordered."""


@dataclass(slots=True)
class SimAudit:
    """One of its audits; the state is the switch's value."""

    switch: SimSwitch
    kind: str
    trigger: bool
    number: int

    @property
    def uuid(self) -> str:
        """Its id on the wire."""
        return self.switch.id.removeprefix(f"{PREFIX}/")


@dataclass(slots=True)
class SimPlan:
    """An action plan: one live migration of one VM."""

    uuid: str
    audit: str
    state: str
    changed: float


class WatcherRoom:
    """/v1/audits and /v1/action_plans of one region."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.audits: dict[str, SimAudit] = {}
        self.plans: dict[str, SimPlan] = {}

    @property
    def there(self) -> bool:
        """Whether this cloud has a Watcher."""
        return bool(self.audits)

    def audit(
        self,
        name: str,
        *,
        kind: str = "CONTINUOUS",
        trigger: bool = True,
        state: str = ONGOING,
        every: float = 0.0,
    ) -> SimAudit:
        """A new one. `every`: seconds from one round to the next; 0: it only stands there."""
        ident = str(uuid.uuid5(uuid.NAMESPACE_URL, f"audit/{self._world.epoch}/{len(self.audits)}"))
        lasting = kind == "CONTINUOUS" and trigger
        switch = SimSwitch(
            f"{PREFIX}/{ident}", f"Watcher's audit {name}", "balancer", state, SUSPENDED if lasting else state
        )
        made = self.audits[ident] = SimAudit(switch, kind, trigger, len(self.audits) + 1)
        if lasting:
            self._world.switches[switch.id] = switch
        if every:
            self._world.later(every, lambda: self._round(made, every))
        return made

    def plan(self, audit: SimAudit, state: str) -> SimPlan:
        """A new action plan."""
        ident = str(uuid.uuid5(uuid.NAMESPACE_URL, f"plan/{self._world.epoch}/{len(self.plans)}"))
        made = self.plans[ident] = SimPlan(ident, audit.uuid, state, self._world.time)
        return made

    # --- what it does by itself ---------------------------------------------------------------------------------

    def _round(self, audit: SimAudit, every: float) -> None:
        """As a strategy that evens out: a VM of the fullest host goes to the emptiest. Not while a plan is under way."""
        self._world.later(every, lambda: self._round(audit, every))
        if audit.switch.value != ONGOING or any(one.state == ONGOING for one in self.plans.values()):
            return
        counts = {name: 0 for name, host in self._world.hosts.items() if host.alive and not host.maintenance}
        for vm in self._world.vms.values():
            if vm.host in counts:
                counts[vm.host] += 1
        if len(counts) < 2:
            return
        fullest, emptiest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        if counts[fullest] - counts[emptiest] > 1:
            self._carry_out(audit, fullest, emptiest)

    def _carry_out(self, audit: SimAudit, source: str, target: str) -> None:
        free = (one.id for one in self._world.vms.values() if one.host == source and not one.task)
        vm = next(free, "")
        with contextlib.suppress(Denied):
            self._world.live.migrate(vm, target, user="watcher")
            plan = self.plan(audit, ONGOING)
            self._world.later(LOOKED, lambda: self._look(plan, vm))

    def _look(self, plan: SimPlan, vm_id: str) -> None:
        vm = self._world.vms.get(vm_id)
        if vm is not None and vm.task:
            self._world.later(LOOKED, lambda: self._look(plan, vm_id))
        else:
            self.end(plan)

    def end(self, plan: SimPlan, state: str = "SUCCEEDED") -> None:
        """It is over."""
        plan.state, plan.changed = state, self._world.time

    # --- the wire -----------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """What is served below its root, which is what catalogs name."""
        return [
            Route("GET", "", "watcher.versions", self._versions),
            Route("GET", "/v1/audits", "audits", self._audits),
            Route("GET", "/v1/audits/{audit}", "audit", self._audit),
            Route("PATCH", "/v1/audits/{audit}", "turn_switch", self._patch),
            Route("GET", "/v1/action_plans", "action_plans", self._plans),
        ]

    def _versions(self, ask: Ask) -> Answer:
        links = [{"href": f"{ask.base}/v1/", "rel": "self"}]
        version = {"id": "v1", "status": "CURRENT", "min_version": "1.0", "max_version": "1.7"}
        version |= {"links": links}  # type: ignore[dict-item]
        named = {"name": "OpenStack Watcher API", "description": "", "default_version": version}
        return Answer(named | {"versions": [version]})

    def _audits(self, ask: Ask) -> Answer:
        _want(ask, "audit:get_all")
        rows = [self._row(one) for one in self.audits.values()]
        keys = {"id": "number", "audit_type": "audit_type"}
        return Answer({"audits": _page(ask, rows, keys)})

    def _audit(self, ask: Ask) -> Answer:
        _want(ask, "audit:get")
        return Answer(self._row(self._find(ask)))

    def _patch(self, ask: Ask) -> Answer:
        _want(ask, "audit:update")
        found = self._find(ask)
        steps = ask.body if isinstance(ask.body, list) else []
        (step,) = steps or [{}]
        if step.get("op") != "replace" or step.get("path") != "/state":
            raise Wrong(400, "Couldn't apply patch")
        was, to = found.switch.value, step.get("value")
        if to not in TRANSITIONS.get(was, ("DELETED",)):
            reason = f"State transition not allowed: ({was} -> {to})"
            raise Wrong(400, f"Couldn't apply patch '{steps}'. Reason: {reason}")
        deeds.turn(self._world, found.switch.id, was, to)
        return Answer(self._row(found))

    def _find(self, ask: Ask) -> SimAudit:
        found = self.audits.get(ask.params["audit"])
        if found is None:
            raise Wrong(404, f"Audit {ask.params['audit']} could not be found")
        return found

    def _row(self, one: SimAudit) -> dict[str, Any]:
        return {
            "uuid": one.uuid,
            "name": one.switch.name.removeprefix("Watcher's audit "),
            "audit_type": one.kind,
            "state": one.switch.value,
            "auto_trigger": one.trigger,
            "interval": "300" if one.kind == "CONTINUOUS" else None,
            "goal_name": "workload_balancing",
            "strategy_name": "workload_stabilization",
            "scope": [],
            "next_run_time": None,
            "number": one.number,
        }

    def _plans(self, ask: Ask) -> Answer:
        _want(ask, "action_plan:get_all")
        rows = [
            {
                "uuid": one.uuid,
                "audit_uuid": one.audit,
                "state": one.state,
                "strategy_name": "workload_stabilization",
                "efficacy_indicators": [],
                "global_efficacy": [],
                "updated_at": micro(self._world.wall(one.changed)),
            }
            for one in self.plans.values()
        ]
        return Answer({"action_plans": _page(ask, rows, {"updated_at": "updated_at"})})


def watcher_error(message: str) -> dict[str, str]:
    """A refusal as WSME and Watcher's middleware write it: JSON in a string."""
    fault = {"debuginfo": None, "faultcode": "Client", "faultstring": message}
    return {"error_message": msgspec.json.encode(fault).decode()}


def _want(ask: Ask, rule: str) -> None:
    if not ask.account.may(rule):
        raise Wrong(403, f"Policy doesn't allow {rule} to be performed.")


def _page(ask: Ask, rows: list[dict[str, Any]], keys: dict[str, str]) -> Sequence[dict[str, Any]]:
    """By sort_key, sort_dir, limit and marker; what is not known is refused, a filter by state among it."""
    unknown = set(ask.query) - {"sort_key", "sort_dir", "limit", "marker"}
    if unknown:
        raise Wrong(400, f"Unknown argument: {', '.join(sorted(unknown))}")
    key = keys.get(ask.query.get("sort_key", "id"))
    if key is None:
        raise Wrong(400, f"Invalid sort key: {ask.query.get('sort_key')}")
    rows = sorted(rows, key=lambda row: str(row[key]) if key != "number" else f"{row[key]:09}")
    if ask.query.get("sort_dir") == "desc":
        rows.reverse()
    marker = ask.query.get("marker")
    if marker:
        start = next((at for at, row in enumerate(rows, 1) if row["uuid"] == marker), None)
        if start is None:
            raise Wrong(404, f"The resource {marker} could not be found")
        rows = rows[start:]
    return rows[: min(int(ask.query.get("limit") or MOST), MOST)]
