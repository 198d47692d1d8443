"""A report in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from evac.report_html import html
from evac.report_markdown import markdown
from evac.report_nouns import Report


def as_json(report: Report) -> str:
    """Every field, in ASCII: a hostile name is exact for a script and harmless for a terminal."""
    return json.dumps(msgspec.to_builtins(report), ensure_ascii=True, indent=2) + "\n"


FORMATS: dict[str, tuple[str, Callable[[Report], str]]] = {
    "json": ("application/json", as_json),
    "md": ("text/markdown", markdown),
    "html": ("text/html", html),
}
"""Name → content type, renderer."""
