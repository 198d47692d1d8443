"""Watcher's audits: those that move VMs by themselves are seen, suspended and resumed; what else moves VMs is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.openstack import PLUGIN
from backends.openstack.options import Options
from backends.openstack.simulator import NovaSimulator
from backends.openstack.simulator_masakari import watch
from backends.openstack.simulator_watcher import SimAudit
from backends.openstack.watcher import ONGOING, PAGE, SUSPENDED
from backends.simulation.clocks import ManualClock
from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.backend import Call, Settings
from evac.errors import Forbidden, NotFound, ReadOnly, Refused, Uncertain, Unreachable


class Night:
    """A cloud with a Watcher, whose time goes on when it is told to."""

    def __init__(self, *, masakari: bool = False) -> None:
        self.clock = ManualClock()
        self.world = World(seed=7, now=self.clock)
        for name in ("cmp01", "cmp02"):
            self.world.add_host(name)
        for number in range(6):
            self.world.add_vm(f"vm-{number}", "cmp01")
        if masakari:
            watch(self.world, self.world.hosts)
        self.cloud = NovaSimulator(self.world)
        self.watcher = self.cloud.watcher

    def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.advance()

    def asked(self) -> list[tuple[str, str]]:
        """What Watcher was asked, without the discovery of its versions."""
        return [
            (method, path.partition("/infra-optim")[2].partition("?")[0])
            for method, path, _ in self.cloud.requests
            if "/infra-optim/" in path
        ]


@asynccontextmanager
async def opened(night: Night, *, read_only: bool = False, **more: Any) -> AsyncIterator[Any]:
    async with night.cloud.serve() as url:
        options = Options(auth_url=url, username="admin", password="admin", project_name="admin")
        backend = PLUGIN.build(Settings(name="lab", options=options, read_only=read_only, **more))
        try:
            yield backend
        finally:
            await backend.close()


def ident(audit: SimAudit) -> str:
    return audit.switch.id


async def seen(backend: Any) -> dict[str, Any]:
    return {one.id: one for one in await backend.switches()}


async def test_an_audit_that_acts_by_itself_is_a_balancer_and_one_that_only_plans_is_calm() -> None:
    night = Night()
    acts = night.watcher.audit("even")
    plans = night.watcher.audit("advice", trigger=False)
    rests = night.watcher.audit("rests", state=SUSPENDED)
    async with opened(night) as backend:
        found = await seen(backend)
        one = found[ident(acts)]
        assert (one.name, one.kind, one.value, one.calm) == (
            "Watcher's audit even",
            "balancer",
            ONGOING,
            SUSPENDED,
        )
        assert "moves VMs" in one.why
        assert {found[ident(two)].value == found[ident(two)].calm for two in (plans, rests)} == {True}
        assert not any(two.busy or two.note for two in found.values())


async def test_a_cloud_without_watcher_is_asked_nothing_and_one_with_it_turns_only_its_own() -> None:
    night = Night(masakari=True)
    async with opened(night) as backend:
        assert {one.kind for one in await backend.switches()} == {"ha"}
        with pytest.raises(NotFound, match="no switch"):
            await backend.turn("watcher/6f1c0b9a", ONGOING, SUSPENDED)
        assert not any("infra-optim" in path for _, path, _ in night.cloud.requests)
    night = Night(masakari=True)
    night.watcher.audit("even")
    async with opened(night) as backend:
        assert {one.kind for one in await backend.switches()} == {"ha", "balancer"}
        assert {one.action: one for one in await backend.capabilities()}["turn_switch"].able


async def test_an_audit_is_suspended_and_resumed_and_nothing_else_of_it_is_sent() -> None:
    night, calls = Night(), list[Call]()
    audit = night.watcher.audit("even")
    async with opened(night, record=calls.append) as backend:
        await backend.turn(ident(audit), ONGOING, SUSPENDED)
        assert audit.switch.value == SUSPENDED
        assert (await seen(backend))[ident(audit)].value == SUSPENDED
        await backend.turn(ident(audit), SUSPENDED, ONGOING)
        assert audit.switch.value == ONGOING
    assert [(one.method, one.path.partition("/v1/")[2]) for one in calls] == [
        ("PATCH", f"audits/{audit.uuid}")
    ] * 2
    assert [one.body for one in calls] == [
        f'[{{"op": "replace", "path": "/state", "value": "{state}"}}]' for state in (SUSPENDED, ONGOING)
    ]


async def test_what_is_not_as_it_was_confirmed_or_cannot_be_suspended_is_left_alone() -> None:
    night, calls = Night(), list[Call]()
    audit = night.watcher.audit("even")
    once = night.watcher.audit("once", kind="ONESHOT")
    async with opened(night, record=calls.append) as backend:
        with pytest.raises(Refused, match=f"even is {ONGOING}, and not {SUSPENDED}"):
            await backend.turn(ident(audit), SUSPENDED, ONGOING)
        with pytest.raises(Refused, match="and not CANCELLED"):
            await backend.turn(ident(audit), ONGOING, "CANCELLED")
        with pytest.raises(Refused, match="no continuous audit"):
            await backend.turn(ident(once), ONGOING, SUSPENDED)
        for none in (
            "watcher",
            "watcher/",
            "watcher/../x",
            "watcher/a/b",
            f"{ident(audit)}?",
            "watcher/even",
        ):
            with pytest.raises(NotFound):
                await backend.turn(none, ONGOING, SUSPENDED)
    assert calls == []


async def test_an_audit_that_may_begin_and_cannot_be_suspended_is_told_of() -> None:
    night = Night()
    once = night.watcher.audit("once", kind="ONESHOT", state="PENDING")
    called = night.watcher.audit("alarm", kind="EVENT", state="SUCCEEDED")
    later = night.watcher.audit("later", state="PENDING")
    night.watcher.audit("done", kind="ONESHOT", state="SUCCEEDED")
    night.watcher.audit("advice", kind="ONESHOT", state="PENDING", trigger=False)
    async with opened(night) as backend:
        found = await seen(backend)
    assert set(found) == {ident(one) for one in (once, called, later)}
    assert all("suspends no such audit" in one.note and one.value == one.calm for one in found.values())


async def test_a_plan_under_way_is_told_of_until_it_is_over() -> None:
    night = Night()
    audit = night.watcher.audit("even", every=60.0)
    async with opened(night) as backend:
        night.passes(61.0)
        (plan,) = night.watcher.plans.values()
        (busy,) = [one for one in await backend.switches() if one.busy]
        assert busy.value == busy.calm == ONGOING
        assert "an action plan of Watcher's audit even is ONGOING and moves VMs" in busy.busy
        assert f"actionplan cancel {plan.uuid}" in busy.busy
        await backend.turn(ident(audit), ONGOING, SUSPENDED)
        night.passes(300.0)
        assert plan.state == "SUCCEEDED"
        assert not any(one.busy for one in await backend.switches())
        night.passes(600.0)
        assert list(night.watcher.plans.values()) == [plan], "suspended, it begins nothing new"
        await backend.turn(ident(audit), SUSPENDED, ONGOING)
        night.passes(61.0)
        assert len(night.watcher.plans) == 2


@pytest.mark.parametrize("state", ["PENDING", "CANCELLING"])
async def test_a_plan_that_waits_or_is_being_cancelled_is_under_way_too(state: str) -> None:
    night = Night()
    audit = night.watcher.audit("even")
    for over in ("RECOMMENDED", "FAILED", "CANCELLED", "SUPERSEDED", "SUCCEEDED"):
        night.watcher.plan(audit, over)
    plan = night.watcher.plan(audit, state)
    async with opened(night) as backend:
        assert [one.id for one in await backend.switches() if one.busy] == [f"watcher-plan/{plan.uuid}"]


async def test_many_audits_that_are_over_cost_no_more_calls_and_hide_none_that_acts() -> None:
    night = Night()
    for number in range(PAGE + 50):
        night.watcher.audit(f"old-{number}", kind="ONESHOT", state="SUCCEEDED", trigger=True)
    many = [night.watcher.audit(f"even-{number}", trigger=False) for number in range(PAGE)]
    acts = night.watcher.audit("even")
    once = night.watcher.audit("once", kind="ONESHOT", state="PENDING")
    async with opened(night) as backend:
        found = await seen(backend)
        assert set(found) == {ident(one) for one in (*many, acts, once)}
        assert len(night.asked()) == 4


async def test_a_missing_right_is_told_once_names_the_rule_and_hides_nothing_of_masakari() -> None:
    night = Night(masakari=True)
    night.watcher.audit("even")
    night.cloud.deny("admin", "audit:get_all")
    async with opened(night) as backend:
        found = await seen(backend)
        assert sum(one.kind == "ha" for one in found.values()) == 2
        note = found["watcher"]
        assert note.value == note.calm
        assert "audit:get_all in Watcher's policy.yaml" in note.note
        asked = len(night.asked())
        assert await seen(backend) == found
        assert len(night.asked()) == asked, "it is not asked for again and again"
        failed = {one.check: one for one in await backend.examine()}["may read Watcher"]
        assert not failed.ok
        assert "audit:get_all" in failed.fix


async def test_the_right_to_suspend_is_missed_in_watchers_words() -> None:
    night = Night()
    audit = night.watcher.audit("even")
    night.cloud.deny("admin", "audit:update")
    async with opened(night) as backend:
        with pytest.raises(Forbidden) as caught:
            await backend.turn(ident(audit), ONGOING, SUSPENDED)
        assert "audit:update in Watcher's policy.yaml" in caught.value.problem.next_step
        assert {one.check: one for one in await backend.examine()}["may read Watcher"].ok


async def test_what_watcher_refuses_is_said_in_its_words() -> None:
    night = Night()
    audit = night.watcher.audit("even", state=SUSPENDED)
    async with opened(night) as backend:
        client = backend.client
        step = [{"op": "replace", "path": "/state", "value": SUSPENDED}]

        def twice() -> object:
            api = client.login.service("infra-optim")
            return client.change("PATCH", f"/v1/audits/{audit.uuid}", step, lowest=(1, 0), what="it", api=api)

        with pytest.raises(Refused, match=r"State transition not allowed: \(SUSPENDED -> SUSPENDED\)"):
            await asyncio.to_thread(twice)
        with pytest.raises(NotFound, match="Audit 6f1c0b9a could not be found"):
            await backend.turn("watcher/6f1c0b9a", ONGOING, SUSPENDED)


async def test_an_answer_that_is_lost_leaves_it_uncertain_and_silence_is_no_calm() -> None:
    night = Night()
    audit = night.watcher.audit("even")
    async with opened(night) as backend:
        night.world.faults.order(Fault(kind=Kind.RESET_AFTER, on="turn_switch"))
        with pytest.raises(Uncertain):
            await backend.turn(ident(audit), ONGOING, SUSPENDED)
        assert audit.switch.value == SUSPENDED
        with pytest.raises(Refused, match="SUSPENDED, and not ONGOING"):
            await backend.turn(ident(audit), ONGOING, SUSPENDED)
        night.world.faults.order(Fault(kind=Kind.STATUS, status=503, on="audits"))
        with pytest.raises(Unreachable):
            await backend.switches()


async def test_a_token_that_ran_out_is_renewed_for_watcher_too() -> None:
    night = Night()
    audit = night.watcher.audit("even")
    async with opened(night) as backend:
        assert await seen(backend)
        night.cloud.keystone.revoke_all()
        assert ident(audit) in await seen(backend)
        night.cloud.keystone.revoke_all()
        await backend.turn(ident(audit), ONGOING, SUSPENDED)
        assert audit.switch.value == SUSPENDED


async def test_a_catalog_that_names_its_version_or_its_other_type_is_understood() -> None:
    for name, tail in (("infra-optim", "/v1"), ("resource-optimization", "")):
        night = Night()
        audit = night.watcher.audit("even")
        async with night.cloud.serve() as url:
            entries = night.cloud.keystone.endpoints[night.cloud.region]
            entries[name] = entries.pop("infra-optim") + tail
            options = Options(auth_url=url, username="admin", password="admin", project_name="admin")
            backend: Any = PLUGIN.build(Settings(name="lab", options=options, read_only=False))
            try:
                await backend.turn(ident(audit), ONGOING, SUSPENDED)
                assert (await seen(backend))[ident(audit)].value == SUSPENDED
                assert {one.action: one for one in await backend.capabilities()}["turn_switch"].able
            finally:
                await backend.close()


async def test_read_only_lists_and_suspends_nothing() -> None:
    night, calls = Night(), list[Call]()
    audit = night.watcher.audit("even")
    async with opened(night, read_only=True, record=calls.append) as backend:
        assert (await seen(backend))[ident(audit)].value == ONGOING
        with pytest.raises(ReadOnly):
            await backend.turn(ident(audit), ONGOING, SUSPENDED)
    assert audit.switch.value == ONGOING
    assert calls == []
    assert {method for method, _ in night.asked()} == {"GET"}
