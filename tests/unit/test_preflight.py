"""What is expected of a move: the worst word counts, nothing unknown is OK, and no cluster is asked twice at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evac import asking
from evac.api import Preflight
from evac.client import EngineRefusal
from evac.errors import Unreachable
from evac.model import Host, HostState, MoveCheck, Outlook, Problem, VMState
from evac.preflight import NO_CHECKER, about, best, complete, outlook_of, worst
from tests.unit.housing import house
from tests.unit.playing import PlayedCluster, answer, until, vms

GIB = 1 << 30


def check(target: str, outlook: Outlook, rule: str = "cpu") -> MoveCheck:
    return MoveCheck(vm="v0", target=target, outlook=outlook, rule=rule, why=f"{rule}!")


@pytest.mark.parametrize(
    ("said", "outlook"),
    [
        ([], Outlook.UNKNOWN),
        ([check("b", Outlook.OK)], Outlook.OK),
        ([check("", Outlook.OK)], Outlook.UNKNOWN),
        ([check("b", Outlook.OK), check("", Outlook.RISK)], Outlook.RISK),
        ([check("b", Outlook.OK), check("b", Outlook.UNKNOWN), check("b", Outlook.RISK)], Outlook.UNKNOWN),
        ([check("b", Outlook.UNKNOWN), check("b", Outlook.FAIL)], Outlook.FAIL),
        ([check("c", Outlook.OK)], Outlook.UNKNOWN),
    ],
)
def test_the_worst_word_on_a_target_counts_and_silence_is_not_ok(
    said: list[MoveCheck], outlook: Outlook
) -> None:
    assert outlook_of(said, "b") is outlook


def test_best_worst_and_the_order_in_which_reasons_are_told() -> None:
    assert worst([]) is best([]) is Outlook.UNKNOWN
    assert best(Outlook) is Outlook.OK
    assert worst(Outlook) is Outlook.FAIL
    said = [
        check("b", Outlook.OK),
        check("c", Outlook.FAIL),
        check("", Outlook.RISK),
        check("b", Outlook.FAIL),
    ]
    assert [one.outlook for one in about(said, "b")] == [Outlook.FAIL, Outlook.RISK, Outlook.OK]


def test_an_answer_is_completed_and_says_nothing_of_other_vms() -> None:
    stray = MoveCheck(vm="other", target="c", outlook=Outlook.OK, rule="cpu")
    found = complete("v0", ["b", "c"], [check("b", Outlook.OK), stray])
    assert outlook_of(found, "b") is Outlook.OK
    assert outlook_of(found, "c") is Outlook.UNKNOWN


# --- the route -----------------------------------------------------------------------------------


class Checking(PlayedCluster):
    """Answers once it may; counts how many questions are under way."""

    def __init__(self, *script: Any) -> None:
        super().__init__("north", *(script or (answer("north", hosts=three()),)))
        self.may = asyncio.Event()
        self.under_way = self.most = 0
        self.error: Exception | None = None

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may.wait()
            if self.error is not None:
                raise self.error
            return [
                MoveCheck(vm=vm, target=target, outlook=Outlook.OK, rule="cpu", by="them")
                for target in targets
            ]
        finally:
            self.under_way -= 1


def three() -> tuple[Host, ...]:
    return tuple(
        Host(cluster="north", id=name, name=name, state=HostState.UP, maintenance=name == "h3")
        for name in ("h1", "h2", "h3")
    )


def with_figures(host: Host) -> Host:
    return replace(
        host, cpu_model="Icelake-Server", cpu_vendor="Intel", memory=64 * GIB, memory_used=8 * GIB, vcpus=16
    )


async def test_every_other_host_is_asked_about_and_what_is_plain_to_see_is_added(tmp_path: Path) -> None:
    north = Checking()
    north.may.set()
    async with house(tmp_path, north) as here, here.client(read_only=True) as viewer:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        said: Preflight = await viewer.preflight("north", "v0")
        assert (said.name, said.host, said.targets) == ("vm-0", "h1", ("h2", "h3"))
        assert outlook_of(said.checks, "h2") is Outlook.OK
        assert outlook_of(said.checks, "h3") is Outlook.FAIL, (
            "its maintenance is seen, whatever the checker says"
        )
        status, body = await here.http("GET", "/v1/preflight?cluster=north&vm=v0&target=h2&target=h1")
        assert status == 200
        assert json.loads(body)["targets"] == ["h2", "h1"]


async def test_one_question_at_a_time_goes_to_a_cluster(tmp_path: Path) -> None:
    north = Checking()
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        asked = [asyncio.create_task(client.preflight("north", f"v{n}", ["h2"])) for n in range(3)]
        await until(lambda: here.engine.server.asked == 3 and north.under_way, "all three have asked")
        assert north.most == 1
        north.may.set()
        assert len(await asyncio.gather(*asked)) == 3
        assert north.most == 1


async def test_a_checker_that_does_not_answer_in_time_leaves_the_targets_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.05)
    async with house(tmp_path, Checking()) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        said = await client.preflight("north", "v0", ["h2"])
        assert outlook_of(said.checks, "h2") is Outlook.UNKNOWN
        assert any("did not answer" in check.why for check in said.checks)


async def test_a_platform_without_a_checker_says_so_and_evacs_own_rules_judge(tmp_path: Path) -> None:
    h1, h2, h3 = (with_figures(host) for host in three())
    bare = replace(h2, id="bare", name="bare", cpu_model="")
    vm = replace(vms("north", 1)[0], memory=GIB, vcpus=1, local_disk=False, state=VMState.RUNNING)
    north = PlayedCluster("north", answer("north", hosts=(h1, h2, h3, bare), vms=(vm,)))
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        said = await client.preflight("north", "v0")
        assert said.checks[0].rule == NO_CHECKER
        assert {target: outlook_of(said.checks, target) for target in said.targets} == {
            "h2": Outlook.OK,
            "h3": Outlook.FAIL,
            "bare": Outlook.UNKNOWN,
        }


async def test_an_error_of_the_cluster_and_unknown_names_are_refused_in_words(tmp_path: Path) -> None:
    north = Checking()
    north.may.set()
    north.error = Unreachable(Problem(happened="no answer from north"))
    async with house(tmp_path, north) as here, here.client() as client:
        await until(lambda: here.engine.fleet.vm("north", "v0"), "the first poll")
        for cluster, vm, code, words in (
            ("north", "v0", "unreachable", "no answer from north"),
            ("north", "nobody", "not-found", "has no VM nobody"),
            ("south", "v0", "not-found", "no cluster south"),
        ):
            with pytest.raises(EngineRefusal) as refused:
                await client.preflight(cluster, vm)
            assert refused.value.refusal.code == code
            assert words in refused.value.refusal.problem.happened
        many = [f"t{n}" for n in range(600)]
        with pytest.raises(EngineRefusal, match="At most 512"):
            await client.preflight("north", "v0", many)
