"""How a rule speaks."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from backends.vsphere.scene import Place, Scene
from evac.model import Outlook


class Said(Struct, frozen=True):
    """What one rule says of one target."""

    outlook: Outlook
    why: str = ""
    fix: str = ""


Rule = Callable[[Scene, Place], Said]

OK = Said(Outlook.OK)


def ok(why: str = "") -> Said:
    """Nothing against it."""
    return Said(Outlook.OK, why)


def risk(why: str, fix: str = "") -> Said:
    """It will do, at a price."""
    return Said(Outlook.RISK, why, fix)


def fail(why: str, fix: str = "") -> Said:
    """It will be refused or break."""
    return Said(Outlook.FAIL, why, fix)


def unknown(why: str, fix: str = "") -> Said:
    """It was not told."""
    return Said(Outlook.UNKNOWN, why, fix)


def listed(names: list[str]) -> str:
    """Some of them, for one line."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
