"""What every noun is, and the one noun that both `evac.model` and `evac.storage` need."""

from __future__ import annotations

from msgspec import Struct


class Noun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value that crosses layers. Never changed; replaced."""


class Finding(Noun, frozen=True, kw_only=True):
    """One line of `evac doctor`."""

    check: str
    ok: bool | None
    """None: could not be determined."""
    passes: bool = False
    """With `ok` False: it goes away by itself, nobody has to do anything but wait."""
    detail: str
    fix: str = ""
