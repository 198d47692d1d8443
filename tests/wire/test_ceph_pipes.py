"""The edges of the worker: what it writes into the engine's log, and a simulator's socket that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.ceph import frames, process
from evac import workers
from evac.errors import BackendError, BadAnswer, Unreachable
from tests.wire.ceph_site import Site

STATUS = frames.Ask(id=0, target="mon", command={"prefix": "status"})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_what_a_worker_writes_to_stderr_reaches_the_log_cleaned_and_bounded(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=workers.__name__)
    async with site.client() as client:
        setup = client.setup
    script = (
        "import sys\n"
        "print('\\x1b[31mred\\x07', file=sys.stderr)\n"
        "print('x' * 5_000_000, file=sys.stderr)\n"
        "[print('line', number, file=sys.stderr) for number in range(10_000)]\n"
    )
    worker = process.worker(setup, (sys.executable, "-c", script))
    with pytest.raises(workers.WorkerDied, match="line 9999"):
        await worker.request(STATUS, process.CephExchange(), patience=60.0)
    await worker.close()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert 3 <= len(lines) <= workers.LINES
    assert all(line.isprintable() for line in lines)
    assert max(len(line) for line in lines) <= workers.LINE + 40
    assert any("[31mred" in line for line in lines)


Answer = Callable[[bytes, asyncio.StreamWriter], None]


@asynccontextmanager
async def simulator(place: Path, answer: Answer) -> AsyncIterator[list[bytes]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        answer(asked[-1], writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, place)
    try:
        yield asked
    finally:
        server.close()


def written(raw: bytes) -> Answer:
    return lambda _, writer: writer.write(raw)


async def test_the_socket_is_told_who_asks_whom_for_what(site: Site) -> None:
    place = site.folder / "s"
    options = {"carrier": "socket", "socket": str(place), "write_user": "client.noout"}
    said = written(b'{"code":0,"err":"","size":9}\n{"a":"b"}')
    async with (
        simulator(place, said) as asked,
        site.client(read_only=False, patience=20.0, **options) as client,
    ):
        assert await client.ask("mgr", "pg stat") == {"a": "b"}
        await client.ask("mon", "osd unset-group", flags="noout", who=["node01"])
    assert (
        asked[0] == b'{"target":"mgr","user":"client.evac","command":{"format":"json","prefix":"pg stat"}}\n'
    )
    assert b'"user":"client.noout"' in asked[1]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", BadAnswer),
        (b"\n", BadAnswer),
        (b"hello\n", BadAnswer),
        (b'{"code":0,"size":-1}\n', BadAnswer),
        (b'{"code":0,"size":99}\n{}', BadAnswer),
        (b'{"code":0,"size":999999999999}\n', BadAnswer),
        (b"x" * 3_000_000, BadAnswer),
        (b'{"code":110,"size":0}\n', Unreachable),
    ],
    ids=["nothing", "empty", "no-json", "negative", "cut-off", "huge", "no-line", "timed-out"],
)
async def test_an_answer_that_makes_no_sense_is_an_error_in_words(
    site: Site, raw: bytes, kind: type[BackendError]
) -> None:
    place = site.folder / "s"
    async with simulator(place, written(raw)), site.client(carrier="socket", socket=str(place)) as client:
        with pytest.raises(kind) as caught:
            await client.ask("mon", "status")
        assert caught.value.problem.happened.startswith("lab: ")


async def test_a_socket_that_is_not_there_is_named(site: Site) -> None:
    async with site.client(carrier="socket", socket="nowhere") as client:
        with pytest.raises(Unreachable, match="nowhere"):
            await client.ask("mon", "status")
