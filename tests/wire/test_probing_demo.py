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
from evac.jobs import Actor, JobState
from evac.journal import Journal
from evac.lifecycle import prepare_state
from evac.model import VM, VMState
from evac.paths import paths
from evac.probe import FeltVerdict
from tests.wire.test_simulator_demo import Demo

ADMIN = Actor(uid=0, user="anna", role="admin", via="test")
STEP = 0.005
PATIENCE = 60.0
SLACK = 0.1
"""Seconds by which a busy machine may hold up a thread of ours or the demo's timer."""


class Witness(threading.Thread):
    """Knocks every 5 ms, each time anew, and remembers who answered when."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(daemon=True)
        self.place = (address, port)
        self.good: list[tuple[float, float]] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(STEP):
            with socket.socket() as knock:
                knock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                knock.settimeout(0.02)
                sent = time.monotonic()
                if knock.connect_ex(self.place) == 0:
                    self.good.append((sent, time.monotonic()))

    def longest(self) -> tuple[float, float]:
        """The longest silence: at least, and at most."""
        pairs = list(zip(self.good, self.good[1:], strict=False))
        before, after = max(pairs, key=lambda pair: pair[1][0] - pair[0][0])
        return after[0] - before[1] - 2 * (STEP + 0.02), after[1] - before[0]


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
        vm = smallest(engine, "fra-prod")
        (address,) = vm.addresses
        assert address.startswith("127.")
        witness = Witness(address, rule.port)
        witness.start()
        move = LiveMigrate(cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host)
        reply = await engine.queue.order(OrderRequest(title="move", actions=(move,), token="t"), ADMIN)
        jobs, ident = engine.fleet.table("jobs"), reply.jobs[0].id
        await until(
            lambda: jobs[ident].felt_verdict is not None and jobs[ident].state.ended, "it never ended"
        )
        witness.done.set()
        witness.join(5)
    finally:
        await engine.close()
        assert demo.end() == 0
    job = jobs[ident]
    assert (job.state, job.felt_verdict) == (JobState.DONE, FeltVerdict.FINE)
    (felt,) = job.felt
    assert (felt.unmeasured, felt.answered_before, felt.answers_now) == ("", True, True)
    least, most = witness.longest()
    if felt.longest is None:
        assert least <= felt.interval + SLACK
    else:
        assert felt.longest.most is not None
        assert felt.longest.least <= most + SLACK
        assert least <= felt.longest.most + SLACK
