"""Where each key of a TOML text stands. `tomllib` tells values only; an admin wants the line.

A scanner, no parser: it runs over text that `tomllib` has accepted, and a key it misplaces costs a line number only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

Key = tuple[str, ...]

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|'
    r"'''.*?'''|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)


def key_lines(text: str) -> dict[Key, int]:
    """Key path → line, counted from 1. Tables are there too, at their header; `[[x]]` is x.1, x.2, … in turn."""
    lines: dict[Key, int] = {}
    table: Key = ()
    listed: Counter[Key] = Counter()
    for number, statement in _statements(text):
        if statement.startswith("["):
            table = _path(statement.lstrip("[")) or table
            if statement.startswith("[["):
                lines.setdefault(table, number)
                listed[table] += 1
                table = (*table, str(listed[table]))
            key = table
        else:
            key = (*table, *_path(statement))
        for depth in range(len(table) + 1 if key != table else 1, len(key) + 1):
            lines.setdefault(key[:depth], number)
    return lines


def line_of(lines: dict[Key, int], key: Key) -> int:
    """The key's line, or that of the nearest thing around it; 0 when nothing is known."""
    for depth in range(len(key), 0, -1):
        if key[:depth] in lines:
            return lines[key[:depth]]
    return 0


def item_lines(text: str, line: int) -> list[int]:
    """The line of each table of the list that begins on `line`: `key = [`, `{ … },`, `{ … },`, `]`."""
    start = sum(map(len, text.splitlines(keepends=True)[: line - 1]))
    found: list[int] = []
    lists = tables = 0
    for token in _TOKEN.finditer(text, start):
        match token.group():
            case "[":
                lists += 1
            case "]":
                lists -= 1
                if not lists:
                    break
            case "{":
                if lists == 1 and not tables:
                    found.append(text.count("\n", 0, token.start()) + 1)
                tables += 1
            case "}":
                tables -= 1
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every header and every `key = …`, values that run over several lines taken as one."""
    start = depth = 0
    for token in _TOKEN.finditer(text):
        match token.group():
            case "[" | "{" if text[start : token.start()].strip():
                depth += 1
            case "]" | "}" if depth:
                depth -= 1
            case "\n" if not depth:
                yield from _statement(text, start, token.start())
                start = token.end()
    yield from _statement(text, start, len(text))


def _statement(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    statement = text[start:end].strip()
    if statement and not statement.startswith("#"):
        yield text.count("\n", 0, start) + 1, statement


def _path(text: str) -> Key:
    """The dotted key at the start of a text: `a."b c".d`."""
    parts: list[str] = []
    at = 0
    while part := _PART.match(text, at):
        parts.append(next(group for group in part.groups() if group is not None))
        at = part.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(parts)
