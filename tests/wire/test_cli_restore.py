"""`evac restore` by the real command line: the list with its exit code, putting back, settling, and the reminder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.wire.cli_site import HOSTS, Site, changes, site, world


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, {"fra": world(HOSTS, 1)}) as made:
        yield made


async def enter(made: Site, host: str) -> None:
    ran = await made.evac("maintenance", "enter", host, "--reason", "DIMM", "--yes")
    assert ran.code == 0, ran.err


async def test_what_is_owed_is_listed_and_put_back(fra: Site) -> None:
    ran = await fra.evac("restore")
    assert (ran.code, ran.out.strip()) == (0, "Nothing is owed: evac has left nothing switched.")
    for host in ("cmp-1", "cmp-2"):
        await enter(fra, host)
    ran = await fra.evac("restore")
    assert ran.code == 4
    assert "cmp-1 in maintenance" in ran.out
    assert (await fra.evac("restore", "--json")).json["ledger"][1]["name"] == "cmp-2"

    sent = len(changes(fra))
    ran = await fra.evac("restore", "L1")
    assert (ran.code, "take out of maintenance cmp-1" in ran.out) == (0, True)
    assert "Nothing has been done" in ran.out
    assert len(changes(fra)) == sent

    ran = await fra.evac("restore", "L1", "--yes")
    assert ran.code == 0, ran.err
    hosts = fra.clouds["fra"].world.hosts
    assert (hosts["cmp-1"].maintenance, hosts["cmp-2"].maintenance) == (False, True)
    again = await fra.evac("restore", "L1", "--yes")
    assert (again.code, "L1 is restored already" in again.err) == (3, True)

    ran = await fra.evac("restore", "--all", "--yes")
    assert ran.code == 0, ran.err
    assert not hosts["cmp-2"].maintenance
    assert (await fra.evac("restore")).code == 0


async def test_an_entry_is_settled_with_a_reason_and_nothing_is_sent(fra: Site) -> None:
    await enter(fra, "cmp-1")
    sent = len(changes(fra))
    assert (await fra.evac("restore", "settle", "L1")).code == 2
    assert (await fra.evac("restore", "settle", "L9", "--why", "x")).code == 2
    ran = await fra.evac("restore", "settle", "L1", "--why", "goes to the scrapyard", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["entry"]["settled_why"] == "goes to the scrapyard"
    assert (await fra.evac("restore")).code == 0
    assert len(changes(fra)) == sent


async def test_a_read_only_console_restores_and_settles_nothing(fra: Site) -> None:
    await enter(fra, "cmp-1")
    sent = len(changes(fra))
    for words in (("restore", "L1", "--yes"), ("restore", "settle", "L1", "--why", "mine")):
        assert (await fra.evac("--read-only", *words)).code == 3
    assert len(changes(fra)) == sent
    assert (await fra.evac("restore")).code == 4


async def test_every_verb_reminds_of_what_was_left_for_too_long(fra: Site) -> None:
    await enter(fra, "cmp-1")
    assert "Still switched" not in (await fra.evac("hosts")).err
    await fra.stop_engine()
    journal = sqlite3.connect(fra.state / "journal.db")
    ((body,),) = journal.execute("SELECT body FROM ledger").fetchall()
    old = json.loads(body) | {"at": 0.0}
    journal.execute("UPDATE ledger SET body = ?", (json.dumps(old).encode(),))
    journal.commit()
    journal.close()
    ran = await fra.evac("hosts", "--json")
    assert ran.err.strip() == (
        "evac: Still switched by evac: cmp-1 in maintenance (L1). Put it back: evac restore"
    )
    assert ran.json["hosts"], "stdout stays what it was"
    assert (await fra.evac("restore", "L1", "--yes")).code == 0
    assert (await fra.evac("hosts")).err == ""
