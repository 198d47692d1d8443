"""Who may not, cannot: a viewer by the kernel's word, and read-only below the SDK, watched from outside."""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.openstack import PLUGIN
from evac.actions import EnterMaintenance, LeaveMaintenance
from evac.api import OrderRequest
from evac.backend import Settings
from evac.client import EngineClient, EngineRefusal
from evac.errors import ReadOnly
from evac.jobs import Limits
from tests.real.intents import every_action, every_verb
from tests.real.openstack.layout import REPO
from tests.real.recorder import Recorder
from tests.real.rig import CLUSTER, Rig, host_identity, named
from tests.real.world import World

NOBODY, NOGROUP = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
DAEMON = pwd.getpwnam("daemon").pw_uid

READS = {"hello", "hello again", "snapshot", "plan a drain"}
"""What a viewer may do. The plan of an evacuation is refused for another reason: the host is up."""


@pytest.fixture
def shared(world: World) -> Iterator[Rig]:
    """An engine that nobody may watch, in a folder that nobody may cross."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        rig = Rig(Path(folder), extra='[access]\nviewers = ["nobody"]\nsocket_group = "nogroup"\n')
        yield rig
        rig.stop()


def _as_user(uid: int, rig: Rig) -> dict[str, str]:
    command = [sys.executable, "-m", "tests.real.as_user", str(uid), str(NOGROUP), str(rig.where.socket)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


async def test_a_viewer_sees_everything_and_changes_nothing(world: World, shared: Rig) -> None:
    """The engine refuses each intent of another user that [access] calls a viewer, and writes the attempt down."""
    await shared.start()
    await shared.read()
    began, before = time.time(), world.servers()
    answers = _as_user(NOBODY, shared)
    assert (answers.pop("user"), answers.pop("role")) == ("nobody", "viewer")
    assert int(answers.pop("rows")) >= 20
    assert answers.pop("plan an evacuation") in ("conflict", "forbidden")
    assert {what for what, came in answers.items() if came == "ok"} == READS
    assert {came for what, came in answers.items() if what not in READS} == {"forbidden"}
    assert (world.migrations(began), world.servers()) == ([], before)
    async with shared.client() as client:
        entries = [entry for entry in await client.audit() if "nobody" in json.dumps(_plain(entry))]
    assert len(entries) >= 13, "every attempt is in the audit record"


async def test_a_stranger_is_not_let_in_at_all(shared: Rig) -> None:
    """A user that [access] does not name is refused even where the socket's mode lets it connect."""
    await shared.start()
    await shared.read()
    assert set(_as_user(DAEMON, shared).values()) == {"forbidden"}


@pytest.fixture
def proxy() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
async def moving(world: World) -> AsyncIterator[str]:
    """Name of a VM that migrates all the while, so that abort and force-complete have something to act on."""
    world.last(300)
    server, one = next(iter(world.on("cmp03").items()))
    world.migrate(server, "cmp04")
    world.until_migrating(server)
    yield str(one["name"])
    world.abort_all()


@pytest.mark.parametrize("how", ["engine", "cluster", "console"])
async def test_read_only_sends_not_one_changing_request(
    world: World, moving: str, proxy: Recorder, tmp_path: Path, how: str
) -> None:
    """Every action, every verb, with the switch on the engine, on the cluster and on the console alone."""
    rig = Rig(tmp_path / "evac", clouds=proxy.clouds_file(tmp_path), read_only=how == "cluster")
    before = world.servers()
    try:
        await rig.start(*(["--read-only"] if how == "engine" else []))
        delta = await rig.read()
        host, vm = named(delta.hosts, "cmp03"), named(delta.vms, moving)
        running = next(one for one in delta.migrations if one.vm == vm.id and one.phase.active)
        async with rig.client(read_only=how == "console") as client:
            for action in every_action(vm, host, running.id):
                request = OrderRequest(title="tried", actions=(action,), token=uuid.uuid4().hex)
                assert await _code(client.order(request)) == "read-only", action
            await _steer(client)
        switch = ["--read-only"] if how == "console" else []
        for words in every_verb("evac-01", moving, "cmp03"):
            done = await rig.evac_later(*switch, *words, "--yes")
            assert done.returncode not in (0, 1), f"{words}: {done.stdout}{done.stderr}{rig.words()}"
        await rig.fresh()
        assert len(proxy.seen()) > 10, "it did read through the proxy"
        assert proxy.changes() == []
        assert world.servers() == before
    finally:
        rig.stop()


async def test_the_proxy_would_have_seen_a_change(world: World, proxy: Recorder, tmp_path: Path) -> None:
    """The same way through the proxy, armed: otherwise its silence above would prove nothing."""
    rig = Rig(tmp_path / "evac", clouds=proxy.clouds_file(tmp_path))
    try:
        await rig.start()
        host = named((await rig.read()).hosts, "cmp03")
        await rig.carry_out(EnterMaintenance(**host_identity(host), reason="to be seen"))
        await rig.carry_out(LeaveMaintenance(**host_identity(host)))
        assert {(seen.api, seen.method) for seen in proxy.changes()} == {("nova", "PUT")}
    finally:
        rig.stop()


async def test_a_read_only_backend_refuses_below_the_sdk(
    world: World, proxy: Recorder, tmp_path: Path
) -> None:
    """Even code of ours that forgot to ask cannot write: every changing call raises before a byte leaves."""
    options = PLUGIN.options_type(cloud="lab", clouds_file=str(proxy.clouds_file(tmp_path)))
    backend: Any = PLUGIN.build(Settings(name=CLUSTER, options=options, read_only=True))
    try:
        inventory = await backend.inventory()
        vm, host = inventory.vms[0].id, inventory.hosts[0].id
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: backend.live_migrate(vm, ""),
            lambda: backend.cold_migrate(vm, ""),
            lambda: backend.confirm_move(vm),
            lambda: backend.revert_move(vm),
            lambda: backend.evacuate(vm, ""),
            lambda: backend.reset_state(vm, "error"),
            lambda: backend.abort(vm, "1"),
            lambda: backend.force_complete(vm, "1"),
            lambda: backend.start(vm),
            lambda: backend.stop(vm),
            lambda: backend.enter_maintenance(host, "tried"),
            lambda: backend.leave_maintenance(host),
            lambda: backend.force_down(host, True),
        ]
        for call in calls:
            with pytest.raises(ReadOnly):
                await call()
        assert len(proxy.seen()) > 3
        assert proxy.changes() == []
    finally:
        await backend.close()


async def _code(asked: Awaitable[object]) -> str:
    try:
        await asked
    except EngineRefusal as refused:
        return refused.refusal.code
    return "ok"


async def _steer(client: EngineClient) -> None:
    """What is no order: whatever comes of it, the cluster must not notice."""
    for asked in (client.cancel("J1"), client.retry("J1"), client.pause(), client.resume()):
        await _code(asked)
    await _code(client.set_limits(Limits()))


def _plain(entry: object) -> Any:
    import msgspec

    return msgspec.to_builtins(entry)
