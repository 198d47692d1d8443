"""The ways between hosts, looked at by SSH from both ends: what is seen, what it costs, and what is said of the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from backends.simulation import deeds, demo_proxmox, nouns
from backends.simulation.clocks import fast
from backends.simulation.direct import DirectBackend
from backends.simulation.sshd import Doors, Logins
from backends.simulation.wires import Wire
from backends.simulation.world import World
from evac.config import load, plugins
from evac.errors import ReadOnly
from evac.fleet import Fleet
from evac.linking import FRESH, MOST_TARGETS, PATIENCE, Linking
from evac.model import ClusterState, Outlook
from evac.rules import context_of
from evac.rules.links import between
from evac.window import hostpath
from evac.window.reaching import Reaching

NAMES = ("a", "b", "c")


@pytest.fixture
def world() -> World:
    world = World(seed=3, now=fast(1.0))
    for name in NAMES:
        host = world.add_host(name)
        host.machine.mtus["vmbr0"] = 9000
    return world


@pytest.fixture
async def doors(world: World, tmp_path: Path) -> AsyncIterator[Doors]:
    async with Logins(world).serve(tmp_path, "nova") as doors:
        yield doors


class Site:
    """One engine's part of it."""

    def __init__(self, world: World, doors: Doors, folder: Path, *, kind: str = "openstack") -> None:
        file = folder / "config.toml"
        file.write_text(f'[clusters.nova]\nkind = "openstack"\ncloud = "x"\n{doors.table("nova")}')
        self.world, self.fleet = world, Fleet()
        self.backend = Networked("nova", world)
        self.reach = Reaching(
            dict(load(file, plugins()).clusters), folder=folder, fleet=self.fleet, backends={}
        )
        self.linking = Linking(self.fleet, self.reach, {"nova": self.backend})
        self.fleet.publish(clusters=(ClusterState(name="nova", kind=kind, read_only=True),))
        self.poll()

    def poll(self) -> None:
        hosts = [nouns.host("nova", self.world, one) for one in self.world.hosts.values()]
        self.fleet.publish(hosts=hosts)

    async def look(self, *targets: str, lately: float = FRESH) -> list[str]:
        return await self.linking.look("nova", ["a"], targets or None, lately=lately)

    def ways(self) -> dict[tuple[str, str], tuple[int | None, bool | None]]:
        return {(one, other): (seen.mtu, seen.passed) for (_, one, other), seen in self.fleet.links.items()}


class Networked(DirectBackend):
    """Says where hosts take migrations in."""

    async def migration_addresses(self, hosts: Sequence[str]) -> Mapping[str, str]:
        return {one: self.world.hosts[one].inward for one in hosts}


@pytest.fixture
def site(world: World, doors: Doors, tmp_path: Path) -> Site:
    return Site(world, doors, tmp_path)


async def test_both_directions_are_seen_of_a_host_and_its_targets_and_of_no_others(site: Site) -> None:
    site.world.hosts["c"].machine.mtus["vmbr0"] = 1500
    site.world.wires.lay("a", "b", Wire(mtu=1500, rtt=0.02))
    assert await site.look() == []
    assert site.ways() == {
        ("a", "b"): (9000, False),
        ("b", "a"): (9000, False),
        ("a", "c"): (9000, False),
        ("c", "a"): (1500, True),
    }
    assert site.fleet.links["nova", "a", "b"].rtt == pytest.approx(0.02)


async def test_the_network_for_migrations_is_looked_at_where_the_platform_names_one(site: Site) -> None:
    for number, host in enumerate(site.world.hosts.values()):
        host.inward = f"10.1.0.{number + 1}"
        host.machine.carrier = "vmbr1"
        host.machine.mtus = {"vmbr1": 9000}
    await site.look("b")
    seen = site.fleet.links["nova", "a", "b"]
    assert (seen.address, seen.link, seen.mtu) == ("10.1.0.2", "vmbr1", 9000)


async def test_a_look_is_kept_for_a_while_and_its_age_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.look("b")
    first = site.fleet.links["nova", "a", "b"].at
    assert await site.look("b") == []
    assert site.fleet.links["nova", "a", "b"].at == first
    now = time.time
    monkeypatch.setattr("evac.clock.wall", lambda: now() + 60)
    assert await site.look("b") == ["Links between hosts were looked at 60 s ago."]
    monkeypatch.setattr("evac.clock.wall", lambda: now() + 130)
    assert await site.look("b") == []
    assert site.fleet.links["nova", "a", "b"].at > first + 100


