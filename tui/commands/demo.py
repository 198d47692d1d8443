"""`evac demo`: a simulated fleet, an engine of its own and the console, in one command; all ended on quit.

The world runs as its own process and ends when its standard input closes, so even a `kill -9` of this one leaves it
no orphan. An engine that such a kill leaves behind is ended, and its directory removed, by the next demo.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from tui.commands.exits import Code, Stop
from tui.commands.start import Start

if TYPE_CHECKING:
    from evac.paths import Paths

READY_WITHIN = 30.0
"""Seconds for the world to serve. It takes one or two; more on a machine that is busy."""

ENDING = (signal.SIGHUP, signal.SIGTERM)


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the demo's directory (journal, log) afterwards.")
@click.option("--headless", is_flag=True, help="No console here: print how to attach, and run until ctrl-c.")
@click.pass_context
def demo_command(ctx: click.Context, /, keep: bool, headless: bool) -> None:
    """Open the console on a simulated fleet.

    Three clouds, a Proxmox VE, a vCenter, their Ceph: 56 hosts and 1,580 VMs, and one bad night. Nothing outside this machine is touched, and everything is ended and removed on quit.
    """
    ctx.exit(run_demo(ctx.obj, keep=keep, headless=headless))


def run_demo(start: Start, *, keep: bool, headless: bool) -> int:
    """The whole demo; the exit code."""
    if not headless:
        from tui.commands.opening import need_terminal  # noqa: PLC0415

        need_terminal()
    home = start.where().state / "demo"
    sweep(home)
    folder = home / secrets.token_hex(3)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "pid").write_text(str(os.getpid()))
    here = start.at(config=folder / "config.toml", state=folder / "state")
    with ending_signals():
        world = None
        try:
            world = start_world(folder)
            wait_until_ready(world, folder)
            return attend(here, world) if headless else show(here)
        except KeyboardInterrupt:
            return int(Code.DONE)
        finally:
            hold_signals()
            end(here.where(), world, folder, keep=keep)


def start_world(folder: Path) -> subprocess.Popen[bytes]:
    """The simulated clouds' process; it writes their config into `folder`."""
    click.echo("Starting the simulated fleet…", err=True)
    with (folder / "world.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "backends.simulation.demo", "--dir", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


def wait_until_ready(world: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when the clouds serve."""
    assert world.stdout is not None
    ready, _, _ = select.select([world.stdout], [], [], READY_WITHIN)
    if not ready or b"ready" not in world.stdout.readline():
        words = last_lines(folder / "world.log")
        raise Stop("The simulated fleet did not start.", Code.FAILED, next_step=words)


def show(here: Start) -> int:
    """The console on the demo."""
    from tui.commands.opening import show_console  # noqa: PLC0415

    return show_console(here, demo=True, first_run=None)


def attend(here: Start, world: subprocess.Popen[bytes]) -> int:
    """Say how to attach, and wait for ctrl-c or the world's end."""
    from evac.lifecycle import ensure_engine  # noqa: PLC0415

    where = here.where()
    asyncio.run(ensure_engine(where, read_only=here.read_only, demo=True))
    click.echo(f"evac --config {where.config} --state {where.state}")
    click.echo("The demo runs until ctrl-c. Attach from another terminal with the line above.", err=True)
    while world.poll() is None:
        time.sleep(0.2)
    raise Stop(
        "The simulated fleet has ended by itself.",
        Code.FAILED,
        next_step=last_lines(where.config.parent / "world.log"),
    )


def end(where: Paths, world: subprocess.Popen[bytes] | None, folder: Path, *, keep: bool) -> None:
    """Engine first, so that it does not report dead clouds; then the world; then the directory."""
    stop_engine(where)
    if world is not None:
        end_process(world)
    (folder / "pid").unlink(missing_ok=True)
    if keep:
        click.echo(f"The demo's directory is kept: {folder}", err=True)
        return
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def stop_engine(where: Paths) -> None:
    """Ask it to end, and see that it has: at most five seconds, then by its process id."""
    if not where.socket.exists():
        return
    pid = asyncio.run(_ask_to_end(where.socket))
    deadline = time.monotonic() + 5
    while pid and alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


async def _ask_to_end(socket: Path) -> int:
    """The engine's process id, once it was told; 0 when there is none."""
    from evac.client import EngineClient, EngineGone, EngineRefusal  # noqa: PLC0415

    pid = 0
    try:
        async with asyncio.timeout(5), EngineClient(socket, via="cli") as client:
            pid = (await client.hello()).pid
            await client.stop_engine()
    except (EngineGone, EngineRefusal, TimeoutError):
        return pid
    return pid


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Close its input; then SIGTERM; then SIGKILL."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    for end_it in (None, process.terminate, process.kill):
        if end_it is not None:
            end_it()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            return


def sweep(home: Path) -> None:
    """End and remove what a demo left whose process was killed. A directory kept on purpose has no pid file."""
    for note in home.glob("*/pid"):
        try:
            owner = int(note.read_text())
        except (OSError, ValueError):
            continue
        if not alive(owner):
            from evac.paths import paths  # noqa: PLC0415

            folder = note.parent
            stop_engine(paths(folder / "config.toml", folder / "state"))
            shutil.rmtree(folder, ignore_errors=True)


def alive(pid: int) -> bool:
    """True while a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """While inside, SIGHUP and SIGTERM end the demo in order, as ctrl-c does."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # Python's signature
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def hold_signals() -> None:
    """The clearing up is bounded (about 12 s at worst); a second ctrl-c must not leave half of it."""
    for number in (*ENDING, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def last_lines(log: Path) -> str:
    """What the world said last."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return f"Log: {log}"
    return " / ".join(lines[-3:]) if lines else f"It said nothing; log: {log}"
