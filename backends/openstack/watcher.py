"""Watcher, the optimizer of OpenStack: audits that move VMs by themselves. Blocking; run in worker threads.

A CONTINUOUS audit with `auto_trigger` plans anew at each interval and carries its plan out unasked. Watcher suspends one that
is ONGOING and resumes it; from no other state, and no audit of another type, which can at most be cancelled for good
(AuditStateTransitionManager in watcher/objects/audit.py). Suspending stops the next round, and not a plan that is under way.

Lists are answered oldest first, a thousand at most, and have no filter by state: what matters is asked for by sorting.

Rights: audit:get_all, audit:get, audit:update and action_plan:get_all; by default the role admin has them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import Struct, field

from backends.openstack.client import NATIVE_ID, Client
from backends.openstack.login import Api, Version
from backends.rights import ASK_AGAIN
from evac.backend import Receipt
from evac.errors import Forbidden, NotFound, Refused
from evac.model import Problem, Switch

KIND = "infra-optim"
"""Its type in Keystone's catalog (the service types authority calls it resource-optimization; keystoneauth knows both)."""

PREFIX, PLAN = "watcher", "watcher-plan"
ONGOING, SUSPENDED, PENDING, SUCCEEDED = "ONGOING", "SUSPENDED", "PENDING", "SUCCEEDED"
VERSION: Version = (1, 0)
"""All that is read here is in the first version; later ones add fields (Watcher's REST API version history)."""

WHY = "Watcher moves VMs by its plans, unasked, while hosts are emptied and refilled"

CANCEL = "openstack optimize actionplan cancel"

UNDER_WAY = frozenset({"PENDING", "ONGOING", "CANCELLING"})
"""States of an action plan that is handed to the applier, or that it carries out."""

PAGE = 200
PAGES = 50
LATEST = 100
"""So many plans that changed last, and audits made last: of ten thousand all but the last few are over."""

T = TypeVar("T")


class _Audit(Struct):
    uuid: str
    name: str | None = None
    audit_type: str | None = None
    state: str | None = None
    auto_trigger: bool | None = None


class _Audits(Struct):
    audits: list[_Audit]


class _Plan(Struct):
    uuid: str
    state: str | None = None
    audit_uuid: str | None = None


class _Plans(Struct):
    plans: list[_Plan] = field(name="action_plans")


