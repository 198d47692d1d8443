"""From the client through the worker to a carrier and back: answers, refusals, and everything that can break on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from backends.ceph import client as client_module
from backends.ceph import frames, process
from backends.ceph.frames import Counts
from evac.errors import BadAnswer, Forbidden, NotFound, ReadOnly, Refused, Uncertain, Unreachable
from evac.workers import WorkerDied
from tests.wire.ceph_player import RECORDED, dump
from tests.wire.ceph_site import Site, alive, children_of, command_line_of, end, pid_of, until

NOOUT = {"flags": "noout", "who": ["node01"]}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_an_answer_arrives_as_ceph_gave_it(site: Site) -> None:
    async with site.client() as client:
        tree = await client.ask("mon", "osd tree")
        assert tree == json.loads((RECORDED / "osd_tree.json").read_text())
        assert client.how.startswith("the command ")
    assert site.calls == [
        ["--format", "json", "--name", "client.evac", "--connect-timeout", "2", "osd", "tree"]
    ]


async def test_placement_counts_up_acting_and_primary_and_then_tells_changes_only(site: Site) -> None:
    async with site.client() as client:
        first = await client.placement()
        assert first.whole
        assert first.columns == tuple(range(1, 16))
        assert sum(first.rows[0].up) == 514
        assert sum(first.rows[10].acting) == 521
        assert sum(sum(row.primary) for row in first.rows.values()) == 1920 == sum(first.pgs)
        assert all(row.arriving == () for row in first.rows.values())
        again = await client.placement()
        assert (again.whole, again.rows) == (False, {})
        site.tell("pg dump pgs_brief", groups=40)
        other = await client.placement()
        assert other.whole, "other pools: every row is a new one"
        assert other.rows[7] == Counts(up=(3,), acting=(3,), primary=(1,))


async def test_a_row_that_changed_is_told_and_one_that_emptied_too(site: Site) -> None:
    group = '{"pgid":"1.%d","state":"a","up":[%d,2],"acting":[%d,2],"up_primary":2,"acting_primary":2}'
    site.tell("pg dump pgs_brief", out='{"pg_ready":true,"pg_stats":[' + group % (0, 0, 0) + "]}")
    async with site.client() as client:
        assert set((await client.placement()).rows) == {0, 2}
        site.tell("pg dump pgs_brief", out='{"pg_ready":true,"pg_stats":[' + group % (0, 3, 0) + "]}")
        assert (await client.placement()).rows == {
            0: Counts(acting=(1,)),
            3: Counts(up=(1,), arriving=(1,)),
        }
        site.tell("pg dump pgs_brief", out='{"pg_ready":true,"pg_stats":[' + group % (0, 3, 3) + "]}")
        rows = (await client.placement()).rows
        assert rows == {0: Counts(), 3: Counts(up=(1,), acting=(1,))}


async def test_after_an_answer_that_was_given_up_all_rows_come_again(site: Site) -> None:
    async with site.client() as client:
        await client.placement()
        site.tell("pg dump pgs_brief", hang=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.placement(), 0.5)
        site.forget("pg dump pgs_brief")
        assert (await client.placement()).whole


async def test_a_manager_that_doubts_its_map_is_quoted(site: Site) -> None:
    said = "Warning: due to ceph-mgr restart, some PG states may not be up to date\ndumped pgs_brief\n"
    site.tell("pg dump pgs_brief", out='{"pg_ready":false,"pg_stats":[]}', err=said)
    async with site.client() as client:
        placement = await client.placement()
    assert not placement.ready
    assert placement.warning == "due to ceph-mgr restart, some PG states may not be up to date"


async def test_no_with_reasons_is_an_answer_and_no_error(site: Site) -> None:
    site.tell("osd ok-to-stop", code=16, out='{"ok_to_stop":false}', err="Error EBUSY: unsafe to stop\n")
    async with site.client() as client:
        assert await client.ask("mgr", "osd ok-to-stop", ids=["0", "4"]) == {"ok_to_stop": False}
    assert site.calls[0][-4:] == ["osd", "ok-to-stop", "0", "4"]


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({"code": 13, "err": "Error EACCES: access denied\n"}, Forbidden, "mon 'allow r' mgr 'allow r'"),
        ({"code": 2, "err": "Error ENOENT: no such thing\n"}, NotFound, "no such thing"),
        ({"code": 22, "err": "Error EINVAL: no valid command found\n"}, BadAnswer, "asks again"),
        ({"code": 16, "err": "Error EBUSY: busy\n"}, BadAnswer, "busy"),
        ({"out": "<html>"}, BadAnswer, "not JSON"),
        ({"out": '{"a":'}, BadAnswer, "not JSON"),
        ({"code": 1, "err": "timed out\n"}, Unreachable, "No monitor answers"),
        ({"code": 1, "err": "Traceback\nBoom\n"}, BadAnswer, "Boom"),
    ],
)
async def test_a_failure_is_told_in_words(
    site: Site, how: dict[str, object], kind: type[Exception], words: str
) -> None:
    site.tell("osd tree", **how)
    async with site.client() as client:
        with pytest.raises(kind) as caught:
            await client.ask("mon", "osd tree")
    problem = caught.value.problem  # type: ignore[attr-defined]
    assert words in str(problem)
    assert "Error E" not in str(problem)
    assert "lab" in problem.happened
    assert "not affected" in problem.unaffected


async def test_a_program_that_is_not_there_is_named_with_its_package(site: Site) -> None:
    async with site.client(command=["ceph-that-is-not-here"]) as client:
        with pytest.raises(Unreachable, match="ceph-that-is-not-here") as caught:
            await client.ask("mon", "status")
    assert "ceph-common" in caught.value.problem.next_step


# --- changes ---------------------------------------------------------------------------------------------


async def test_a_change_is_sent_once_with_its_own_key_and_recorded(site: Site) -> None:
    site.tell("osd set-group", err="")
    async with site.client(write_user="client.noout", write_keyring="noout.keyring") as client:
        assert await client.ask("mon", "osd set-group", **NOOUT) is None
    (words,) = site.calls
    assert words[2:4] == ["--name", "client.noout"]
    assert str(site.folder / "noout.keyring") in words
    assert words[-4:] == ["osd", "set-group", "noout", "node01"]
    (record,) = site.records
    assert (record.path, record.status) == ("osd set-group", 0)
    assert json.loads(record.body) == {"prefix": "osd set-group", **NOOUT}


async def test_reading_leaves_no_record(site: Site) -> None:
    async with site.client() as client:
        await client.ask("mon", "osd tree")
    assert site.records == []


async def test_read_only_stops_a_change_in_the_worker_before_any_process_starts(site: Site) -> None:
    async with site.client(read_only=True) as client:
        with pytest.raises(ReadOnly, match="read-only"):
            await client.ask("mon", "osd set-group", **NOOUT)
        await client.ask("mon", "osd tree")
    assert [words[-1] for words in site.calls] == ["tree"]


@pytest.mark.parametrize(
    ("prefix", "args"),
    [
        ("osd out", {"ids": ["0"]}),
        ("osd set", {"key": "noout"}),
        ("osd set-group", {"flags": "noin", "who": ["node01"]}),
        ("osd set-group", {"flags": "noout", "who": ["node01", "node02"]}),
        ("auth get", {"entity": "client.admin"}),
    ],
)
async def test_what_evac_never_sends_is_stopped_in_the_worker(
    site: Site, prefix: str, args: dict[str, object]
) -> None:
    async with site.client() as client:
        with pytest.raises(Refused, match="not among the commands"):
            await client.ask("mon", prefix, **args)
    assert site.calls == []


async def test_a_change_that_is_refused_names_the_rights_and_did_nothing(site: Site) -> None:
    site.tell("osd set-group", code=13, err="Error EACCES: access denied\n")
    async with site.client() as client:
        with pytest.raises(Forbidden) as caught:
            await client.ask("mon", "osd set-group", **NOOUT)
    assert 'allow command "osd set-group" with flags=noout' in caught.value.problem.next_step
    assert caught.value.problem.unaffected == "Nothing was changed."
    assert site.records[0].status == 13


async def test_a_change_without_an_answer_is_uncertain_and_never_repeated(site: Site) -> None:
    site.tell("osd set-group", hang=True)
    async with site.client(patience=1.0) as client:
        with pytest.raises(Uncertain):
            await client.ask("mon", "osd set-group", **NOOUT)
    assert len(site.calls) == 1
    assert site.records[0].status is None


async def test_a_change_in_flight_when_the_worker_dies_is_uncertain(site: Site) -> None:
    site.tell("osd set-group", hang=True)
    async with site.client() as client:
        asked = asyncio.create_task(client.ask("mon", "osd set-group", **NOOUT))
        await until(lambda: site.calls, "the command")
        end(pid_of(client), signal.SIGKILL)
        with pytest.raises(Uncertain, match="SIGKILL"):
            await asked
        assert len(site.calls) == 1
    end(site.pids[0], signal.SIGKILL)


# --- what breaks -----------------------------------------------------------------------------------------


async def test_a_manager_that_hangs_holds_up_nobody_else_and_its_process_is_ended(site: Site) -> None:
    site.tell("pg dump pgs_brief", hang=True, ignore_term=True)
    async with site.client(patience=2.0) as client:
        slow = asyncio.create_task(client.placement())
        await until(lambda: site.pids, "the dump")
        assert await client.ask("mon", "osd tree")
        with pytest.raises(Unreachable, match="No answer within 2 s from the manager"):
            await slow
        assert await client.ask("mon", "osd df"), "the same worker goes on"
        await until(lambda: not alive(site.pids[0]), "the end of the process that hung")


async def test_giving_up_ends_the_process(site: Site) -> None:
    site.tell("osd tree", hang=True)
    async with site.client() as client:
        asked = asyncio.create_task(client.ask("mon", "osd tree"))
        await until(lambda: site.pids, "the command")
        asked.cancel()
        await until(lambda: not alive(site.pids[0]), "its end")


async def test_a_worker_that_dies_is_told_in_words_and_the_next_question_starts_another(site: Site) -> None:
    site.tell("osd tree", hang=True)
    async with site.client() as client:
        asked = asyncio.create_task(client.ask("mon", "osd tree"))
        await until(lambda: site.calls, "the command")
        first = pid_of(client)
        end(first, signal.SIGABRT)
        with pytest.raises(Unreachable, match="SIGABRT") as caught:
            await asked
        assert "starts it again by itself" in caught.value.problem.next_step
        assert await client.ask("mon", "osd df")
        assert pid_of(client) != first
        assert (await client.placement()).whole
    end(site.pids[0], signal.SIGKILL)


async def test_a_worker_that_hangs_is_ended_and_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.client() as client, site.client() as other:
        await client.ask("mon", "osd df")
        hung = pid_of(client)
        end(hung, signal.SIGSTOP)
        with monkeypatch.context() as hurry:
            hurry.setattr(client_module, "GRACE", 0.3 - 20.0)
            with pytest.raises(Unreachable, match="did not answer and was ended"):
                await client.ask("mon", "osd df")
        assert await other.ask("mon", "osd df")
        await until(lambda: not alive(hung), "its end")
        assert await client.ask("mon", "osd df")
        assert pid_of(client) != hung


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('hello, I am no frame')", "no frame"),
        ("import sys; sys.stdout.buffer.write(bytes(4))", "no frame"),
        ("import sys; sys.stdout.buffer.write(b'\\x00\\x00\\x00\\x02ab')", "no frame"),
        ("import sys; sys.exit('librados: \\x1b[31mno way')", "no way"),
        ("pass", "exit code 0"),
    ],
)
async def test_a_worker_that_talks_nonsense_is_ended_and_after_some_deaths_left_alone_for_a_while(
    script: str, words: str, site: Site
) -> None:
    async with site.client() as client:
        setup = client.setup
    worker = process.worker(setup, (sys.executable, "-c", script))
    question = frames.Ask(id=0, target="mon", command={"prefix": "status"})
    told = []
    for _ in range(4):
        with pytest.raises(WorkerDied) as caught:
            await worker.request(question, process.CephExchange(), patience=30.0)
        told.append(caught.value.why)
    await worker.close()
    assert words in told[0]
    assert told[0].isprintable()
    assert "it is started again in" in told[-1]
    assert not caught.value.sent


async def test_a_dump_of_26_mb_is_counted_in_the_worker(site: Site) -> None:
    site.tell("pg dump pgs_brief", groups=200_000)
    async with site.client(patience=60.0) as client:
        placement = await client.placement()
    assert placement.size == len(dump(200_000)) + 1
    assert placement.pgs == (200_000,)
    assert len(placement.rows) == 40
    assert all(sum(row.up) == 15_000 for row in placement.rows.values())


async def test_a_large_answer_comes_whole(site: Site) -> None:
    text = json.dumps({"nodes": ["x" * 1000] * 3000})
    site.tell("osd tree", out=text)
    async with site.client() as client:
        assert await client.fetch("mon", "osd tree") == f"\n{text}".encode()


async def test_many_questions_at_once_are_each_answered_with_their_own_answer(site: Site) -> None:
    names = [f"rule{number}" for number in range(6)]
    for name in names:
        site.tell(f"osd crush rule dump {name}", out=json.dumps({"rule_name": name}))
    async with site.client() as client:
        answers = await asyncio.gather(
            *(client.ask("mon", "osd crush rule dump", name=name) for name in names)
        )
    assert [answer["rule_name"] for answer in answers] == names


# --- processes -------------------------------------------------------------------------------------------


async def test_closing_waits_for_no_answer_and_leaves_no_process_even_when_ceph_hangs(
    site: Site,
) -> None:
    site.tell("osd tree", hang=True, ignore_term=True)
    async with site.client() as client:
        asked = asyncio.create_task(client.ask("mon", "osd tree"))
        await until(lambda: site.pids, "the command")
        worker = pid_of(client)
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 5.0, "the call would hang for ever; half a second is what it gets"
        with pytest.raises(Unreachable):
            await asked
        assert not alive(worker)
        await until(lambda: not alive(site.pids[0]), "the end of the command")


async def test_a_worker_whose_engine_is_killed_ends_and_so_does_what_it_runs(site: Site) -> None:
    site.tell("osd df", hang=True, ignore_term=True)
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.wire.ceph_site import Site, pid_of\n"
        "async def main():\n"
        "    async with Site(Path(sys.argv[1])).client() as client:\n"
        "        await client.ask('mon', 'osd tree')\n"
        "        print(pid_of(client), flush=True)\n"
        "        await client.ask('mon', 'osd df')\n"
        "asyncio.run(main())\n"
    )
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(site.folder)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert engine.stdout is not None
    worker = int(await engine.stdout.readline())
    await until(lambda: len(site.pids) == 2, "the command that hangs")
    assert alive(worker)
    engine.kill()
    await engine.wait()
    await until(lambda: not alive(worker), "the worker's end")
    await until(lambda: not alive(site.pids[1]), "the end of its command")


async def test_nothing_of_the_setup_stands_on_the_workers_command_line(site: Site) -> None:
    async with site.client(keyring="/very/secret/place", write_user="client.noout") as client:
        await client.ask("mon", "osd tree")
        line = command_line_of(pid_of(client))
        assert "backends.ceph.worker" in line
        assert "secret" not in line
        assert "client." not in line
        assert children_of(os.getpid())


async def test_a_client_that_is_closed_starts_nothing(site: Site) -> None:
    async with site.client() as client:
        await client.close()
        with pytest.raises(Unreachable, match="closed"):
            await client.ask("mon", "osd tree")
    assert site.calls == []
