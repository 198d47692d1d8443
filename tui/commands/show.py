"""How verbs print: aligned tables for people, complete and stable JSON for scripts.

JSON is plain ASCII: a hostile name is exact for the script that parses it and harmless for the terminal that shows it.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import click
import msgspec

from evac.jobs import JobState, OrderState
from evac.model import HostState, Problem, VMState
from tui import cells
from tui.text import clean, fit, width

GOOD = {VMState.RUNNING, HostState.UP, JobState.DONE, OrderState.DONE}
BAD = {VMState.ERROR, HostState.DOWN, JobState.FAILED, JobState.UNKNOWN, OrderState.INCOMPLETE}

as_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def plain(value: Any) -> Any:
    """A value as JSON can hold it. Every field of a noun is present, set or not, and `key` with them."""
    if isinstance(value, msgspec.Struct):
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        kind = value.__struct_config__.tag
        tag = {"kind": kind} if isinstance(kind, str) else {}
        key = getattr(value, "key", None)
        return {**tag, **({"key": key} if isinstance(key, str) else {}), **fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One document on stdout."""
    click.echo(json.dumps(plain(value), ensure_ascii=True, indent=2))


def say(text: str = "") -> None:
    """A line on stdout; names in it are made harmless."""
    click.echo(clean(text))


def wrapped(text: str, *, indent: int = 0, err: bool = False) -> None:
    """A line on stdout (or stderr) that is continued `indent` cells in where the terminal is too narrow; in a pipe it is one line."""
    text = clean(text)
    if (sys.stderr if err else sys.stdout).isatty():
        room = max(40, shutil.get_terminal_size().columns)
        lines = textwrap.wrap(text, room, subsequent_indent=" " * indent, break_on_hyphens=False)
        click.echo("\n".join(lines), err=err)
    else:
        click.echo(text, err=err)


def note(text: str) -> None:
    """A line on stderr, beside the answer."""
    click.echo(clean(text), err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Left-aligned columns, as wide as they need to be; states are coloured as well as worded."""
    texts = [[clean("" if value is None else str(value)) for value in row] for row in rows]
    widths = [max(width(text) for text in column) for column in zip(columns, *texts, strict=True)]
    click.echo("  ".join(map(fit, columns, widths)).rstrip())
    for values, line in zip(rows, texts, strict=True):
        padded = list(map(fit, line, widths))
        padded[-1] = padded[-1].rstrip()
        click.echo("  ".join(map(coloured, padded, values)).rstrip())


def coloured(text: str, value: Any) -> str:
    """Green for good and red for bad states; click drops it where the output is no terminal or NO_COLOR is set."""
    if value in GOOD and isinstance(value, Enum):
        return click.style(text, fg="green")
    if value in BAD and isinstance(value, Enum):
        return click.style(text, fg="red")
    return text


def size(count: float | None) -> str:
    """Bytes for people: "3.2 GiB"; "?" when not told."""
    return "?" if count is None else cells.size(count)


def span(seconds: float | None) -> str:
    """A duration for people: "48 s", "2 m 05 s"; "?" when not known."""
    return "?" if seconds is None else cells.span_of_time(seconds)


def told(problem: Problem) -> str:
    """A problem on one line, with its remedy."""
    parts = [problem.happened, problem.unaffected]
    text = " ".join(part for part in parts if part)
    return f"{text} Next: {problem.next_step}" if problem.next_step else text