class Watcher:
    """Of one cloud. One without it has no switches."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._denied: tuple[float, str] = (float("-inf"), "")

    def all(self) -> list[Switch]:
        """As `read`; without the right to read it, one switch that says so, and nobody is asked for a while."""
        when, why = self._denied
        if why and time.monotonic() - when < ASK_AGAIN:
            return [self._unknown(why)]
        try:
            found = self.read()
        except Forbidden as error:
            self._denied = (time.monotonic(), error.problem.next_step)
            return [self._unknown(error.problem.next_step)]
        self._denied = (float("-inf"), "")
        return found

    def read(self) -> list[Switch]:
        """Audits that act by themselves, and plans under way. Calls: three, more with over 200 continuous audits.

        Raises:
            Forbidden: a right is missing.
        """
        api = self._client.login.service(KIND)
        if api is None:
            return []
        audits = {one.uuid: one for one in (*self._lasting(api), *self._latest(api))}
        plans = [one for one in self._plans(api) if one.state in UNDER_WAY]
        told = (self._switch(one) for one in audits.values())
        return [one for one in told if one is not None] + [self._running(one, audits) for one in plans]

    def turn(self, switch: str, was: str, to: str) -> Receipt:
        """One PATCH of its state. What is read before is read for the change: its failure means that nothing was sent."""
        what = f"turning {switch} from {was} to {to}"
        if to not in (ONGOING, SUSPENDED):
            raise Refused(self._problem(f"Watcher's audit can be {ONGOING} or {SUSPENDED}, and not {to}"))
        api = self._client.before_change(lambda: self._client.login.service(KIND), what)
        prefix, _, ident = switch.partition("/")
        if api is None or prefix != PREFIX or not NATIVE_ID.fullmatch(ident):
            raise NotFound(self._problem(f"there is no switch {switch}"))
        path = _path(api, f"/audits/{ident}")
        found = self._client.before_change(
            lambda: self._read(_Audit, api, path, f"Watcher's audit {ident}"), what
        )
        if found.uuid != ident or found.audit_type != "CONTINUOUS":
            raise Refused(self._problem(f"{ident} is no continuous audit of Watcher: it was not turned"))
        if found.state != was:
            raise Refused(self._problem(f"{_name(found)} is {found.state}, and not {was}: it was not turned"))
        body = [{"op": "replace", "path": "/state", "value": to}]
        return self._client.change(
            "PATCH", path, body, lowest=VERSION, best=max(VERSION, api.oldest), what=what, api=api
        )

    # --- what there is ------------------------------------------------------------------------------------------

    def _lasting(self, api: Api) -> list[_Audit]:
        """Continuous and event audits, which sort before the one-shot ones, of which there may be any number."""
        found: list[_Audit] = []
        asked: dict[str, str | int] = {"sort_key": "audit_type", "sort_dir": "asc", "limit": PAGE}
        for _ in range(PAGES):
            page = self._audits(api, asked)
            found += page
            if len(page) < PAGE or page[-1].audit_type == "ONESHOT":
                return found
            asked["marker"] = page[-1].uuid
        raise self._client.nonsense("the list of Watcher's audits", f"does not end after {PAGES} pages")

    def _latest(self, api: Api) -> list[_Audit]:
        return self._audits(api, {"sort_key": "id", "sort_dir": "desc", "limit": LATEST})

    def _audits(self, api: Api, asked: dict[str, str | int]) -> list[_Audit]:
        what = "the list of Watcher's audits"
        audits = self._read(_Audits, api, _path(api, "/audits"), what, asked).audits
        if not all(NATIVE_ID.fullmatch(one.uuid) for one in audits):
            raise self._client.nonsense(what, "has an id that is none")
        return audits

    def _plans(self, api: Api) -> list[_Plan]:
        asked: dict[str, str | int] = {"sort_key": "updated_at", "sort_dir": "desc", "limit": LATEST}
        what = "the list of Watcher's action plans"
        return self._read(_Plans, api, _path(api, "/action_plans"), what, asked).plans

    def _switch(self, audit: _Audit) -> Switch | None:
        """None for one that moves nothing by itself."""
        state = audit.state or ""
        if audit.audit_type == "CONTINUOUS" and state in {ONGOING, SUSPENDED}:
            restless = state == ONGOING and audit.auto_trigger
            return self._told(audit, SUSPENDED if restless else state, why=WHY if restless else "")
        soon = {
            "CONTINUOUS": {PENDING},
            "ONESHOT": {PENDING, ONGOING},
            "EVENT": {PENDING, ONGOING, SUCCEEDED},  # whoever calls its webhook has it run again
        }
        if not audit.auto_trigger or state not in soon.get(audit.audit_type or "", ()):
            return None
        kind = str(audit.audit_type).lower()
        note = f"{_name(audit)} ({kind}, {state}) may begin to move VMs; Watcher suspends no such audit"
        return self._told(audit, state, note=note)

    def _told(self, audit: _Audit, calm: str, *, why: str = "", note: str = "") -> Switch:
        return Switch(
            cluster=self._client.cluster,
            id=f"{PREFIX}/{audit.uuid}",
            name=_name(audit),
            kind="balancer",
            value=audit.state or "",
            calm=calm,
            why=why,
            note=note,
        )

    def _running(self, plan: _Plan, audits: dict[str, _Audit]) -> Switch:
        of = audits.get(plan.audit_uuid or "")
        name = f"an action plan of {_name(of)}" if of else "an action plan of Watcher"
        state = plan.state or ""
        return Switch(
            cluster=self._client.cluster,
            id=f"{PLAN}/{plan.uuid}",
            name=name,
            kind="balancer",
            value=state,
            calm=state,
            busy=f"{name} is {state} and moves VMs; it ends by itself, or by: {CANCEL} {plan.uuid}",
        )

    def _unknown(self, step: str) -> Switch:
        """It stands for what cannot be seen, so that it is told of and holds up nothing."""
        return Switch(
            cluster=self._client.cluster,
            id=PREFIX,
            name="Watcher",
            kind="balancer",
            value="not known",
            calm="not known",
            note=f"whether Watcher moves VMs by itself is not known: the account may not read it. {step}".rstrip(
                ". "
            ),
        )

    def _read(
        self, kind: type[T], api: Api, path: str, what: str, asked: dict[str, str | int] | None = None
    ) -> T:
        return self._client.read(kind, path, asked, version=VERSION, what=what, api=api)

    def _problem(self, happened: str) -> Problem:
        return Problem(
            happened=f"{self._client.cluster}: {happened}.",
            unaffected="Nothing was changed.",
            next_step="Look at it again and confirm anew.",
        )


def restless(switches: Iterable[Switch]) -> int:
    """How many of them would move VMs during a window."""
    return sum(bool(one.busy or one.note) or one.value != one.calm for one in switches)


def _name(audit: _Audit) -> str:
    return f"Watcher's audit {audit.name or audit.uuid}"


def _path(api: Api, path: str) -> str:
    """Catalogs have its root, as a rule, and some /v1."""
    versioned = urlsplit(api.base).path.rstrip("/").endswith("/v1")
    return path if versioned else f"/v1{path}"
