"""Disks, questions, datastores and checks of moves by the real `evac`, against an engine in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from backends.simulation.clocks import fast
from backends.simulation.direct import DirectBackend
from backends.simulation.things import SimRule, SimVM
from backends.simulation.world import World
from evac.model import AffinityKind
from tests.unit.housing import House, house
from tests.unit.playing import until
from tests.wire.cli_site import EVAC, Ran, Site


class Bench:
    """One world, one engine, and `evac` on its socket."""

    def __init__(self, world: World, here: House, folder: Path, there: World) -> None:
        self.world, self.here, self.there = world, here, there
        self.site = Site(folder)
        here.where.config.write_text("")

    async def evac(self, *words: str, stdin: bytes = b"") -> Ran:
        where = self.here.where
        process = await asyncio.create_subprocess_exec(
            *(str(EVAC), "--config", str(where.config), "--state", str(where.state), *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.site.environment(),
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        return Ran(process.returncode or 0, out.decode(), err.decode())

    def vm(self, name: str) -> SimVM:
        return next(vm for vm in self.world.vms.values() if vm.name == name)


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Bench]:
    world = World(seed=3, now=fast(30.0))
    for name in ("h1", "h2", "h3"):
        world.add_host(name)
    world.add_host("old", cpu_features=("sse4.2",))
    stores = [world.placing.add("fast"), world.placing.add("slow"), world.placing.add("scratch", "h3")]
    for name in ("db", "web"):
        world.placing.put(world.add_vm(name, "h1").id, stores[0].id)
    there = World(seed=4, now=fast(30.0))
    there.add_host("far-1")
    there.placing.add("far-disk")
    peers: dict[str, DirectBackend] = {}
    peers |= {
        "lab": DirectBackend("lab", world, peers=peers),
        "far": DirectBackend("far", there, peers=peers),
    }
    async with house(tmp_path, *peers.values()) as here:  # type: ignore[arg-type]  # any backend will do
        await until(lambda: len(here.engine.fleet.table("vms")) == 2, "the first poll")
        await until(lambda: len(here.engine.fleet.table("hosts")) == 5, "the other cluster's first poll")
        yield Bench(world, here, tmp_path, there)


async def test_disks_are_moved_after_a_yes_and_only_to_what_is_there(lab: Bench) -> None:
    plan = await lab.evac("move-storage", "db", "web", "--to", "slow")
    assert plan.code == 0, plan.err
    assert "move the disks of db to slow" in plan.out
    assert not lab.world.moves, "a plan moves nothing"
    done = await lab.evac("move-storage", "db", "--to", "slow", "--host", "h2", "--yes")
    assert done.code == 0, done.out + done.err
    db = lab.vm("db")
    assert (db.host, db.datastores) == ("h2", ("ds-2",))
    wrong = await lab.evac("move-storage", "db", "--to", "slo", "--yes")
    assert wrong.code == 2
    assert "It has: fast, scratch, slow" in wrong.err
    unseen = await lab.evac("move-storage", "web", "--to", "scratch", "--yes")
    assert unseen.code == 1
    assert "h1 does not see datastore scratch" in unseen.out + unseen.err


async def test_a_question_is_shown_and_answered_by_key_or_words(lab: Bench) -> None:
    db = lab.vm("db")
    lab.world.placing.ask(db.id, "Moved or copied?", "Cancel", "I moved it")
    await until(lambda: getattr(lab.here.engine.fleet.vm("lab", db.id), "question", None), "it is polled")
    shown = await lab.evac("answer", "db")
    assert shown.code == 0
    assert "Moved or copied?" in shown.out
    assert "I moved it" in shown.out
    assert (await lab.evac("answer", "db", "perhaps", "--yes")).code == 2
    assert lab.vm("db").question is not None
    plan = await lab.evac("answer", "db", "1")
    assert 'answer the question of db with "I moved it"' in plan.out
    assert lab.vm("db").question is not None
    done = await lab.evac("answer", "db", "I moved it", "--yes")
    assert done.code == 0, done.out + done.err
    assert lab.vm("db").question is None
    assert (await lab.evac("answer", "web", "1", "--yes")).code == 3


async def test_datastores_are_listed_for_people_and_for_scripts(lab: Bench) -> None:
    listed = await lab.evac("datastores")
    assert listed.code == 0
    assert [line.split()[1] for line in listed.out.splitlines()[1:]] == [
        "far-disk",
        "fast",
        "scratch",
        "slow",
    ]
    rows = json.loads((await lab.evac("datastores", "--json")).out)["datastores"]
    assert {row["name"]: row["hosts"] for row in rows}["scratch"] == ["h3"]


async def test_hosts_are_listed_with_their_tags_and_found_by_them(lab: Bench) -> None:
    lab.world.hosts["h2"].tags = ("rack:B12",)
    await until(lambda: getattr(lab.here.engine.fleet.host("lab", "h2"), "tags", ()), "it is polled")
    found = await lab.evac("hosts", "tag:b12", "--json")
    assert [(row["name"], row["tags"]) for row in json.loads(found.out)["hosts"]] == [("h2", ["rack:B12"])]


async def test_an_address_is_typed_for_a_vm_and_taken_back_by_whoever_may_change_things(lab: Bench) -> None:
    typed = await lab.evac("address", "db", "[2001:db8::7]:22", "--json")
    assert json.loads(typed.out)["addresses"] == ["[2001:db8::7]:22"]
    again = await lab.evac("address", "db", "[2001:db8::7]:22")
    assert again.code != 0
    assert "already" in again.err
    wrong = await lab.evac("address", "db", "db.example.org")
    assert "is no address" in wrong.err
    gone = await lab.evac("address", "db", "[2001:DB8::7]:22", "--remove")
    assert "no typed address" in gone.out
    records = [one for one in await lab.here.engine.audit(0, 500) if one.kind == "probe"]
    assert [one.body["what"] for one in records] == ["typed", "taken back"]


async def test_a_host_is_judged_vm_by_vm_and_target_by_target_before_a_window(lab: Bench) -> None:
    good = await lab.evac("preflight", "--host", "h1")
    assert good.code == 0, good.out + good.err
    assert good.out.startswith("h1, cluster lab: 2 VMs (2 OK)\n")
    assert "JUDGED BY" in good.out
    assert "simulation, evac" in good.out
    db, web = lab.vm("db"), lab.vm("web")
    web.locked = True
    lab.world.rules["r"] = SimRule("r", "licence", AffinityKind.PINNED, [db.id], ("h1", "old"))
    for vm in (db, web):
        lab.world.touch(vm)
    await until(
        lambda: lab.here.engine.fleet.vm("lab", web.id).locked and lab.here.engine.fleet.table("affinities"),  # type: ignore[union-attr]
        "both are polled",
    )
    bad = await lab.evac("preflight", "--host", "h1")
    assert bad.code == 3
    words = bad.out.splitlines()
    assert words[2:5] == [
        "WILL FAIL  web",
        "           why: it is locked in the platform",
        "           fix: Unlock it there.",
    ]
    assert words[5].startswith("RISK       db → old")
    body = json.loads((await lab.evac("preflight", "--host", "h1", "--json")).out)
    assert (body["outlook"], body["exit"]) == ("will fail", 3)
    rows = {row["name"]: row for row in body["matrix"]["rows"]}
    cells = {cell["target"]: cell for cell in rows["db"]["cells"]}
    assert 'rule "licence" pins it to h1, old' in cells["h2"]["why"]
    assert (cells["old"]["outlook"], cells["old"]["by"]) == ("risk", "simulation")
    (old,) = (one for one in body["matrix"]["targets"] if one["host"] == "old")
    assert old["after"] - old["before"] == db.memory
    assert (await lab.evac("preflight", "--host", "h1", "--to", "old", "--json")).code == 3
    both = await lab.evac("preflight", "db", "--host", "h1")
    assert both.code == 2
    assert "Name VMs, or a host" in both.err


async def test_preflight_ends_with_a_code_for_each_outlook(lab: Bench) -> None:
    good = await lab.evac("preflight", "db")
    assert good.code == 0, good.err
    assert "its CPU lacks avx2, avx512f" in good.out, "a worse target is told too"
    assert (await lab.evac("preflight", "db", "web", "--to", "h2")).code == 0
    assert (await lab.evac("preflight", "db", "--to", "old")).code == 4
    lab.world.hosts["h3"].maintenance = True
    failing = await lab.evac("preflight", "db", "--to", "h3", "--json")
    assert failing.code == 3
    body = json.loads(failing.out)
    assert body["outlook"] == "will fail"
    assert body["preflight"][0]["targets"] == [{"host": "h3", "outlook": "will fail"}]
    assert (await lab.evac("preflight", "db", "--to", "nowhere")).code == 2
    assert not lab.world.moves


async def test_a_move_to_another_cluster_is_judged_beforehand_without_a_credential(lab: Bench) -> None:
    asked = await lab.evac("preflight", "db", "--to-cluster", "far")
    assert asked.code == 5, asked.out + asked.err
    assert "db on h1, cluster lab, to far:" in asked.out
    assert "far-1" in asked.out
    assert "UNKNOWN network: whether its networks are there" in asked.out
    lab.there.hosts["far-1"].maintenance = True
    await until(
        lambda: getattr(lab.here.engine.fleet.host("far", "far-1"), "maintenance", False), "it is polled"
    )
    failing = await lab.evac("preflight", "db", "--to-cluster", "far", "--to", "far-1", "--json")
    assert failing.code == 3, failing.err
    (answer,) = json.loads(failing.out)["preflight"]
    assert answer["to_cluster"] == "far"
    assert answer["targets"] == [{"host": "far-1", "outlook": "will fail"}]
    assert any(check["rule"] == "host" and check["why"] for check in answer["checks"])
    nowhere = await lab.evac("preflight", "db", "--to-cluster", "mars")
    assert nowhere.code == 2
    assert "Choose one of: far, lab" in nowhere.err
    assert (await lab.evac("preflight", "db", "--to-cluster", "far", "--to", "h2")).code == 2
    assert (await lab.evac("preflight", "--host", "h1", "--to-cluster", "far")).code == 2
    assert not lab.world.moves


async def test_a_vm_goes_to_another_cluster_and_its_password_is_in_no_argument(lab: Bench) -> None:
    words = ("move-across", "db", "--to-cluster", "far", "--host", "far-1", "--datastore", "far-disk")
    plan = await lab.evac(*words)
    assert plan.code == 0, plan.err
    assert "move db to far: h1→far-1" in plan.out
    nothing = await lab.evac(*words, "--yes", "--user", "admin", "--secret-stdin")
    assert nothing.code == 2
    assert "No password" in nothing.err
    done = await lab.evac(*words, "--yes", "--user", "admin", "--secret-stdin", stdin=b"hunter-number-2\n")
    assert done.code == 0, done.out + done.err
    assert "hunter" not in done.out + done.err
    assert [vm.name for vm in lab.there.vms.values()] == ["db"]
    assert [vm.name for vm in lab.world.vms.values()] == ["web"]
    elsewhere = await lab.evac("move-across", "web", "--to-cluster", "mars", "--host", "far-1")
    assert elsewhere.code == 2
    assert "Choose one of: far, lab" in elsewhere.err
    assert (await lab.evac("move-across", "web", "--to-cluster", "far", "--host", "h2")).code == 2
