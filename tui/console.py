"""Open the console: paint first, then look for the engine."""

from __future__ import annotations

import asyncio
import locale
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tui.look import Look, theme_or_default
from tui.terminal import gone, leave_when_gone, write_to_nowhere

if TYPE_CHECKING:
    from textual.app import App

    from evac.paths import Paths
    from tui.first_run import FirstRun


UNWIND = 5.0
"""Seconds the console may take to leave after a signal, before it is ended the hard way."""


def wants_ascii(chosen: bool | None) -> bool:
    """As told; else by the locale: anything that is not UTF-8 gets ASCII."""
    if chosen is not None:
        return chosen
    name = locale.nl_langinfo(locale.CODESET) if _locale_set() else "ascii"
    return "utf" not in name.lower()


def configured(config: Path) -> Mapping[str, object]:
    """The config's [console] table, read cheaply before the first paint. What is wrong in it the engine says."""
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8")).get("console")
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _locale_set() -> bool:
    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        return False
    return True


def measure_the_terminal() -> None:
    """Forget exported COLUMNS and LINES, before Textual copies the environment.

    It believes them in one place and the terminal in another, and where the two differ it resizes back and forth for ever.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


def run_console(
    where: Paths,
    *,
    read_only: bool,
    ascii_only: bool | None,
    theme: str | None,
    mouse: bool,
    demo: bool,
    first_run: FirstRun | None,
) -> int:
    """The console until it is quit; returns its exit code. With `first_run` only that screen, which records a choice."""
    os.environ.setdefault("TEXTUAL_FPS", "120")
    measure_the_terminal()
    chosen = configured(where.config)
    wanted = "mono" if os.environ.get("NO_COLOR") else theme or _text(chosen.get("theme"))
    name, complaint = theme_or_default(wanted)
    told = chosen.get("ascii") if ascii_only is None else ascii_only
    look = Look(ascii_only=wants_ascii(told if isinstance(told, bool) else None), theme=name)
    mouse = mouse and chosen.get("mouse") is not False
    if first_run is not None:
        from tui.screens.first_run import FirstRunApp  # noqa: PLC0415  # either this or the console

        return run_app(FirstRunApp(first_run, look), mouse=mouse)
    from tui.app import Console  # noqa: PLC0415
    from tui.source import EngineSource  # noqa: PLC0415

    source = EngineSource(where, read_only=read_only, demo=demo)
    bell = chosen.get("bell") is not False
    console = Console(source, look=look, state_dir=where.state, complaint=complaint, bell=bell)
    return run_app(console, mouse=mouse)


TURN = 0.0005
"""Seconds after which a thread that waits for the interpreter gets its turn.

Textual reads keys and writes frames in threads of their own. At Python's 5 ms each of the two may wait that long beside
a loop that is busy with news.
"""


def run_app(app: App[int], *, mouse: bool) -> int:
    """Run the console, or the first-run screen, to its end."""
    sys.setswitchinterval(TURN)
    return asyncio.run(_run(app, mouse=mouse))


async def _run(app: App[int], *, mouse: bool) -> int:
    """As App.run, with the terminal's end understood as the console's end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Not the loop's own handler: the loop may wait for a terminal that takes nothing.
            signal.signal(number, lambda *_: _end(app, loop))
    watch = loop.create_task(leave_when_gone(app))
    try:
        code = await app.run_async(mouse=mouse)
    finally:
        watch.cancel()
    if gone(sys.stdin.fileno()):
        write_to_nowhere()
    return code or app.return_code or 0


def _end(app: App[int], loop: asyncio.AbstractEventLoop) -> None:
    """Leave in the ordinary way, so that whoever started us can clean up; or else the hard way."""
    last_resort = threading.Timer(UNWIND, os._exit, (0,))
    last_resort.daemon = True
    last_resort.start()
    loop.call_soon_threadsafe(app.exit, 0)
