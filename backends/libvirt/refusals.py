"""Why something is not done, before a host is asked to. Each is certain: nothing was changed."""

from __future__ import annotations

from backends import trouble
from evac.errors import NotFound, ReadOnly, Refused
from evac.model import Problem

UNCHANGED = "Nothing was changed."


def refuse(happened: str, next_step: str = "") -> Refused:
    """In words."""
    return Refused(Problem(happened=happened, unaffected=UNCHANGED, next_step=next_step))


def read_only(what: str) -> ReadOnly:
    """The guard's answer."""
    return ReadOnly(trouble.read_only("The cluster", f"{what} was not sent"))


def nobody(cluster: str, vm: str) -> NotFound:
    """No host has it."""
    return NotFound(
        Problem(happened=f"{cluster}: no host has a guest with the UUID {vm}.", unaffected=UNCHANGED)
    )


def unwritten(what: str, error: OSError) -> Refused:
    """Without the record of it, a crash could make us do it twice."""
    return refuse(
        f"{what} was not begun: evac's record of it cannot be written ({error.strerror}).",
        "Free the disk of the state folder, or check who owns it.",
    )
