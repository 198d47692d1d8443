"""`evac` with no verb: the console. With no config it offers the demo, an import, or adding a cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tui.commands.exits import Code, Stop
from tui.commands.reach import configured

if TYPE_CHECKING:
    from tui.commands.start import Start
    from tui.first_run import FirstRun

BARE = frozenset({"dumb", "unknown"})
"""Terminals by name on which a screen cannot be drawn. For these Rich makes every screen 80x25, and Textual resizes
without end between that and the true size (seen: half a core, and deaf to every key)."""


def open_console(start: Start) -> int:
    """Open the console on the configured clusters; the exit code."""
    need_terminal()
    where = start.where()
    if configured(where):
        return show_console(start, demo=False, first_run=None)
    from tui.commands.importing import discover  # noqa: PLC0415  # only on a machine without a config

    found, notes = discover()
    first = _first_run(start, found, notes)
    code = show_console(start, demo=False, first_run=first)
    return code or carry_out(start, first)


def need_terminal() -> None:
    """The console draws on a terminal; into a pipe it would only write noise."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        if os.environ.get("TERM", "") in BARE:
            raise Stop(
                f"The console must move the cursor, and TERM={os.environ.get('TERM', '')} says that this terminal cannot.",
                Code.USAGE,
                next_step="If it can: TERM=xterm evac. Without the console: `evac hosts`, `evac queue`, `evac --help`.",
            )
        return
    side = "output" if sys.stdin.isatty() else "input"
    raise Stop(
        f"The console needs a terminal, and the {side} is none.",
        Code.USAGE,
        next_step="For scripts there are `evac hosts --json`, `evac drain HOST --yes` and others: `evac --help`.",
    )


def show_console(start: Start, *, demo: bool, first_run: FirstRun | None) -> int:
    """Import Textual now, and run the console."""
    from tui.console import run_console  # noqa: PLC0415  # Textual is imported when the console opens

    return run_console(
        start.where(),
        read_only=start.read_only,
        ascii_only=start.ascii_only,
        theme=start.theme,
        mouse=start.mouse is not False,
        demo=demo,
        first_run=first_run,
    )


def carry_out(start: Start, first: FirstRun) -> int:
    """Do what was chosen on the first-run screen; nothing chosen is a clean quit."""
    if first.choice == "demo":
        from tui.commands.demo import run_demo  # noqa: PLC0415

        return run_demo(start, keep=False, headless=False)
    if first.choice == "import":
        from tui.commands.importing import import_found  # noqa: PLC0415

        import_found(
            first.config, [item for item in first.found if not first.chosen or item.name in first.chosen]
        )
    elif first.choice == "add":
        from tui.commands.configuring import edit  # noqa: PLC0415

        edit(first.config)
    else:
        return int(Code.DONE)
    return show_console(start, demo=False, first_run=None)


def _first_run(start: Start, found: object, notes: object) -> FirstRun:
    from tui.first_run import FirstRun  # noqa: PLC0415

    return FirstRun(config=start.where().config, found=found, notes=notes)  # type: ignore[arg-type]
