"""A maintenance window over two real hosts that are really restarted, while every guest is pinged by somebody else too."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from pathlib import Path

from evac.api import Delta
from evac.jobs import Job, JobState
from evac.probe import Felt
from evac.window.nouns import StepKind, StepState, Window, WindowState
from tests.real.libvirt.configs import CLIENT_KEY, KNOWN_HOSTS
from tests.real.libvirt.hands import Hands, boots, command
from tests.real.libvirt.layout import HOSTS, address, guest_address
from tests.real.libvirt.pinger import Pinger, agrees
from tests.real.libvirt.rig import KVMRig
from tests.real.libvirt.witness import HOME, Witness
from tests.real.rig import CLUSTER
from tests.real.test_kvm_moves import moves

PATIENCE = 240
"""Seconds for the window: two hosts emptied, restarted, looked at and refilled, on two cores that four guests share."""


def shell() -> str:
    """The hosts' own sshd, their keys known."""
    where = ", ".join(f'"{host}" = "{address(host)}:22"' for host in HOSTS)
    return f"""
[clusters.{CLUSTER}.shell]
user = "root"
identity = "{CLIENT_KEY}"
known_hosts = "{KNOWN_HOSTS}"
hosts = {{ {where} }}
"""


async def test_two_hosts_are_emptied_restarted_and_refilled_and_every_outage_is_measured(
    kvm: Witness, tmp_path: Path
) -> None:
    """Another boot id on each, every guest home again, never twice, and each silence in the bracket of the report."""
    rig = KVMRig(tmp_path / "evac", extra=shell())
    before = boots()
    try:
        await rig.start()
        await rig.read()
        file = tmp_path / "plan.toml"
        await asyncio.to_thread(_plan, rig, file)
        with Hands() as hands, Pinger(HOME) as pinger:
            window = await _run(rig, file)
            delta = await rig.until("the window is over", lambda one: _over(one, window), PATIENCE)
        (window,) = (one for one in delta.windows if one.id == window.id)
        assert window.state is WindowState.DONE, (window.reason, rig.words())
        assert hands.restarted == ["kvm01", "kvm02"]
        after = boots()
        assert [after[host] != before[host] for host in HOSTS] == [True, True, False]
        for run in window.hosts:
            assert run.before is not None
            assert run.after is not None
            assert (run.before.boot, run.after.boot) == (before[run.host], after[run.host])
            assert all(step.state is StepState.DONE for step in run.steps), run.steps
        assert kvm.running() == {name: [host] for name, host in HOME.items()}
        assert not [entry for entry in delta.ledger if entry.state.owed]
        _outages(moves(delta.jobs), pinger)
        await _report(rig, window, delta)
    finally:
        rig.stop()


def _plan(rig: KVMRig, file: Path) -> None:
    words = ["plan", "new", "kvm01", "kvm02", "--ticket", "CHG-48213", "-o", str(file)]
    policy = {"ready_passes": "2", "ready_every": "1", "hook": shlex.join(command()), "kernel": ""}
    for key, value in policy.items():
        words += ["--policy", f"{key}={value}"] if value else []
    made = rig.evac(*words)
    assert made.returncode == 0, made.stdout + made.stderr


async def _run(rig: KVMRig, file: Path) -> Window:
    dry = await rig.evac_later("window", "start", str(file))
    assert not (await rig.snapshot()).windows, f"without --yes nothing begins: {dry.stdout}"
    begun = await rig.evac_later("window", "start", str(file), "--yes", "--json", "--no-wait")
    assert begun.returncode == 0, begun.stdout + begun.stderr + rig.words()
    delta = await rig.until("the window is known", lambda one: bool(one.windows), 20)
    return delta.windows[0]


def _over(delta: Delta, window: Window) -> bool:
    return any(one.id == window.id and one.state is not WindowState.RUNNING for one in delta.windows)


def _outages(jobs: list[Job], pinger: Pinger) -> None:
    """Each of the eight moves has a bracket, and holds what the second pinger saw."""
    assert len(jobs) == 2 * (3 + 1), "each guest goes and comes back"
    assert {(job.state, job.seen) for job in jobs} == {(JobState.DONE, 2)}
    wrong = {}
    for job in jobs:
        felt = _felt(job)
        said = agrees(felt, pinger.silences(job.action.name, felt))
        if said:
            wrong[job.id] = said
    assert not wrong, wrong


def _felt(job: Job) -> Felt:
    (found,) = [one for one in job.felt if one.address == guest_address(job.action.name)]
    return found


async def _report(rig: KVMRig, window: Window, delta: Delta) -> None:
    """The ticket's report says of each move what was felt, of each host which boots, and owes nothing."""
    done = await rig.evac_later("report", window.id, "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report.get("attention"), report["attention"]
    told = {move["job"]: move for move in report["moves"]}
    assert len(told) == 8
    for job in moves(delta.jobs):
        assert told[job.id]["felt"], told[job.id]
    assert [host["name"] for host in report["hosts"]] == ["kvm01", "kvm02"]
    checked = await rig.evac_later(*report["verify"][0].split()[1:])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print(f"window of {window.ended - window.created:.0f} s", time.strftime("%H:%M"))  # type: ignore[operator]
    assert StepKind.REFILL in {step.kind for run in window.hosts for step in run.steps}
