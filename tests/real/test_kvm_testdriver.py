"""The backend with its worker process and libvirt's own library, against libvirt's own test driver: others' server.

Each file is a host; it can define, start and shut down guests, and cannot migrate. It is here and not in the wire suite
because the binding has no wheels: the lab builds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.libvirt import PLUGIN
from backends.libvirt.keeping import Record
from backends.libvirt.options import Options
from evac.backend import Call, Settings
from evac.errors import BackendError, NotFound, ReadOnly, Refused, Unreachable
from evac.model import HostState, Inventory, Phase, VMState
from tests.contract.changes import CHANGES, PROTOCOLS
from tests.contract.cluster import Cluster

pytestmark = pytest.mark.usefixtures("running_kvm")

PATIENCE = 60.0
"""Seconds for a cold move, which shuts a guest down and looks every half second whether it has."""

WEB1 = "6695eb01-f6a4-8304-79aa-97f2502e1931"
DB1 = "6695eb01-f6a4-8304-79aa-97f2502e1932"

NODE = "<node><cpu><mhz>2000</mhz><nodes>1</nodes><sockets>1</sockets><cores>8</cores><threads>1</threads></cpu><memory>16777216</memory>{domains}</node>"
DOMAIN = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>1048576</memory><vcpu>2</vcpu>
<os><type arch='x86_64'>hvm</type></os>
<devices><disk type='file' device='disk'><source file='/srv/{name}.img'/><target dev='vda' bus='virtio'/></disk></devices>
</domain>"""

Build = Callable[..., Any]


def host(folder: Path, name: str, **domains: str) -> str:
    """A host's URI; `domains`: name → UUID of what runs there."""
    parts = []
    for number, (domain, uuid) in enumerate(domains.items()):
        path = folder / f"{name}-{number}.dom"
        path.write_text(DOMAIN.format(name=domain, uuid=uuid))
        parts.append(f"<domain file='{path}'/>")
    (folder / f"{name}.xml").write_text(NODE.format(domains="".join(parts)))
    return f"test://{folder / name}.xml"


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    made: list[Any] = []

    def one(*uris: str, read_only: bool = False, record: Any = None, **more: Any) -> Any:
        options = Options(uris=uris, shared_paths=("/srv",), **more)
        settings = Settings(
            name="lab", options=options, read_only=read_only, state_dir=tmp_path / "state", record=record
        )
        made.append(PLUGIN.build(settings))
        return made[-1]

    yield one
    for backend in made:
        await backend.close()


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    return host(tmp_path, "kvm01", web1=WEB1, db1=DB1), host(tmp_path, "kvm02")


def vm_of(inventory: Inventory, uuid: str) -> Any:
    return next(vm for vm in inventory.vms if vm.id == uuid)


async def test_hosts_and_guests_are_told_in_bytes_with_where_their_disks_lie(
    build: Build, two: tuple[str, str]
) -> None:
    inventory = await build(*two).inventory()
    assert [(one.id, one.state, one.memory, one.vcpus, one.vms) for one in inventory.hosts] == [
        ("kvm01", HostState.UP, 16 << 30, 8, 2),
        ("kvm02", HostState.UP, 16 << 30, 8, 0),
    ]
    web1 = vm_of(inventory, WEB1)
    assert (web1.name, web1.host, web1.state) == ("web1", "kvm01", VMState.RUNNING)
    assert (web1.memory, web1.vcpus, web1.volumes, web1.local_disk) == (1 << 30, 2, ("/srv/web1.img",), False)
    assert inventory.complete
    assert inventory.problems == ()


async def test_a_poll_tells_only_what_changed(build: Build, two: tuple[str, str]) -> None:
    backend = build(*two)
    first = await backend.inventory()
    quiet = await backend.inventory(first.mark)
    assert (quiet.complete, quiet.vms, len(quiet.hosts)) == (False, (), 2)
    await backend.stop(WEB1)
    changed = await backend.inventory(quiet.mark)
    assert [(vm.id, vm.state) for vm in changed.vms] == [(WEB1, VMState.STOPPED)]
    stale = await backend.inventory("another-life:7")
    assert stale.complete


async def test_look_answers_for_every_id_in_the_order_asked(build: Build, two: tuple[str, str]) -> None:
    backend = build(*two)
    nobody = "00000000-dead-4bad-8bad-000000000000"
    sightings = await backend.look([nobody, DB1, WEB1])
    assert list(sightings) == [nobody, DB1, WEB1]
    assert sightings[nobody].vm is None
    assert sightings[WEB1].vm == vm_of(await backend.inventory(), WEB1)
    assert await backend.host("nobody") is None