async def test_who_is_about_to_move_vms_goes_by_no_look_of_a_minute_ago(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.look("b")
    site.world.hosts["b"].machine.mtus["vmbr0"] = 1500
    now = time.time
    monkeypatch.setattr("evac.clock.wall", lambda: now() + 60)
    await site.look("b")
    assert site.ways() == {("a", "b"): (9000, True), ("b", "a"): (9000, True)}
    await site.look("b", lately=10.0)
    assert site.ways() == {("a", "b"): (9000, False), ("b", "a"): (1500, True)}


async def test_what_was_bad_is_looked_at_again_at_both_ends_a_moment_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = site.world.hosts["b"].machine
    machine.mtus["vmbr0"] = 1500
    await site.look("b")
    assert site.ways() == {("a", "b"): (9000, False), ("b", "a"): (1500, True)}
    machine.mtus["vmbr0"] = 9000
    now = time.time
    monkeypatch.setattr("evac.clock.wall", lambda: now() + 11)
    await site.look("b")
    assert site.ways() == {("a", "b"): (9000, True), ("b", "a"): (9000, True)}


async def test_whoever_asks_at_the_same_time_gets_the_same_look(site: Site) -> None:
    asked = 0
    plain = site.reach.paths

    async def counted(cluster: str, host: str, addresses: Sequence[str]) -> object:
        nonlocal asked
        asked += 1
        return await plain(cluster, host, addresses)

    site.reach.paths = counted  # type: ignore[method-assign,assignment]
    await asyncio.gather(*(site.look("b") for _ in range(5)))
    assert asked == 2, "one login on each end"


async def test_a_host_that_lets_nobody_in_is_said_once_and_the_other_end_s_word_is_kept(site: Site) -> None:
    site.world.hosts["b"].alive = False  # its power is gone, and the cluster has not noticed
    (note,) = await site.look("b")
    assert note.startswith("Not all is known of the link from b to a: ")
    seen = site.fleet.links["nova", "a", "b"]
    assert (seen.mtu, seen.answered) == (9000, False)


async def test_a_host_that_takes_the_login_and_is_silent_costs_its_time_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evac.linking.PATIENCE", 0.5)
    plain, asked = site.reach.paths, 0

    async def hanging(cluster: str, host: str, addresses: Sequence[str]) -> object:
        nonlocal asked
        asked += 1
        return await (asyncio.sleep(60) if host == "b" else plain(cluster, host, addresses))

    site.reach.paths = hanging  # type: ignore[method-assign,assignment]
    notes = await site.look("b")
    assert notes == ["Not all is known of the link from b to a: no answer within 0.5 s."]
    assert site.ways()["a", "b"] == (9000, True), "what the other end said is kept"
    assert await site.look("b") == notes
    assert asked == 2


async def test_hosts_that_are_down_are_not_knocked_at(site: Site) -> None:
    deeds.kill(site.world, "b")
    site.world.hosts["b"].forced_down = True
    site.poll()
    assert site.fleet.host("nova", "b").state.value == "down"  # type: ignore[union-attr]
    assert await site.look("b") == []
    assert site.ways() == {}


async def test_few_pairs_are_looked_at_and_it_is_said_how_many_were_not(
    world: World, doors: Doors, tmp_path: Path
) -> None:
    for number in range(MOST_TARGETS + 3):
        world.add_host(f"n{number:02}")
    site = Site(world, doors, tmp_path)
    began = time.monotonic()
    notes = await site.linking.look(
        "nova", ["a"], ["b", *(f"n{number:02}" for number in range(MOST_TARGETS + 3))]
    )
    assert time.monotonic() - began < PATIENCE + 2
    assert any("Links to 4 more hosts were not looked at" in note for note in notes)
    assert len(site.fleet.links) == 2 * MOST_TARGETS
    assert len(notes) <= 6, notes


async def test_without_a_way_onto_the_hosts_it_is_said_once_what_would_help(site: Site) -> None:
    site.linking = Linking(
        site.fleet, Reaching({}, folder=Path(), fleet=site.fleet, backends={}), {"nova": site.backend}
    )
    (note,) = await site.look()
    assert "[clusters.nova.shell]" in note
    assert site.ways() == {}


async def test_what_nobody_is_to_be_asked_anew_stays_unknown(site: Site) -> None:
    (note,) = await site.linking.look("nova", ["a"], None, cached=True)
    assert "2 links" in note
    assert site.ways() == {}


async def test_of_vsphere_it_is_said_who_judges_instead(world: World, doors: Doors, tmp_path: Path) -> None:
    (note,) = await Site(world, doors, tmp_path, kind="vsphere").look()
    assert "vMotion" in note


async def test_a_line_that_may_only_read_takes_the_look_and_no_other_script(site: Site) -> None:
    """`site` is read-only."""
    line = site.reach._line("nova", "a")
    address = site.world.hosts["b"].address
    said: list[str] = []
    assert (await line.paths([address]))[address].passed
    for wrong in (  # as itself the line goes with sudo, and a look never does
        hostpath.words(address),
        ("sh", "-c", "reboot", "evac-path", address),
        (*hostpath.words(address), "x"),
        ("sh", "-c", f"{hostpath.SCRIPT}\nreboot", "evac-path", address),
    ):
        with pytest.raises(ReadOnly):
            await line.run(wrong, within=5.0, said=said.append)


async def test_the_demo_has_a_node_without_jumbo_frames_and_it_alone_is_judged(tmp_path: Path) -> None:
    world = demo_proxmox.cluster(seed=7, now=fast(1.0)).world
    async with Logins(world).serve(tmp_path, "nova") as doors:
        site = Site(world, doors, tmp_path, kind="proxmox")
        assert await site.linking.look("nova", ["muc-pve-03"]) == []
    state = site.fleet.cluster("nova")
    assert state is not None
    seen = context_of(site.fleet, state)
    source = seen.hosts["muc-pve-03"]
    said = {
        name: between(seen.links, "proxmox", source, host)
        for name, host in seen.hosts.items()
        if host is not source
    }
    assert {name for name, found in said.items() if found} == {demo_proxmox.SMALL}
    (only,) = said[demo_proxmox.SMALL]
    assert (only.outlook, "1500 on vmbr1 of muc-pve-05" in only.why) == (Outlook.RISK, True)
