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
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from evac.client import EngineClient
from evac.lifecycle import ensure_engine
from evac.paths import paths
from tui.app import Console
from tui.dialogs.ask import Ask
from tui.look import Look
from tui.source import EngineSource

SIZE = (100, 30)
PATIENCE = 60.0
FONTS = "DejaVu Sans Mono, Menlo, Consolas, monospace"


async def main(folder: Path) -> None:
    """Start the demo, take the pictures, end everything."""
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
                await shoot(Console(EngineSource(where, read_only=False, demo=True), look=Look()), folder)
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


async def until(pilot: Pilot[int], what: str, ready: Callable[[], bool]) -> None:
    """Wait for the console to get there."""
    for _ in range(int(PATIENCE / 0.1)):
        if ready():
            await pilot.pause(0.3)
            return
        await pilot.pause(0.1)
    raise SystemExit(f"not within {PATIENCE:.0f} s: {what}")


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