async def test_a_guest_that_runs_on_two_hosts_is_shouted_about_and_nothing_is_done_to_it(
    build: Build, tmp_path: Path
) -> None:
    backend = build(host(tmp_path, "kvm01", web1=WEB1), host(tmp_path, "kvm02", web1=WEB1))
    inventory = await backend.inventory()
    assert "RUNS TWICE, on kvm01 and kvm02" in inventory.problems[0].happened
    assert vm_of(inventory, WEB1).state is VMState.ERROR
    for change in (backend.live_migrate(WEB1, ""), backend.stop(WEB1), backend.cold_migrate(WEB1, "")):
        with pytest.raises(Refused):
            await change


async def test_a_guest_is_never_started_while_it_runs_elsewhere(build: Build, tmp_path: Path) -> None:
    backend = build(host(tmp_path, "kvm01", web1=WEB1), host(tmp_path, "kvm02"))
    with pytest.raises(Refused) as refusal:
        await backend.start(WEB1)
    assert "running on kvm01 already" in refusal.value.problem.happened


async def test_a_guest_is_stopped_and_started_and_the_ledger_has_both(
    build: Build, two: tuple[str, str]
) -> None:
    backend = build(*two)
    stopped = await backend.stop(WEB1)
    assert (await backend.look([WEB1]))[WEB1].vm.state is VMState.STOPPED
    started = await backend.start(WEB1)
    assert (await backend.look([WEB1]))[WEB1].vm.state is VMState.RUNNING
    tasks = await backend.tasks(WEB1, 0.0)
    assert [(one.id, one.action, one.failed) for one in tasks] == [
        (started.task, "start", False),
        (stopped.task, "stop", False),
    ]


async def _moved(backend: Any, uuid: str) -> Any:
    """After the move has ended."""
    end = time.monotonic() + PATIENCE
    while True:
        sight = (await backend.look([uuid]))[uuid]
        if not sight.migrations[0].phase.active:
            return sight
        assert time.monotonic() < end, sight
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("running", [True, False])
async def test_a_cold_migration_leaves_the_guest_as_it_was_and_on_one_host_only(
    build: Build, two: tuple[str, str], running: bool
) -> None:
    calls: list[Call] = []
    backend = build(*two, record=calls.append)
    if not running:
        await backend.stop(WEB1)
    receipt = await backend.cold_migrate(WEB1, "kvm02")
    sight = await _moved(backend, WEB1)
    assert (sight.migrations[0].id, sight.migrations[0].phase) == (receipt.task, Phase.COMPLETED), sight
    assert sight.vm.host == "kvm02"
    assert sight.vm.state is (VMState.RUNNING if running else VMState.STOPPED)
    words = [call.path.split()[0] for call in calls]
    assert words.index("defineXMLFlags") < words.index("undefineFlags")
    assert ("createWithFlags" in words) is running
    if running:
        assert words.index("undefineFlags") < words.index("createWithFlags")
    inventory = await backend.inventory()
    assert [one.vms for one in inventory.hosts] == ([1, 1] if running else [1, 0])
    assert inventory.problems == ()


async def test_a_guest_with_a_disk_on_its_host_is_not_moved_cold(build: Build, two: tuple[str, str]) -> None:
    options = Options(uris=two)
    backend = PLUGIN.build(Settings(name="lab", options=options, read_only=False))
    try:
        with pytest.raises(Refused) as refusal:
            await backend.cold_migrate(WEB1, "kvm02")  # type: ignore[attr-defined]
        assert "/srv/web1.img" in refusal.value.problem.happened
        assert "shared_paths" in refusal.value.problem.next_step
    finally:
        await backend.close()


async def test_nothing_is_evacuated_from_a_host_that_answers_and_it_is_not_declared_dead(
    build: Build, two: tuple[str, str]
) -> None:
    backend = build(*two)
    await backend.inventory()
    for change in (backend.evacuate(WEB1, "kvm02"), backend.force_down("kvm01", True)):
        with pytest.raises(Refused) as refusal:
            await change
        assert "kvm01 answers" in refusal.value.problem.happened


async def test_the_guests_of_a_dead_host_are_started_elsewhere_once_from_what_was_kept(
    build: Build, two: tuple[str, str], tmp_path: Path
) -> None:
    first = build(*two)
    await first.inventory()
    await first.close()
    (tmp_path / "kvm01.xml").rename(tmp_path / "kvm01.dead")
    backend = build(*two)
    inventory = await backend.inventory()
    assert [(one.id, one.state) for one in inventory.hosts] == [
        ("kvm01", HostState.DOWN),
        ("kvm02", HostState.UP),
    ]
    assert vm_of(inventory, WEB1).host == "kvm01"
    assert vm_of(inventory, WEB1).state is VMState.UNKNOWN
    await backend.evacuate(WEB1, "kvm02")  # the test driver tells no free memory to choose by
    assert (await backend.look([WEB1]))[WEB1].vm.host == "kvm02"
    with pytest.raises(Refused):
        await backend.evacuate(WEB1, "kvm02")  # the test driver tells no free memory to choose by
    assert (await backend.look([WEB1]))[WEB1].vm.state is VMState.RUNNING


