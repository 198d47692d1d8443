"""The backend moves VMs from one simulated Proxmox VE cluster to another: what arrives, what is refused, what is kept secret."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fakepve.server import error
from msgspec.structs import replace

from backends.proxmox import PLUGIN
from backends.proxmox.options import Options
from backends.simulation.faults import Fault, Kind
from evac.across import Credential, Crossing, Destination, Door, Vault
from evac.actions import MoveAcross
from evac.admission import Ground
from evac.backend import Call, MovesAcross, ReceivesMoves, Settings
from evac.bridge import Bridge
from evac.crossing import admit_there, judge_across
from evac.errors import Forbidden, NotFound, ReadOnly, Refused, Uncertain
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState
from evac.model import ClusterState, MigrationKind, Phase, VMState
from evac.secret import HIDDEN
from evac.store import Trail
from evac.verdict import Look
from tests.pve_schema import request_troubles
from tests.wire.proxmox_site import PATIENCE, Site
from tests.wire.pve_site import served

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

T = TypeVar("T")

STORE = "ceph-ssd"


@dataclass
class Pair:
    """Two clusters with a backend of each; guests 100 to 107 at both."""

    here: Site
    there: Site
    near: Any
    far: Any
    calls: list[Call] = field(default_factory=list)

    @property
    def credential(self) -> Credential:
        return Credential(user=self.there.simulator.token_id, secret=self.there.simulator.token)

    async def crossing(self, **more: Any) -> Crossing:
        given = {"destination": await self.far.destination(), "host": "pve1", "storage": STORE} | more
        return Crossing(**given)

    async def move(self, vm: str = "100", **more: Any) -> Any:
        return await self.near.move_across(vm, await self.crossing(**more), self.credential)

    async def ended(self, task: str, vm: str = "100") -> Any:
        """The move once it is over."""

        async def read() -> Any:
            moves = (await self.near.look([vm]))[vm].migrations
            return next((one for one in moves if one.id == task), None)

        return await until(read, lambda one: one is not None and not one.phase.active, "the end of the move")

    @property
    def sent(self) -> list[dict[str, str]]:
        """Forms of the moves that the source was asked for."""
        forms = self.here.simulator.forms
        return [form for method, path, form in forms if method == "POST" and path.endswith("/remote_migrate")]


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
    end = time.monotonic() + PATIENCE
    while not good(answer := await read()):
        assert time.monotonic() < end, f"waited for {what}; last seen: {answer}"
        await asyncio.sleep(0.02)
    return answer


def build(site: Site, name: str, calls: list[Call], **more: Any) -> Any:
    own = {key: more.pop(key) for key in ("read_only", "read_timeout", "config_dir") if key in more}
    options = {
        "endpoints": (site.simulator.endpoint,),
        "fingerprints": (site.simulator.fingerprint,),
        "username": "root@pam",
        "password": site.simulator.password,
    } | more
    settings = Settings(
        name=name,
        options=Options(**options),
        record=calls.append,
        connect_timeout=2,
        **{"read_only": False, **own},
    )
    return PLUGIN.build(settings)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    here, there = Site(), Site(seed=2)
    for number, vm in enumerate(there.vms):  # else a VM could be taken for one that is there already
        vm.name = f"far{number}"
    async with here.simulator.serve(), there.simulator.serve():
        calls: list[Call] = []
        near, far = build(here, "near", calls), build(there, "far", calls)
        yield Pair(here, there, near, far, calls)
        await near.close()
        await far.close()
        assert here.simulator.troubles == there.simulator.troubles == []


# --- moving ----------------------------------------------------------------------------------------------------------


async def test_a_running_vm_arrives_under_a_free_number_and_is_gone_from_its_source(pair: Pair) -> None:
    assert (isinstance(pair.near, MovesAcross), isinstance(pair.far, ReceivesMoves)) == (True, True)
    receipt = await pair.move()
    assert "experimental" in receipt.note
    assert "guest 108 on pve1" in receipt.note
    move = await pair.ended(receipt.task)
    assert (move.phase, move.kind, move.target) == (Phase.COMPLETED, MigrationKind.LIVE, "pve1")
    assert move.disk_total == move.disk_processed > 0
    assert (await pair.near.look(["100"]))["100"].vm is None
    arrived = (await pair.far.look(["108"]))["108"].vm
    assert (arrived.name, arrived.host, arrived.state) == ("vm0", "pve1", VMState.RUNNING)
    (form,) = pair.sent
    assert (form["online"], form["delete"], form["target-bridge"]) == ("1", "1", "1")
    for site in (pair.here, pair.there):
        assert [one for one in site.simulator.forms if request_troubles(*one)] == []


async def test_a_stopped_vm_moves_too_with_its_bridges_mapped(pair: Pair) -> None:
    await pair.near.stop("100")
    await until(
        lambda: pair.near.look(["100"]),
        lambda seen: seen["100"].vm.state is VMState.STOPPED and not seen["100"].vm.task,
        "it to stop",
    )
    receipt = await pair.move(networks=(("vmbr0", "vmbr1"), ("vmbr2", "vmbr2")))
    assert (await pair.ended(receipt.task)).phase is Phase.COMPLETED
    assert (await pair.far.look(["108"]))["108"].vm.state is VMState.STOPPED
    (form,) = pair.sent
    assert "online" not in form
    assert form["target-bridge"] == "vmbr0:vmbr1,vmbr2:vmbr2"


async def test_the_engine_knows_it_again_under_its_other_number_and_calls_it_done(pair: Pair) -> None:
    fleet, vault = Fleet(), Vault()

    async def poll() -> None:
        for backend in (pair.near, pair.far):
            began = time.monotonic()
            inventory = await backend.inventory()
            state = ClusterState(name=backend.name, kind="proxmox", fresh_stamp=time.monotonic(), took=0.0)
            fleet.absorb(state, inventory, began=began)

    await poll()
    actor = Actor(uid=0, user="anna", role="admin", via="test")
    handle, _ = vault.put(pair.credential, 0)
    names: dict[str, Any] = {"cluster": "near", "vm": "100", "name": "vm0", "host": "pve1"}
    action = MoveAcross(**names, to_cluster="far", to="pve1", storage=STORE, credential=handle)
    job = Job(id="J1", order="O1", action=action, by=actor, created=0.0)
    bridge = Bridge(fleet, {"near": pair.near, "far": pair.far}, vault)
    ground = await bridge.prepare(job, action, Ground())
    assert (ground.twins, admit_there(action, ground)) == ((), None)
    receipt = await bridge.call(job, action, pair.near)
    await pair.ended(receipt.task)
    await poll()
    sight = (await pair.near.look(["100"]))["100"]
    look = await bridge.look(action, Look(vm=sight.vm, migrations=sight.migrations))
    assert look.there is not None
    assert look.there.id == "108"
    job = replace(job, task=receipt.task)
    verdict = judge_across(job, action, Trail(accepted=True), look, 0.0)
    assert (verdict.state, verdict.met) == (JobState.DONE, True)
    assert "running on pve1 of far, gone from near" in verdict.reason


async def test_two_moves_at_once_are_told_two_numbers(pair: Pair) -> None:
    first, second = await asyncio.gather(pair.crossing(), pair.crossing())
    numbers = {first.destination.number, second.destination.number}
    assert numbers == {108, 109}
    receipts = [
        await pair.near.move_across(vm, going, pair.credential)
        for vm, going in (("100", first), ("102", second))
    ]
    for vm, receipt in zip(("100", "102"), receipts, strict=True):
        assert (await pair.ended(receipt.task, vm)).phase is Phase.COMPLETED
    seen = await pair.far.look(["108", "109"])
    assert {one.vm.name for one in seen.values()} == {"vm0", "vm2"}


async def test_an_aborted_move_leaves_it_running_where_it_was(pair: Pair) -> None:
    pair.here.world.hosts["pve1"].link = 20e6
    receipt = await pair.move()

    async def moves() -> Any:
        return (await pair.near.look(["100"]))["100"].migrations[0]

    await until(moves, lambda move: bool(move.disk_processed), "bytes")
    await pair.near.abort("100", receipt.task)
    assert (await pair.ended(receipt.task)).phase is Phase.CANCELLED
    vm = (await pair.near.look(["100"]))["100"].vm
    assert (vm.state, vm.locked, vm.host) == (VMState.RUNNING, False, "pve1")
    assert (await pair.far.look(["108"]))["108"].vm is None


# --- the target tells where it listens -------------------------------------------------------------------------------


async def test_the_target_tells_of_each_endpoint_which_node_it_is_and_its_pinned_certificate() -> None:
    site = Site()
    async with site.simulator.serve(nodes=("pve1", "pve3")):
        ends = site.simulator.endpoints
        pins = (site.simulator.fingerprint.lower(),) * 2
        backend = build(site, "far", [], endpoints=(ends["pve3"], ends["pve1"]), fingerprints=pins)
        told: Destination = await backend.destination()
        site.world.hosts["pve3"].alive = False
        less = await backend.destination()
        await backend.close()
    assert {door.host: f"{door.address}:{door.port}" for door in told.doors} == ends
    assert {door.fingerprint for door in told.doors} == {site.simulator.fingerprint}
    assert (told.kind, told.host, told.fingerprint) == ("proxmox", "127.0.0.1", site.simulator.fingerprint)
    assert [door.host for door in less.doors] == ["pve1"], "one that is silent is left out"


async def test_where_a_ca_is_asked_the_fingerprint_is_of_a_certificate_it_signed(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(pair.there.simulator.pem)
    backend = build(pair.there, "far", [], fingerprints=(), cacert="ca.pem", config_dir=tmp_path)
    told = await backend.destination()
    await backend.close()
    assert told.fingerprint == pair.there.simulator.fingerprint


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_wrong_token_is_refused_by_the_target_and_told_as_such(pair: Pair) -> None:
    wrong = "00000000-dead-beef-0000-000000000000"
    with pytest.raises(Refused, match="invalid token value") as told:
        await pair.near.move_across(
            "100", await pair.crossing(), Credential(user=pair.credential.user, secret=wrong)
        )
    assert "API token of far" in told.value.problem.next_step
    assert wrong not in shown(pair.calls, told.value)
    await pair.near.inventory()  # our own login is as good as before


async def test_a_wrong_fingerprint_is_told_and_nothing_moves(pair: Pair) -> None:
    going = await pair.crossing()
    doors = tuple(replace(one, fingerprint=":".join(["AB"] * 32)) for one in going.destination.doors)
    going = replace(going, destination=replace(going.destination, doors=doors))
    with pytest.raises(Refused, match="not verified") as told:
        await pair.near.move_across("100", going, pair.credential)
    assert "pvenode cert info" in told.value.problem.next_step
    assert pair.credential.secret not in shown(pair.calls, told.value)
    assert (await pair.near.look(["100"]))["100"].vm.locked is False


async def test_an_unknown_storage_fails_the_task_whose_reason_is_found(pair: Pair) -> None:
    receipt = await pair.move(storage="nowhere")
    assert (await pair.ended(receipt.task)).phase is Phase.FAILED
    record = next(one for one in await pair.near.tasks("100", 0) if one.id == receipt.task)
    assert "storage 'nowhere' does not exist" in record.message
    vm = (await pair.near.look(["100"]))["100"].vm
    assert (vm.state, vm.locked) == (VMState.RUNNING, False)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"storage": ""}, "chooses no storage"),
        ({"storage": "pve2/local-lvm"}, "is of pve2, not of pve1"),
        ({"storage": "a,delete=1"}, "is no name of a storage"),
        ({"networks": (("vmbr0", "1,vmbr0:x"),)}, "is no name of a storage or a bridge"),
        ({"host": "pve2"}, "lands on the node whose API is asked.*pve1"),
        ({"destination": Destination(cluster="vc", kind="vsphere", host="vc", port=443)}, "no Proxmox VE"),
    ],
)
async def test_what_cannot_go_well_is_not_sent(pair: Pair, more: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        await pair.move(**more)
    assert not pair.sent
    assert not pair.calls


@pytest.mark.parametrize(
    ("user", "secret", "words"),
    [
        ("root@pam", "7f3a52c0-4d1e-4c86", "by an API token"),
        ("root@pam!evac,host=evil", "7f3a52c0-4d1e-4c86", "by an API token"),
        ("root@pam!evac", "7f3a52c0,host=evil.example", "no secret of an API token"),
    ],
)
async def test_a_credential_that_is_no_token_is_not_sent(
    pair: Pair, user: str, secret: str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as told:
        await pair.near.move_across("100", await pair.crossing(), Credential(user=user, secret=secret))
    assert secret not in shown(pair.calls, told.value)
    assert not pair.sent
    assert not pair.calls


async def test_guests_that_cannot_cross_are_refused_in_words(pair: Pair) -> None:
    pair.here.guest(102).lock = "backup"
    pair.here.vms[4].name = "VM 104"
    for vm, words in (("105", "container that runs"), ("102", "locked"), ("104", "no name")):
        with pytest.raises(Refused, match=words):
            await pair.move(vm)
    with pytest.raises(NotFound):
        await pair.move("999")
    assert not pair.sent
    assert not pair.calls


async def test_read_only_refuses_before_the_wire(pair: Pair) -> None:
    reader = build(pair.here, "near", pair.calls, read_only=True)
    going = await pair.crossing()
    with pytest.raises(ReadOnly):
        await reader.move_across("100", going, pair.credential)
    where = "/nodes/pve1/qemu/100/remote_migrate"
    with pytest.raises(ReadOnly, match="was not sent"):  # below, too
        await asyncio.to_thread(reader.client.change, "POST", where, {"delete": 1}, what="a move")
    told = {one.action: one for one in await reader.capabilities()}
    await reader.close()
    assert not told["move_across"].able
    assert not pair.sent
    assert not pair.calls


async def test_a_right_that_is_missing_is_named_and_remembered(pair: Pair) -> None:
    weak = build(pair.here, "near", pair.calls, username="auditor@pve")
    assert {one.action: one.able for one in await weak.capabilities()}["move_across"]
    with pytest.raises(Forbidden, match=r"VM\.Migrate"):
        await weak.move_across("100", await pair.crossing(), pair.credential)
    assert not {one.action: one.able for one in await weak.capabilities()}["move_across"]
    await weak.close()


# --- answers that are lost, and secrets ------------------------------------------------------------------------------


async def test_a_lost_answer_is_uncertain_sent_once_and_the_move_is_found_by_its_task(pair: Pair) -> None:
    pair.here.world.faults.order(Fault(kind=Kind.RESET_AFTER, on="move_across"))
    with pytest.raises(Uncertain) as lost:
        await pair.move()
    assert pair.credential.secret not in shown(pair.calls, lost.value)
    assert len(pair.sent) == 1

    async def moves() -> Any:
        return (await pair.near.look(["100"]))["100"].migrations

    found = await until(moves, lambda told: bool(told) and not told[0].phase.active, "the end of it")
    assert found[0].phase is Phase.COMPLETED
    assert (await pair.far.look(["108"]))["108"].vm.name == "vm0"


async def test_the_secret_is_in_no_record_no_log_and_no_task(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receipt = await pair.move()
    await pair.ended(receipt.task)
    assert pair.sent[0]["target-endpoint"].startswith(f"apitoken=PVEAPIToken={pair.credential.user}=")
    (call,) = pair.calls
    assert (call.method, call.path.rpartition("/")[2]) == ("POST", "remote_migrate")
    assert f"target-storage={STORE}" in call.body
    assert "target-endpoint=***" in call.body
    secret = pair.credential.secret
    assert secret not in shown(pair.calls)
    assert secret not in repr(receipt)
    assert secret not in caplog.text
    log = await pair.here.log(await pair.here.call(pair.here.connect), receipt.task)
    assert secret not in "\n".join(log)


async def test_a_refusal_that_repeats_the_secret_is_told_without_it(tmp_path: Path) -> None:
    secret = "0f0f0f0f-1111-2222-3333-444444444444"

    def echo(request: Any) -> Any:
        if not request.path.endswith("/remote_migrate"):
            return None
        return error(500, f"cannot parse {site.forms[-1][2]['target-endpoint']} ({secret})")

    door = Door(host="pve1", address="192.0.2.7", port=8006, fingerprint=":".join(["AB"] * 32))
    there = Destination(cluster="far", kind="proxmox", host=door.address, port=door.port, doors=(door,))
    calls: list[Call] = []
    with served(tmp_path) as site:
        site.before = echo
        backend = site.backend(calls)
        with pytest.raises(Refused, match="cannot parse") as told:
            await backend.move_across(
                "100",
                Crossing(destination=there, host="pve1", storage="fast"),
                Credential(user="evac@pve!move", secret=secret),
            )
        await backend.close()
        assert site.misfits() == []
    assert HIDDEN in told.value.problem.happened
    assert secret not in shown(calls, told.value)


def shown(calls: list[Call], error: BaseException | None = None) -> str:
    """All that is kept or shown of what was done."""
    kept = [repr(calls)]
    if error is not None:
        kept += traceback.format_exception(error)
        kept += [repr(error), repr(getattr(error, "problem", ""))]
    return "\n".join(kept)
