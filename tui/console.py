"""Open the console: paint first, then look for the engine."""

from __future__ import annotations

import asyncio
import contextlib
import locale
import os
import signal
from typing import TYPE_CHECKING

from tui.look import Look, theme_or_default

if TYPE_CHECKING:
    from evac.paths import Paths
    from tui.app import Console
    from tui.first_run import FirstRun


def wants_ascii(chosen: bool | None) -> bool:
    """As told; else by the locale: anything that is not UTF-8 gets ASCII."""
    if chosen is not None:
        return chosen
    name = locale.nl_langinfo(locale.CODESET) if _locale_set() else "ascii"
    return "utf" not in name.lower()


def _locale_set() -> bool:
    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        return False
    return True


def run_console(
    where: Paths,
    *,
    read_only: bool,
    ascii_only: bool | None,
    theme: str | None,
    mouse: bool,
    demo: bool,  # noqa: ARG001  # the header says so by what the engine answers
    first_run: FirstRun | None,
) -> int:
    """The console until it is quit; returns its exit code. With `first_run` only that screen, which records a choice."""
    os.environ.setdefault("TEXTUAL_FPS", "120")
    name, complaint = theme_or_default(theme)
    look = Look(ascii_only=wants_ascii(ascii_only), theme=name)
    if first_run is not None:
        from tui.screens.first_run import FirstRunApp  # noqa: PLC0415  # either this or the console

        return FirstRunApp(first_run, look).run(mouse=mouse) or 0
    from tui.app import Console  # noqa: PLC0415
    from tui.source import EngineSource  # noqa: PLC0415

    source = EngineSource(where, read_only=read_only)
    console = Console(source, look=look, state_dir=where.state, complaint=complaint)
    return run_app(console, mouse=mouse)


def run_app(console: Console, *, mouse: bool) -> int:
    """Run a console to its end."""
    return asyncio.run(_run(console, mouse=mouse))


async def _run(console: Console, *, mouse: bool) -> int:
    """As App.run, with the terminal's end understood as the console's end."""
    loop = asyncio.get_running_loop()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, _hang_up, console)
    loop.add_signal_handler(signal.SIGTERM, console.exit, 0)
    code = await console.run_async(mouse=mouse)
    return code or console.return_code or 0


def _hang_up(console: Console) -> None:
    """The terminal is gone: remember what was seen and leave. Nothing may write to it, so nothing is unwound."""
    with contextlib.suppress(Exception):
        console.remember()
    os._exit(0)
