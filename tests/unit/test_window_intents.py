"""Who may do what with plans and windows, and in which order; what is refused is refused in words, and on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evac.access import AccessRules
from evac.client import EngineRefusal
from evac.planning import plan_hash
from evac.window.nouns import StepKind, StepState, WindowState
from evac.window.plan import Fate, PlannedHost, PlannedStay, Policy, WindowPlan
from tests.unit.housing import STRANGER, house, played_as
from tests.unit.playing import PlayedCluster, answer, until
from tests.unit.rig import ADMIN, VIEWER, refused
from tests.unit.window_rig import BERT, WindowRig, by_a_person, rack
from tests.virtualtime import run

PLAN = WindowPlan(title="patch", hosts=(PlannedHost(cluster="north", host="h1", name="h1"),))


def test_a_plan_is_run_by_its_hash_and_a_repeated_token_begins_no_second_window(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}) as rig:
            plan = rig.plan("h0", policy=by_a_person())
            known = await rig.registered(plan)
            assert known.hash == plan_hash(plan)
            assert (await rig.registered(plan)) == known
            first = await rig.windows.begin(known.hash[:10], "w", ADMIN)
            again = await rig.windows.begin(known.hash, "w", ADMIN)
            assert first.id == again.id == "W1"
            assert list(rig.fleet.table("windows")) == ["W1"]
            assert (await refused(rig.windows.begin("0" * 64, "x", ADMIN)))[0] == "not-found"
            assert (await refused(rig.windows.begin(known.hash, " ", ADMIN)))[0] == "bad-request"

    run(main)


def test_a_plan_that_needs_approval_runs_only_with_another_persons(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}, approvals=1) as rig:
            plan = rig.plan("h0", policy=by_a_person())
            known = await rig.registered(plan)
            code, words = await refused(rig.windows.begin(known.hash, "w", ADMIN))
            assert (code, words) == ("conflict", "The plan needs 1 approval(s) of other people, and has 0.")
            code, words = await refused(rig.windows.approve(known.hash, ADMIN))
            assert code == "conflict"
            assert "anna has registered this plan" in words
            assert (await refused(rig.windows.approve(known.hash, VIEWER)))[0] == "forbidden"
            await rig.windows.approve(known.hash, BERT)
            twice = await rig.windows.approve(known.hash, BERT)
            assert [one.by.user for one in twice.approvals] == ["bert"]
            assert (await refused(rig.windows.begin(known.hash, "w", BERT)))[0] == "conflict"
            changed = await rig.registered(replace(plan, title="patch, and more"))
            assert (await refused(rig.windows.begin(changed.hash, "w", ADMIN)))[0] == "conflict"
            window = await rig.windows.begin(known.hash, "w", ADMIN)
            assert window.approved_by == ("bert",)

    run(main)


def test_approvals_outlive_the_engine(tmp_path: Path) -> None:
    async def main() -> None:
        rig = WindowRig(tmp_path, {"sim": rack()})
        await rig.begin()
        policy = by_a_person(approvals=1)
        known = await rig.registered(rig.plan("h0", policy=policy))
        await rig.windows.approve(known.hash, BERT)
        await rig.crash()
        await rig.begin()
        assert (await rig.windows.begin(known.hash, "w", ADMIN)).approved_by == ("bert",)
        await rig.end()

    run(main)


def test_a_viewer_can_do_nothing_and_each_refusal_is_on_record(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            before = rig.the_window()
            known = rig.the_window().plan
            steps, hook = rig.windows.steps, StepKind.HOOK
            wishes = [
                rig.windows.register(rig.plan("h1"), VIEWER),
                rig.windows.approve(known, VIEWER),
                rig.windows.begin(known, "v", VIEWER),
                rig.windows.halt("W1", VIEWER),
                rig.windows.resume("W1", VIEWER),
                rig.windows.end("W1", "x", VIEWER),
                steps.skip("W1", "sim/h0", hook, "x", VIEWER),
                steps.by_hand("W1", "sim/h0", hook, "x", VIEWER),
                steps.retry("W1", "sim/h0", hook, "x", VIEWER),
                steps.leave_out("W1", "sim/h0", "x", VIEWER),
            ]
            assert {(await refused(wish))[0] for wish in wishes} == {"forbidden"}
            assert rig.the_window().hosts == before.hosts
            assert rig.the_window().state is WindowState.RUNNING
            records = [record for record in await rig.journal.audit() if record.kind == "refused"]
            assert len(records) == len(wishes)

    run(main)


def test_a_read_only_cluster_has_no_window(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}) as rig:
            known = await rig.registered(rig.plan("h0"))
            rig.read_only.add("sim")
            await rig.poll("sim")
            assert (await refused(rig.windows.begin(known.hash, "w", ADMIN)))[0] == "read-only"
            await asyncio.sleep(600)
            assert not rig.direct["sim"].calls

    run(main)


def test_two_windows_are_never_open_on_one_cluster(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}) as rig:
            await rig.window("h0", policy=by_a_person())
            known = await rig.registered(rig.plan("h1"))
            code, words = await refused(rig.windows.begin(known.hash, "second", ADMIN))
            assert code == "conflict"
            assert "W1 (patch) is open on sim" in words
            await rig.windows.end("W1", "called off", ADMIN)
            await rig.windows.begin(known.hash, "second", ADMIN)

    run(main)


def test_decisions_fit_where_a_host_stands(tmp_path: Path) -> None:
    async def main() -> None:
        async with WindowRig(tmp_path, {"sim": rack()}) as rig:
            await rig.window("h0", policy=by_a_person())
            await rig.stands("h0", StepKind.HOOK, StepState.NEEDS_YOU)
            steps = rig.windows.steps
            told = {
                "done already": await refused(steps.skip("W1", "h0", StepKind.DRAIN, "x", ADMIN)),
                "not its turn": await refused(steps.skip("W1", "h0", StepKind.READY, "x", ADMIN)),
                "seen, not said": await refused(steps.by_hand("W1", "h0", StepKind.EMPTY, "", ADMIN)),
                "no such host": await refused(steps.skip("W1", "h9", StepKind.HOOK, "x", ADMIN)),
                "no such window": await refused(steps.skip("W9", "h0", StepKind.HOOK, "x", ADMIN)),
                "later": await refused(steps.retry("W1", "h0", StepKind.BACK, "", ADMIN)),
            }
            codes = {what: code for what, (code, _) in told.items()}
            assert codes == {
                "done already": "conflict",
                "not its turn": "conflict",
                "seen, not said": "bad-request",
                "no such host": "not-found",
                "no such window": "not-found",
                "later": "conflict",
            }
            await steps.by_hand("W1", "h0", StepKind.HOOK, "", ADMIN)
            await rig.stands("h0", StepKind.BACK, StepState.RUNNING)
            code, words = await refused(steps.retry("W1", "h0", StepKind.DRAIN, "", ADMIN))
            assert code == "conflict"
            assert "may have been restarted" in words

    run(main)


# --- over the socket -------------------------------------------------------------------------------


async def test_a_plan_is_registered_and_shown_over_the_socket(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here, here.client() as client:
        known = await client.register_plan(PLAN)
        assert (await client.plan(known.hash[:12])) == PLAN
        assert [plan.hash for plan in (await client.snapshot()).plans] == [known.hash]
        stays = (PlannedStay(vm="v0", name="vm-0", why="a GPU", fate=Fate.HOLD),)
        held = replace(PLAN, policy=Policy(switches=False), hosts=(replace(PLAN.hosts[0], stays=stays),))
        await until(lambda: here.engine.fleet.host("north", "h1"), "the first poll")
        window = await client.begin_window((await client.register_plan(held)).hash, "w")
        assert here.engine.windows.busy
        await client.change_window(window.id, "stop")
        assert (await client.window(window.id)).state is WindowState.STOPPED
        await client.change_window(window.id, "resume")
        for verb in ("skip", "done", "retry"):
            with pytest.raises(EngineRefusal):
                await client.decide(window.id, window.hosts[0], StepKind.REFILL, verb, "x")
        await client.leave_out(window.id, window.hosts[0], "broken")
        assert (await client.window(window.id)).hosts[0].left_out == "broken"
        await client.change_window(window.id, "end", "called off")
        assert (await client.window(window.id)).state is WindowState.ENDED
        with pytest.raises(EngineRefusal, match="W1 is over"):
            await client.change_window(window.id, "resume")


CHANGES: list[tuple[str, Any]] = [
    ("plans", PLAN),
    ("plans/0123456789/approve", {}),
    ("windows", {"plan": "0123456789", "token": "t"}),
    *((f"windows/W1/{verb}", {"why": "x"}) for verb in ("stop", "resume", "end")),
    ("windows/W1/hosts/north/h1/leave", {"why": "x"}),
    *((f"windows/W1/hosts/north/h1/steps/hook/{verb}", {"why": "x"}) for verb in ("skip", "done", "retry")),
]


async def test_a_read_only_engine_takes_no_wish_for_a_window(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north")), read_only=True) as here:
        for path, body in CHANGES:
            status, raw = await here.http("POST", f"/v1/{path}", json=_plain(body))
            assert (status, b"read-only" in raw) == (403, True), path


async def test_a_viewer_and_a_read_only_console_can_change_nothing_of_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = AccessRules(viewers=(STRANGER.pw_name,))
    async with house(tmp_path, PlayedCluster("north", answer("north")), rules=rules) as here:
        for path, body in CHANGES:
            header = {"X-Evac-Read-Only": "1"}
            assert (await here.http("POST", f"/v1/{path}", json=_plain(body), headers=header))[0] == 403, path
        played_as(monkeypatch, STRANGER.pw_uid)
        for path, body in CHANGES:
            assert (await here.http("POST", f"/v1/{path}", json=_plain(body)))[0] == 403, path
        assert (await here.http("GET", "/v1/windows"))[0] == 200
        assert (await here.http("GET", "/v1/windows/W1"))[0] == 404


def _plain(body: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(body)


def test_a_step_that_nobody_knows_is_refused_with_those_there_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path, PlayedCluster("north", answer("north"))) as here:
            status, raw = await here.http(
                "POST", "/v1/windows/W1/hosts/north/h1/steps/reboot/skip", json={"why": "x"}
            )
            assert status == 400
            assert b"preflight, fence, drain" in raw

    asyncio.run(main())
