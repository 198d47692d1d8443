"""The engine as a process: one per state folder, detached, told in words when it cannot start, quick to go."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from evac.client import EngineClient, EngineGone
from evac.lifecycle import EngineTrouble, ensure_engine, holder
from evac.paths import Paths, paths
from tests.unit.playing import until

PATIENCE = 30.0
"""Seconds a start may take on a machine that does much else."""


def place(tmp_path: Path, config: str = "") -> Paths:
    where = paths(tmp_path / "config.toml", tmp_path / "s")
    if config:
        where.config.write_text(config)
    return where


def stat_of(pid: int) -> list[str]:
    """State, parent, group, session, terminal, … as in proc(5), after the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def links_of(pid: int) -> dict[str, str]:
    """Where its standard streams and its working directory are."""
    return {name: str(Path(f"/proc/{pid}/{name}").readlink()) for name in ("fd/0", "fd/1", "fd/2", "cwd")}


def alive(pid: int) -> bool:
    """Running, and no zombie: a test runner in a container may be its own children's only init."""
    try:
        return stat_of(pid)[0] != "Z"
    except OSError:
        return False


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def running(where: Paths, **more: bool) -> AsyncIterator[int]:
    await ensure_engine(where, timeout=PATIENCE, **more)
    found = holder(where.lock)
    assert found is not None
    try:
        yield found.pid
    finally:
        end(found.pid)


@contextmanager
def foreground(where: Paths, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "evac.engine",
        "--config",
        str(where.config),
        "--state",
        str(where.state),
    ]
    with subprocess.Popen(
        [*command, "--foreground", *options], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_it_is_started_detached_from_its_starter(tmp_path: Path) -> None:
    """Own session, no terminal, and not our child: what happens to us does not happen to it."""
    where = place(tmp_path)
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        hello = await client.hello()
        assert hello.pid == pid
        assert os.getsid(pid) == pid
        assert os.getsid(pid) != os.getsid(0)
        fields = stat_of(pid)
        assert int(fields[1]) != os.getpid(), "its parent is not us"
        assert fields[4] == "0", "it has no terminal"
        null = "/dev/null"
        assert links_of(pid) == {"fd/0": null, "fd/1": null, "fd/2": null, "cwd": "/"}


async def test_it_runs_with_no_cluster_and_keeps_its_files_to_itself(tmp_path: Path) -> None:
    where = place(tmp_path)
    async with running(where):
        for path in (where.journal, where.log, where.lock, where.socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(where.state.stat().st_mode) == 0o700


async def test_a_second_one_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    where = place(tmp_path)
    async with running(where) as pid:
        with foreground(where) as second:
            _, words = second.communicate(timeout=PATIENCE)
        assert second.returncode == 1
        assert f"process {pid} of {pwd.getpwuid(os.getuid()).pw_name}, running since 20" in words
        assert "Traceback" not in words
        async with EngineClient(where.socket, via="test") as client:
            assert (await client.hello()).pid == pid


async def test_consoles_that_start_together_share_one_engine(tmp_path: Path) -> None:
    where = place(tmp_path)
    await asyncio.gather(*(ensure_engine(where, timeout=PATIENCE) for _ in range(4)))
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        assert (await client.hello()).pid == pid


async def test_after_kill_9_the_next_one_starts_over_the_stale_socket_with_a_new_epoch(
    tmp_path: Path,
) -> None:
    where = place(tmp_path)
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        first = await client.hello()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid), "its end", 10)
        assert where.socket.exists()
        with pytest.raises(EngineGone):
            await client.hello()
        async with running(where) as again:
            second = await client.hello()
            assert again != pid
            assert second.epoch != first.epoch
            records = await client.audit()
            assert [record.body.get("event") for record in records] == ["started", "started"]


@pytest.mark.parametrize("how", ["SIGTERM", "stop"])
async def test_it_ends_within_a_second_and_takes_its_socket_along(tmp_path: Path, how: str) -> None:
    where = place(tmp_path)
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        await client.hello()
        began = time.monotonic()
        if how == "SIGTERM":
            os.kill(pid, signal.SIGTERM)
        else:
            await client.stop_engine()
        await until(lambda: not alive(pid), "its end", 10)
        assert time.monotonic() - began < 2, "a second, and one for a busy machine"
        assert not where.socket.exists()
        assert "stopping" in where.log.read_text()


async def test_it_outlives_the_hang_up_of_its_terminal(tmp_path: Path) -> None:
    where = place(tmp_path)
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        os.kill(pid, signal.SIGHUP)
        assert (await client.hello()).pid == pid


async def test_it_ends_by_itself_when_the_last_console_has_left(tmp_path: Path) -> None:
    where = place(tmp_path, "[engine]\nidle_exit = 3\n")
    async with running(where) as pid, EngineClient(where.socket, via="test") as client:
        stream = client.follow()
        await anext(stream)
        left = time.monotonic() + 4.5
        await until(lambda: time.monotonic() > left, "more than idle_exit with a console", 10)
        assert alive(pid)
        await stream.aclose()  # type: ignore[attr-defined]
        await client.close()
        await until(lambda: not alive(pid), "its end, three seconds later", 20)
    assert "nobody needed it for 3 s" in where.log.read_text()


