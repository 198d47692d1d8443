"""Redraws the pictures of the README: the real console on the demo's fleet, over the wire, driven by keys.

    python screenshots/make.py [FOLDER]

The demo's world is seeded but lives in real time, so figures such as ages and rates differ a little from run to run.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from evac.client import EngineClient
from evac.lifecycle import ensure_engine
from evac.paths import paths
from tui import windows
from tui.app import Console
from tui.dialogs.ask import Ask
from tui.dialogs.plan import PlanScreen
from tui.look import Look
from tui.source import EngineSource
from tui.store import Store

SIZE = (100, 30)
PATIENCE = 60.0
EMPTIES = 900.0
"""Seconds in which a host of the demo is empty and safe to restart. It takes some four minutes."""

WINDOW = ("muc-pve-06", "muc-pve-08", "muc-pve-05", "muc-pve-04")
FONTS = "DejaVu Sans Mono, Menlo, Consolas, monospace"


async def main(folder: Path) -> None:
    """A demo for each story, so that none is in the other's pictures."""
    for story in (shoot, shoot_window):
        await on_a_demo(lambda console, story=story: story(console, folder))  # type: ignore[misc]


async def on_a_demo(story: Callable[[Console], Awaitable[None]]) -> None:
    """Start the demo, tell one story on it, end everything."""
    with tempfile.TemporaryDirectory(prefix="evac-shots-") as work:
        command = [sys.executable, "-m", "backends.simulation.demo", "--dir", work]
        world = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert world.stdout is not None
        try:
            ready = await asyncio.wait_for(world.stdout.readline(), PATIENCE)
            if b"ready" not in ready:
                raise SystemExit(f"the demo's world did not start: {ready!r}")
            where = paths(Path(work) / "config.toml", Path(work) / "state")
            await ensure_engine(where, demo=True)
            try:
                await story(Console(EngineSource(where, read_only=False, demo=True), look=Look()))
            finally:
                async with EngineClient(where.socket, via="screenshots") as client:
                    await client.stop_engine()
        finally:
            world.terminate()
            await world.wait()


async def shoot(console: Console, folder: Path) -> None:
    """Drive one console through a drain and save what is seen on the way."""
    async with console.run_test(size=SIZE) as pilot:
        await until(pilot, "every cloud is read", lambda: len(console.store.hosts) >= 40)
        await pilot.press("j", "j", "j")
        save(console, folder, "hosts")
        await pilot.press("d")
        await until(pilot, "the drain is planned", lambda: isinstance(console.screen, Ask))
        await asyncio.sleep(1.0)  # the dialog is deaf to keys for its first half second, on purpose
        save(console, folder, "drain")
        assert isinstance(console.screen, Ask)
        host = console.screen.sheet.title.removeprefix("Drain ").rstrip("?")
        await pilot.press(*("minus" if sign == "-" else sign for sign in host), "tab", "tab", "enter")
        await until(pilot, "migrations run", lambda: any(job.progress for job in console.store.jobs.values()))
        await pilot.press("3")
        await asyncio.sleep(12)
        save(console, folder, "queue")
        await pilot.press("2", "slash", *"state:running db", "enter")
        await asyncio.sleep(1)
        save(console, folder, "vms")
        await pilot.press("question_mark")
        await asyncio.sleep(1)
        save(console, folder, "help")
        await pilot.press("escape", "escape", "6")
        await until(
            pilot, "the PGs are counted", lambda: any(osd.pgs_up for osd in console.store.osds.values())
        )
        await asyncio.sleep(2)
        save(console, folder, "ceph")


async def shoot_window(console: Console, folder: Path) -> None:
    """A maintenance window over four hosts, when the first one may be restarted."""
    async with console.run_test(size=SIZE) as pilot:
        await until(pilot, "every cloud is read", lambda: len(console.store.hosts) >= 40)
        await pilot.press("slash", *"muc", "minus", *"pve", "enter")
        for host in WINDOW:
            assert console.board.go_to(f"muc-pve/{host}")
            await pilot.press("space")
        await pilot.press("w")
        await until(pilot, "it is asked for a plan", lambda: isinstance(console.screen, Ask))
        await asyncio.sleep(1.0)
        over = time.strftime("%H %M", time.gmtime(time.time() + 6 * 3600)).split()
        await pilot.press(*"Kernel", "space", *"update", "tab", *"CHG", "minus", *"48213", "tab", "tab")
        await pilot.press(*over[0], "colon", *over[1], *["tab"] * 6, "enter")
        await until(pilot, "the plan is made", lambda: isinstance(console.screen, PlanScreen))
        plan = console.screen
        assert isinstance(plan, PlanScreen)
        for key, answers in (("R", ("y",)), ("b", (*str(len(WINDOW)), "tab", "tab", "enter"))):
            await until(pilot, f"{key} can be done", lambda key=key: _can(plan, key))  # type: ignore[misc]
            await pilot.press(key)
            await until(pilot, f"{key} asks", lambda: isinstance(console.screen, Ask))
            await asyncio.sleep(1.0)
            await pilot.press(*answers)
        store = console.store
        await until(pilot, "the window has begun", lambda: bool(store.windows))
        await until(pilot, "it is safe to reboot the first host", lambda: _safe(store), patience=EMPTIES)
        await pilot.press("8", "g", "j")
        await asyncio.sleep(1)
        save(console, folder, "window")


def _can(plan: PlanScreen, name: str) -> bool:
    return any(key.key == name and not key.why_not() for key in plan.keys)


def _safe(store: Store) -> bool:
    return any(windows.safe(window, run) for window in store.windows.values() for run in window.hosts)


async def until(
    pilot: Pilot[int], what: str, ready: Callable[[], bool], *, patience: float = PATIENCE
) -> None:
    """Wait for the console to get there."""
    for _ in range(int(patience / 0.1)):
        if ready():
            await pilot.pause(0.3)
            return
        await pilot.pause(0.1)
    raise SystemExit(f"not within {patience:.0f} s: {what}")


def save(console: Console, folder: Path, name: str) -> None:
    """One SVG."""
    drawn = console.export_screenshot(title="evac")
    # Textual's picture asks a web server for its font; ours must look the same with no network at all.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
    drawn = drawn.replace("font-family: arial", f"font-family: {FONTS}")
    path = folder / f"{name}.svg"
    path.write_text(drawn, encoding="utf-8")
    print(f"{path.name}: {len(drawn)} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    target = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
