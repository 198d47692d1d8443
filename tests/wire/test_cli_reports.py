"""`evac report` and the notify hooks by the real command line, engine and a simulated cloud: a drain from end to end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.wire.cli_site import HOSTS, Site, changes, on, site, until, world


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    """One cloud: cmp-1, cmp-2 and cmp-10 with three VMs each."""
    async with site(tmp_path, {"fra": world(HOSTS, 3)}) as made:
        yield made


def hook(fra: Site, text: str = 'cat >> "$HOME/notices"') -> str:
    """A config's [notify] with a command of ours; HOME is the site's folder."""
    place = fra.folder / "hook.sh"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o700)
    return f"[notify]\ncommand = {json.dumps([str(place)])}\n"


def notices(fra: Site) -> list[dict[str, str]]:
    file = fra.folder / "notices"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_drain_is_reported_and_whoever_does_not_look_is_told(fra: Site) -> None:
    fra.write_config(hook(fra))
    names = on(fra, "cmp-1")
    drained = await fra.evac("drain", "cmp-1", "--yes", "--reason", "firmware", "--ticket", "CHG-1")
    assert drained.code == 0, drained.err
    await until(lambda: bool(notices(fra)), "the notice")
    (told,) = notices(fra)
    assert (told["what"], told["subject"], told["ticket"]) == ("done", "O1", "CHG-1")
    assert "drain cmp-1 (CHG-1) is done" in told["text"]

    text = (await fra.evac("report", "O1", "--zone", "Europe/Berlin")).out
    assert text.startswith("# Order O1: drain cmp-1\n")
    assert "Ticket: CHG-1" in text
    assert "Europe/Berlin" in text
    rows = [line for line in text.splitlines() if line.startswith("| cmp-1-vm")]
    assert {row.split()[1] for row in rows} == names

    page = fra.folder / "report.html"
    assert (await fra.evac("report", "o1", "-o", str(page))).code == 0
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert page.stat().st_mode & 0o777 == 0o600

    body = (await fra.evac("report", "O1", "--format", "json")).json
    assert {move["name"] for move in body["moves"]} == names
    assert all(move["felt"] for move in body["moves"]), "measured, or said not to be"
    verified = await fra.evac(*body["verify"][0].split()[1:])
    assert verified.code == 0, verified.out
    assert f"Record {body['audit']['last']} has that hash." in verified.out


async def test_what_is_no_window_and_no_order_is_said(fra: Site) -> None:
    wrong = await fra.evac("report", "cmp-1")
    assert (wrong.code, "neither a window nor an order" in wrong.err) == (2, True)
    none = await fra.evac("report", "O99")
    assert (none.code, "There is no order O99." in none.err) == (2, True)
    place = fra.folder / "dir"
    place.mkdir()
    unwritten = await fra.evac("report", "W1", "-o", str(place))
    assert unwritten.code == 2


async def test_the_notify_test_says_for_each_way_whether_it_was_taken(fra: Site) -> None:
    none = await fra.evac("notify", "test")
    assert (none.code, "[notify] names no command and no webhook" in none.err) == (3, True)
    await fra.stop_engine()
    fra.write_config(hook(fra, "exit 7") + 'webhook = "env:EVAC_NOT_SET"\n')
    tried = await fra.evac("notify", "test", "--json")
    assert tried.code == 1
    assert [way["ok"] for way in tried.json["ways"]] == [False, False]
    assert "ended with exit code 7" in tried.json["ways"][0]["why"]
    assert "env:EVAC_NOT_SET" in tried.json["ways"][1]["why"]
    await fra.stop_engine()
    fra.write_config(hook(fra))
    good = await fra.evac("notify", "test")
    assert (good.code, good.out) == (0, "command: taken\n")
    assert notices(fra)[0]["what"] == "test"
    assert changes(fra) == []
    refused = await fra.evac("--read-only", "notify", "test")
    assert refused.code == 3


async def test_the_doctor_says_whether_somebody_would_be_told(fra: Site) -> None:
    def lines(body: Any) -> dict[str, bool | None]:
        (found,) = [part["findings"] for part in body["sections"] if part["section"] == "notices"]
        return {row["check"]: row["ok"] for row in found}

    assert lines((await fra.evac("doctor", "--json")).json) == {"hooks": None}
    fra.write_config('[notify]\ncommand = ["/no/such"]\nwebhook = "file:hook.url"\n')
    place = fra.folder / "hook.url"
    place.write_text("http://plain.example/x")
    place.chmod(0o600)
    assert lines((await fra.evac("doctor", "--json")).json) == {"command": False, "webhook": False}
    place.write_text("https://chat.example/x")
    fra.write_config('[notify]\ncommand = ["sh"]\nwebhook = "file:hook.url"\n')
    assert lines((await fra.evac("doctor", "--json")).json) == {"command": True, "webhook": True}
