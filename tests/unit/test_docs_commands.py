"""The pages for admins name only commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tui.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
LINE = re.compile(r"`(evac [^`\n]+)`|^(evac [^\n]+)$", re.MULTILINE)


def commands(page: str) -> list[str]:
    return [one or other for one, other in LINE.findall((DOCS / page).read_text())]


def why_wrong(line: str) -> str:
    """Why there is no such command; ""."""
    words = shlex.split(line.replace("…", "x"))[1:]
    context, command = click.Context(cli), click.Command("evac")
    group: click.Command = cli
    while words and isinstance(group, click.Group) and not words[0].startswith("-"):
        found = group.get_command(context, words[0])
        if found is None:
            return "" if group.invoke_without_command and group is not cli else f"no {words[0]!r} in: {line}"
        group, words = found, words[1:]
    command = group
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
    return f"{unknown} in: {line}" if unknown else ""


@pytest.mark.parametrize("page", ["window.md", "notify.md"])
def test_every_command_of_the_page_exists(page: str) -> None:
    lines = commands(page)
    assert lines
    assert [why for line in lines if (why := why_wrong(line))] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert why_wrong("evac windrow show W3")
    assert why_wrong("evac drain HOST --no-such-option")
    assert not why_wrong("evac drain HOST --yes")
