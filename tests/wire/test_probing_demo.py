"""What the demo's moves are measured as holds what an independent client of the guest saw at the same time."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from pathlib import Path

from evac.actions import LiveMigrate
from evac.api import OrderRequest
from evac.assembly import Engine
from evac.backend import Plugin
from evac.config import load, plugins
from evac.jobs import Actor, Job, JobState
from evac.journal import Journal
from evac.lifecycle import prepare_state
from evac.model import VM, VMState
from evac.paths import paths
from evac.probe import FeltVerdict
from tests.wire.test_simulator_demo import Demo

ADMIN = Actor(uid=0, user="anna", role="admin", via="test")
STEP = 0.005
PATIENCE = 60.0
TRIES = 5
"""Moves until one is measured: where this machine holds the prober up, it says so instead of giving a figure."""

SLACK = 0.1
"""Seconds by which a busy machine may hold up a thread of ours or the demo's timer."""


class Witness(threading.Thread):
    """Knocks every 5 ms, each time anew, and remembers who answered when."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(daemon=True)
        self.place = (address, port)
        self.good: list[tuple[float, float]] = []
        self.bad: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(STEP):
            with socket.socket() as knock:
                knock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                knock.settimeout(0.02)
                sent = time.monotonic()
                if knock.connect_ex(self.place) == 0:
                    self.good.append((sent, time.monotonic()))
                else:
                    self.bad.append(sent)

    def longest(self) -> tuple[float, float]:
        """The longest silence: at least, from the first knock in vain to the last; and at most, between two answers.

        A pause of this thread's own, with no knock in it, is no silence of the guest's.
        """
        pairs = list(zip(self.good, self.good[1:], strict=False))
        before, after = max(pairs, key=lambda pair: pair[1][0] - pair[0][0])
        vain = [sent for sent in self.bad if before[0] < sent < after[1]]
        return (vain[-1] - vain[0] if vain else 0.0), after[1] - before[0]


async def until(what: object, words: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end, words
        await asyncio.sleep(0.02)


def smallest(engine: Engine, cluster: str) -> VM:
    """A VM that moves in seconds: little memory, that hardly changes."""
    vms: list[VM] = [
        vm
        for vm in engine.fleet.table("vms").values()
        if vm.cluster == cluster and vm.state is VMState.RUNNING
    ]
    return min(
        (vm for vm in vms if not vm.task and not vm.local_disk), key=lambda vm: (vm.memory or 0, vm.name)
    )


async def moved(engine: Engine, port: int, token: str) -> tuple[Job, tuple[float, float]]:
    """A move to its end and the end of its measure, and the longest silence that the witness heard."""
    vm = smallest(engine, "fra-prod")
    (address,) = vm.addresses
    assert address.startswith("127.")
    witness = Witness(address, port)
    witness.start()
    try:
        move = LiveMigrate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host)
        order = OrderRequest(title="move", actions=(move,), token=token)
        ident = (await engine.queue.order(order, ADMIN)).jobs[0].id
        jobs = engine.fleet.table("jobs")
        await until(
            lambda: jobs[ident].felt_verdict is not None and jobs[ident].state.ended, "it never ended"
        )
    finally:
        witness.done.set()
        witness.join(5)
    job = jobs[ident]
    assert job.state is JobState.DONE, job
    return job, witness.longest()


async def test_the_bracket_of_a_move_in_the_demo_agrees_with_a_second_pinger(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    installed: dict[str, Plugin] = {"openstack": plugins()["openstack"]}
    text = (tmp_path / "config.toml").read_text().partition("[clusters.ams-prod]")[0]
    (tmp_path / "config.toml").write_text(text)
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    config = load(where.config, installed)
    (rule,) = config.probe.rules
    prepare_state(where, config.access)
    engine = Engine(where, config, await Journal.open(where.journal), installed=installed, read_only=False)
    await engine.start()
    try:
        await until(lambda: len(engine.fleet.table("vms")) > 600, "the cloud was never read")
        said: list[str] = []
        for number in range(TRIES):
            job, (least, most) = await moved(engine, rule.port, f"t{number}")
            (felt,) = job.felt
            if job.felt_verdict is not FeltVerdict.UNMEASURED:
                break
            assert job.felt_words.removeprefix("not measured: ") != job.felt_words, (
                "what was not measured says why"
            )
            said.append(job.felt_words)
        else:
            raise AssertionError(f"not one of {TRIES} moves was measured: {said}")
    finally:
        await engine.close()
        assert demo.end() == 0
    assert job.felt_verdict is FeltVerdict.FINE
    assert (felt.unmeasured, felt.answered_before, felt.answers_now) == ("", True, True)
    if felt.longest is None:
        assert least <= felt.interval + SLACK
    else:
        assert felt.longest.most is not None
        assert felt.longest.least <= most + SLACK
        assert least <= felt.longest.most + SLACK
