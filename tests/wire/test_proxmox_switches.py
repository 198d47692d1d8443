"""Backup jobs and HA's rebalancing are turned by requests that fit Proxmox VE's own schema; nothing else of them changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.proxmox.switches import parsed
from evac.backend import Call
from evac.errors import Forbidden, NotFound, ReadOnly, Refused
from tests.wire.pve_site import Site, served

FLEETING = "0a" * 20 + ":1"
"""Id of a job of vzdump.cron, which changes with the job."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as made:
        made.backups = {
            "nightly": {"id": "nightly", "enabled": 1, "comment": "all guests\nsecond line"},
            "backup-7f3a52c0-4d1e": {"id": "backup-7f3a52c0-4d1e", "node": "pve2", "storage": "local"},
            "off": {"id": "off", "enabled": "0"},
            FLEETING: {"id": FLEETING, "enabled": 1},
        }
        made.options["crs"] = {"ha": "dynamic", "ha-auto-rebalance": 1, "ha-auto-rebalance-margin": 12.5}
        yield made


@asynccontextmanager
async def opened(site: Site, calls: list[Call] | None = None, **more: Any) -> AsyncIterator[Any]:
    backend = site.backend(calls, **more)
    try:
        yield backend
    finally:
        await backend.close()


async def values(backend: Any) -> dict[str, str]:
    return {one.id: one.value for one in await backend.switches()}


async def test_jobs_and_the_balancer_are_listed_with_what_they_would_do(site: Site) -> None:
    async with opened(site) as backend:
        found = {one.id: one for one in await backend.switches()}
    assert list(found) == [
        "backup/nightly",
        "backup/backup-7f3a52c0-4d1e",
        "backup/off",
        "crs/auto-rebalance",
    ]
    nightly, here, off, balancer = found.values()
    assert (nightly.name, nightly.kind) == ("backup job nightly (all guests)", "backup")
    assert (nightly.value, nightly.calm) == ("enabled", "disabled")
    assert here.value == "enabled", "a job that says nothing is enabled"
    assert "on pve2 only" in here.why
    assert off.value == off.calm
    assert (balancer.kind, balancer.value, balancer.calm) == ("balancer", "on", "off")
    assert site.misfits() == []


async def test_without_the_option_there_is_no_balancer(site: Site) -> None:
    for crs in (None, {"ha": "static"}, "ha=static"):
        site.options["crs"] = crs
        async with opened(site) as backend:
            assert "crs/auto-rebalance" not in await values(backend)


async def test_a_job_is_disabled_and_enabled_and_keeps_all_else(site: Site) -> None:
    calls: list[Call] = []
    job = "backup/backup-7f3a52c0-4d1e"
    async with opened(site, calls) as backend:
        await backend.turn(job, "enabled", "disabled")
        assert (await values(backend))[job] == "disabled"
        await backend.turn(job, "disabled", "enabled")
        assert (await values(backend))[job] == "enabled"
    kept = site.backups["backup-7f3a52c0-4d1e"]
    assert (kept["node"], kept["storage"]) == ("pve2", "local")
    path = "/api2/json/cluster/backup/backup-7f3a52c0-4d1e"
    assert [(method, where, form) for method, where, form in site.changing] == [
        ("PUT", path, {"enabled": "0"}),
        ("PUT", path, {"enabled": "1"}),
    ]
    assert [call.method for call in calls] == ["PUT", "PUT"]
    assert site.misfits() == []


@pytest.mark.parametrize("as_text", [False, True])
async def test_the_balancer_is_turned_and_the_rest_of_its_property_goes_along(
    site: Site, as_text: bool
) -> None:
    if as_text:
        site.options["crs"] = "ha=dynamic,ha-auto-rebalance=1,ha-auto-rebalance-margin=12.5"
    async with opened(site) as backend:
        await backend.turn("crs/auto-rebalance", "on", "off")
        assert (await values(backend))["crs/auto-rebalance"] == "off"
        assert site.options["crs"] == {
            "ha": "dynamic",
            "ha-auto-rebalance": "0",
            "ha-auto-rebalance-margin": "12.5",
        }
        await backend.turn("crs/auto-rebalance", "off", "on")
    assert site.options["crs"]["ha-auto-rebalance"] == "1"
    assert site.misfits() == []


async def test_what_is_not_as_it_was_confirmed_is_left_alone(site: Site) -> None:
    async with opened(site) as backend:
        with pytest.raises(Refused, match="is disabled, and not enabled"):
            await backend.turn("backup/off", "enabled", "disabled")
        with pytest.raises(Refused, match="can be on or off"):
            await backend.turn("crs/auto-rebalance", "on", "maybe")
        for gone in ("backup/none", f"backup/{FLEETING}", "drs"):
            with pytest.raises(NotFound):
                await backend.turn(gone, "enabled", "disabled")
    assert site.changing == []


async def test_a_missing_privilege_is_named_and_remembered(site: Site) -> None:
    site.apitokens["evac@pve!console"] = "s3cret"
    site.grant("evac@pve!console", "/", "Sys.Audit", "VM.Audit")
    async with opened(site, token="evac@pve!console", token_secret="s3cret") as backend:
        with pytest.raises(Forbidden, match=r"Sys\.Modify"):
            await backend.turn("backup/nightly", "enabled", "disabled")
        told = {one.action: one for one in await backend.capabilities()}
        assert not told["turn_switch"].able
        assert "Sys.Modify" in told["turn_switch"].why_not
    assert site.backups["nightly"]["enabled"] == 1


async def test_read_only_lists_and_turns_nothing(site: Site) -> None:
    async with opened(site, read_only=True) as backend:
        assert (await values(backend))["backup/nightly"] == "enabled"
        with pytest.raises(ReadOnly):
            await backend.turn("backup/nightly", "enabled", "disabled")
    assert site.changing == []


def test_a_property_string_is_read_whichever_way_it_comes() -> None:
    assert parsed(None) == parsed("") == {}
    assert parsed("ha=static, ha-auto-rebalance=0") == {"ha": "static", "ha-auto-rebalance": "0"}
    assert parsed({"ha": "static", "ha-auto-rebalance": True, "x": None}) == {
        "ha": "static",
        "ha-auto-rebalance": "1",
    }
