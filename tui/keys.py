"""Keys as a person calls them."""

from __future__ import annotations

NAMES = {
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "asterisk": "*",
    "escape": "esc",
    "pagedown": "PageDown",
    "pageup": "PageUp",
}


def key_name(key: str) -> str:
    """A key as a person calls it."""
    return NAMES.get(key, key)
