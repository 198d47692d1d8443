"""Open the console: paint first, then look for the engine."""

from __future__ import annotations

import asyncio
import contextlib
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

if TYPE_CHECKING:
    from evac.paths import Paths
    from tui.app import Console
    from tui.first_run import FirstRun


UNWIND = 5.0
"""Seconds the console may take to leave after its terminal has gone, before it is ended the hard way."""


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

        return FirstRunApp(first_run, look).run(mouse=mouse) or 0
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


def run_app(console: Console, *, mouse: bool) -> int:
    """Run a console to its end."""
    sys.setswitchinterval(TURN)
    return asyncio.run(_run(console, mouse=mouse))


async def _run(console: Console, *, mouse: bool) -> int:
    """As App.run, with the terminal's end understood as the console's end."""
    loop = asyncio.get_running_loop()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Not the loop's own handler: the loop may be blocked in a write that the dead terminal will never take.
        signal.signal(signal.SIGHUP, lambda *_: _hang_up(console, loop))
    loop.add_signal_handler(signal.SIGTERM, console.exit, 0)
    code = await console.run_async(mouse=mouse)
    return code or console.return_code or 0


def _hang_up(console: Console, loop: asyncio.AbstractEventLoop) -> None:
    """The terminal is gone: leave in the ordinary way, writing to nowhere, so that whoever started us can clean up."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nowhere, descriptor)
    last_resort = threading.Timer(UNWIND, os._exit, (0,))
    last_resort.daemon = True
    last_resort.start()
    loop.call_soon_threadsafe(console.exit, 0)
