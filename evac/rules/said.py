"""How a rule speaks."""

from __future__ import annotations

from msgspec import Struct

from evac.model import Outlook


class Said(Struct, frozen=True):
    """What one rule has against a move. A rule that has nothing against it says nothing."""

    outlook: Outlook
    why: str
    fix: str = ""


def risk(why: str, fix: str = "") -> Said:
    """It will do, at a price."""
    return Said(Outlook.RISK, why, fix)


def fail(why: str, fix: str = "") -> Said:
    """It will be refused, or break."""
    return Said(Outlook.FAIL, why, fix)


def unknown(why: str, fix: str = "") -> Said:
    """It was not told."""
    return Said(Outlook.UNKNOWN, why, fix)


def listed(names: list[str]) -> str:
    """The first three, for one line."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
