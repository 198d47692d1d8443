"""Who may not, cannot: read-only and viewers change nothing on real hosts, by libvirt's own events."""

from __future__ import annotations

import asyncio
import grp
import json
import pwd
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from evac.api import OrderRequest
from evac.client import EngineRefusal
from tests.real.intents import every_action
from tests.real.libvirt.events import Events
from tests.real.libvirt.layout import REPO
from tests.real.libvirt.rig import KVMRig, vm
from tests.real.libvirt.witness import HOME, Witness
from tests.real.rig import named

NOBODY, NOGROUP = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
READS = {"hello", "hello again", "snapshot", "plan a drain"}
"""What a viewer may do. The plan of an evacuation is refused for another reason: the host is up."""


@pytest.mark.parametrize("how", ["engine", "cluster"])
async def test_read_only_changes_nothing_on_any_host(kvm: Witness, tmp_path: Path, how: str) -> None:
    """Every action is refused for that reason, a drain by the command line too, and libvirt has nothing to tell."""
    rig = KVMRig(tmp_path / "evac", read_only=how == "cluster")
    try:
        await rig.start(*(["--read-only"] if how == "engine" else []))
        delta = await rig.read()
        with Events() as events:
            codes = set()
            async with rig.client() as client:
                for action in every_action(vm(delta, "web1"), named(delta.hosts, "kvm01"), "1"):
                    request = OrderRequest(title="tried", actions=(action,), token=uuid.uuid4().hex)
                    with pytest.raises(EngineRefusal) as refused:
                        await client.order(request)
                    codes.add(refused.value.refusal.code)
            done = await rig.evac_later("drain", "kvm01", "--yes", "--reason", "tried")
            assert done.returncode not in (0, 1), done.stdout + done.stderr
            await rig.fresh()
        assert codes == {"read-only"}
        assert events.seen == []
        assert {name: [host] for name, host in HOME.items()} == kvm.running()
    finally:
        rig.stop()


@pytest.fixture
def shared(kvm: Witness) -> Iterator[KVMRig]:
    """An engine that nobody may watch, in a folder that nobody may cross."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        rig = KVMRig(Path(folder), extra='[access]\nviewers = ["nobody"]\nsocket_group = "nogroup"\n')
        yield rig
        rig.stop()


async def test_a_viewer_sees_every_guest_and_changes_none(kvm: Witness, shared: KVMRig) -> None:
    """By the kernel's word of who is at the socket."""
    await shared.start()
    await shared.read()
    with Events() as events:
        done = await asyncio.to_thread(_as_nobody, shared)
        assert done.returncode == 0, done.stderr
        await shared.fresh()
    answers: dict[str, str] = json.loads(done.stdout)
    assert (answers.pop("user"), answers.pop("role"), answers.pop("rows")) == (
        "nobody",
        "viewer",
        str(len(HOME)),
    )
    assert answers.pop("plan an evacuation") in ("conflict", "forbidden")
    assert {what for what, came in answers.items() if came == "ok"} == READS
    assert {came for what, came in answers.items() if what not in READS} == {"forbidden"}
    assert events.seen == []


def _as_nobody(rig: KVMRig) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.real.as_user", str(NOBODY), str(NOGROUP), str(rig.where.socket)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=60, check=False)
