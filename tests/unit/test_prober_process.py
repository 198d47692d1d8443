"""The prober's process and the engine's hold on it: no orphan, no hanging, and never a measure that was none."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from evac import framing
from evac.probe import Method, Target
from evac.prober import client, messages
from evac.prober.client import PROGRAM, Prober

PATIENCE = 20.0


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    made = Prober()
    await made.start()
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # what is waited for lies in another process
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def target(port: int, name: str = "vm") -> Target:
    return Target(id=name, method=Method.TCP, address="127.0.0.1", port=port, interval=0.05)


async def test_rows_come_by_themselves_and_a_move_is_measured(prober: Prober, port: int) -> None:
    await prober.watch([target(port)])
    await until(lambda: "vm" in prober.rows and prober.rows["vm"].state == "answers")
    assert prober.trouble == ""
    assert await prober.begin("vm", "move", interval=0.02)
    await until(lambda: prober.rows["vm"].window == "move" and prober.rows["vm"].sent >= 5)
    felt = await prober.end("vm", "move")
    assert (felt.unmeasured, felt.lost, felt.answered_before) == ("", 0, True)
    assert felt.sent >= 5


async def test_a_target_dropped_is_asked_no_more(prober: Prober, port: int) -> None:
    await prober.watch([target(port), target(port, "other")])
    await until(lambda: {"vm", "other"} <= prober.rows.keys())
    await prober.drop(["vm"])
    assert "vm" not in prober.rows
    seen = prober.rows["other"].sent
    await until(lambda: prober.rows["other"].sent > seen)
    assert "vm" not in prober.rows


async def test_killed_in_a_move_it_is_started_again_and_that_move_is_not_measured(
    prober: Prober, port: int
) -> None:
    await prober.watch([target(port)])
    await until(lambda: "vm" in prober.rows)
    assert await prober.begin("vm", "move", interval=0.02)
    first = prober.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    felt = await prober.end("vm", "move")
    assert felt.unmeasured == "the prober ended (signal 9)"
    assert (felt.lost, felt.gaps) == (0, ())
    await until(lambda: prober.pid not in {None, first} and prober.trouble == "")
    assert await prober.begin("vm", "again", interval=0.02)
    await until(lambda: prober.rows["vm"].window == "again" and prober.rows["vm"].sent >= 3)
    assert (await prober.end("vm", "again")).unmeasured == ""


async def test_without_a_prober_moves_begin_and_end_unmeasured(port: int) -> None:
    prober = Prober(program=("/nonexistent/prober",))
    await prober.start()
    await until(lambda: "cannot be started" in prober.trouble)
    await prober.watch([target(port)])
    assert not await prober.begin("vm", "move", interval=0.1)
    felt = await prober.end("vm", "move")
    assert felt.unmeasured == "the prober cannot be started: No such file or directory"
    assert felt.address == "127.0.0.1"
    await prober.close()


async def test_one_that_ends_at_once_is_not_started_in_a_tight_loop(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    prober = Prober(program=(sys.executable, "-c", f"open({str(log)!r}, 'a').write('x')"))
    await prober.start()
    await until(lambda: log.exists() and len(log.read_text()) == 2)
    began = time.monotonic()
    await until(lambda: len(log.read_text()) == 3)
    assert time.monotonic() - began >= client.PAUSES[2] - 1.0
    assert prober.trouble == "the prober ended (exit status 0)"
    await prober.close()


async def test_one_that_talks_nonsense_is_ended() -> None:
    prober = Prober(
        program=(sys.executable, "-c", "import time; print('x' * 99, flush=True); time.sleep(600)")
    )
    await prober.start()
    await until(lambda: "no frame" in prober.trouble)
    await prober.close()


async def test_one_that_is_stopped_is_told_and_then_replaced(
    prober: Prober, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of ten seconds ago is no row of now."""
    await prober.watch([target(port)])
    await until(lambda: "vm" in prober.rows)
    monkeypatch.setattr(client, "QUIET", 1.5)
    monkeypatch.setattr(client, "HUNG", 3.0)
    await asyncio.sleep(0)
    stopped = prober.pid
    assert stopped is not None
    # The wait under way has the old bound: let it hear one more word before it is stopped.
    heard = prober.state
    await until(lambda: prober.state is not heard)
    os.kill(stopped, signal.SIGSTOP)
    await until(lambda: "silent for" in prober.trouble)
    await until(lambda: prober.pid not in {None, stopped} and prober.trouble == "")
    assert gone(stopped)


async def test_a_measure_that_never_comes_is_given_up(
    prober: Prober, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    await prober.watch([target(port)])
    await until(lambda: "vm" in prober.rows)
    assert await prober.begin("vm", "move", interval=0.05)
    assert prober.pid is not None
    os.kill(prober.pid, signal.SIGSTOP)
    assert (await prober.end("vm", "move")).unmeasured == "the prober does not answer"


async def test_a_reader_of_rows_that_fails_does_not_end_the_measuring(port: int) -> None:
    def fails(_: object) -> None:
        raise ValueError("not your business")

    prober = Prober(on_rows=fails)
    await prober.start()
    await prober.watch([target(port)])
    await until(lambda: prober.rows.get("vm") is not None and prober.rows["vm"].sent > 2)
    sent = prober.rows["vm"].sent
    await until(lambda: prober.rows["vm"].sent > sent)
    await prober.close()


async def test_closing_leaves_no_process(port: int) -> None:
    prober = Prober()
    await prober.start()
    await prober.watch([target(port)])
    await until(lambda: "vm" in prober.rows)
    pid = prober.pid
    assert pid is not None
    assert await prober.begin("vm", "move", interval=0.05)
    await prober.close()
    assert gone(pid)
    assert "ended" in (await prober.end("vm", "move")).unmeasured


def test_it_ends_when_stdin_closes_and_not_by_ctrl_c() -> None:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        size = framing.length(process.stdout.read(4))
        assert isinstance(messages.news(process.stdout.read(size)), messages.State)
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_it_ends_with_an_engine_that_was_killed() -> None:
    """Also while nobody reads what it says."""
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({list(PROGRAM)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,"
        " start_new_session=True)\n"
        "p.stdout.read(1); print(p.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert not gone(pid)
        engine.kill()
    bound = time.monotonic() + PATIENCE
    while not gone(pid) and time.monotonic() < bound:
        time.sleep(0.01)
    ended = gone(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert ended


def test_orders_that_are_no_frames_end_it() -> None:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(b"\0\0\0\x05hello")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 1
