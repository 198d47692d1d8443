"""A storage cluster behind the engine: its tables, its questions, and noout through the same queue as every change."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.ceph.backend import CephBackend
from backends.ceph.options import Options
from evac import asking
from evac.access import AccessRules
from evac.actions import SetNoout, UnsetNoout
from evac.api import OrderReply, OrderRequest
from evac.backend import Settings
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.errors import Forbidden, Uncertain
from evac.jobs import Job, JobState
from evac.model import Problem
from evac.storage import StopAnswer
from tests.unit.ceph_wire import CALM, Wire, recorded
from tests.unit.housing import STRANGER, House, house, played_as
from tests.unit.playing import PlayedCluster, answer, until


class Flagging(Wire):
    """A cluster that does what it is told about noout."""

    def __init__(self, *, keeps: bool = True) -> None:
        super().__init__(CALM)
        self.keeps = keeps
        self.flags: dict[str, list[str]] = {}
        self.lost: Exception | None = None
        """Raised once, after the change was made."""

    async def fetch(self, target: Any, prefix: str, **args: Any) -> bytes:
        if prefix in ("osd set-group", "osd unset-group"):
            self.asked.append((target, prefix, args))
            if isinstance(held := self.instead.get(prefix), Exception):
                raise held
            (host,) = args["who"]
            if self.keeps:
                self.flags = {host: [args["flags"]]} if prefix == "osd set-group" else {}
            lost, self.lost = self.lost, None
            if lost is not None:
                raise lost
            return b""
        if prefix == "osd dump":
            self.asked.append((target, prefix, args))
            dump = json.loads(recorded(CALM, "osd_dump"))
            return json.dumps({**dump, "crush_node_flags": self.flags}).encode()
        return await super().fetch(target, prefix, **args)


@asynccontextmanager
async def ceph(tmp_path: Path, wire: Wire, **more: Any) -> AsyncIterator[House]:
    backend: Any = CephBackend(Settings(name="lab", options=Options(), read_only=False), client=wire)
    async with house(tmp_path, backend, **more) as here:
        await until(lambda: here.engine.fleet.table("osds"), "the first poll")
        yield here


def order(kind: type[SetNoout | UnsetNoout] = SetNoout, **more: Any) -> OrderRequest:
    fields = {"cluster": "lab", "host": "node01", "name": "node01", **more}
    return OrderRequest(title="noout", actions=(kind(**fields),), token=f"t-{kind.__name__}-{sorted(more)}")


async def ended(here: House, reply: OrderReply) -> Job:
    def job() -> Job | None:
        found = here.engine.fleet.job(reply.jobs[0].id)
        return found if found is not None and found.state.ended else None

    await until(job, "the end of the job", 30)
    found = job()
    assert found is not None
    return found


# --- tables and questions -----------------------------------------------------------------------------------------


async def test_storages_pools_and_osds_are_tables_like_the_others(tmp_path: Path) -> None:
    async with ceph(tmp_path, Wire()) as here:
        for table, count in (("storages", 1), ("pools", 15), ("osds", 12)):
            status, raw = await here.http("GET", f"/v1/{table}?cluster=lab")
            assert (status, len(json.loads(raw))) == (200, count)
            assert json.loads((await here.http("GET", f"/v1/{table}?cluster=other"))[1]) == []


async def test_a_cluster_without_hosts_and_vms_is_believed(tmp_path: Path) -> None:
    async with ceph(tmp_path, Wire()) as here:
        state = here.engine.fleet.cluster("lab")
        assert state is not None
        assert state.problems == ()
        assert state.fresh_stamp is not None
        assert (state.hosts, state.vms) == (0, 0)
        await until(lambda: _able(here), "what it can was told")
        assert _able(here) == {
            "set_noout": True,
            "unset_noout": True,
        }


def _able(here: House) -> dict[str, bool]:
    """Action → whether the cluster can do it; empty until it was asked, after the first poll."""
    state = here.engine.fleet.cluster("lab")
    return {} if state is None else {one.action: one.able for one in state.capabilities}


async def test_groups_of_an_osd_and_of_one_pool(tmp_path: Path) -> None:
    async with ceph(tmp_path, Wire()) as here, here.client() as client:
        assert len(await client.groups("lab", 0)) == 514
        assert len(await client.groups("lab", 0, 3)) == 35
        with pytest.raises(EngineRefusal) as refused:
            await client.groups("lab", 99)
        assert refused.value.refusal.code == "not-found"
        for query in ("", "?osd=-1", "?osd=x"):
            assert (await here.http("GET", f"/v1/clusters/lab/groups{query}"))[0] == 400


async def test_may_a_host_stop(tmp_path: Path) -> None:
    async with ceph(tmp_path, Wire()) as here, here.client() as client:
        verdict = await client.may_stop("lab", "node01")
        assert (verdict.answer, verdict.osds) == (StopAnswer.SAFE, (0, 4, 8))
        body = json.loads((await here.http("GET", "/v1/clusters/lab/may-stop/node01"))[1])
        assert body["answer"] == "safe"
        for name in ("node99", "a/b", "../hello", "%2e"):
            with pytest.raises(EngineRefusal) as refused:
                await client.may_stop("lab", name)
            assert refused.value.refusal.code == "not-found"
        with pytest.raises(EngineRefusal) as refused:
            await client.may_stop("other", "node01")
        assert refused.value.refusal.code == "not-found"


async def test_a_viewer_may_ask_and_set_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = AccessRules(viewers=(STRANGER.pw_name,))
    async with ceph(tmp_path, Wire(), rules=rules) as here:
        played_as(monkeypatch, STRANGER.pw_uid)
        async with here.client() as client:
            assert (await client.may_stop("lab", "node01")).answer is StopAnswer.SAFE
            assert await client.groups("lab", 0, 3)
            with pytest.raises(EngineRefusal) as refused:
                await client.order(order())
            assert refused.value.refusal.code == "forbidden"


async def test_a_cluster_that_is_no_storage_is_not_asked(tmp_path: Path) -> None:
    async with house(tmp_path, PlayedCluster("north", answer("north"))) as here, here.client() as client:
        await until(lambda: here.engine.backend("north"), "the cluster")
        for question in (client.groups("north", 1), client.may_stop("north", "h1")):
            with pytest.raises(EngineRefusal) as refused:
                await question
            assert refused.value.refusal.code == "bad-request"


async def test_a_cluster_that_does_not_answer_is_unknown_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Wire):
        hangs = False

        async def fetch(self, target: Any, prefix: str, **args: Any) -> bytes:
            if self.hangs and prefix == "osd tree":
                import asyncio

                await asyncio.Event().wait()
            return await super().fetch(target, prefix, **args)

    wire = Hanging()
    monkeypatch.setattr(asking, "PATIENCE", 0.1)
    async with ceph(tmp_path, wire) as here, here.client() as client:
        wire.hangs = True
        verdict = await client.may_stop("lab", "node01")
        assert verdict.answer is StopAnswer.UNKNOWN
        assert "did not answer" in verdict.findings[0].detail
        with pytest.raises(EngineRefusal) as refused:
            await client.groups("lab", 0)
        assert refused.value.refusal.code == "unreachable"


# --- noout through the queue --------------------------------------------------------------------------------------


async def changed(wire: Wire) -> list[str]:
    return [prefix for prefix in wire.prefixes() if "group" in prefix]


async def test_noout_is_set_seen_journaled_and_unset(tmp_path: Path) -> None:
    wire = Flagging()
    async with ceph(tmp_path, wire) as here, here.client() as client:
        job = await ended(here, await client.order(order()))
        assert (job.state, job.reason, job.seen) == (JobState.DONE, "flagged noout", 2)
        assert wire.flags == {"node01": ["noout"]}
        job = await ended(here, await client.order(order(UnsetNoout)))
        assert (job.state, job.reason) == (JobState.DONE, "free of noout")
        assert wire.flags == {}
        assert await changed(wire) == ["osd set-group", "osd unset-group"]
        record = msgspec.json.encode(await client.audit(0, 500)).decode()
        assert "set_noout" in record
        assert "unset_noout" in record


async def test_a_host_that_is_not_in_the_map_is_never_flagged(tmp_path: Path) -> None:
    wire = Flagging()
    async with ceph(tmp_path, wire) as here, here.client() as client:
        for name in ("rack1", "default", "node99", "osd.0"):
            job = await ended(here, await client.order(order(host=name, name=name)))
            assert job.state is JobState.FAILED
            assert "no longer knows" in job.reason
        other = await ended(here, await client.order(order(uuid="another-cluster/-13")))
        assert other.state is JobState.FAILED
        assert "identity changed" in other.reason
        assert await changed(wire) == []


async def test_a_right_that_is_missing_fails_the_job_with_words(tmp_path: Path) -> None:
    wire = Flagging()
    wire.instead["osd set-group"] = Forbidden(
        Problem(happened="lab: client.evac may not set noout", next_step="Give it the right.")
    )
    async with ceph(tmp_path, wire) as here, here.client() as client:
        job = await ended(here, await client.order(order()))
        assert job.state is JobState.FAILED
        assert "may not set noout" in job.reason
        assert job.next_step == "Give it the right."


async def test_a_call_whose_answer_was_lost_is_found_by_what_it_did(tmp_path: Path) -> None:
    wire = Flagging()
    wire.lost = Uncertain(Problem(happened="lab: no answer came."))
    async with ceph(tmp_path, wire) as here, here.client() as client:
        job = await ended(here, await client.order(order()))
        assert job.state is JobState.DONE
        assert "found" in job.note
        assert await changed(wire) == ["osd set-group"], "it is not sent twice"


async def test_a_read_only_engine_sets_nothing(tmp_path: Path) -> None:
    wire = Flagging()
    async with ceph(tmp_path, wire, read_only=True) as here, here.client() as client:
        with pytest.raises(EngineRefusal) as refused:
            await client.order(order())
        assert refused.value.refusal.code == "read-only"
        assert await changed(wire) == []


async def test_a_name_is_one_part_of_the_path_whatever_is_in_it(tmp_path: Path) -> None:
    async with ceph(tmp_path, Wire()) as here:
        client: EngineClient
        async with here.client() as client:
            with pytest.raises(EngineRefusal) as refused:
                await client.may_stop("lab", "node01?x=1#\x1b[31m")
            assert "no host" in refused.value.refusal.problem.happened


async def test_what_is_typed_as_a_jobs_number_leads_to_no_other_route(tmp_path: Path) -> None:
    """`evac queue cancel '../engine/stop?'` must not end the engine."""
    async with ceph(tmp_path, Wire()) as here:
        client: EngineClient
        async with here.client() as client:
            for typed in ("../engine/stop?", "../queue/pause?", ".."):
                with pytest.raises((EngineRefusal, EngineGone)):
                    await client.cancel(typed)
            queue = (await client.snapshot()).queue
            assert queue is not None
            assert not queue.paused
