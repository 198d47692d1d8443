"""Moves to another cluster: the credential is in memory only, and what arrived is seen on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.simulation.faults import Fault, Kind
from backends.simulation.world import World
from evac.across import LIFE, MOST, Credential, Vault
from evac.actions import MoveAcross
from evac.api import CredentialRequest
from evac.client import EngineRefusal
from evac.jobs import Job, JobState
from evac.secret import REDACTOR
from tests.unit.housing import house
from tests.unit.playing import PlayedCluster, answer
from tests.unit.rig import ADMIN, Rig, first, refused, small
from tests.virtualtime import run


def test_a_credential_shows_its_user_only_and_no_log_keeps_its_secret() -> None:
    held = Credential(user="root@pam", secret="s3cret-of-the-target")
    assert "s3cret" not in f"{held!r} {held} {[held]}"
    Vault().put(held, 0)
    assert REDACTOR("password s3cret-of-the-target") == "password [secret]"


def test_a_credential_is_had_by_its_handle_until_it_expires_or_is_dropped() -> None:
    at = 100.0
    vault = Vault(now=lambda: at)
    held = Credential(user="u", secret="hunter-2")
    handle, life = vault.put(held, 7)
    other, _ = vault.put(held, 7)
    assert life == LIFE
    assert vault.get(handle, 7) is held
    assert vault.get(handle, 8) is None, "it is nobody else's"
    vault.drop(handle)
    assert vault.get(handle, 7) is None
    at += LIFE - 1
    assert vault.get(other, 7) is held
    at += 1
    assert vault.get(other, 7) is None
    assert Vault().get(other, 7) is None, "another engine knows of none"


def test_no_more_credentials_are_kept_than_anybody_needs() -> None:
    vault = Vault()
    handles = [vault.put(Credential(user="u", secret=f"secret-{n}"), 7)[0] for n in range(MOST + 1)]
    assert vault.get(handles[0], 7) is None
    assert vault.get(handles[-1], 7) is not None


# --- through the queue ---------------------------------------------------------------------------

SECRET = "correct horse of the target"


def on_disk(folder: Path) -> list[str]:
    """Files that hold the secret."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [file.name for file in files if SECRET.encode() in file.read_bytes()]


def pair() -> tuple[World, World]:
    """h0 to h2 with four VMs on h0 here; the same hosts, empty, with a datastore of h1, over there."""
    here, there = small(3, 4), small(3, 0)
    there.placing.add("far-disk", "h1")
    for number, vm in enumerate(here.vms.values()):
        vm.instance = f"5{number:03d}-instance"
    return here, there


class Two(Rig):
    """Two clusters, "sim" and "far", between which VMs can go."""

    def __init__(self, path: Path, here: World, there: World) -> None:
        super().__init__(path, {"sim": here, "far": there})
        for backend in self.direct.values():
            backend.peers = self.direct

    def action(self, vm: str, **more: Any) -> MoveAcross:
        sim = self.worlds["sim"].vms[vm]
        handle, _ = self.queue._vault.put(Credential(user="admin@far", secret=SECRET), ADMIN.uid)
        fields: dict[str, Any] = {
            "uuid": sim.instance, "to_cluster": "far", "to": "h1", "storage": "ds-1", "credential": handle,
        }  # fmt: skip
        return MoveAcross(cluster="sim", vm=vm, name=sim.name, host=sim.host, **(fields | more))

    async def sent(self, **more: Any) -> Job:
        """The first VM, sent; how that ended."""
        await self.order(self.action(first(self.worlds["sim"]), **more))
        return await self.ended("J1")


def play(tmp_path: Path, scene: Any) -> None:
    async def main() -> None:
        here, there = pair()
        async with Two(tmp_path, here, there) as rig:
            await scene(rig, here, there)

    run(main)


