"""From what was typed to the one thing that is meant. Exact names and ids only; two candidates are a refusal.

No patterns: `nova host-evacuate-live cmp-1` also drains cmp-10 to cmp-19, because it searches by pattern unless told
`--strict` (novaclient, shell.py). Here "cmp-1" is cmp-1 or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from evac.model import VM, Host, Migration
from tui.commands.exits import Code, Stop

Thing = TypeVar("Thing", Host, VM)


def is_meant(row: Host | VM, text: str) -> bool:
    """True when `text` is the row's id, its name, or its key ("cluster/id"), letter for letter."""
    return text in (row.id, row.name, row.key)


def find(
    rows: Iterable[Thing], text: str, *, kind: str, cluster: str = "", unread: Sequence[str] = ()
) -> Thing:
    """The one row that is meant; Stop when there is none or more than one.

    `unread`: clusters it may be in, and that could not be read. One that is found elsewhere need not be the only one.
    """
    rows = [row for row in rows if cluster in ("", row.cluster)]
    found = [row for row in rows if is_meant(row, text)]
    if len(found) > 1:
        raise ambiguous(found, text, kind)
    sure = [row for row in found if text == row.key or (kind == "VM" and text == row.id)]
    if unread and not sure:
        raise unsure(kind, text, unread, f"{found[0].cluster} has one" if found else "")
    if not found:
        raise missing(rows, text, kind, cluster)
    return found[0]


def unsure(kind: str, text: str, unread: Sequence[str], found: str) -> Stop:
    """What was not read may hold it, or a second one."""
    where, too = ", ".join(unread), " too" if found else ""
    what = f"{where} could not be read, so whether there is a {kind} {text!r} there{too} cannot be told."
    cause = f"`evac problems` says what is wrong with {where}."
    return Stop(
        f"{what} {found}." if found else what,
        Code.UNREACHABLE,
        unaffected="Nothing was done.",
        next_step=f"If that one is meant, say so with --cluster. {cause}" if found else cause,
    )


def ambiguous(found: Sequence[Host | VM], text: str, kind: str) -> Stop:
    """Refused, with everything needed to say it exactly."""
    return Stop(
        f"{len(found)} {kind}s are called {text!r}:",
        Code.USAGE,
        details=tuple(candidate(row) for row in sorted(found, key=lambda row: row.key)),
        unaffected="Nothing was done.",
        next_step="Name it by its id, or say which cluster with --cluster.",
    )


def candidate(row: Host | VM) -> str:
    """One line that tells namesakes apart."""
    where = f"  on {row.host or 'no host'}" if isinstance(row, VM) else ""
    return f"cluster {row.cluster}  id {row.id}  name {row.name}{where}"


def missing(rows: Sequence[Host | VM], text: str, kind: str, cluster: str) -> Stop:
    """No such name: the nearest ones are told and not taken."""
    near = get_close_matches(text, {row.name for row in rows}, n=3, cutoff=0.7)
    within = f" in cluster {cluster}" if cluster else ""
    return Stop(
        f"There is no {kind} {text!r}{within}.",
        Code.USAGE,
        unaffected="Nothing was done.",
        next_step=f"Did you mean {' or '.join(near)}?" if near else f"`evac {kind.lower()}s` lists them.",
    )


def active_migration(migrations: Iterable[Migration], vm: VM) -> Migration:
    """The one migration of a VM that is under way."""
    found = [
        move for move in migrations if (move.cluster, move.vm) == (vm.cluster, vm.id) and move.phase.active
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Stop(
            f"{vm.name} is not being migrated, as far as the cluster says.",
            Code.REFUSED,
            unaffected="Nothing was done.",
        )
    raise Stop(
        f"{vm.name} has {len(found)} migrations under way: {', '.join(move.id for move in found)}.",
        Code.REFUSED,
        unaffected="Nothing was done.",
        next_step="Wait until the cluster has sorted that out; a VM has one at a time.",
    )
