"""Addresses that admins typed for a VM, besides those the cluster tells and the config's rules name. Pure.

The engine keeps them, over restarts too, until somebody takes them back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from evac.decoding import from_json
from evac.probe import Method
from evac.probe_rules import Place, parsed

MOST = 4
"""Typed addresses of one VM."""

KEY = "typed_addresses"
"""Where the journal keeps them."""

_WITH_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\s]+)):(?P<port>\d{1,5})", re.ASCII)

Typed = dict[str, tuple[Place, ...]]
"""VM.key → what was typed for it, oldest first."""


def read(text: str) -> Place:
    """An address (ICMP), or address:port (TCP; IPv6 in brackets). Raises ValueError, in words."""
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    word, port = (found["six"] or found["four"], int(found["port"])) if found else (text.strip("[]"), 0)
    address = parsed(word)
    if address is None:
        raise ValueError(
            f'"{text[:60]}" is no address: 192.0.2.7, 2001:db8::7, 192.0.2.7:22 or [2001:db8::7]:22'
        )
    if found and not 0 < port < 65_536:
        raise ValueError(f"{port} is no TCP port")
    return Place(Method.TCP if found else Method.ICMP, str(address), port)


def words(place: Place) -> str:
    """As it can be typed."""
    if not place.port:
        return place.address
    return f"[{place.address}]:{place.port}" if ":" in place.address else f"{place.address}:{place.port}"


def added(typed: Mapping[str, tuple[Place, ...]], vm: str, place: Place) -> Typed:
    """With one more. Raises ValueError, in words."""
    had = typed.get(vm, ())
    if place in had:
        raise ValueError(f"{words(place)} is among its typed addresses already")
    if len(had) >= MOST:
        raise ValueError(f"it has {MOST} typed addresses already; take one back first")
    return {**typed, vm: (*had, place)}


def removed(typed: Mapping[str, tuple[Place, ...]], vm: str, place: Place) -> Typed:
    """Without it. Raises ValueError, in words."""
    had = typed.get(vm, ())
    if place not in had:
        raise ValueError(f"{words(place)} was not typed for it")
    left = tuple(one for one in had if one != place)
    return {**{key: value for key, value in typed.items() if key != vm}, **({vm: left} if left else {})}


def dump(typed: Mapping[str, tuple[Place, ...]]) -> str:
    """For the journal."""
    return msgspec.json.encode(
        {vm: [words(place) for place in places] for vm, places in typed.items()}
    ).decode()


def load(text: str) -> Typed:
    """From the journal; what makes no sense there is left out."""
    try:
        kept = from_json(text, dict[str, tuple[str, ...]])
        return {vm: tuple(map(read, found)) for vm, found in kept.items()}
    except (msgspec.MsgspecError, ValueError):
        return {}
