"""Logging in to a simulated machine as evac does: looking, patching, restarting, and what goes wrong with each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backends.simulation import deeds, machines
from backends.simulation.ceph import CephWorld
from backends.simulation.clocks import fast
from backends.simulation.machines import KERNEL, BootFault, LineFault, following
from backends.simulation.sshd import Doors, Logins
from backends.simulation.world import World
from evac.config import Cluster, ClusterRules
from evac.errors import BackendError, Refused, Uncertain, Unreachable
from evac.model import Host
from evac.ssh_rules import Door, ShellRules
from evac.window.hostline import HostLine
from evac.window.nouns import HostFacts
from evac.window.plan import Policy
from evac.window.reach_doctor import examine
from evac.window.ready import judge_back

FASTER = 60.0


@pytest.fixture
def world() -> World:
    world = World(seed=3, now=fast(FASTER))
    for name in ("a1", "a2"):
        world.add_host(name)
        world.add_vm(f"vm-{name}", name)
    return world


@pytest.fixture
async def doors(world: World, tmp_path: Path) -> AsyncIterator[Doors]:
    async with Logins(world).serve(tmp_path, "pve") as doors:
        yield doors


def line(doors: Doors, host: str) -> HostLine:
    door = Door(
        host="127.0.0.1",
        port=doors.ports[host],
        user=doors.user,
        identity=str(doors.identity),
        known_hosts=str(doors.known_hosts),
        agent=False,
        sudo=True,
    )
    return HostLine(host, door, read_only=False, timeout=5.0)


async def back(doors: Doors, host: str, good: Callable[[HostFacts], bool] = lambda _: True) -> HostFacts:
    end = time.monotonic() + 20
    told = ""
    while time.monotonic() < end:
        try:
            facts = await line(doors, host).facts()
        except BackendError as error:
            told = str(error)
        else:
            if good(facts):
                return facts
            told = str(facts)
        await asyncio.sleep(0.05)
    raise AssertionError(f"{host} did not come back; last: {told}")


async def patched(doors: Doors, host: str, *words: str) -> list[str]:
    said: list[str] = []
    with pytest.raises(Uncertain, match="connection broke"):
        await line(doors, host).run(["patch-and-reboot", *words], within=20.0, said=said.append)
    return said


async def test_a_patched_machine_comes_back_with_another_boot_and_kernel(world: World, doors: Doors) -> None:
    before = await line(doors, "a1").facts()
    assert await line(doors, "a1").may_sudo() == ""
    said = await patched(doors, "a1")
    assert said[-1] == "Rebooting."
    with pytest.raises(Unreachable):
        await line(doors, "a1").facts()
    after = await back(doors, "a1")
    assert all(one.ok for one in judge_back(before, after, Policy(kernel=following(KERNEL))))
    assert after.links == before.links
    assert [entry.kind for entry in world.log if entry.host == "a1"] == ["restarts", "killed", "revived"]
    assert world.hosts["a2"].machine.boots == 0


async def test_what_was_on_it_is_down_meanwhile_and_its_osds_too(world: World, tmp_path: Path) -> None:
    ceph = CephWorld(world, seed=1)
    for name in ("a1", "a2"):
        ceph.add_osd(name, "r1", size=1 << 40, device_class="ssd")
    async with Logins(world).serve(tmp_path, "pve") as doors:
        await patched(doors, "a1")
        assert not world.answers(next(iter(world.hosts["a1"].vms)))
        assert [osd.running for osd in ceph.osds.values()] == [False, True]
        await back(doors, "a1")
    assert world.answers(next(iter(world.hosts["a1"].vms)))


async def test_the_boot_loader_may_take_the_wrong_kernel(world: World, doors: Doors) -> None:
    world.hosts["a1"].machine.faults.append(BootFault.WRONG_KERNEL)
    before = await line(doors, "a1").facts()
    await patched(doors, "a1", "6.99.1-1-pve")
    after = await back(doors, "a1")
    assert (after.kernel, after.boot != before.boot) == (before.kernel, True)
    machines.reboot(world, "a1")
    again = await back(doors, "a1", lambda facts: facts.boot not in (before.boot, after.boot))
    assert again.kernel == "6.99.1-1-pve"


async def test_a_machine_that_hangs_waits_for_somebody_at_its_button(world: World, doors: Doors) -> None:
    world.hosts["a1"].machine.faults.append(BootFault.HANGS)
    await patched(doors, "a1")
    end = world.time + world.hosts["a1"].machine.takes * 3
    while world.time < end:
        await asyncio.sleep(0.02)
        world.advance()
    with pytest.raises(Unreachable):
        await line(doors, "a1").facts()
    machines.press(world, "a1")
    assert (await back(doors, "a1")).kernel == following(KERNEL)


async def test_links_and_clocks_may_be_others_afterwards(world: World, doors: Doors) -> None:
    world.hosts["a1"].machine.faults.extend([BootFault.LINK_RENAMED, BootFault.CLOCK_OFF])
    before = await line(doors, "a1").facts()
    machines.reboot(world, "a1")
    after = await back(doors, "a1", lambda facts: facts.boot != before.boot)
    assert set(before.links) - set(after.links) == {"eno2"}
    machines.reboot(world, "a1")
    later = await back(doors, "a1", lambda facts: facts.boot not in (before.boot, after.boot))
    assert (later.clock or 0.0) > 60


@pytest.mark.parametrize(("fault", "boots"), [(LineFault.DROPS, 1), (LineFault.DROPS_AND_STOPS, 0)])
async def test_a_connection_that_breaks_may_or_may_not_take_the_command_with_it(
    world: World, doors: Doors, fault: LineFault, boots: int
) -> None:
    world.hosts["a1"].machine.lines.append(fault)
    before = await line(doors, "a1").facts()
    await patched(doors, "a1")
    after = await back(doors, "a1", lambda facts: not boots or facts.boot != before.boot)
    assert (world.hosts["a1"].machine.boots, after.boot != before.boot) == (boots, bool(boots))
    assert len(world.hosts["a1"].machine.commands) == 1


async def test_the_doctor_tells_each_hosts_mtus_and_the_look_has_them(world: World, doors: Doors) -> None:
    world.hosts["a1"].machine.mtus = {"eno2": 9000, "bond0": 9000}
    facts = await line(doors, "a1").facts()
    assert facts.mtus == {"bond0": 9000, "eno1": 1500, "eno2": 9000, "vmbr0": 1500}
    where = {host: f"127.0.0.1:{port}" for host, port in doors.ports.items()}
    rules = ShellRules(
        user=doors.user,
        identity=str(doors.identity),
        known_hosts=str(doors.known_hosts),
        agent=False,
        hosts=where,
    )
    cluster = Cluster(name="pve", rules=ClusterRules(kind="proxmox", shell=rules), options=None)
    hosts = [Host(cluster="pve", id=name, name=name) for name in where]
    found = {one.check: one.detail for one in await examine(cluster, hosts, folder=Path())}
    assert "MTU 9000 (bond0, eno2), 1500 (eno1, vmbr0)" in found["shell a1"]
    assert found["shell a2"].endswith("MTU 1500")


async def test_nothing_else_can_be_run_there(world: World, doors: Doors) -> None:
    for words in (
        ["rm", "-rf", "/"],
        ["sh", "-c", "reboot"],
        ["patch-and-reboot", "a", "b"],
        ["reboot", "-f"],
    ):
        assert await line(doors, "a1").run(words, within=5.0, said=lambda _: None) == 127
    assert world.hosts["a1"].machine.commands == []


async def test_a_machine_without_power_takes_no_login(world: World, doors: Doors) -> None:
    deeds.kill(world, "a2")
    with pytest.raises(Refused):
        await line(doors, "a2").run(["reboot"], within=5.0, said=lambda _: None)
    deeds.revive(world, "a2")
    assert (await line(doors, "a2").facts()).boot
