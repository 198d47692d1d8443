"""What is known before a VM goes to another vCenter: by vCenter's own checker with a credential, by evac's reads without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace as changed
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.things import SimVM
from backends.vsphere.simulator_facts import Net
from backends.vsphere.simulator_schema import Data
from evac.across import Net as Told
from evac.across import Reception
from evac.backend import ChecksAcross, TellsLuggage
from evac.errors import BadAnswer, NotFound, Refused
from evac.model import MoveCheck, Outlook
from tests.wire.test_vsphere_across import SECRET, USER, Pair, given, leaked, two

OK = [(Outlook.OK, "")]
OLDER = ("vmx-17", "vmx-19")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with two() as both:
        yield both


def said(checks: list[MoveCheck], target: str = "cmp02") -> list[tuple[Outlook, str]]:
    return [(check.outlook, check.why) for check in checks if check.target == target]


async def checked(pair: Pair, *targets: str, secret: str = SECRET, **how: Any) -> list[MoveCheck]:
    vm, going = await pair.vm(), await pair.going(host="", **how)
    return list(await pair.near.check_across(vm.id, going, targets or ("cmp02",), given(secret)))


def first(pair: Pair) -> SimVM:
    return next(iter(pair.here.world.vms.values()))


async def test_vcenters_own_checker_is_asked_with_the_credential_and_nothing_moves(pair: Pair) -> None:
    assert isinstance(pair.near, ChecksAcross)
    (good,) = await checked(pair)
    assert (good.target, good.outlook, good.by) == ("cmp02", Outlook.OK, "vCenter")
    assert (pair.sent("CheckRelocate_Task"), pair.sent("RelocateVM_Task")) == (1, 0)
    assert pair.there.world.vms == {}
    assert not leaked(pair), "neither in a record of the call, nor anywhere else"
    assert not [one for one in pair.there.service.sessions.values() if one.account.name == USER]


async def test_a_read_only_cluster_may_ask_and_neither_side_gets_a_changing_call() -> None:
    async with two(read_only=True) as pair:
        assert said(await checked(pair)) == OK
        sent = {one[0] for one in (*pair.here.requests, *pair.there.requests)}
        assert {name for name in sent if name.endswith("_Task")} == {"CheckRelocate_Task"}


async def test_each_host_there_has_its_own_verdict_in_an_admins_words(pair: Pair) -> None:
    pair.there.world.hosts["cmp01"].maintenance = True
    found = await checked(pair, "cmp01", "cmp02", "cmp09")
    ((outlook, why),) = said(found, "cmp01")
    assert outlook is Outlook.FAIL
    assert why.startswith("the host is not in a state for it")
    assert said(found, "cmp02") == OK
    ((outlook, why),) = said(found, "cmp09")
    assert outlook is Outlook.FAIL
    assert "vCenter was not asked: far: it knows no host cmp09" in why
    assert pair.sent("CheckRelocate_Task") == 2
    assert sum(one[0] == "Login" and one[2] == "" for one in pair.there.requests) == 2, "evac's own, and one"


async def test_virtual_hardware_that_the_target_does_not_run_is_foretold(pair: Pair) -> None:
    simulated = first(pair)
    pair.here.site.traits[simulated.id] = changed(pair.here.site.trait(simulated), hardware="vmx-21")
    for plan in pair.there.site.plans.values():
        plan.hardware = OLDER
    ((outlook, why),) = said(await checked(pair))
    assert outlook is Outlook.FAIL
    assert why.startswith("the target runs no virtual hardware as new as the VM's")
    assert "vmx-21" in why


async def test_both_ends_tell_networks_and_hardware_without_a_credential(pair: Pair) -> None:
    assert isinstance(pair.near, TellsLuggage)
    pair.here.site.rewire(first(pair), ("dvs-prod-110", "VM Network"))
    vm = await pair.vm()
    luggage = await pair.near.luggage(vm.id)
    assert luggage.hardware == "vmx-19"
    assert {net.name for net in luggage.networks or ()} == {"dvs-prod-110", "VM Network"}
    pair.there.site.networks["DMZ"] = Net("DMZ", hosts=frozenset({"cmp03"}))
    for plan in pair.there.site.plans.values():
        plan.hardware = OLDER
    told = {one.host: one for one in await pair.far.reception(["cmp02", "cmp03", "cmp09"])}
    assert told.keys() == {"cmp02", "cmp03"}
    assert {net.name for net in told["cmp02"].networks or ()} == {"VM Network", "dvs-far", "VLAN 7"}
    assert "DMZ" in {net.name for net in told["cmp03"].networks or ()}
    assert told["cmp02"].hardware == OLDER
    with pytest.raises(NotFound):
        await pair.near.luggage("vm-9999")


async def test_a_vcenter_that_does_not_tell_its_hardware_leaves_it_unknown(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(pair.there._handlers, "QueryConfigOptionDescriptor")
    (host,) = await pair.far.reception(["cmp02"])
    assert host == Reception(host="cmp02", networks=host.networks, hardware=None)
    assert Told(id=pair.there.site.net_ref("VLAN 7").id, name="VLAN 7") in (host.networks or ())


async def test_a_network_is_mapped_for_the_check_as_for_the_move(pair: Pair) -> None:
    pair.here.site.rewire(first(pair), ("dvs-prod-110",))
    ((outlook, why),) = said(await checked(pair))
    assert outlook is Outlook.FAIL
    assert "cmp02 has no network dvs-prod-110" in why
    assert pair.sent("CheckRelocate_Task") == 0
    assert said(await checked(pair, networks=(("dvs-prod-110", "dvs-far"),))) == OK


async def test_a_wrong_password_is_told_and_the_source_is_not_asked(pair: Pair) -> None:
    with pytest.raises(Refused, match=f"refuses the login of {USER}"):
        await checked(pair, secret="not the password")
    assert pair.sent("CheckRelocate_Task") == 0


async def test_a_checker_that_fails_or_does_not_know_the_question_leaves_it_unknown(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = await pair.far.destination()
    wrong = changed_destination(destination, fingerprint_sha1="AA:BB")
    ((outlook, why),) = said(await checked(pair, destination=wrong))
    assert outlook is Outlook.FAIL
    assert "another certificate at the target" in why
    monkeypatch.delitem(pair.here._handlers, "CheckRelocate_Task")
    ((outlook, why),) = said(await checked(pair))
    assert (outlook, why) == (Outlook.UNKNOWN, "this server's checker does not know the question")


def changed_destination(destination: Any, **fields: Any) -> Any:
    return type(destination)(
        **{name: getattr(destination, name) for name in destination.__struct_fields__} | fields
    )


async def test_a_server_that_repeats_the_secret_does_not_make_a_check_tell_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"the password {SECRET} is a fine one"
    monkeypatch.setattr(
        "backends.vsphere.simulator_across._host_faults", lambda _: [Data("InvalidHostState", msg=message)]
    )
    ((outlook, why),) = said(await checked(pair))
    assert outlook is Outlook.FAIL
    assert "is a fine one" in why
    assert "c0rrect" not in why


async def test_an_answer_that_is_lost_changes_nothing_and_is_an_error_in_words(pair: Pair) -> None:
    pair.here.world.faults.order(Fault(kind=Kind.GARBAGE, on="CheckRelocate_Task"))
    with pytest.raises(BadAnswer) as told:
        await checked(pair)
    assert not leaked(pair, told.value)
    assert pair.there.world.vms == {}
