"""Every VM of a host and every target: who judged, what stands first, and what there is room for together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac import matrix, server_matrix
from evac.api import Matrix
from evac.client import EngineRefusal
from evac.errors import Unreachable
from evac.links import LinkLook
from evac.matrix import Heard, by_room, promising, row, weigh, with_plan
from evac.model import VM, Capability, Host, HostState, MoveCheck, Outlook, Problem, Switch, VMState
from evac.preflight import outlook_of, rank
from evac.window.plan import PlannedHost, PlannedMove, PlannedStay, Way
from tests.unit.housing import house
from tests.unit.playing import PlayedCluster, answer, until
from tests.unit.test_rules import GIB, host, vm, world


def said(target: str, outlook: Outlook, rule: str = "vCenter", by: str = "vCenter") -> MoveCheck:
    return MoveCheck(vm="v0", target=target, outlook=outlook, rule=rule, by=by, why=f"{rule}!")


def heard(*checks: MoveCheck) -> Heard:
    return Heard(checks, frozenset(check.target for check in checks))


# --- one row -------------------------------------------------------------------------------------


def test_a_cell_says_who_judged_it_and_the_worst_that_was_said() -> None:
    seen = world([host("a"), host("b"), host("d"), host("e", maintenance=True)], [vm()])
    told = heard(said("b", Outlook.OK), said("d", Outlook.FAIL))
    found = {one.target: one for one in row(seen, seen.vms["v0"], ["b", "d", "e"], told).cells}
    assert (found["b"].outlook, found["b"].by, found["b"].why) == (Outlook.OK, "vCenter", "")
    assert (found["d"].outlook, found["d"].by, found["d"].why) == (Outlook.FAIL, "vCenter", "vCenter!")
    assert (found["e"].outlook, found["e"].by, found["e"].rule) == (Outlook.FAIL, "", "host")


def test_a_row_is_as_good_as_its_best_target_and_says_what_stands_against_that() -> None:
    roomy, full = host("b", memory_used=4 * GIB), host("d", memory_used=62 * GIB)
    seen = world([host("a"), roomy, full], [vm(), vm("v1", locked=True)])
    good = row(seen, seen.vms["v0"], ["d", "b"])
    assert (good.outlook, good.best, good.why) == (Outlook.OK, "b", "")
    bad = row(seen, seen.vms["v1"], ["d", "b"])
    assert (bad.outlook, bad.best, bad.rule) == (Outlook.FAIL, "", "locked")


def test_a_vm_without_any_target_fails_and_a_template_is_harmless() -> None:
    seen = world([host("a"), host("b")], [vm(), vm("v1", stays="a template")])
    assert row(seen, seen.vms["v0"], []).outlook is Outlook.FAIL
    template = row(seen, seen.vms["v1"], ["b"])
    assert (template.harmless, template.outlook, template.cells) == (True, Outlook.OK, ())


def test_a_vm_that_can_go_nowhere_says_what_most_targets_have_against_it() -> None:
    hosts = [
        host("a"),
        host("b", maintenance=True),
        *(host(n, cpu_vendor="AMD", cpu_model="EPYC") for n in "de"),
    ]
    seen = world(hosts, [vm()])
    assert row(seen, seen.vms["v0"], ["b", "d", "e"]).rule == "cpu"


def test_a_vm_that_can_go_nowhere_is_told_what_stands_against_the_targets_that_are_good_for_others() -> None:
    far = [host(name, cpu_vendor="AMD", cpu_model="EPYC") for name in "def"]
    seen = world([host("a"), host("b"), *far], [vm(devices=("gpu",)), vm("v1")])
    rows = [row(seen, one, ["d", "e", "f", "b"]) for one in seen.vms.values()]
    assert [one.rule for one in matrix.explained(rows)] == ["device", ""]
    alone = row(seen, vm("v2", cpu="EPYC-Milan"), ["b"])
    assert matrix.explained([alone]) == [alone]


def test_how_a_vm_goes_follows_from_what_it_is() -> None:
    stopped, container = vm(state=VMState.STOPPED), vm(container=True, state=VMState.RUNNING)
    assert (matrix.way_of(vm()), matrix.way_of(stopped)) == (Way.LIVE, Way.COLD)
    assert matrix.way_of(container) is Way.RESTART
    assert matrix.way_of(replace(container, state=VMState.STOPPED)) is Way.COLD


# --- both sides ----------------------------------------------------------------------------------


def test_what_the_backend_judged_afresh_stands_for_our_own_rule() -> None:
    seen = world([host("a"), host("b", cpu_model="Broadwell")], [vm(cpu="host-model")], kind="libvirt")
    assert row(seen, seen.vms["v0"], ["b"]).outlook is Outlook.FAIL
    compared = heard(said("b", Outlook.OK, rule="cpu", by="libvirt"))
    assert row(seen, seen.vms["v0"], ["b"], compared).outlook is Outlook.OK


def test_what_we_were_not_told_does_not_count_once_the_platform_has_said_yes() -> None:
    seen = world([host("a"), host("b", cpu_model="", memory=None)], [vm(local_disk=None)])
    one = seen.vms["v0"]
    assert row(seen, one, ["b"]).outlook is Outlook.UNKNOWN
    assert row(seen, one, ["b"], heard(said("b", Outlook.OK))).outlook is Outlook.OK
    unsure = heard(said("b", Outlook.UNKNOWN))
    assert row(seen, one, ["b"], unsure).outlook is Outlook.UNKNOWN


CHECKS = st.builds(
    MoveCheck,
    vm=st.just("v0"),
    target=st.sampled_from(("", "b")),
    outlook=st.sampled_from(Outlook),
    rule=st.sampled_from(("host", "cpu", "memory", "local disk", "storage", "vCenter")),
    by=st.sampled_from(("", "vCenter")),
)


@given(own=st.lists(CHECKS, max_size=6), told=st.lists(CHECKS, max_size=6))
def test_a_will_fail_of_the_platform_is_never_weighed_away(
    own: list[MoveCheck], told: list[MoveCheck]
) -> None:
    found = weigh(own, Heard(told, frozenset("b")), "b")
    assert found[len(found) - len(told) :] == told
    assert rank(outlook_of(found, "b")) >= max((rank(check.outlook) for check in told), default=0)


def test_only_what_our_rules_do_not_rule_out_is_worth_asking_about() -> None:
    hosts = [host("a"), host("b", memory_used=8 * GIB), host("d"), host("e", maintenance=True)]
    hosts.append(host("f", cpu_vendor="AMD", cpu_model="EPYC", memory_used=0))
    seen = world(hosts, [vm(), vm("v1", locked=True), vm("v2", stays="a template")])
    assert promising(seen, seen.vms["v0"], ["d", "e", "b", "f"]) == ["b", "d", "f"], (
        "the platform may know better"
    )
    assert promising(seen, seen.vms["v1"], ["d", "b"]) == promising(seen, seen.vms["v2"], ["d"]) == []
    assert by_room(world([host("x", memory=None), host("y")], []), ["x", "y"]) == ["y", "x"]


# --- all together --------------------------------------------------------------------------------


def test_who_finds_no_room_once_the_others_go_as_well_fails() -> None:
    seen = world([host("a"), host("b")], [vm(), vm("v1")])
    rows = [row(seen, seen.vms[name], ["b"]) for name in ("v0", "v1")]
    plan = PlannedHost(
        cluster="c",
        host="a",
        name="a",
        moves=(PlannedMove(vm="v0", name="v0", way=Way.LIVE, to="b", memory=4 * GIB),),
        stays=(PlannedStay(vm="v1", name="v1", why="no room is left", fix="Free some."),),
    )
    found = with_plan(rows, plan)
    assert [(one.vm, one.outlook) for one in found] == [("v1", Outlook.FAIL), ("v0", Outlook.OK)]
    (there,) = matrix.rooms(seen, found, ["b"], plan)
    assert (there.before, there.after, there.guests) == (16 * GIB, 20 * GIB, 1)


def test_vms_that_no_plan_covers_are_spread_by_room_and_who_finds_none_fails() -> None:
    small = [host("b", memory=16 * GIB, memory_used=2 * GIB), host("d", memory=16 * GIB, memory_used=6 * GIB)]
    seen = world([host("a"), *small], [vm(f"v{n}", memory=size * GIB) for n, size in enumerate((8, 6, 4, 4))])
    rows = [row(seen, one, ["b", "d"]) for one in seen.vms.values()]
    plan = matrix.spread(seen, rows)
    assert {move.vm: move.to for move in plan.moves} == {"v0": "b", "v1": "d", "v2": "b"}
    found = {one.vm: one.outlook for one in with_plan(rows, plan)}
    assert found == {"v3": Outlook.FAIL, "v0": Outlook.OK, "v1": Outlook.OK, "v2": Outlook.OK}
    assert {one.host: (one.after or 0) // GIB for one in matrix.rooms(seen, rows, ["b", "d"], plan)} == {
        "b": 14,
        "d": 12,
    }


# --- the route -----------------------------------------------------------------------------------


def figures(name: str, **more: Any) -> Host:
    known: dict[str, Any] = {"state": HostState.UP, "memory": 64 * GIB, "memory_used": 8 * GIB, "vcpus": 32}
    return Host(
        cluster="north",
        id=name,
        name=name,
        cpu_model="Icelake-Server",
        cpu_vendor="Intel",
        **{**known, **more},
    )


def guests(count: int, **more: Any) -> tuple[VM, ...]:
    known: dict[str, Any] = {"memory": GIB, "vcpus": 1, "local_disk": False, "state": VMState.RUNNING}
    return tuple(
        VM(cluster="north", id=f"v{n}", name=f"vm-{n:02}", host="h1", **{**known, **more})
        for n in range(count)
    )


class Checking(PlayedCluster):
    """A platform with a checker and a balancer. `slow`: VMs about which it never answers."""

    def __init__(self, count: int = 3, slow: Sequence[str] = (), **more: Any) -> None:
        there = tuple(figures(name) for name in ("h1", "h2", "h3"))
        super().__init__("north", answer("north", hosts=there, vms=guests(count, **more)))
        self.slow, self.under_way, self.most = set(slow), 0, 0
        self.error: Exception | None = None

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if vm in self.slow:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
            return [
                MoveCheck(vm=vm, target=one, outlook=Outlook.OK, rule="them", by="Them") for one in targets
            ]
        finally:
            self.under_way -= 1

    async def switches(self) -> Sequence[Switch]:
        return (
            Switch(
                cluster="north",
                id="d",
                name="DRS",
                kind="balancer",
                value="on",
                calm="off",
                why="it moves VMs",
                exempt=("db", "web"),
                busy="DRS moves cache",
                note="its advisor may not be read",
            ),
            *(
                Switch(
                    cluster="north",
                    id=f"w/{host}",
                    name=f"the watch over {host}",
                    kind="ha",
                    value="on",
                    calm="off",
                    host=host,
                )
                for host in ("h1", "h2")
            ),
        )

    async def turn(self, switch: str, was: str, to: str) -> Any:
        raise AssertionError("nobody should have turned it")


async def test_a_host_of_sixty_guests_is_asked_about_with_a_few_questions_at_a_time(tmp_path: Path) -> None:
    north = Checking(60)
    async with house(tmp_path, north) as here, here.client(read_only=True) as viewer:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        found: Matrix = await viewer.matrix("north", host="h1")
        assert len(found.rows) == 60
        assert (found.outlook, found.checker) == (Outlook.OK, "Them")
        assert {cell.by for one in found.rows for cell in one.cells} == {"Them"}
        assert 1 < north.most <= server_matrix.AT_ONCE
        assert sum(one.guests for one in found.targets) == 60
        assert "DRS is on: it moves VMs" in found.notes
        assert {"DRS moves cache", "its advisor may not be read"} <= set(found.notes)
        assert any(note.startswith("the watch over h1 is on") for note in found.notes)
        assert not any("the watch over h2" in note for note in found.notes), "that host is not asked about"
        own = "DRS goes on moving db, web by itself: a level of their own, which evac does not turn"
        assert own in found.notes
        status, body = await here.http("GET", "/v1/matrix?cluster=north&host=h1&vm=v1&target=h3")
        assert status == 200
        assert [one["vm"] for one in json.loads(body)["rows"]] == ["v1"]


async def test_what_the_checker_does_not_answer_in_time_is_not_known_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_matrix, "BUDGET", 0.2)
    async with house(tmp_path, Checking(3, slow=["v1"])) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        found = await client.matrix("north", host="h1")
        assert {one.vm: one.outlook for one in found.rows} == {
            "v0": Outlook.OK,
            "v1": Outlook.UNKNOWN,
            "v2": Outlook.OK,
        }
        assert "did not answer in time" in found.rows[0].why
        quick = await client.matrix("north", host="h1", quick=True)
        assert (quick.outlook, quick.checker) == (Outlook.OK, "")
        assert any("was not asked" in words for words in quick.notes)


async def test_a_checker_that_fails_leaves_its_cells_unknown_and_says_why(tmp_path: Path) -> None:
    north = Checking(2)
    north.error = Unreachable(Problem(happened="no answer from north"))
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        found = await client.matrix("north", host="h1")
        assert found.outlook is Outlook.UNKNOWN
        assert "Not asked about vm-00, vm-01: no answer from north" in found.notes


async def test_the_vms_of_a_dead_host_are_judged_for_being_rebuilt_once_it_is_fenced(tmp_path: Path) -> None:
    north = Checking(2)
    dead = figures("h1", state=HostState.DOWN)
    north.script = [answer("north", hosts=(dead, figures("h2")), vms=guests(2))]
    north.able = (*north.able, Capability(action="evacuate", able=True))
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        moved = await client.matrix("north", host="h1")
        rebuilt = await client.matrix("north", host="h1", fenced="powered off by IPMI")
        unsure = await client.matrix("north", host="h1", fenced=" ")
    assert (moved.outlook, rebuilt.outlook, unsure.outlook) == (Outlook.FAIL, Outlook.OK, Outlook.FAIL)
    assert moved.rows[0].fix == "Fence it and evacuate, or bring it back."
    assert north.most == 0, "a checker of moves has nothing to say of a rebuild"


async def test_a_cluster_that_cannot_move_is_told_in_every_row(tmp_path: Path) -> None:
    north = Checking(1)
    north.able = (Capability(action="live_migrate", able=False, why_not="no right to"),)
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        await until(lambda: here.engine.fleet.cluster("north").capabilities, "its capabilities")  # type: ignore[union-attr]
        (one,) = (await client.matrix("north", host="h1")).rows
        assert (one.outlook, one.rule, one.why) == (
            Outlook.FAIL,
            "ability",
            "north cannot live-migrate: no right to",
        )


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("cluster=south&host=h1", "not-found", "no cluster south"),
        ("cluster=north&host=h9", "not-found", "no host h9"),
        ("cluster=north", "bad-request", "which host"),
        ("cluster=north&vm=v9", "not-found", "no VM v9"),
        ("cluster=north&host=h2&vm=v0", "not-found", "no VM v0 on h2"),
        ("cluster=north&host=h1&target=h9", "not-found", "no host h9"),
        ("cluster=north&host=h1&keep_free=1.5", "bad-request", "keep_free"),
    ],
)
async def test_unknown_names_and_nonsense_are_refused_in_words(
    tmp_path: Path, query: str, code: str, words: str
) -> None:
    async with house(tmp_path, Checking(1)) as here:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        _, body = await here.http("GET", f"/v1/matrix?{query}")
        refusal = json.loads(body)
        assert refusal["code"] == code
        assert words in refusal["problem"]["happened"]


async def test_a_matrix_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_matrix, "MOST_CELLS", 5)
    async with house(tmp_path, Checking(3)) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        with pytest.raises(EngineRefusal, match="too many"):
            await client.matrix("north", host="h1")


# --- links ---------------------------------------------------------------------------------------


def test_what_stands_against_a_link_is_said_once_of_the_target_and_not_of_each_vm() -> None:
    small, large = (LinkLook(link="vmbr1", mtu=mtu, answered=True, passed=True) for mtu in (1500, 9000))
    looks = {("a", "b"): large, ("b", "a"): small, ("a", "d"): large, ("d", "a"): large}
    seen = replace(world([host("a"), host("b"), host("d")], [vm(), vm("v1")]), links=looks)
    rows = [row(seen, one, ["b", "d"]) for one in seen.vms.values()]
    assert {one.best for one in rows} == {"d"}
    found = {one.host: one for one in matrix.rooms(seen, rows, ["b", "d"], matrix.spread(seen, rows))}
    (words,) = found["b"].links
    assert words.startswith("RISK: MTU 9000 on vmbr1 of a, 1500 on vmbr1 of b.")
    assert (found["b"].outlook, found["d"].outlook, found["d"].links) == (Outlook.RISK, Outlook.OK, ())


async def test_a_cluster_without_a_way_onto_its_hosts_is_told_once_that_its_links_are_not_known(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, Checking(1)) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        told = await client.matrix("north", host="h1")
        one = await client.preflight("north", "v0", ["h2"])
    links = [note for note in told.notes if "MTU" in note]
    assert len(links) == 1
    assert "[clusters.north.shell]" in links[0]
    assert one.notes == tuple(links)
