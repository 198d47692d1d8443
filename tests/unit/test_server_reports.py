"""Reports over the engine's socket: of windows and orders out of the journal, however old, in three formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evac import clock
from evac.access import AccessRules
from evac.client import EngineRefusal
from evac.report_nouns import Report
from evac.window.nouns import KnownPlan, LedgerState
from tests.unit import report_rig as rig
from tests.unit.housing import STRANGER, House, house, played_as


async def kept(here: House, **more: Any) -> None:
    """A window, its plan, orders and ledger in the journal alone: as of long ago."""
    known = KnownPlan(
        hash=rig.HASH, title="Kernel", by=rig.ANNA, at=rig.BEGAN - 9_000, approvals=rig.APPROVALS
    )
    orders = rig.orders()
    journal = here.engine._journal
    trouble = await journal.save(
        windows=[(rig.window(**more), "w3")],
        plans=[(known, rig.PLAN)],
        ledger=[rig.switched(LedgerState.SWITCHED)],
        orders=[(order, f"token-{order.id}") for order, _ in orders],
        records=[(rig.BEGAN - 10, "before", {}), (rig.BEGAN + 1, "one", {}), (rig.BEGAN + 2, "two", {})],
        needed=True,
    )
    assert trouble == ""
    from evac.journal import Trail

    assert await journal.save(jobs=[(job, Trail()) for _, jobs in orders for job in jobs], needed=True) == ""


async def test_a_window_of_long_ago_is_reported_with_its_plan_orders_and_ledger(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await kept(here)
        status, raw = await here.http("GET", "/v1/windows/W3/report?zone=Europe/Berlin")
    body = json.loads(raw)
    assert status == 200
    assert set(body) == set(Report.__struct_fields__)
    assert [move["name"] for move in body["moves"]] == ["db-07", "web-1", "old", "db-07"]
    assert body["approvals"][0]["by"]["user"] == "ben"
    assert body["hosts"][0]["emptied"]["p50"] == 300.0
    assert body["attention"][0].startswith("STILL OWED: noout of pve-a1")
    assert (body["zone"], body["began"]["local"]) == ("Europe/Berlin", "2026-12-01 01:00:00")


async def test_the_audit_range_is_the_windows_own_and_checks_out(tmp_path: Path) -> None:
    from evac.audit_check import verify
    from evac.audit_range import seal_of

    async with house(tmp_path) as here:
        await kept(here)
        records = {record.kind: record for record in await here.engine.audit(0, 100)}
        body = json.loads((await here.http("GET", "/v1/windows/W3/report"))[1])
        assert (body["audit"]["first"], body["audit"]["last"]) == (records["one"].seq, records["two"].seq)
        assert body["audit"]["hash"] == records["two"].hash == seal_of(here.where.journal, records["two"].seq)
        assert verify(here.where.journal).ok


async def test_a_window_whose_plan_is_gone_is_reported_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        assert await here.engine._journal.save(windows=[(rig.window(), "w3")], needed=True) == ""
        body = json.loads((await here.http("GET", "/v1/windows/W3/report"))[1])
    assert (body["plan"], body["estimate"], body["moves"]) == (rig.HASH, None, [])


async def test_an_order_is_reported_in_each_format(tmp_path: Path) -> None:
    async with house(tmp_path) as here, here.client() as client:
        await kept(here)
        text = await client.report("o4", form="md", zone="UTC")
        assert text.startswith("# Order O4: drain pve-a1\n")
        assert "out for 0.10 to 0.31 s" in text
        assert (await client.report("O4", form="html")).startswith("<!DOCTYPE html>")
        assert json.loads(await client.report("O4", form="json"))["kind"] == "order"


async def test_an_order_that_was_given_now_is_reported_with_the_newest_records(tmp_path: Path) -> None:
    from tests.unit.housing import order
    from tests.unit.playing import PlayedCluster, answer, until

    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here, here.client() as client:
        await until(lambda: here.engine.fleet.table("vms"), "the first poll")
        began = clock.wall()
        given = await client.order(order(to="h2"))
        body = json.loads(await client.report(given.order.id, form="json"))
    assert body["began"]["at"] >= began - 1
    assert body["by"]["via"] == "test"
    assert body["audit"]["last"] > 0


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("windows/W9/report", 404, "There is no window W9."),
        ("orders/O9/report", 404, "There is no order O9."),
        ("orders/O4/report?format=pdf", 400, "json, md, html"),
        ("orders/O4/report?zone=Mars/Olympus", 400, "no time zone"),
        ("orders/O4/report?zone=../../etc/passwd", 400, "no time zone"),
    ],
)
async def test_what_cannot_be_reported_is_refused_with_words(
    tmp_path: Path, path: str, status: int, words: str
) -> None:
    async with house(tmp_path) as here:
        got, raw = await here.http("GET", f"/v1/{path}")
    assert got == status
    assert words in json.loads(raw)["problem"]["happened"]


async def test_a_viewer_reads_reports_and_a_stranger_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = AccessRules(viewers=(STRANGER.pw_name,))
    async with house(tmp_path, rules=rules) as here, here.client() as client:
        await kept(here)
        played_as(monkeypatch, STRANGER.pw_uid)
        assert "Order O4" in await client.report("O4", form="md")
        played_as(monkeypatch, 54_321)
        with pytest.raises(EngineRefusal):
            await client.report("O4", form="md")


async def test_the_orders_of_a_window_are_found_also_before_its_steps_name_them(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        first = rig.window().hosts[0]
        bare = rig.window(hosts=(replace(first, steps=()),))
        assert await here.engine._journal.save(windows=[(bare, "w3")], needed=True) == ""
        found, _ = rig.drain(id="O9", window="W3")
        assert await here.engine._journal.save(orders=[(found, "t9")], needed=True) == ""
        here.engine.fleet.publish(orders=(found,))
        assert here.engine.reporter._ids(bare) == ["O9"]
