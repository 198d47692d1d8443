"""`evac window` and `evac approve` by the real `evac`: a window over a simulated cloud, from its file to its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from evac.lifecycle import holder
from evac.paths import paths
from tests.wire.cli_site import HOSTS, Site, changes, on, site, world

QUICK = ("--policy", "ready_every=0.1")


async def planned(made: Site, *hosts: str) -> Path:
    plan = made.folder / "plan.toml"
    ran = await made.evac("plan", "new", *hosts, "--ticket", "CHG-48213", *QUICK, "-o", plan)
    assert ran.code == 0, ran.err
    return plan


async def needed(made: Site) -> str:
    """What a person is asked for, once W1 asks."""
    ran = await made.evac("window", "wait", "W1")
    assert ran.code == 7, f"{ran.code}: {ran.out} {ran.err}"
    return ran.out


async def test_a_window_from_its_plan_to_its_end(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(HOSTS, 2)}) as fra:
        assert (await fra.evac("window")).code == 0
        plan = await planned(fra, "cmp-1")
        shown = await fra.evac("window", "start", plan)
        assert shown.code == 0, shown.out + shown.err
        assert "Nothing has been done. Add --yes to start it." in shown.out
        assert "cmp-1-vm0" in shown.out
        assert changes(fra) == []

        begun = await fra.evac("window", "start", plan, "--yes", "--json")
        assert begun.json["window"]["id"] == "W1"
        assert "SAFE TO REBOOT cmp-1: guests 0" in await needed(fra)
        assert on(fra, "cmp-1") == set()
        assert (await fra.evac("window")).code == 7
        assert (await fra.evac("window", "skip", "W1", "cmp-1")).code == 2, "a reason is needed"
        assert (await fra.evac("window", "done", "W1", "cmp-9")).code == 2
        assert (await fra.evac("window", "done", "W1", "cmp-1", "empty")).code == 2

        assert (await fra.evac("window", "done", "W1", "cmp-1")).code == 0
        assert "cmp-1 back" in await needed(fra), "nobody tells whether it was restarted"
        assert (
            await fra.evac("window", "done", "W1", "cmp-1", "back", "--why", "seen on its console")
        ).code == 0
        ended = await fra.evac("window", "wait", "W1", "--json")
        assert ended.code == 0, ended.out
        assert ended.json["window"]["state"] == "done"
        assert on(fra, "cmp-1") == {"cmp-1-vm0", "cmp-1-vm1"}
        assert not fra.clouds["fra"].world.hosts["cmp-1"].maintenance
        report = await fra.evac("report", "W1")
        assert "CHG-48213" in report.out
        assert "seen on its console" in report.out


async def test_a_window_goes_on_after_its_engine_was_killed_and_is_left_and_ended(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(HOSTS, 2)}) as fra:
        plan = await planned(fra, "cmp-1", "cmp-2")
        assert (await fra.evac("window", "start", plan, "--yes")).code == 0
        await needed(fra)
        held = holder(paths(fra.config, fra.state).lock)
        assert held is not None
        os.kill(held.pid, signal.SIGKILL)
        assert "SAFE TO REBOOT cmp-1" in await needed(fra)
        assert (await fra.evac("window", "stop", "w1")).code == 0
        left = await fra.evac("window", "leave", "W1", "cmp-1", "--why", "its DIMM is broken")
        assert left.code == 0, left.err
        waited = await fra.evac("window", "wait", "W1", "--timeout", "2")
        assert waited.code in (0, 4, 7)
        assert fra.clouds["fra"].world.hosts["cmp-1"].maintenance, "stopped: nothing new begins"
        assert (await fra.evac("window", "resume", "W1")).code == 0
        assert "cmp-2" in await needed(fra)
        assert on(fra, "cmp-1") >= {"cmp-1-vm0", "cmp-1-vm1"}
        assert (await fra.evac("window", "end", "W1", "--why", "called off")).code == 0
        assert (await fra.evac("window", "wait", "W1")).code == 4
        again = await fra.evac("window", "resume", "W1")
        assert again.code == 3
        assert "W1 is over: ended" in again.err


async def test_what_is_no_plan_is_refused_and_nobody_approves_his_own(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(HOSTS, 1)}) as fra:
        assert (await fra.evac("window", "start", "0123456789abcdef", "--yes")).code == 2
        assert (await fra.evac("approve", "0123456789")).code == 2
        plan = await planned(fra, "cmp-1", "--policy", "approvals=1")
        started = await fra.evac("window", "start", plan, "--yes")
        assert started.code == 3
        assert "needs 1 approval(s)" in started.err
        sealed = (await fra.evac("plan", "hash", plan)).out.strip()
        approved = await fra.evac("approve", sealed[:12], "--yes")
        assert approved.code == 3
        assert "somebody else has to approve it" in approved.err
        assert changes(fra) == []