async def test_in_the_foreground_it_stays_without_consoles(tmp_path: Path) -> None:
    where = place(tmp_path, "[engine]\nidle_exit = 1\n")
    with foreground(where) as process:
        await until(where.socket.exists, "its socket", PATIENCE)
        passed = time.monotonic() + 2.5
        await until(lambda: time.monotonic() > passed, "more than twice idle_exit", 10)
        assert process.poll() is None
        process.terminate()
        _, words = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "listens on" in words


async def test_it_can_be_run_from_a_program_of_ones_own(tmp_path: Path) -> None:
    where = place(tmp_path, "[engine]\nidle_exit = 1\n")
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from evac.config import load; from evac.lifecycle import run_engine; from evac.paths import paths\n"
        "where = paths(Path(sys.argv[1]), Path(sys.argv[2])); config = load(where.config, {})\n"
        "sys.exit(asyncio.run(run_engine(where, config=config, read_only=True, foreground=False)))\n"
    )
    command = [sys.executable, "-c", program, str(where.config), str(where.state)]
    done = await asyncio.to_thread(subprocess.run, command, timeout=PATIENCE, check=False)
    assert done.returncode == 0, "nobody needed it"
    assert where.journal.exists()
    assert not where.socket.exists()


async def test_mistakes_in_the_config_reach_whoever_started_it(tmp_path: Path) -> None:
    where = place(tmp_path, "read_onyl = true\n[limits]\ntotal = 'many'\n")
    with pytest.raises(EngineTrouble) as caught:
        await ensure_engine(where, timeout=PATIENCE)
    told = caught.value.problem.happened
    assert "2 mistakes" in told
    assert f"{where.config}:1: read_onyl: is not known here" in told
    assert f"{where.config}:3: limits.total" in told


async def test_a_journal_of_a_newer_evac_reaches_whoever_started_it(tmp_path: Path) -> None:
    import sqlite3

    where = place(tmp_path)
    where.state.mkdir(mode=0o700)
    with sqlite3.connect(where.journal) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(EngineTrouble) as caught:
        await ensure_engine(where, timeout=PATIENCE)
    assert str(where.journal) in str(caught.value)
    assert str(where.journal) in where.log.read_text(), "and it is in the log"


async def test_a_state_folder_that_cannot_be_made_reaches_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")
    with pytest.raises(EngineTrouble) as caught:
        await ensure_engine(place(tmp_path), timeout=PATIENCE)
    assert "state folder" in caught.value.problem.happened


async def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    """No file may grow by a byte (ulimit -f 0): the same to the engine as a disk without room."""
    where = place(tmp_path)
    engine = f"{sys.executable} -m evac.engine --config {where.config} --state {where.state} --foreground"
    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", f"ulimit -f 0; exec {engine} 2>&1 | cat"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert str(where.state) in done.stdout
    assert "Traceback" not in done.stdout
    assert "evac made a mistake" not in done.stdout


async def test_read_only_is_said_by_the_engine_itself(tmp_path: Path) -> None:
    where = place(tmp_path)
    async with running(where, read_only=True), EngineClient(where.socket, via="test") as client:
        hello = await client.hello()
        assert hello.read_only
        assert hello.you.role == "admin"


async def test_the_config_can_make_all_read_only(tmp_path: Path) -> None:
    where = place(tmp_path, "read_only = true\n")
    async with running(where), EngineClient(where.socket, via="test") as client:
        assert "config.toml sets read_only" in (await client.hello()).read_only_why


async def test_no_secret_of_the_config_reaches_log_or_journal(tmp_path: Path) -> None:
    """A cluster that cannot be reached, with a password in the environment: nothing on disk holds it."""
    config = (
        '[clusters.a]\nkind = "openstack"\nauth_url = "http://127.0.0.1:9/v3"\nusername = "u"\n'
        'password = "env:EVAC_TEST_PW"\nproject_name = "p"\nuser_domain_name = "d"\nproject_domain_name = "d"\n'
    )
    where = place(tmp_path, config)
    os.environ["EVAC_TEST_PW"] = "s3cr3t-value-of-a"
    try:
        async with running(where), EngineClient(where.socket, via="test") as client:
            seen: list[object] = []

            async def look() -> None:
                while not seen:
                    seen.extend(
                        state.problems for state in (await client.snapshot()).clusters if state.problems
                    )
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(look(), PATIENCE)
            await client.stop_engine()
            await until(lambda: not where.socket.exists(), "its end", 10)
    finally:
        del os.environ["EVAC_TEST_PW"]
    for path in where.state.iterdir():
        if path.is_file():
            assert b"s3cr3t-value-of-a" not in path.read_bytes(), path


def test_importing_the_lifecycle_and_the_client_loads_nothing_slow() -> None:
    code = "import sys, json, evac.lifecycle, evac.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"aiohttp", "textual", "openstack", "sqlite3", "hypothesis"}
