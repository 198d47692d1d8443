"""A vCenter in trouble: what is read fails in words, what is changed is sent once, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.simulation.faults import Fault, Kind
from backends.vsphere import PLUGIN
from backends.vsphere.options import Options
from backends.vsphere.simulator import ADMIN, AUDITOR, PASSWORD, VCenterSimulator
from evac.backend import Settings
from evac.errors import AuthFailed, BadAnswer, Forbidden, Refused, Uncertain, Unreachable
from evac.model import VM, VMState
from tests.wire.vsphere_site import FASTER, MEMORY, small_world

PATIENCE = 2.0


@asynccontextmanager
async def site(user: str = ADMIN) -> AsyncIterator[tuple[VCenterSimulator, Any, list[VM], list[str]]]:
    """The simulator, a backend at it, the running VMs of its busiest host, and the other hosts."""
    async with VCenterSimulator(small_world()).serve() as simulator:
        options = Options(
            server=simulator.endpoint, username=user, password=PASSWORD, fingerprint=simulator.fingerprint
        )
        backend: Any = PLUGIN.build(
            Settings(
                name="lab", options=options, read_only=False, connect_timeout=PATIENCE, read_timeout=PATIENCE
            )
        )
        inventory = await backend.inventory()
        running = [vm for vm in inventory.vms if vm.state is VMState.RUNNING]
        source = max((vm.host for vm in running), key=lambda host: sum(vm.host == host for vm in running))
        vms = [vm for vm in running if vm.host == source]
        yield simulator, backend, vms, [host.id for host in inventory.hosts if host.id != source]
        began = time.monotonic()
        await backend.close()
        assert time.monotonic() - began < 1, "close takes no longer than a second, whatever goes on"


def strike(kind: Kind, on: str, times: float = math.inf) -> Fault:
    return Fault(kind=kind, on=on, times=times)


def sent(simulator: VCenterSimulator, method: str) -> int:
    return sum(one[0] == method for one in simulator.requests)


LOST = (
    Kind.RESET_AFTER,
    Kind.GARBAGE,
    Kind.TRUNCATED,
    Kind.WRONG_TYPE,
    Kind.BLACK_HOLE_AFTER,
    Kind.BLACK_HOLE,
)


@pytest.mark.parametrize("kind", LOST)
async def test_a_move_whose_answer_is_lost_is_uncertain_and_never_sent_again(kind: Kind) -> None:
    async with site() as (simulator, backend, vms, others):
        simulator.world.faults.order(strike(kind, "RelocateVM_Task"))
        with pytest.raises(Uncertain) as told:
            await backend.live_migrate(vms[0].id, others[0])
        assert "not known" in told.value.problem.unaffected
        assert sent(simulator, "RelocateVM_Task") == (kind is not Kind.BLACK_HOLE)
        assert told.value.pending is (kind in {Kind.BLACK_HOLE, Kind.BLACK_HOLE_AFTER})


async def test_a_call_to_a_session_that_has_just_ended_is_sent_again_after_a_new_login() -> None:
    async with site() as (simulator, backend, vms, others):
        simulator.world.faults.order(strike(Kind.UNAUTHORIZED, "RelocateVM_Task", times=1))
        receipt = await backend.live_migrate(vms[0].id, others[0])
        assert receipt.task
        assert sent(simulator, "RelocateVM_Task") == 1, "the first had no effect"
        assert sent(simulator, "Login") == 2
        assert (await backend.inventory("old mark")).complete


async def test_a_call_that_finds_no_session_twice_is_not_sent_a_third_time() -> None:
    async with site() as (simulator, backend, vms, others):
        simulator.world.faults.order(strike(Kind.UNAUTHORIZED, "RelocateVM_Task"))
        with pytest.raises(AuthFailed, match=r"(?i)authenticated"):
            await backend.live_migrate(vms[0].id, others[0])
        assert sent(simulator, "Login") == 2


@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.TRUNCATED])
@pytest.mark.parametrize("method", ["RetrievePropertiesEx", "WaitForUpdatesEx", "CreatePropertyCollector"])
async def test_a_broken_answer_to_a_read_is_told_and_the_next_poll_reads_everything(
    kind: Kind, method: str
) -> None:
    async with site() as (simulator, backend, _, others):
        simulator.world.faults.order(strike(kind, method))
        with pytest.raises(BadAnswer) as told:
            await backend.inventory()
        assert "cut" in told.value.problem.next_step
        simulator.world.faults.clear()
        again = await backend.inventory()
        assert again.complete
        assert {host.id for host in again.hosts} >= set(others)


async def test_a_server_that_never_answers_costs_one_time_out_and_closing_nothing() -> None:
    async with site() as (simulator, backend, vms, _):
        simulator.world.faults.order(strike(Kind.BLACK_HOLE, "read"))
        began = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer"):
            await backend.look([vms[0].id])
        assert time.monotonic() - began < 3 * PATIENCE
        hung = asyncio.ensure_future(backend.inventory())
        await asyncio.sleep(0)  # it is on its way to the thread that will wait
        await backend.close()
        with pytest.raises(Unreachable, match="closed"):
            await hung


async def test_what_cannot_be_read_before_a_move_means_that_nothing_was_sent() -> None:
    async with site() as (simulator, backend, vms, others):
        simulator.world.faults.order(strike(Kind.GARBAGE, "RetrievePropertiesEx"))
        with pytest.raises(Refused, match="not sent"):
            await backend.live_migrate(vms[0].id, others[0])
        assert sent(simulator, "RelocateVM_Task") == 0


async def test_a_right_the_account_lacks_is_named_and_the_action_no_longer_offered() -> None:
    async with site(AUDITOR) as (simulator, backend, vms, others):
        with pytest.raises(Forbidden, match="privilege"):
            await backend.live_migrate(vms[0].id, others[0])
        assert sent(simulator, "RelocateVM_Task") == 1
        (told,) = [one for one in await backend.capabilities() if one.action == "live_migrate"]
        assert (told.able, "privilege" in told.why_not) == (False, True)


async def test_a_vm_that_is_being_moved_is_not_moved_as_well() -> None:
    async with site() as (simulator, backend, vms, others):
        for host in simulator.world.hosts.values():
            host.link = MEMORY / (60 * FASTER)  # a minute for a move
        receipt = await backend.live_migrate(vms[0].id, others[0])
        with pytest.raises(Refused, match=f"is moving .* already .{receipt.task}"):
            await backend.live_migrate(vms[0].id, others[1])
        assert sent(simulator, "RelocateVM_Task") == 1
        await backend.abort(vms[0].id, receipt.task)


async def test_a_password_that_was_refused_is_not_sent_again_and_a_new_one_is_at_once() -> None:
    """vCenter locks an account after five tries."""
    password = "wrong"
    async with VCenterSimulator(small_world()).serve() as simulator:
        options = Options(
            server=simulator.endpoint,
            username=ADMIN,
            password="ref",
            fingerprint=simulator.fingerprint,
        )
        backend: Any = PLUGIN.build(
            Settings(name="lab", options=options, read_only=True, secret=lambda _: password)
        )
        for _ in range(3):
            with pytest.raises(AuthFailed, match="refuses the login"):
                await backend.inventory()
        assert sent(simulator, "Login") == 1
        password = PASSWORD
        assert (await backend.inventory()).hosts
        assert sent(simulator, "Login") == 2
        await backend.close()


async def test_the_reason_of_an_entry_that_was_refused_is_not_said_of_somebody_elses() -> None:
    async with site(AUDITOR) as (simulator, backend, _, others):
        with pytest.raises(Forbidden):
            await backend.enter_maintenance(others[0], "our reason")
        options = Options(
            server=simulator.endpoint, username=ADMIN, password=PASSWORD, fingerprint=simulator.fingerprint
        )
        other: Any = PLUGIN.build(Settings(name="lab", options=options, read_only=False))
        await other.enter_maintenance(others[0], "their reason")
        await other.close()
        host = await backend.host(others[0])
        assert host.maintenance
        assert "our reason" not in host.reason
