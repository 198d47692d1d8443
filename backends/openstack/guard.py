"""Which requests may leave this machine. Data, so that it can be read and tested on its own.

Reading: any GET or HEAD, and the POST that fetches a token. Changing: exactly the calls evac makes, by method, path
and the shape of the body; anything else the SDK could send is refused below it.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from backends.wire import Verdict
from evac.decoding import from_json

TOKEN_PATH = re.compile(r"^(?:/[^?]*)?/v3/auth/tokens$")
"""Identity API v3: asking for a token is a POST that changes nothing."""

SERVER_ACTIONS = frozenset(
    {
        "os-migrateLive",
        "migrate",
        "confirmResize",
        "revertResize",
        "evacuate",
        "os-resetState",
        "os-start",
        "os-stop",
    }
)
"""The bodies we send to /servers/ID/action; each body has exactly one of them as its only key."""

SERVICE_KEYS = frozenset({"status", "disabled_reason", "forced_down"})
"""What we set on a compute service (2.53 and later)."""

_ACTION = re.compile(r"/servers/[\w-]+/action$")
_FORCE = re.compile(r"/servers/[\w-]+/migrations/\d+/action$")
_ABORT = re.compile(r"/servers/[\w-]+/migrations/\d+$")
_SERVICE = re.compile(r"/os-services/[\w-]+$")
_AUDIT = re.compile(r"/audits/[\w-]+$")
_WATCH = re.compile(r"/segments/[\w-]+/hosts/[\w-]+$")


def judge(method: str, path: str, body: bytes | str | None) -> Verdict:
    """`path` without the query. A body that cannot be understood is foreign."""
    if method in {"GET", "HEAD"}:
        return Verdict.READS
    if method == "POST" and TOKEN_PATH.match(path):
        return Verdict.READS
    if method == "DELETE" and _ABORT.search(path) and not body:
        return Verdict.CHANGES
    keys = _keys(body)
    if method == "PUT" and _WATCH.search(path):
        return Verdict.CHANGES if _is_watch(body) else Verdict.FOREIGN
    if method == "PATCH" and _AUDIT.search(path):
        return Verdict.CHANGES if _is_pause(body) else Verdict.FOREIGN
    known = (
        (method == "POST" and _ACTION.search(path) and len(keys) == 1 and keys <= SERVER_ACTIONS)
        or (method == "POST" and _FORCE.search(path) and keys == {"force_complete"})
        or (method == "PUT" and _SERVICE.search(path) and keys and keys <= SERVICE_KEYS)
    )
    return Verdict.CHANGES if known else Verdict.FOREIGN


def _is_watch(body: bytes | str | None) -> bool:
    """Of a host that Masakari watches we set nothing but whether it is on maintenance."""
    try:
        decoded = from_json(body or b"null", dict[str, dict[str, bool]])
    except msgspec.DecodeError:
        return False
    return set(decoded) == {"host"} and set(decoded["host"]) == {"on_maintenance"}


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    op: Literal["replace"]
    path: Literal["/state"]
    value: Literal["SUSPENDED", "ONGOING"]


def _is_pause(body: bytes | str | None) -> bool:
    """An audit of Watcher is suspended or resumed, and nothing else of it is set; never is it cancelled or made to run."""
    try:
        return len(from_json(body or b"null", list[_Step])) == 1
    except msgspec.DecodeError:
        return False


def _keys(body: bytes | str | None) -> frozenset[str]:
    try:
        decoded = msgspec.json.decode(body or b"null")
    except msgspec.DecodeError:
        return frozenset()
    return frozenset(decoded) if isinstance(decoded, dict) else frozenset()
