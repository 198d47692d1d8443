"""`evac`: the command line. Each verb is imported when it is called, so that the console's first paint waits for none.

With no verb the console opens. Importing this module imports click and nothing heavier (tests/unit/test_cli.py).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import click

from evac import __version__
from tui.commands.exits import MEANING
from tui.commands.start import Start

SECTIONS = {
    "See": {
        "hosts": "looking",
        "vms": "looking",
        "datastores": "looking",
        "problems": "looking",
        "events": "looking",
        "pgs": "pgs",
        "ok-to-stop": "storage",
        "preflight": "preflighting",
        "plan": "planning",
        "queue": "queueing",
        "report": "reporting",
        "ping": "ping",
        "address": "addressing",
        "doctor": "doctor",
    },
    "Act (nothing is done without --yes)": {
        "drain": "acting_hosts",
        "evacuate": "acting_hosts",
        "maintenance": "acting_hosts",
        "force-down": "acting_hosts",
        "noout": "storage",
        "migrate": "acting_vms",
        "move-storage": "acting_disks",
        "move-across": "acting_across",
        "answer": "acting_disks",
        "confirm": "acting_vms",
        "revert": "acting_vms",
        "reset-state": "acting_vms",
        "abort": "acting_vms",
        "force-complete": "acting_vms",
        "start": "acting_vms",
        "stop": "acting_vms",
        "restore": "restoring",
    },
    "Maintenance windows": {
        "approve": "windowing",
        "window": "windowing",
    },
    "Set up": {
        "demo": "demo",
        "import": "importing",
        "config": "configuring",
        "engine": "engine",
        "notify": "notifying",
        "audit": "auditing",
        "completion": "completing",
    },
}
"""Verb → module of tui/commands that holds it, in the order --help shows them."""

MODULES = {verb: module for verbs in SECTIONS.values() for verb, module in verbs.items()}


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """All verbs, in the order --help shows them."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        """One verb, or None when there is none of this name."""
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"tui.commands.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown verb is answered with the nearest ones."""
        if args and args[0] not in MODULES and not args[0].startswith("-"):
            ctx.fail(unknown_verb(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In sections: see, act, set up."""
        for title, verbs in SECTIONS.items():
            rows = [(verb, self._short_help(ctx, verb)) for verb in verbs]
            with formatter.section(title):
                formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANING.items()])

    def _short_help(self, ctx: click.Context, verb: str) -> str:
        command = self.get_command(ctx, verb)
        return command.get_short_help_str(limit=90) if command else ""


def unknown_verb(verb: str) -> str:
    """The message for a verb that does not exist, naming the nearest."""
    from difflib import get_close_matches  # noqa: PLC0415  # only for a typing error

    near = get_close_matches(verb, MODULES, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else " `evac --help` lists them all."
    return f"There is no command {verb!r}.{hint}"


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="evac", message="%(prog)s %(version)s")
@click.option("--config", type=click.Path(), help="Config file [default: see `evac config locate`].")
@click.option("--state", type=click.Path(), help="State directory: engine socket, journal, log.")
@click.option(
    "--read-only", is_flag=True, help="Take no intent from this console, whatever the config allows."
)
@click.option(
    "--ascii/--unicode", "ascii_only", default=None, help="Draw with ASCII only [default: by locale]."
)
@click.option("--theme", help="Colour theme of the console.")
@click.option(
    "--mouse/--no-mouse", default=None, help="Let the mouse select and scroll [default: as configured]."
)
@click.pass_context
def cli(ctx: click.Context, /, **options: str | bool | None) -> None:
    """Operations console for virtualization maintenance windows.

    With no command the console opens; it starts the engine if none runs. Names are taken exactly as written: there
    are no patterns, and a name that is not unique is refused with the candidates listed.
    """
    ctx.obj = Start.of(options)
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    if ctx.invoked_subcommand is None:
        from tui.commands.opening import open_console  # noqa: PLC0415  # only when the console opens

        ctx.exit(open_console(ctx.obj))


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the `evac` script."""
    cli.main(args=args, prog_name="evac")


if __name__ == "__main__":
    main()
