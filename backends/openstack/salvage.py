"""Reading a list in which some record makes no sense: that one loses what cannot be read, the others nothing.

Only used once the plain decode of the whole answer has failed, so that a healthy answer costs nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Raw, Struct

from evac.decoding import from_json
from evac.model import VM, Problem

E = TypeVar("E", bound=Struct)
T = TypeVar("T", bound=Struct)

_PATH = re.compile(r"`\$\.(.+)`$", re.DOTALL)


class Odd(Struct, frozen=True, kw_only=True):
    """One record that was not as it should be."""

    name: str
    """What its owner calls it: name or id, or "one without an id"."""
    id: str = ""
    fields: tuple[str, ...] = ()
    """Left out of it, by the names on the wire."""
    why: str = ""
    lost: bool = False
    """True: nothing of it could be used."""

    def spoils(self, *fields: str) -> bool:
        """True when one of these could not be read."""
        return self.lost or any(field in self.fields for field in fields)

    def __str__(self) -> str:
        """Which, and what of it."""
        return f"{self.name}: {self.why}"


def answer(body: bytes, shape: type[E], attribute: str) -> tuple[E, list[Odd]]:
    """`body` as `shape`, with the rows of its list `attribute` read one by one.

    Raises:
        msgspec.ValidationError: not even the envelope is as it should be.
    """
    spec = next(field for field in msgspec.structs.fields(shape) if field.name == attribute)
    kind = get_args(get_type_hints(shape)[attribute])[0]
    envelope = from_json(body, dict[str, Raw])
    raws = from_json(envelope.get(spec.encode_name, b"null"), list[Raw])
    envelope[spec.encode_name] = Raw(b"[]")
    rows: list[Any] = []
    odd: list[Odd] = []
    for raw in raws:
        row, fault = record(raw, kind)
        if row is not None:
            rows.append(row)
        if fault is not None:
            odd.append(fault)
    whole = from_json(msgspec.json.encode(envelope), shape)
    return msgspec.structs.replace(whole, **{attribute: rows}), odd


def record(raw: Raw | bytes, kind: type[T]) -> tuple[T | None, Odd | None]:
    """One record, without the fields that cannot be read; None if one it cannot do without is among them."""
    try:
        return from_json(raw, kind), None
    except msgspec.ValidationError as error:
        why = str(error)
    fields = msgspec.json.decode(raw)
    if not isinstance(fields, dict):
        return None, Odd(name="one that is no object", why=why, lost=True)
    name = next((str(fields[key]) for key in ("name", "id", "request_id", "host") if fields.get(key)), "")
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    name, native = name[:80] or "one without an id", str(fields.get("id") or "")
    left_out: list[str] = []
    whys: list[str] = []
    while True:
        try:
            row = from_json(msgspec.json.encode(fields), kind)
        except msgspec.ValidationError as error:
            bad = _field(str(error), known)
            whys.append(str(error))
            why = ", ".join(whys[:3])
            if bad is None or bad not in fields:
                return None, Odd(name=name, id=native, why=why, fields=tuple(left_out), lost=True)
            del fields[bad]
            left_out.append(bad)
        else:
            return row, Odd(name=name, id=native, why=why, fields=tuple(left_out))


def _field(error: str, known: Iterable[str]) -> str | None:
    """The record's own field in which msgspec met something unexpected ("… - at `$.flavor.ram`")."""
    match = _PATH.search(error)
    if match is None:
        return None
    path = match[1]
    return next((name for name in known if path == name or path.startswith((f"{name}.", f"{name}["))), None)


def problem(cluster: str, what: str, odd: Sequence[Odd]) -> Problem:
    """In words: which, and what of it."""
    shown = "; ".join(str(one) for one in odd[:3]) + ("; …" if len(odd) > 3 else "")
    return Problem(
        happened=f"{cluster}: {what} has {len(odd)} record{'s' * (len(odd) > 1)} that make{'s' * (len(odd) == 1)} no sense: {shown}.",
        unaffected="All others are shown in full; these with what could be read.",
        next_step="Look at them with the openstack command; whoever runs this cloud can correct its database.",
        severity="warning",
    )


def lost_cells(cluster: str, vms: Sequence[VM]) -> list[Problem]:
    """From 2.69 on, servers of a cell that does not answer are listed without a host: such a host looks empty."""
    lost = [vm.name for vm in vms if vm.native == "UNKNOWN" and not vm.host]
    if not lost:
        return []
    some = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
    return [
        Problem(
            happened=f"{cluster}: {len(lost)} servers are in a Nova cell that is down: {some}.",
            unaffected="They may well run. All others are shown in full.",
            next_step="A host of that cell may look empty and is not. See to the cell's database and message bus.",
            severity="warning",
        )
    ]
