"""`evac import`: from what this machine knows (clouds.yaml, /etc/ceph) to a config that can look and not touch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from evac.backend import Found
from evac.config import plugins
from evac.toml_text import toml_key, toml_value
from tui.commands import show
from tui.commands.configuring import load_config
from tui.commands.exits import Code, Stop
from tui.commands.private_file import write_private

HEAD = """\
# evac's config. Every key is explained by: evac config template
#
# Imported clusters can be looked at and not touched. To let evac act, take this line away, or set it to false:
read_only = true
"""


@click.command("import")
@click.option("--dry-run", is_flag=True, help="Print the config that would be written, and write nothing.")
@click.pass_context
def import_command(ctx: click.Context, /, dry_run: bool) -> None:
    """Write a read-only config from clouds.yaml and /etc/ceph. An existing config is kept as a backup and added to."""
    path = ctx.obj.where().config
    found, notes = discover()
    for text in notes:
        show.note(f"evac: {text}")
    if dry_run:
        text, names = imported(path, found)
        click.echo(text, nl=False)
        show.note(f"Would write {path} with {', '.join(names) or 'nothing new'}. Nothing was written.")
        return
    import_found(path, found)


def discover() -> tuple[list[Found], list[str]]:
    """What all installed backends find on this machine, and what could not be read."""
    known = plugins()
    notes = [f"The backend {name} cannot be loaded: {why}" for name, why in known.broken.items()]
    found: list[Found] = []
    for plugin in known.values():
        found += [_with_kind(item, plugin.kind) for item in (plugin.discover() if plugin.discover else ())]
    return found, notes


def _with_kind(item: Found, kind: str) -> Found:
    return Found(name=item.name, options={"kind": kind, **item.options}, source=item.source)


def import_found(path: Path, found: Sequence[Found]) -> None:
    """Write the config; say what was written and what is next."""
    text, names = imported(path, found)
    if not names:
        raise Stop(
            f"Everything found is in {path} already." if found else "There is nothing to import.",
            Code.DONE if found else Code.FAILED,
            unaffected="Nothing was written.",
            next_step=""
            if found
            else "Put a clouds.yaml or an /etc/ceph/ceph.conf in place, or: evac config edit",
        )
    backup = write_private(path, text, keep_old=True)
    show.say(
        f"{path}: {', '.join(names)} imported, read-only." + (f" The old file is {backup}." if backup else "")
    )
    show.say("Next: evac doctor")


def imported(path: Path, found: Sequence[Found]) -> tuple[str, list[str]]:
    """The config's new text, and the names that are new in it. An existing file keeps every line it has."""
    if path.exists():
        config = load_config(path)
        old = path.read_text(encoding="utf-8")
        text = old if not old or old.endswith("\n") else old + "\n"
        taken, guard = set(config.clusters), not config.read_only
    else:
        text, taken, guard = HEAD, set(), False
    names: list[str] = []
    for item in found:
        name = cluster_name(item.name)
        if name in taken:
            continue
        # Two clouds whose names differ only in signs that a cluster's name cannot have: both are taken.
        while name in names:
            name += "-2"
        names.append(name)
        text += block(name, item, guard=guard)
    return text, names


def block(name: str, item: Found, *, guard: bool) -> str:
    """One [clusters.NAME] table; `guard` sets it read-only where the file as a whole is not."""
    lines = ["", f"# from {item.source}", f"[clusters.{toml_key(name)}]"]
    lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in item.options.items()]
    lines += ["read_only = true"] if guard else []
    return "\n".join(lines) + "\n"


def cluster_name(name: str) -> str:
    """A name that may stand for a cluster: letters, digits and . _ - (evac.config_check.NAME)."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("_.-")[:63]
    return plain or "cluster"
