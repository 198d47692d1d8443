"""Guests under HA, through proxmoxer against the simulated cluster: a request, and the move the HA manager makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backends.proxmox import PLUGIN
from backends.proxmox.options import Options
from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_site import Mix
from backends.simulation.clocks import fast
from backends.simulation.things import SimRule
from backends.simulation.world import World
from evac.backend import Settings
from evac.errors import Refused
from evac.model import Affinity, AffinityKind, Outlook, Phase, VMState
from evac.preflight import about, outlook_of

T = TypeVar("T")

GIB = 1 << 30


class Managed:
    """Four nodes; every guest of pve1 is under HA."""

    def __init__(self, state: Path) -> None:
        self.world = World(seed=3, now=fast(30.0))
        for number in range(4):
            self.world.add_host(f"pve{number + 1}")
        for number in range(3):
            self.world.add_vm(f"vm{number}", "pve1", memory=2 * GIB, dirty_rate=1e6, working_set=16e6)
        self.simulator = PveSimulator(self.world, mix=Mix(managed=1.0))
        self.state = state

    def backend(self, **login: Any) -> Any:
        who = login or {"username": "root@pam", "password": self.simulator.password}
        options = Options(
            endpoints=(self.simulator.endpoint,), fingerprints=(self.simulator.fingerprint,), **who
        )
        return PLUGIN.build(Settings(name="lab", options=options, read_only=False, state_dir=self.state))


@pytest.fixture
async def managed(tmp_path: Path) -> AsyncIterator[Managed]:
    managed = Managed(tmp_path)
    async with managed.simulator.serve():
        yield managed


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
    end = time.monotonic() + 20
    while not good(answer := await read()):
        assert time.monotonic() < end, f"waited for {what}; last seen: {answer}"
        await asyncio.sleep(0.05)
    return answer


async def sighting(backend: Any, vm: str) -> Any:
    return (await backend.look([vm]))[vm]


async def test_a_live_migration_under_ha_is_followed_in_the_task_that_moves_the_guest(
    managed: Managed,
) -> None:
    backend = managed.backend()
    try:
        inventory = await backend.inventory()
        vm = inventory.vms[0]
        assert vm.ha, "the guest is under HA, or this test proves nothing"
        receipt = await backend.live_migrate(vm.id, "pve3")
        assert "HA" in receipt.note
        asked = [path for method, path, _ in managed.simulator.requests if method == "POST"]
        assert any("/cluster/ha/resources/vm" in path and path.endswith("/migrate") for path in asked)
        seen = await until(
            lambda: sighting(backend, vm.id), lambda one: bool(one.migrations), "the move HA makes of it"
        )
        move = seen.migrations[0]
        assert ":qmigrate:" in move.id
        assert (move.source, move.vm) == ("pve1", vm.id)
        ended = await until(
            lambda: sighting(backend, vm.id),
            lambda one: (
                one.migrations[0].phase is Phase.COMPLETED and one.vm.host == "pve3" and not one.vm.task
            ),
            "the guest on pve3",
        )
        assert (ended.vm.state, ended.migrations[0].target) == (VMState.RUNNING, "pve3")
        records = await backend.tasks(vm.id, 0)
        assert move.id in {record.id for record in records if not record.failed}
    finally:
        await backend.close()


async def test_a_running_guest_under_ha_is_relocated_with_a_restart_when_it_is_to_move_cold(
    managed: Managed,
) -> None:
    backend = managed.backend()
    try:
        vm = (await backend.inventory()).vms[0]
        await backend.cold_migrate(vm.id, "pve2")
        await until(
            lambda: sighting(backend, vm.id),
            lambda one: one.vm.host == "pve2" and one.vm.state is VMState.RUNNING and not one.vm.task,
            "the guest to run on pve2",
        )
    finally:
        await backend.close()


async def test_a_node_that_ha_has_in_maintenance_is_shown_so_and_is_nobodys_choice(managed: Managed) -> None:
    backend = managed.backend()
    try:
        vm = (await backend.inventory()).vms[0]
        for node in ("pve2", "pve3"):
            managed.simulator.manager.command("node-maintenance", "enable", node)
        host = await until(
            lambda: backend.host("pve2"), lambda one: bool(one.maintenance), "the maintenance to be told"
        )
        assert "ha-manager" in host.reason
        await until(lambda: backend.host("pve3"), lambda one: bool(one.maintenance), "that of pve3")
        receipt = await backend.live_migrate(vm.id, "")
        assert "pve4" in receipt.note
    finally:
        await backend.close()


def rule(
    name: str, kind: AffinityKind, *vms: str, hosts: tuple[str, ...] = (), strict: bool = True
) -> SimRule:
    return SimRule(name, name, kind, list(vms), hosts, strict=strict)


async def test_rules_of_ha_are_affinities_and_its_own_check_names_what_is_in_the_way(
    managed: Managed,
) -> None:
    one, two, three = managed.world.vms
    managed.world.vms[two].host = managed.world.vms[two].runs_on = "pve2"
    for made in (
        rule("apart", AffinityKind.APART, one, two),
        rule("licence", AffinityKind.PINNED, three, hosts=("pve1", "pve3")),
        rule("near", AffinityKind.PINNED, one, hosts=("pve4",), strict=False),
        rule("pair", AffinityKind.TOGETHER, one, three),
    ):
        managed.world.rules[made.id] = made
    backend = managed.backend()
    try:
        found = {one.id: one for one in (await backend.inventory()).affinities}
        assert found == {
            "apart": Affinity(
                cluster="lab", id="apart", name="apart", kind=AffinityKind.APART, vms=("100", "101")
            ),
            "licence": Affinity(
                cluster="lab",
                id="licence",
                name="licence",
                kind=AffinityKind.PINNED,
                vms=("102",),
                hosts=("pve1", "pve3"),
            ),
            "near": Affinity(
                cluster="lab",
                id="near",
                name="near",
                kind=AffinityKind.PINNED,
                strict=False,
                vms=("100",),
                hosts=("pve4",),
            ),
            "pair": Affinity(
                cluster="lab", id="pair", name="pair", kind=AffinityKind.TOGETHER, vms=("100", "102")
            ),
        }
        checks = await backend.check_migration("100", ["pve2", "pve3"])
        assert outlook_of(checks, "pve2") is Outlook.FAIL
        assert "vm:101 (resource-affinity)" in about(checks, "pve2")[0].why
        assert "moves along with it: vm:102" in about(checks, "pve3")[0].why
    finally:
        await backend.close()


async def test_rules_of_ha_are_asked_for_seldom(managed: Managed) -> None:
    backend = managed.backend()
    asked: list[str] = []
    read = backend._poll._rulebook._read
    try:
        first = await backend.inventory()

        def counted() -> Any:
            asked.append("again")
            return read()

        backend._poll._rulebook._read = counted
        again = await backend.inventory(first.mark)
        assert again.affinities == first.affinities
        assert asked == []
    finally:
        await backend.close()


async def test_a_config_tells_of_macs_the_firmware_s_uuid_devices_cds_and_snapshots(managed: Managed) -> None:
    guest = managed.simulator.site.guests
    managed.simulator.site.sync()
    guest[100].devices, guest[100].cdrom, guest[100].cpu = ("hostpci0",), "local:iso/x.iso", "host"
    guest[101].vm.machine_id, guest[101].vm.snapshots = guest[100].vm.id, 1
    backend = managed.backend()
    try:
        found = {vm.id: vm for vm in (await backend.inventory()).vms}
        assert found["100"].macs == ("bc:24:11:00:00:64",)
        assert found["100"].machine_id == found["101"].machine_id == guest[100].vm.id
        assert (found["100"].devices, found["100"].media, found["100"].cpu) == (
            ("hostpci0",),
            ("local:iso/x.iso",),
            "host",
        )
        assert (found["100"].snapshots, found["101"].snapshots) == (0, 1)
    finally:
        await backend.close()


def asked_of_ha(managed: Managed) -> list[str]:
    return [path for method, path, _ in managed.simulator.requests if method == "POST" and "/ha/" in path]


async def test_a_guest_under_ha_that_is_locked_is_not_asked_for(managed: Managed) -> None:
    """The HA manager takes the request, and carries it out whenever the lock is gone: at 5 am, long after the window."""
    backend = managed.backend()
    try:
        vm = (await backend.inventory()).vms[0]
        guest = next(one for one in managed.simulator.site.guests.values() if str(one.vmid) == vm.id)
        guest.lock = "backup"
        with pytest.raises(Refused, match=r"locked \(backup\)"):
            await backend.live_migrate(vm.id, "pve3")
        assert asked_of_ha(managed) == []
    finally:
        await backend.close()


async def test_a_running_guest_goes_to_no_node_without_the_room_for_it(managed: Managed) -> None:
    backend = managed.backend()
    try:
        vm = (await backend.inventory()).vms[0]
        for name in ("pve2", "pve3", "pve4"):
            managed.world.hosts[name].memory = 3 * GIB  # of which the node itself uses two
        with pytest.raises(
            Refused, match=r"no other node is up, allowed, not in maintenance, and has 2\.0 GiB free"
        ):
            await backend.live_migrate(vm.id, "")
        assert asked_of_ha(managed) == []
        managed.world.hosts["pve4"].memory = 16 * GIB
        await backend.live_migrate(vm.id, "")
        assert len(asked_of_ha(managed)) == 1
    finally:
        await backend.close()
