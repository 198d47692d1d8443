"""What the real suite tries as a viewer and in read-only mode is all there is to try; a new kind must be added to its lists."""

from __future__ import annotations

from collections.abc import Iterator

import click

from evac.model import VM, Host
from tests.real.intents import every_action, every_verb
from tui.cli import cli as evac_command


def test_every_action_is_tried() -> None:
    vm, host = VM(cluster="lab", id="1", name="vm", host="h"), Host(cluster="lab", id="h", name="h")
    assert every_action(vm, host, "1"), "it holds its own list against the union"


def test_every_verb_that_changes_something_is_tried() -> None:
    """A verb changes something if it has --yes."""
    found = {" ".join(path) for path in _changing(evac_command, ())}
    tried = {" ".join(words) for words in every_verb("VM", "VM", "HOST")}
    missing = {verb for verb in found if not any(words.startswith(f"{verb} ") for words in tried)}
    assert not missing


def _changing(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _changing(below, (*path, name))
    elif any("--yes" in option.opts for option in command.params):
        yield path