async def test_nothing_is_evacuated_while_a_third_host_cannot_be_asked(
    build: Build, two: tuple[str, str], tmp_path: Path
) -> None:
    uris = (*two, host(tmp_path, "kvm03"))
    first = build(*uris)
    await first.inventory()
    await first.close()
    for name in ("kvm01", "kvm03"):
        (tmp_path / f"{name}.xml").rename(tmp_path / f"{name}.dead")
    backend = build(*uris)
    await backend.inventory()
    with pytest.raises(Refused) as refusal:
        await backend.evacuate(WEB1, "kvm02")
    assert "kvm03 cannot be asked" in refusal.value.problem.happened
    await backend.force_down("kvm03", True)
    await backend.evacuate(WEB1, "kvm02")
    assert (await backend.look([WEB1]))[WEB1].vm.host == "kvm02"


async def test_read_only_stops_every_change_before_libvirt_is_called(
    build: Build, two: tuple[str, str]
) -> None:
    calls: list[Call] = []
    backend = build(*two, read_only=True, record=calls.append)
    able = {one.action: one for one in await backend.capabilities()}
    for name, change in CHANGES.items():
        if not isinstance(backend, PROTOCOLS[name]):
            assert name in Cluster.cannot | {"confirm_move", "revert_move", "reset_state"}
            continue
        with pytest.raises(ReadOnly):
            await change(backend, WEB1, "kvm01", "kvm02")
        assert not able[name].able
    assert vm_of(await backend.inventory(), WEB1).state is VMState.RUNNING
    assert calls == []


async def test_evacs_own_marks_outlive_the_worker(build: Build, two: tuple[str, str]) -> None:
    backend = build(*two)
    await backend.enter_maintenance("kvm02", "DIMM swap")
    os.kill(backend.worker_pid, signal.SIGKILL)
    with contextlib.suppress(BackendError):  # it was asked of the dead one
        await backend.host("kvm02")
    marked = await backend.host("kvm02")
    assert (marked.maintenance, marked.reason) == (True, "DIMM swap")
    with pytest.raises(Refused) as refusal:
        await backend.live_migrate(WEB1, "")
    assert "kvm02: in maintenance" in refusal.value.problem.happened
    await backend.leave_maintenance("kvm02")
    assert not (await backend.host("kvm02")).maintenance


async def test_what_does_not_exist_is_certainly_not_touched(build: Build, two: tuple[str, str]) -> None:
    backend = build(*two)
    nobody = "00000000-dead-4bad-8bad-000000000000"
    for change in (backend.live_migrate(nobody, ""), backend.start(nobody), backend.evacuate(nobody, "")):
        with pytest.raises(NotFound):
            await change
    with pytest.raises(NotFound):
        await backend.live_migrate(WEB1, "nohost")
    with pytest.raises(NotFound):
        await backend.enter_maintenance("nohost", "x")


async def test_hosts_of_which_none_answers_are_unreachable_and_the_doctor_says_why(
    build: Build, tmp_path: Path
) -> None:
    backend = build(f"test://{tmp_path}/none.xml")
    with pytest.raises(Unreachable) as error:
        await backend.inventory()
    assert "none" in error.value.problem.happened
    findings = await backend.examine()
    assert [one.ok for one in findings if one.check == "host none"] == [False]


async def test_a_move_written_down_and_never_begun_is_withdrawn_and_one_that_ran_is_told_as_failed(
    build: Build, two: tuple[str, str], tmp_path: Path
) -> None:
    """What a killed worker leaves behind: nobody is told of a move of which it is not known that it began."""
    ledger = tmp_path / "state" / "libvirt" / "lab" / "records.json"
    ledger.parent.mkdir(parents=True)
    move = Record(
        id="live-1", vm=WEB1, action="live-migration", started=time.time(), source="kvm01", target="kvm02"
    )
    ran = msgspec.structs.replace(move, id="live-2", vm=DB1, phase=Phase.RUNNING)
    ledger.write_bytes(msgspec.json.encode([move, ran]))
    backend = build(*two)
    seen = (await backend.look([WEB1]))[WEB1]
    assert seen.migrations == ()
    assert seen.vm.task in {"live-migration", ""}, "while it is not known, the guest is busy"
    end = time.monotonic() + PATIENCE
    while (seen := await backend.look([WEB1, DB1]))[WEB1].vm.task or seen[DB1].vm.task:
        assert seen[WEB1].migrations == ()
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.1)
    assert seen[WEB1].migrations == ()
    assert [one.phase for one in seen[DB1].migrations] == [Phase.FAILED]
    assert await backend.tasks(WEB1, 0.0) == []
    assert [one.id for one in msgspec.json.decode(ledger.read_bytes(), type=list[Record])] == ["live-2"]
