"""GET /v1/preflight and `evac preflight` of a move to another vCenter: what is told without a credential, and what with one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.simulation.faults import Fault, Kind
from evac import server_across
from evac.api import Preflight
from evac.client import EngineClient, EngineRefusal
from evac.model import MoveCheck, Outlook
from evac.preflight import outlook_of
from tests.unit.housing import House, house
from tests.unit.playing import until
from tests.wire.test_cli_placing import Bench
from tests.wire.test_vsphere_across import SECRET, USER, Pair, two
from tests.wire.test_vsphere_across_checks import OLDER, first


@asynccontextmanager
async def engine(tmp_path: Path, pair: Pair) -> AsyncIterator[House]:
    pair.there.world.add_vm("resident", "cmp01")
    async with house(tmp_path, pair.near, pair.far) as here:
        fleet = here.engine.fleet
        await until(
            lambda: len(fleet.table("vms")) == 7 and len(fleet.table("hosts")) == 7, "both are polled"
        )
        yield here


def rule(checks: tuple[MoveCheck, ...], name: str) -> list[tuple[str, Outlook, str]]:
    return [(check.target, check.outlook, check.why) for check in checks if check.rule == name]


async def asked(pair: Pair, client: EngineClient, **how: str) -> Preflight:
    vm = pair.here.site.vm_ref(first(pair).id).id
    return await client.preflight("near", vm, ["cmp02"], to_cluster="far", **how)  # type: ignore[arg-type]


async def test_without_a_credential_networks_and_hardware_are_known_and_the_checker_is_said_not_to_be_asked(
    tmp_path: Path,
) -> None:
    async with two() as pair, engine(tmp_path, pair) as here, here.client() as client:
        told = await asked(pair, client)
        assert not rule(told.checks, "network")
        assert not rule(told.checks, "hardware")
        ((target, outlook, why),) = rule(told.checks, "checker")
        assert (target, outlook) == ("", Outlook.UNKNOWN)
        assert why == (
            "near's own checker was not asked: it logs in to far to judge this, and no credential was given"
        )
        assert pair.sent("CheckRelocate_Task") == 0
        for plan in pair.there.site.plans.values():
            plan.hardware = OLDER[:1]
        pair.here.site.rewire(first(pair), ("dvs-prod-110",))
        told = await asked(pair, client)
        assert [one[1] for one in rule(told.checks, "network")] == [Outlook.FAIL]
        assert [one[1] for one in rule(told.checks, "hardware")] == [Outlook.FAIL]


async def test_with_a_credential_vcenter_itself_judges_and_the_credential_is_for_its_giver_alone(
    tmp_path: Path,
) -> None:
    async with two() as pair, engine(tmp_path, pair) as here, here.client() as client:
        handle = (await client.keep_credential(USER, SECRET)).handle
        told = await asked(pair, client, credential=handle)
        assert [(check.outlook, check.by) for check in told.checks if check.rule == "vCenter"] == [
            (Outlook.OK, "vCenter")
        ]
        assert not rule(told.checks, "checker")
        assert outlook_of(told.checks, "cmp02") is Outlook.OK, told.checks
        await client.forget_credential(handle)
        for forgotten in (handle, "somebody-elses"):
            with pytest.raises(EngineRefusal, match="not in memory"):
                await asked(pair, client, credential=forgotten)
            await client.forget_credential(forgotten)
        assert pair.sent("RelocateVM_Task") == 0


async def test_a_refused_login_leaves_it_unknown_in_words_and_a_read_only_engine_may_ask(
    tmp_path: Path,
) -> None:
    async with two(read_only=True) as pair, engine(tmp_path, pair) as here, here.client() as client:
        handle = (await client.keep_credential(USER, "not the password")).handle
        told = await asked(pair, client, credential=handle)
        ((_, outlook, why),) = rule(told.checks, "checker")
        assert outlook is Outlook.UNKNOWN
        assert f"refuses the login of {USER}" in why


async def test_a_side_that_is_silent_leaves_it_unknown_within_the_time_a_client_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_across.LOOK + server_across.CHECK < 30, "a client of the socket waits so long"
    monkeypatch.setattr(server_across, "LOOK", 0.3)
    monkeypatch.setattr(server_across, "CHECK", 0.3)
    async with two() as pair, engine(tmp_path, pair) as here, here.client() as client:
        handle = (await client.keep_credential(USER, SECRET)).handle
        pair.here.world.faults.order(Fault(kind=Kind.BLACK_HOLE, on="CheckRelocate_Task", times=9))
        told = await asked(pair, client, credential=handle)
        ((_, outlook, why),) = rule(told.checks, "checker")
        assert (outlook, why) == (Outlook.UNKNOWN, "near's own checker did not answer within 0.3 s")
        pair.there.world.faults.order(Fault(kind=Kind.BLACK_HOLE, on="read", times=99))
        told = await asked(pair, client)
        assert [one[1] for one in rule(told.checks, "network")] == [Outlook.UNKNOWN]


async def test_evac_preflight_asks_for_the_password_and_shows_vcenters_word(tmp_path: Path) -> None:
    async with two() as pair, engine(tmp_path, pair) as here:
        pair.here.site.rewire(first(pair), ("dvs-prod-110",))
        bench = Bench(pair.here.world, here, tmp_path, pair.there.world)
        words = ("preflight", first(pair).name, "--to-cluster", "far", "--to", "cmp02")
        lacking = await bench.evac(*words)
        assert lacking.code == 3, lacking.out + lacking.err
        assert "WILL FAIL network: cmp02 has no network dvs-prod-110" in lacking.out
        assert "UNKNOWN checker: near's own checker was not asked" in lacking.out
        login = ("--network", "dvs-prod-110=dvs-far", "--user", USER, "--secret-stdin", "--json")
        known = await bench.evac(*words, *login, stdin=f"{SECRET}\n".encode())
        assert known.code == 4, known.out + known.err
        (answer,) = json.loads(known.out)["preflight"]
        assert ("OK", "vCenter") in {
            (check["outlook"].upper(), check.get("by", "")) for check in answer["checks"]
        }
        assert SECRET not in known.out + known.err
        assert here.engine.vault._held == {}, "nothing is kept for longer than the question takes"
        near = await bench.evac("preflight", first(pair).name, "--user", USER)
        assert near.code == 2
        assert "go with --to-cluster" in near.err
