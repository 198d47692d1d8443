"""`evac config check|show|locate|template|schema|edit`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import click
import msgspec

from evac.config import Config, ConfigErrors, load, plugins, schema
from evac.toml_text import toml_value
from tui.commands import show
from tui.commands.exits import Code, Stop
from tui.commands.private_file import write_private


@click.group("config")
def config_command() -> None:
    """Check, show, find or begin the config file."""


@config_command.command("check", short_help="Tell every mistake of the config at once.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@show.as_json
@click.pass_context
def check_command(ctx: click.Context, /, file: Path | None, as_json: bool) -> None:
    """Tell every mistake of the config at once, with line, remedy and the nearest name."""
    path = file or ctx.obj.where().config
    need_file(path)
    try:
        config = load(path, plugins())
    except ConfigErrors as errors:
        if as_json:
            show.print_json({"ok": False, "file": path, "errors": errors.errors})
        else:
            for error in errors.errors:
                show.say(str(error))
            show.note(mistakes(len(errors.errors), path))
        ctx.exit(int(Code.FAILED))
    if as_json:
        show.print_json({"ok": True, "file": path, "errors": [], "clusters": list(config.clusters)})
    else:
        names = ", ".join(config.clusters) or "no cluster yet"
        show.say(f"{path}: no mistakes; {names}")


@config_command.command("show")
@click.option("--origin", is_flag=True, help="Where each value comes from: file and line, or default.")
@show.as_json
@click.pass_context
def show_command(ctx: click.Context, /, origin: bool, as_json: bool) -> None:
    """Show every setting as evac understands it. Secrets are references, and stay so."""
    config = load_config(ctx.obj.where().config)
    rows = list(settings(config))
    if as_json:
        body: dict[str, Any] = {"file": config.file, "found": config.found, "settings": dict(rows)}
        show.print_json({**body, "origin": dict(config.origin)} if origin else body)
        return
    for key, value in rows:
        line = f"{key} = {toml_value(value)}"
        show.say(f"{line:<58} # {config.origin.get(key, 'default')}" if origin else line)


@config_command.command("locate")
@show.as_json
@click.pass_context
def locate_command(ctx: click.Context, /, as_json: bool) -> None:
    """Print where everything is kept."""
    where = msgspec.structs.asdict(ctx.obj.where())
    if as_json:
        show.print_json({name: {"path": path, "exists": path.exists()} for name, path in where.items()})
        return
    for name, path in where.items():
        show.say(f"{name:<8} {path}" + ("" if path.exists() else "  (not there yet)"))


@config_command.command("template")
def template_command() -> None:
    """Print a complete, commented config to start from."""
    click.echo(template(), nl=False)


@config_command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the config, for editors."""
    click.echo(json.dumps(schema(plugins()), indent=2))


@config_command.command("edit", short_help="Edit the config; one with mistakes is not taken.")
@click.pass_context
def edit_command(ctx: click.Context) -> None:
    """Edit the config with $EDITOR; it is put in place only when it has no mistakes."""
    edit(ctx.obj.where().config)


def edit(path: Path) -> None:
    """Edit a copy (the template where there is no config), check it, put it in place with mode 0600."""
    if not sys.stdin.isatty():
        raise Stop(
            "There is no terminal to edit on.",
            Code.USAGE,
            next_step=f"evac config template > {path}; chmod 600 {path}",
        )
    text = path.read_text() if path.exists() else template()
    with tempfile.TemporaryDirectory(prefix="evac-") as folder:
        copy = Path(folder) / "config.toml"
        write_private(copy, text)
        while True:
            run_editor(copy)
            mistake = first_mistakes(copy, path)
            if not mistake:
                break
            show.note(mistake)
            if not click.confirm("Edit again? Otherwise nothing is changed", default=True, err=True):
                raise Stop("The config was left as it was.", Code.FAILED)
        backup = write_private(path, copy.read_text(), keep_old=True)
    show.say(f"{path} is in place." + (f" The old one is {backup}." if backup else ""))


def run_editor(file: Path) -> None:
    """VISUAL, EDITOR, or vi."""
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        subprocess.run([*words, str(file)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Stop(
            f"The editor {words[0]} failed: {error}.",
            Code.FAILED,
            unaffected="Nothing was changed.",
            next_step="Set EDITOR to one that works.",
        ) from None


def first_mistakes(copy: Path, path: Path) -> str:
    """What is wrong with the edited copy, told under the real file's name; "" when nothing is."""
    try:
        load(copy, plugins())
    except ConfigErrors as errors:
        return "\n".join(str(error).replace(str(copy), path.name) for error in errors.errors)
    return ""


def template() -> str:
    """config.example.toml: packaged with an installed evac, at the root of a checkout."""
    packaged = resources.files("tui") / "config.example.toml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "config.example.toml").read_text(encoding="utf-8")


def need_file(path: Path) -> None:
    """Refuse when there is no config to talk about."""
    if not path.exists():
        raise Stop(
            f"There is no config at {path}.",
            Code.FAILED,
            next_step="`evac import` reads clouds.yaml; `evac config template` prints one to edit.",
        )


def load_config(path: Path) -> Config:
    """The checked config; its mistakes in words."""
    try:
        return load(path, plugins())
    except ConfigErrors as errors:
        raise Stop(
            mistakes(len(errors.errors), path),
            Code.FAILED,
            details=tuple(str(error) for error in errors.errors),
        ) from None


def mistakes(count: int, path: Path) -> str:
    """How many, where."""
    return f"{path} has {count} mistake{'s' if count != 1 else ''}."


def settings(config: Config) -> Iterator[tuple[str, Any]]:
    """Every setting by key path, in the file's order."""
    yield "read_only", config.read_only
    for name in ("engine", "access", "limits", "console", "probe"):
        yield from leaves(name, msgspec.to_builtins(getattr(config, name)))
    for name, cluster in config.clusters.items():
        yield from leaves(f"clusters.{name}", show.plain(cluster.rules))
        yield from leaves(f"clusters.{name}", show.plain(cluster.options))


def leaves(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A table's settings; those that are unset (null) have no line, as TOML knows no null."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(f"{prefix}.{name}", value)
        elif value is not None:
            yield f"{prefix}.{name}", value