def test_a_vm_arrives_is_gone_from_here_and_both_are_seen_twice(tmp_path: Path) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        vm = first(here)
        done = await rig.sent()
        assert (done.state, done.seen) == (JobState.DONE, 2)
        assert "running on h1 of far, gone from sim" in done.reason
        assert vm not in here.vms
        (arrived,) = there.vms.values()
        assert (arrived.host, arrived.datastores) == ("h1", ("ds-1",))
        assert rig.direct["sim"].credentials == ["admin@far"]
        assert not on_disk(tmp_path)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.FAILS, "no route to the target"),
        (Kind.LIES_COMPLETED, "called completed, but vm0 stays on h0 of sim"),
        (Kind.EARLY_TARGET, "both sim and far show it"),
    ],
)
def test_what_did_not_arrive_or_is_there_twice_is_told_as_failed(
    tmp_path: Path, kind: Kind, words: str
) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        here.faults.order(Fault(kind=kind, on="move_across"))
        failed = await rig.sent()
        assert failed.state is JobState.FAILED
        assert words in failed.reason

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda here, there: there.add_vm("other", "h1", instance="5000-instance"),
            "has a VM of this identity already",
        ),
        (lambda here, there: setattr(there.hosts["h1"], "maintenance", True), ""),
        (lambda here, there: there.placing.datastores["ds-1"].hosts.clear(), "sees no datastore ds-1"),
        (lambda here, there: here.vms[first(here)].__setattr__("name", "new"), "is now called new"),
    ],
)
def test_the_far_side_is_read_before_anything_is_sent(tmp_path: Path, spoil: Any, words: str) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        action = rig.action(first(here))
        spoil(here, there)
        await rig.poll("far")
        await rig.order(action)
        job = await rig.ended("J1") if words else await rig.reached("J1", JobState.HELD)
        assert words in job.reason
        assert rig.direct["sim"].calls == []
        if not words:
            there.hosts["h1"].maintenance = False
            assert (await rig.ended("J1")).state is JobState.DONE

    play(tmp_path, scene)


def test_a_job_that_waits_when_the_engine_ends_wants_its_credential_again(tmp_path: Path) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        await rig.queue.pause(ADMIN)
        await rig.order(rig.action(first(here)))
        await rig.crash()
        await rig.begin()
        await rig.queue.resume(ADMIN)
        failed = await rig.ended("J1")
        assert failed.state is JobState.FAILED
        assert "no longer in memory" in failed.reason
        assert "give the credential again" in failed.next_step
        assert rig.direct["sim"].calls == []
        assert len(here.vms) == 4

    play(tmp_path, scene)


def test_a_job_that_was_sent_is_found_again_by_the_next_engine(tmp_path: Path) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        await rig.order(rig.action(first(here)))
        await rig.reached("J1", JobState.RUNNING)
        await rig.crash()
        await rig.begin()
        assert (await rig.ended("J1")).state is JobState.DONE
        assert len(there.vms) == 1

    play(tmp_path, scene)


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.RESET_BEFORE])
def test_a_call_whose_answer_was_lost_moves_it_once(tmp_path: Path, kind: Kind) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        here.faults.order(Fault(kind=kind, on="move_across"))
        assert (await rig.sent()).state is JobState.DONE
        assert len(there.vms) == 1

    play(tmp_path, scene)


def test_a_target_that_cannot_be_seen_ends_nothing(tmp_path: Path) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        await rig.order(rig.action(first(here)))
        await rig.until(lambda: len(there.vms) == 1, "it arrived")
        there.faults.order(Fault(kind=Kind.STATUS, on="look", times=40))
        await rig.until(lambda: "cannot see far" in rig.job("J1").reason, "that is told")
        assert (await rig.ended("J1")).state is JobState.DONE

    play(tmp_path, scene)


def test_orders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async def scene(rig: Two, here: World, there: World) -> None:
        good = rig.action(first(here))
        for change, words in (
            ({"to_cluster": "sim"}, "is in sim already"),
            ({"to_cluster": "nowhere"}, "no cluster nowhere"),
            ({"credential": "guessed"}, "not in memory"),
        ):
            _, said = await refused(rig.order(msgspec.structs.replace(good, **change)))
            assert words in said
        rig.read_only.add("far")
        await rig.poll("far")
        assert "far is read-only" in (await refused(rig.order(good)))[1]

    play(tmp_path, scene)


# --- the socket ----------------------------------------------------------------------------------


async def test_a_credential_is_taken_over_the_socket_and_shown_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here, here.client() as client:
        kept = await client.keep_credential("root@pam!evac", SECRET)
        assert here.engine.vault.get(kept.handle, here.engine.vault._held[kept.handle][1]) is not None
        assert SECRET not in str(kept)
        assert SECRET not in repr(CredentialRequest(user="u", secret=SECRET))
        with pytest.raises(EngineRefusal, match="has a user and a secret"):
            await client.keep_credential(" ", SECRET)
        async with here.client(read_only=True) as viewer:
            with pytest.raises(EngineRefusal):
                await viewer.keep_credential("root", SECRET)
        record = msgspec.json.encode(await client.audit())
        assert SECRET.encode() not in record
    assert not on_disk(tmp_path)
