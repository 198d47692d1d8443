"""The simulated OpenStack is taken for real by unmodified openstacksdk, and refuses in Nova's own words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import openstack
import pytest
from openstack import exceptions

from backends.openstack.simulator import NovaSimulator
from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import GIB, SimVM, Timing
from backends.simulation.world import World

QUICK = Timing(schedule=0.05, prepare=0.05, finish=0.05, power=0.05, rebuild=0.1, cold=0.1, service_down=5.0)


class Cloud:
    """A served simulator, its world, and SDK connections to it."""

    def __init__(self, simulator: NovaSimulator) -> None:
        self.simulator = simulator
        self.world = simulator.world
        self.vms = {vm.name: vm for vm in self.world.vms.values()}

    def connect(self, user: str = "admin", **more: Any) -> Any:
        entry = self.simulator.cloud(user)
        return openstack.connect(**(entry["auth"] | {"region_name": self.simulator.region} | more))

    async def run(self, work: Callable[[Any], Any], user: str = "admin", **more: Any) -> Any:
        """Blocking SDK work beside the loop that serves it."""
        return await asyncio.to_thread(lambda: work(self.connect(user, **more)))


def build() -> World:
    world = World(seed=3, timing=QUICK)
    for number in range(1, 4):
        world.add_host(f"cmp0{number}", link=2e9, aggregates=("gen-a",))
    for number in range(6):
        world.add_vm(
            f"vm-{number}",
            "cmp01",
            memory=GIB,
            addresses=(f"10.0.0.{number + 4}",),
            volumes=("vol-1",),
            project="shop",
        )
    world.add_vm("mine", "cmp02", project="demo")
    world.add_vm("theirs", "cmp02", project="shop")
    return world


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    simulator = NovaSimulator(build())
    async with simulator.serve():
        yield Cloud(simulator)


def until(check: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


async def test_servers_of_all_projects_come_with_host_state_flavor_and_addresses(cloud: Cloud) -> None:
    def work(conn: Any) -> None:
        servers = {server.name: server for server in conn.compute.servers(all_projects=True)}
        assert len(servers) == 8
        one = servers["vm-0"]
        assert (one.status, one.task_state, one.compute_host, one.power_state) == ("ACTIVE", None, "cmp01", 1)
        assert (one.flavor.vcpus, one.flavor.ram) == (1, 1024)
        assert one.addresses["private"][0]["addr"] == "10.0.0.4"
        assert one.attached_volumes[0].id == "vol-1"
        assert [item.name for item in conn.compute.servers(all_projects=True, compute_host="cmp02")] != []

    await cloud.run(work)


async def test_pages_follow_each_other_without_loss_or_repeat(cloud: Cloud) -> None:
    for number in range(25):
        cloud.world.add_vm(f"more-{number}", "cmp03")

    def work(conn: Any) -> list[str]:
        return [server.id for server in conn.compute.servers(all_projects=True, limit=4)]

    found = await cloud.run(work)
    assert sorted(found) == sorted(cloud.world.vms)
    paged = [path for _, path, _ in cloud.simulator.requests if "marker=" in path]
    assert len(paged) >= 8


async def test_a_live_migration_shows_bytes_while_it_runs_and_its_end_only_in_os_migrations(
    cloud: Cloud,
) -> None:
    vm = cloud.vms["vm-0"]

    def work(conn: Any) -> None:
        conn.compute.live_migrate_server(vm.id, host=None, block_migration="auto")
        seen: list[Any] = []

        def over() -> bool:
            seen.extend(conn.compute.server_migrations(vm.id))
            return conn.compute.get_server(vm.id).task_state is None

        until(over, "the migration ends")
        assert any(move.memory_remaining_bytes and move.memory_total_bytes == GIB for move in seen)
        assert list(conn.compute.server_migrations(vm.id)) == []
        (last,) = conn.compute.migrations()
        assert (last.status, last.source_compute, last.migration_type) == (
            "completed",
            "cmp01",
            "live-migration",
        )
        assert conn.compute.get_server(vm.id).compute_host == last.dest_compute
        (action,) = conn.compute.server_actions(vm.id)
        assert action.action == "live-migration"

    await cloud.run(work)


async def test_abort_and_force_complete_work_and_are_refused_when_it_is_over(cloud: Cloud) -> None:
    slow = cloud.vms["vm-1"]
    slow.memory, slow.dirty_rate, slow.working_set = 64 * GIB, 5e9, float(64 * GIB)

    def work(conn: Any) -> None:
        def start() -> Any:
            conn.compute.live_migrate_server(slow.id, host="cmp03", block_migration="auto")
            running: list[Any] = []

            def runs() -> bool:
                running[:] = [
                    item for item in conn.compute.server_migrations(slow.id) if item.status == "running"
                ]
                return bool(running)

            until(runs, "it runs")
            return running[0]

        first = start()
        conn.compute.abort_server_migration(first, slow.id)
        assert conn.compute.get_server(slow.id).compute_host == "cmp01"
        with pytest.raises(exceptions.ConflictException, match="invalid state for 'abort live migration'"):
            conn.compute.abort_server_migration(first, slow.id)
        slow.memory, slow.working_set = 2 * GIB, float(2 * GIB)
        second = start()
        conn.compute.force_complete_server_migration(second, slow.id)
        until(lambda: conn.compute.get_server(slow.id).compute_host == "cmp03", "it arrives")
        with pytest.raises(exceptions.ConflictException, match="invalid state for 'force_complete'"):
            conn.compute.force_complete_server_migration(second, slow.id)

    await cloud.run(work)


async def test_cold_migration_is_confirmed_and_reverted(cloud: Cloud) -> None:
    keep, back = cloud.vms["vm-2"], cloud.vms["vm-3"]

    def work(conn: Any) -> None:
        for vm in (keep, back):
            conn.compute.migrate_server(vm.id, host="cmp03")
            until(lambda vm=vm: conn.compute.get_server(vm.id).status == "VERIFY_RESIZE", "it arrives")  # type: ignore[misc]
        conn.compute.confirm_server_resize(keep.id)
        conn.compute.revert_server_resize(back.id)
        hosts = [
            (conn.compute.get_server(vm.id).compute_host, conn.compute.get_server(vm.id).status)
            for vm in (keep, back)
        ]
        assert hosts == [("cmp03", "ACTIVE"), ("cmp01", "ACTIVE")]

    await cloud.run(work)


async def test_evacuate_is_refused_while_the_host_lives_and_done_when_it_is_forced_down(cloud: Cloud) -> None:
    vm = cloud.vms["vm-4"]

    def work(conn: Any) -> None:
        with pytest.raises(exceptions.BadRequestException, match="Compute service of cmp01 is still in use"):
            conn.compute.evacuate_server(vm.id)
        service = next(item for item in conn.compute.services() if item.host == "cmp01")
        conn.compute.update_service_forced_down(service.id, forced=True)
        assert next(item for item in conn.compute.services() if item.host == "cmp01").state == "down"
        conn.compute.evacuate_server(vm.id)
        until(lambda: conn.compute.get_server(vm.id).compute_host != "cmp01", "it arrives")
        # since 2.95, which the SDK asks for, it arrives stopped
        assert conn.compute.get_server(vm.id).status == "SHUTOFF"
        with pytest.raises(exceptions.BadRequestException, match="Unable to force up host cmp01"):
            conn.compute.update_service_forced_down(service.id, forced=False)

    deeds.kill(cloud.world, "cmp01")
    await cloud.run(work)
    assert cloud.world.evacuations.split_brains == []


async def test_maintenance_keeps_its_reason_and_reset_state_frees_a_stuck_task(cloud: Cloud) -> None:
    vm = cloud.vms["vm-5"]
    vm.task = "migrating"
    cloud.world.touch(vm)

    def work(conn: Any) -> None:
        service = next(item for item in conn.compute.services() if item.host == "cmp02")
        conn.compute.disable_service(service, disabled_reason="kernel update")
        seen = next(item for item in conn.compute.services() if item.host == "cmp02")
        assert (seen.status, seen.disabled_reason) == ("disabled", "kernel update")
        assert conn.compute.get_server(vm.id).status == "MIGRATING"
        conn.compute.reset_server_state(vm.id, "error")
        assert conn.compute.get_server(vm.id).status == "ERROR"
        conn.compute.reset_server_state(vm.id, "active")
        assert conn.compute.get_server(vm.id).status == "ACTIVE"
        conn.compute.stop_server(vm.id)
        until(lambda: conn.compute.get_server(vm.id).status == "SHUTOFF", "it stops")

    await cloud.run(work)


async def test_a_plain_user_sees_its_own_and_is_refused_the_rest_in_novas_words(cloud: Cloud) -> None:
    def work(conn: Any) -> None:
        mine = list(conn.compute.servers())
        assert [(item.name, item.compute_host) for item in mine] == [("mine", None)]
        for rule, call in (
            ("servers:detail:get_all_tenants", lambda: list(conn.compute.servers(all_projects=True))),
            ("os-hypervisors:list", lambda: list(conn.compute.hypervisors())),
            ("os-services:list", lambda: list(conn.compute.services())),
            ("os-migrations:index", lambda: list(conn.compute.migrations())),
            (
                "os-migrate-server:migrate_live",
                lambda: conn.compute.live_migrate_server(mine[0], block_migration="auto"),
            ),
            ("os-evacuate", lambda: conn.compute.evacuate_server(mine[0])),
            ("os-admin-actions:reset_state", lambda: conn.compute.reset_server_state(mine[0], "active")),
        ):
            with pytest.raises(
                exceptions.ForbiddenException, match=f"Policy doesn't allow os_compute_api:{rule} to be"
            ):
                call()
        theirs = cloud.vms["theirs"].id
        with pytest.raises(exceptions.NotFoundException, match=f"Instance {theirs} could not be found."):
            conn.compute.get_server(theirs)

    await cloud.run(work, "demo")


async def test_an_auditor_reads_everything_and_changes_nothing(cloud: Cloud) -> None:
    def work(conn: Any) -> None:
        assert len(list(conn.compute.servers(all_projects=True))) == 8
        assert len(list(conn.compute.hypervisors(details=True))) == 3
        vm = cloud.vms["vm-0"].id
        with pytest.raises(exceptions.ForbiddenException, match="os-migrate-server:migrate_live"):
            conn.compute.live_migrate_server(vm, block_migration="auto")
        with pytest.raises(exceptions.ForbiddenException, match="os-services:update"):
            conn.compute.disable_service(
                next(iter(conn.compute.services(binary="nova-compute"))), disabled_reason="x"
            )

    await cloud.run(work, "auditor")
    assert cloud.world.log == []


async def test_a_revoked_token_is_renewed_by_the_sdk_and_a_wrong_password_is_refused(cloud: Cloud) -> None:
    def work(conn: Any) -> None:
        assert len(list(conn.compute.servers(all_projects=True))) == 8
        cloud.simulator.keystone.revoke_all()
        assert len(list(conn.compute.servers(all_projects=True))) == 8

    await cloud.run(work)
    logins = [
        path for method, path, _ in cloud.simulator.requests if method == "POST" and path.endswith("/tokens")
    ]
    assert len(logins) == 2
    with pytest.raises(Exception, match="requires authentication"):
        await cloud.run(lambda conn: list(conn.compute.servers()), password="wrong")


async def test_application_credentials_and_a_wrong_region(cloud: Cloud) -> None:
    ident, secret = cloud.simulator.keystone.add_credential(cloud.simulator.keystone.accounts["admin"])

    def work() -> int:
        conn = openstack.connect(
            auth_type="v3applicationcredential",
            auth_url=cloud.simulator.auth_url,
            application_credential_id=ident,
            application_credential_secret=secret,
            region_name="RegionOne",
        )
        return len(list(conn.compute.servers(all_projects=True)))

    assert await asyncio.to_thread(work) == 8
    with pytest.raises(Exception, match=r"(?i)compute.*Nowhere|Nowhere.*compute"):
        await cloud.run(lambda conn: list(conn.compute.servers()), region_name="Nowhere")


async def test_two_regions_are_two_worlds() -> None:
    simulator = NovaSimulator(build(), region="east", others={"west": World(seed=9)})
    simulator._services[-1].world.add_host("w1")
    async with simulator.serve():
        cloud = Cloud(simulator)
        east = await cloud.run(lambda conn: len(list(conn.compute.hypervisors())))
        west = await cloud.run(lambda conn: len(list(conn.compute.hypervisors())), region_name="west")
    assert (east, west) == (3, 1)


async def test_changes_since_tells_what_changed_and_what_is_gone(cloud: Cloud) -> None:
    gone, changed = cloud.vms["vm-1"], cloud.vms["vm-2"]
    for vm in cloud.world.vms.values():
        vm.updated = vm.created = -3600.0
        cloud.world.updates[vm.id] = vm.updated
    cloud.world.touch(changed)
    cloud.world.remove_vm(gone.id)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))

    def work(conn: Any) -> dict[str, str]:
        answer = conn.compute.get(f"/servers/detail?all_tenants=1&changes-since={since}", microversion="2.90")
        return {item["id"]: item["status"] for item in answer.json()["servers"]}

    assert await cloud.run(work) == {changed.id: "ACTIVE", gone.id: "DELETED"}


async def test_faults_on_order_reach_the_sdk(cloud: Cloud) -> None:
    faults = cloud.world.faults

    def read(conn: Any, **more: Any) -> Any:
        return conn.compute.get("/servers/detail?all_tenants=1", raise_exc=False, connect_retries=0, **more)

    def work(conn: Any) -> None:
        read(conn)
        faults.order(Fault(kind=Kind.STATUS, on="servers", status=500))
        assert "computeFault" in read(conn).json()
        faults.order(Fault(kind=Kind.STATUS, on="servers", status=503))
        assert "503 Service Unavailable" in read(conn).text
        for kind in (Kind.GARBAGE, Kind.TRUNCATED):
            faults.order(Fault(kind=kind, on="servers"))
            with pytest.raises(ValueError, match=r"(?i)expecting|invalid|decode|char|utf"):
                read(conn).json()
        faults.order(Fault(kind=Kind.WRONG_TYPE, on="servers"))
        assert read(conn).json() == {"servers": 7}
        faults.order(Fault(kind=Kind.HUGE, on="servers", size=2_000_000))
        assert len(read(conn).content) > 2_000_000
        faults.order(Fault(kind=Kind.RESET_BEFORE, on="servers"))
        with pytest.raises(Exception, match=r"(?i)connection|reset|aborted"):
            read(conn)
        faults.order(Fault(kind=Kind.BLACK_HOLE, on="servers"))
        with pytest.raises(Exception, match=r"(?i)timed out|time"):
            read(conn, timeout=0.3)
        assert read(conn).status_code == 200

    await cloud.run(work)


async def test_a_call_whose_answer_is_lost_was_carried_out(cloud: Cloud) -> None:
    vm: SimVM = cloud.vms["vm-0"]
    cloud.world.faults.order(Fault(kind=Kind.RESET_AFTER, on="stop"))

    def work(conn: Any) -> None:
        with pytest.raises(Exception, match=r"(?i)connection|reset|aborted"):
            conn.compute.stop_server(vm.id)

    await cloud.run(work)
    assert [entry.text for entry in cloud.world.log if entry.kind == "accepted"] == ["stop"]


async def test_a_clock_that_is_wrong_shows_in_the_date_header_and_in_every_stamp(cloud: Cloud) -> None:
    cloud.world.clock_offset = 90.0

    def work(conn: Any) -> tuple[str, str]:
        answer = conn.compute.get("/os-services", microversion="2.60")
        return answer.headers["Date"], answer.json()["services"][0]["updated_at"]

    date, stamp = await cloud.run(work)
    from email.utils import parsedate_to_datetime

    assert 85 < parsedate_to_datetime(date).timestamp() - time.time() < 95
    assert stamp[:16] == time.strftime("%Y-%m-%dT%H:%M", time.gmtime(parsedate_to_datetime(date).timestamp()))
