"""The backend through proxmoxer against fakepve, somebody else's Proxmox VE: what is sent, what is read, what is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from evac.backend import Call
from evac.errors import AuthFailed, Forbidden, NotFound, ReadOnly, Refused, Unreachable
from evac.model import MigrationKind, Phase, VMState
from tests.contract.changes import CHANGES, PROTOCOLS
from tests.wire.pve_site import Site, served

T = TypeVar("T")

TOKEN: dict[str, Any] = {"token": "evac@pve!console", "token_secret": "s3cret"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as site:
        yield site


@asynccontextmanager
async def opened(site: Site, calls: list[Call] | None = None, **more: Any) -> AsyncIterator[Any]:
    backend = site.backend(calls, **more)
    try:
        yield backend
    finally:
        await backend.close()


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
    end = time.monotonic() + 10
    while not good(answer := await read()):
        assert time.monotonic() < end, f"waited for {what}; last seen: {answer}"
        await asyncio.sleep(0.02)
    return answer


async def ended(backend: Any, vm: str, task: str) -> Any:
    async def move() -> Any:
        moves = (await backend.look([vm]))[vm].migrations
        return next((one for one in moves if one.id == task), None)

    return await until(move, lambda one: one is not None and not one.phase.active, "the end of the move")


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_everything_is_read_in_one_call_and_every_request_fits_the_schema(site: Site) -> None:
    site.vms[0].config |= {"tags": "prod;db", "scsi0": "local-lvm:vm-100-disk-0,size=8G", "agent": "1"}
    async with opened(site) as backend:
        inventory = await backend.inventory()
        assert sum(path.endswith("/cluster/resources") for _, path, _ in site.forms) == 1
        await backend.look(["100", "999"])
        await backend.tasks("100", 0)
        await backend.check_migration("100", ["pve2", "pve3"])
        assert await backend.host("pve1") is not None
        assert await backend.host("pve9") is None
        assert [one.ok for one in await backend.examine() if one.ok is False] == []
    assert [host.id for host in inventory.hosts] == ["pve1", "pve2", "pve3"]
    assert {vm.id: vm.state for vm in inventory.vms if vm.id in {"100", "110"}} == {
        "100": VMState.RUNNING,
        "110": VMState.STOPPED,
    }
    first = next(vm for vm in inventory.vms if vm.id == "100")
    assert (first.tags, first.datastores, first.local_disk) == (("prod", "db"), ("pve1/local-lvm",), True)
    assert site.misfits() == []


async def test_a_poll_that_follows_tells_only_what_changed(site: Site) -> None:
    async with opened(site) as backend:
        first = await backend.inventory()
        nothing = await backend.inventory(first.mark)
        assert (nothing.complete, nothing.vms, nothing.gone) == (False, (), ())
        site.vms[0].lock = "backup"
        gone = site.vms.pop(1)
        changed = await backend.inventory(nothing.mark)
        assert [(vm.id, vm.task, vm.locked) for vm in changed.vms] == [("100", "backup", True)]
        assert changed.gone == (str(gone.vmid),)
        assert (await backend.inventory(first.mark)).complete, (
            "a mark that is not the latest is no ground to compare with"
        )
        assert len(changed.hosts) == 3


async def test_a_row_that_makes_no_sense_is_left_out_and_told(site: Site) -> None:
    site.vms[0].stats["maxmem"] = "much"
    site.vms[0].name = ["a", "list"]
    async with opened(site) as backend:
        inventory = await backend.inventory()
    assert {vm.id for vm in inventory.vms} == {"101", "102", "103", "110"}
    assert "1 rows" in inventory.problems[0].happened


async def test_the_addresses_of_a_guest_come_from_its_agent_without_that_a_poll_waits_for_it(
    site: Site,
) -> None:
    site.vms[0].config["agent"] = "1"

    def agent(request: Any) -> Any:
        if not request.path.endswith("network-get-interfaces"):
            return None
        from fakepve.server import ok

        rows = [
            {"name": name, "ip-addresses": [{"ip-address": address, "ip-address-type": "ipv4"}]}
            for name, address in (("lo", "127.0.0.1"), ("eth0", "10.1.2.3"))
        ]
        return ok({"result": rows})

    site.before = agent
    async with opened(site) as backend:
        mark = (await backend.inventory()).mark
        await backend.look(["100"])

        async def told() -> Any:
            nonlocal mark
            answer = await backend.inventory(mark)
            mark = answer.mark
            return backend._memory.nouns[100].addresses

        assert await until(told, bool, "the addresses") == ("10.1.2.3",)
        asked = sum("agent" in path for _, path, _ in site.forms)
        await backend.look(["100"])
        await backend.inventory(mark)
        assert sum("agent" in path for _, path, _ in site.forms) == asked == 1, "not at every look"


# --- moving ----------------------------------------------------------------------------------------------------------


async def test_a_live_migration_is_followed_in_bytes_and_found_again_by_another_process(site: Site) -> None:
    site.hold.clear()
    async with opened(site) as backend:
        await backend.inventory()
        receipt = await backend.live_migrate("100", "pve2")

        async def moving() -> Any:
            return (await backend.look(["100"]))["100"]

        seen = await until(moving, lambda one: bool(one.migrations[0].memory_processed), "bytes")
        assert (seen.vm.state, seen.vm.task) == (VMState.MIGRATING, "migrate")
    async with opened(site) as other:
        seen = (await other.look(["100"]))["100"]
        move = seen.migrations[0]
        assert (move.id, move.kind, move.source, move.target) == (
            receipt.task,
            MigrationKind.LIVE,
            "pve1",
            "pve2",
        )
        assert move.phase is Phase.RUNNING
        assert (move.memory_total, move.memory_remaining) == (
            4 << 30,
            (4 << 30) - (move.memory_processed or 0),
        )
        running = [one for one in (await other.inventory()).migrations if one.phase.active]
        assert [one.id for one in running] == [receipt.task]
        site.hold.set()
        assert (await ended(other, "100", receipt.task)).phase is Phase.COMPLETED
        assert (await other.look(["100"]))["100"].vm.host == "pve2"
        record = (await other.tasks("100", 0))[0]
        assert (record.id, record.failed, "live" in record.action) == (receipt.task, False, True)


async def test_an_abort_stops_the_task_and_one_that_has_ended_is_not_aborted(site: Site) -> None:
    site.hold.clear()
    async with opened(site) as backend:
        receipt = await backend.live_migrate("100", "pve2")

        async def running() -> Any:
            return receipt.task in site.workers

        await until(running, bool, "the worker")
        with pytest.raises(Refused, match="no task of guest 101"):
            await backend.abort("101", receipt.task)
        await backend.abort("100", receipt.task)
        assert (await ended(backend, "100", receipt.task)).phase is Phase.CANCELLED
        assert (await backend.look(["100"]))["100"].vm.host == "pve1"
        with pytest.raises(Refused, match="has ended"):
            await backend.abort("100", receipt.task)


async def test_a_move_that_fails_tells_the_first_error_of_its_log(site: Site) -> None:
    site.fault = "storage 'fast' is not available on node 'pve2'"
    async with opened(site) as backend:
        began = time.time() - 60
        receipt = await backend.live_migrate("100", "pve2")
        assert (await ended(backend, "100", receipt.task)).phase is Phase.FAILED
        record = next(one for one in await backend.tasks("100", began) if one.id == receipt.task)
    assert (record.failed, record.message) == (True, site.fault)


async def test_without_a_target_the_allowed_node_with_most_room_is_taken_and_none_in_maintenance(
    site: Site,
) -> None:
    async with opened(site) as backend:
        site.precondition = {
            "allowed_nodes": ["pve3"],
            "not_allowed_nodes": {"pve2": {"unavailable_storages": ["x"]}},
        }
        await backend.live_migrate("100", "")
        assert site.changing[-1][2]["target"] == "pve3"
        site.precondition = {}
        await backend.enter_maintenance("pve2", "DIMM")
        await backend.live_migrate("101", "")
        assert site.changing[-1][2]["target"] == "pve3"
        site.manager = {"lrm_status": {"pve3": {"mode": "maintenance"}}}
        with pytest.raises(Refused, match="no other node"):
            await backend.live_migrate("102", "")
    assert len(site.changing) == 2


@pytest.mark.parametrize(
    ("options", "disks", "form"),
    [
        ({}, [], {"target": "pve2", "online": "1"}),
        (
            {
                "migration": {
                    "bandwidth": 100,
                    "target_storage": "local:fast",
                    "network": "10.0.0.0/24",
                    "type": "insecure",
                }
            },
            [],
            {
                "target": "pve2",
                "online": "1",
                "bwlimit": "102400",
                "targetstorage": "local:fast",
                "migration_network": "10.0.0.0/24",
                "migration_type": "insecure",
            },
        ),
        (
            {},
            [{"volid": "local-lvm:vm-100-disk-0", "size": 1}],
            {"target": "pve2", "online": "1", "with-local-disks": "1"},
        ),
        ({}, [{"volid": "local:iso/x.iso", "cdrom": 1, "size": 1}], {"target": "pve2", "online": "1"}),
    ],
)
async def test_what_the_options_say_is_asked_for_in_proxmox_ves_own_terms(
    site: Site, options: dict[str, Any], disks: list[dict[str, Any]], form: dict[str, str]
) -> None:
    import msgspec

    from backends.proxmox.options import Moves

    site.precondition = {"local_disks": disks}
    moves: dict[str, Any] = {"migration": msgspec.convert(options["migration"], Moves)} if options else {}
    async with opened(site, **moves) as backend:
        await backend.live_migrate("100", "pve2")
    assert site.changing[-1][2] == form
    assert site.misfits() == []


async def test_local_disks_are_not_copied_where_the_admin_forbids_it(site: Site) -> None:
    from backends.proxmox.options import Moves

    site.precondition = {"local_disks": [{"volid": "local-lvm:vm-100-disk-0", "size": 1}]}
    async with opened(site, migration=Moves(local_disks=False)) as backend:
        with pytest.raises(Refused, match="lie on pve1 alone"):
            await backend.live_migrate("100", "pve2")
    assert site.changing == []


async def test_a_stopped_guest_is_not_moved_live_nor_a_running_one_cold(site: Site) -> None:
    """Proxmox VE itself would move a stopped guest cold without a word."""
    async with opened(site) as backend:
        with pytest.raises(Refused, match="it is stopped"):
            await backend.live_migrate("110", "pve1")
        with pytest.raises(Refused, match="only while it is stopped"):
            await backend.cold_migrate("100", "pve2")
        receipt = await backend.cold_migrate("110", "pve3")
        move = await ended(backend, "110", receipt.task)
    assert (move.kind, move.phase) == (MigrationKind.COLD, Phase.COMPLETED)
    assert site.changing[-1][2] == {"target": "pve3"}


async def test_a_refusal_keeps_proxmox_ves_words_and_says_what_to_do(site: Site) -> None:
    async with opened(site) as backend:
        site.vms[0].lock = "backup"
        with pytest.raises(Refused, match=r"VM is locked \(backup\)") as locked:
            await backend.live_migrate("100", "pve2")
        assert "not sent" in locked.value.problem.happened
        with pytest.raises(Refused, match="no node pve9"):
            await backend.live_migrate("101", "pve9")
        site.set_node_offline("pve3")
        with pytest.raises(Refused, match="pve3 is offline"):
            await backend.live_migrate("101", "pve3")
        with pytest.raises(NotFound):
            await backend.live_migrate("999", "pve2")
        site.lose_quorum()
        with pytest.raises(Refused, match="quorum") as lost:
            await backend.live_migrate("101", "pve2")
        assert "pvecm status" in lost.value.problem.next_step
    assert len(site.changing) == 1, "only what could not be known before was asked for"


# --- high availability -----------------------------------------------------------------------------------------------


async def test_a_guest_under_ha_is_moved_by_ha_and_without_that_right_by_its_own_call(site: Site) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    status = 200

    def manager(request: Any) -> Any:
        from fakepve.server import error, ok

        if "/cluster/ha/resources/" not in request.path or request.method != "POST":
            return None
        asked.append((request.path, {}))
        return (
            ok({"sid": "vm:100", "requested-node": "pve2"})
            if status == 200
            else error(403, "Permission check failed (/, Sys.Console)")
        )

    site.before = manager
    for vm in site.vms[:2]:
        vm.ha_state = "started"
    async with opened(site) as backend:
        seen = (await backend.look(["100"]))["100"].vm
        if not seen.ha:
            pytest.fail("fakepve's guest is not under HA: the test proves nothing")
        receipt = await backend.live_migrate("100", "pve2")
        assert asked[0][0].endswith("/cluster/ha/resources/vm:100/migrate")
        assert (receipt.task, "HA" in receipt.note) == ("", True)
        status = 403
        receipt = await backend.live_migrate("100", "pve2")
        assert receipt.task.startswith("UPID:pve1:")
        with pytest.raises(Forbidden, match=r"Sys\.Console"):
            await backend.cold_migrate("101", "pve2")
    assert site.misfits() == []


# --- other changes ---------------------------------------------------------------------------------------------------


async def test_guests_are_asked_to_shut_down_and_never_switched_off(site: Site) -> None:
    async with opened(site) as backend:
        await backend.stop("100")
        await backend.start("110")
    assert [(method, path.rsplit("/", 1)[-1], form) for method, path, form in site.changing] == [
        ("POST", "shutdown", {}),
        ("POST", "start", {}),
    ]
    assert site.misfits() == []


async def test_a_lock_is_taken_off_by_root_alone_and_never_while_its_task_runs(site: Site) -> None:
    site.hold.clear()
    site.apitokens["evac@pve!console"] = "s3cret"
    async with opened(site) as backend:
        with pytest.raises(Refused, match="not locked"):
            await backend.reset_state("101", "active")
        await backend.live_migrate("100", "pve2")

        async def locked() -> Any:
            return (await backend.look(["100"]))["100"].vm.locked

        await until(locked, bool, "the lock")
        with pytest.raises(Refused, match="qmigrate on pve1 still runs"):
            await backend.reset_state("100", "active")
        site.vms[1].lock = "migrate"
        async with opened(site, **TOKEN) as by_token:
            with pytest.raises(Refused) as refusal:
                await by_token.reset_state("101", "active")
            assert "qm unlock 101" in refusal.value.problem.next_step
        await backend.reset_state("101", "active")
    method, path, form = site.changing[-1]
    assert (method, form) == ("PUT", {"delete": "lock", "skiplock": "1"})
    assert path.endswith("/nodes/pve1/qemu/101/config")
    assert site.vms[1].lock is None
    site.hold.set()


async def test_maintenance_is_evacs_own_mark_which_outlives_the_process(site: Site, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with opened(site, state_dir=state) as backend:
        receipt = await backend.enter_maintenance("pve2", "DIMM swap, CHG-1")
        assert "HA is not told" in receipt.note
        with pytest.raises(NotFound):
            await backend.enter_maintenance("pve9", "x")
    async with opened(site, state_dir=state) as other:
        host = await other.host("pve2")
        assert (host.maintenance, host.reason) == (True, "DIMM swap, CHG-1")
        await other.leave_maintenance("pve2")
        assert not (await other.host("pve2")).maintenance
    (file,) = state.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_several_disks_are_moved_one_by_one_and_are_one_move(site: Site) -> None:
    site.storages["fast"] = dict(site.storages["local-lvm"])
    site.vms[0].config |= {
        "scsi0": "local-lvm:vm-100-disk-0,size=8G",
        "scsi1": "local-lvm:vm-100-disk-1,size=1G",
    }
    async with opened(site) as backend:
        await backend.inventory()
        receipt = await backend.move_storage("100", "pve1/fast", "")
        assert "scsi1" in receipt.note
        move = await ended(backend, "100", receipt.task)
        moves = (await backend.look(["100"]))["100"].migrations
    assert (move.kind, move.phase, move.target) == (MigrationKind.STORAGE, Phase.COMPLETED, "pve1")
    assert [one.id for one in moves] == [receipt.task]
    assert [form["disk"] for _, path, form in site.changing if path.endswith("move_disk")] == [
        "scsi0",
        "scsi1",
    ]
    assert site.misfits() == []


# --- rights ----------------------------------------------------------------------------------------------------------


async def test_a_token_works_and_one_that_is_wrong_is_told(site: Site) -> None:
    site.apitokens["evac@pve!console"] = "s3cret"
    async with opened(site, **TOKEN) as backend:
        assert len((await backend.inventory()).hosts) == 3
    async with opened(site, token="evac@pve!console", token_secret="wrong") as backend:
        with pytest.raises(AuthFailed) as refusal:
            await backend.inventory()
    assert "evac doctor" in refusal.value.problem.next_step


async def test_what_the_account_may_not_see_or_do_is_told_with_the_privilege_and_the_path(site: Site) -> None:
    site.apitokens["evac@pve!console"] = "s3cret"
    site.grant("evac@pve!console", "/", "VM.Audit")
    async with opened(site, **TOKEN) as backend:
        inventory = await backend.inventory()
        assert len(inventory.vms) == 5
        told = " ".join(f"{one.happened} {one.unaffected}" for one in inventory.problems)
        assert "Sys.Audit" in told
        with pytest.raises(Forbidden) as refusal:
            await backend.live_migrate("100", "pve2")
        assert "VM.Migrate" in refusal.value.problem.happened
        assert "--tokens" in refusal.value.problem.next_step
        capability = {one.action: one for one in await backend.capabilities()}["live_migrate"]
        assert not capability.able
        assert "VM.Migrate" in capability.why_not
        rights = {one.check: one for one in await backend.examine()}
    assert rights["may act"].ok is False
    assert "VM.Migrate" in rights["may act"].detail


async def test_a_second_factor_is_told_plainly_and_not_asked_for_again_and_again(site: Site) -> None:
    site.tfa = True
    async with opened(site) as backend:
        for _ in range(3):
            with pytest.raises(AuthFailed) as refusal:
                await backend.inventory()
            assert "second factor" in refusal.value.problem.happened
            assert "API token" in refusal.value.problem.next_step
    assert sum(path.endswith("/access/ticket") for _, path, _ in site.requests) == 1


async def test_a_ticket_that_is_refused_is_renewed_once_with_the_password(site: Site) -> None:
    async with opened(site) as backend:
        await backend.inventory()
        site.revoke_tickets()
        await backend.inventory()
        site.revoke_tickets()
        await backend.live_migrate("100", "pve2")
    assert sum(path.endswith("/access/ticket") for _, path, _ in site.requests) == 3
    assert len([one for one in site.changing if one[1].endswith("/migrate")]) == 1


async def test_read_only_lets_no_changing_request_reach_the_wire(site: Site) -> None:
    calls: list[Call] = []
    async with opened(site, calls, read_only=True) as backend:
        await backend.inventory()
        for name, change in CHANGES.items():
            if isinstance(backend, PROTOCOLS[name]):
                with pytest.raises(ReadOnly):
                    await change(backend, "100", "pve1", "pve2")
        session = backend.client._session
        for method, path in (
            ("POST", "/nodes/pve1/qemu/100/status/stop"),
            ("DELETE", "/nodes/pve1/qemu/100"),
        ):
            with pytest.raises(ReadOnly):
                await asyncio.to_thread(session.request, method, f"{site.url}/api2/json{path}")
    assert site.changing == []
    assert calls == []


async def test_a_node_that_is_gone_leaves_its_guests_on_show_and_is_not_asked_to_act(site: Site) -> None:
    async with opened(site) as backend:
        await backend.inventory()
        site.set_node_offline("pve1")
        seen = (await backend.look(["100"]))["100"]
        assert (seen.vm.host, seen.vm.state) == ("pve1", VMState.UNKNOWN)
        with pytest.raises((Refused, Unreachable)):
            await backend.stop("100")
