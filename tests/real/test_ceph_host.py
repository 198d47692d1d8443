"""What an admin does around the stop of a host, by the command line: may it stop, noout, and who may set it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from evac.client import EngineRefusal
from evac.storage import StopAnswer, StopVerdict
from tests.real.ceph import state
from tests.real.ceph.layout import HOSTS, osds_of
from tests.real.ceph.rig import CephRig, options
from tests.real.ceph.witness import Witness
from tests.real.rig import CLUSTER


async def verdict(rig: CephRig, host: str) -> tuple[StopVerdict, int]:
    """What `evac ok-to-stop` says, and its exit code."""
    done = await rig.evac_later("ok-to-stop", host, "--json")
    said = json.loads(done.stdout)
    return msgspec.convert(said["verdict"], StopVerdict), done.returncode


def against(one: StopVerdict) -> str:
    """Every reason that stands against it."""
    return "; ".join(f"{found.check}: {found.detail}" for found in one.findings if not found.ok)


async def test_any_host_of_a_clean_cluster_may_stop(ceph: Witness, ceph_rig: CephRig) -> None:
    """As Ceph itself says, asked for exactly the OSDs of that host."""
    await ceph_rig.start()
    await ceph_rig.read()
    async with ceph_rig.client() as client:
        for host in HOSTS:
            one = await client.may_stop(CLUSTER, host)
            assert (one.answer, one.osds) == (StopAnswer.SAFE, osds_of(host)), against(one)
            assert ceph.ask("osd ok-to-stop", ids=[str(number) for number in one.osds])["ok_to_stop"] is True


async def test_while_one_host_is_away_no_other_may_stop(ceph: Witness, ceph_rig: CephRig) -> None:
    """With the reason; and the exit code of a refusal. Then, when it is back and clean, they may again."""
    await ceph_rig.start()
    await ceph_rig.read()
    ceph.ask("osd set-group", flags="noout", who=["node01"])
    await asyncio.to_thread(state.stop, ceph, "node01")
    one, code = await verdict(ceph_rig, "node02")
    assert (one.answer, code) == (StopAnswer.NO, 3)
    assert "3 OSDs are down" in against(one)
    assert "node01" in against(one)
    await asyncio.to_thread(state.restore, ceph)
    one, code = await verdict(ceph_rig, "node02")
    assert (one.answer, code) == (StopAnswer.SAFE, 0), against(one)


async def test_what_is_no_host_is_never_safe(ceph: Witness, ceph_rig: CephRig) -> None:
    """Ceph calls OSDs that do not exist safe to stop: `osd ok-to-stop 99` says so."""
    assert ceph.ask("osd ok-to-stop", ids=["99"])["ok_to_stop"] is True
    await ceph_rig.start()
    await ceph_rig.read()
    done = await ceph_rig.evac_later("ok-to-stop", "node99")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nothing was done." in done.stderr
    async with ceph_rig.client() as client:
        for name in ("node99", "osd.0", "0", "osd.99", "99", "rack1", "default"):
            with pytest.raises(EngineRefusal) as caught:
                await client.may_stop(CLUSTER, name)
            assert caught.value.refusal.code == "not-found", name


async def test_noout_is_set_and_taken_back_with_every_step_on_record(
    ceph: Witness, ceph_rig: CephRig
) -> None:
    """For exactly that host, seen by Ceph; order, job and the very call are in the audit record."""
    await ceph_rig.start()
    await ceph_rig.read()
    done = await ceph_rig.evac_later("noout", "node03", "--yes")
    assert done.returncode == 0, done.stderr
    assert ceph.node_flags() == {"node03": ["noout"]}
    assert "noout" not in ceph.ask("osd dump")["flags_set"], "the others are as before"
    done = await ceph_rig.evac_later("noout", "node03", "--undo", "--yes")
    assert done.returncode == 0, done.stderr
    assert ceph.node_flags() == {}
    async with ceph_rig.client() as client:
        entries = await client.audit()
    calls = [entry.body for entry in entries if entry.kind == "call"]
    assert [call["path"] for call in calls] == ["osd set-group", "osd unset-group"]
    assert all(json.loads(call["body"])["who"] == ["node03"] for call in calls)
    assert {"order", "job", "call"} <= {entry.kind for entry in entries}


async def test_without_yes_nothing_is_set(ceph: Witness, ceph_rig: CephRig) -> None:
    await ceph_rig.start()
    await ceph_rig.read()
    done = await ceph_rig.evac_later("noout", "node03")
    assert "node03" in done.stdout
    assert ceph.node_flags() == {}


async def test_read_only_refuses_noout_even_with_the_key_for_it(ceph: Witness, tmp_path: Path) -> None:
    before = ceph.ask("osd dump")["epoch"]
    rig = CephRig(tmp_path / "evac", read_only=True)
    try:
        await rig.start()
        await rig.read()
        for words in (["noout", "node01"], ["noout", "node01", "--undo"]):
            done = await rig.evac_later(*words, "--yes")
            assert done.returncode == 3, done.stderr
            assert "read-only" in done.stdout + done.stderr
    finally:
        rig.stop()
    assert ceph.ask("osd dump")["epoch"] == before


@pytest.fixture
def watching(ceph: Witness, tmp_path: Path) -> Iterator[CephRig]:
    """An engine that may write, with a key that may not."""
    rig = CephRig(tmp_path / "evac", table=options())
    yield rig
    rig.stop()


async def test_a_key_that_may_only_read_is_refused_by_the_cluster_in_words(
    ceph: Witness, watching: CephRig
) -> None:
    """The order fails for certain, with the key's name and the right it lacks."""
    await watching.start()
    await watching.read()
    done = await watching.evac_later("noout", "node01", "--yes")
    assert done.returncode in (1, 3), done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "client.evac" in said
    assert "access denied" in said or "may not" in said
    assert ceph.node_flags() == {}
