"""Which requests may leave this machine. Data, so that it can be read and tested on its own.

Reading: the GETs evac makes and the login. Changing: exactly the calls evac makes, by method, path and the fields of
the form; anything else proxmoxer could send is refused below it. A GET is not harmless by itself in this API (some open
consoles or run commands in a guest), so they are listed too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from backends.wire import Verdict

LOGIN = "/access/ticket"

_NODE = r"/nodes/[A-Za-z0-9-]+"
_GUEST = rf"{_NODE}/(?:qemu|lxc)/\d+"
_UPID = r"UPID(?::|%3A)[^/?#]+"

READS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"/version",
        r"/access/(?:permissions|ticket)",
        r"/access/users/[^/]+/token/[^/]+",
        r"/cluster/(?:resources|tasks|status|options|nextid)",
        r"/cluster/ha/(?:status/manager_status|resources|rules)",
        rf"{_NODE}/(?:status|version|tasks|time)",
        rf"{_NODE}/tasks/{_UPID}/(?:log|status)",
        rf"{_GUEST}/(?:config|migrate|status/current)",
        rf"{_NODE}/qemu/\d+/agent/network-get-interfaces",
        rf"{_NODE}/lxc/\d+/interfaces",
    )
)
"""Below /api2/json; each the whole path."""

_MIGRATE = frozenset(
    {
        "target",
        "online",
        "with-local-disks",
        "bwlimit",
        "migration_network",
        "migration_type",
        "targetstorage",
    }
)

_ACROSS = frozenset(
    {"target-endpoint", "target-vmid", "target-storage", "target-bridge", "online", "delete", "bwlimit"}
)

CHANGES: Mapping[tuple[str, str], frozenset[str]] = {
    ("POST", rf"{_NODE}/qemu/\d+/migrate"): _MIGRATE,
    ("POST", rf"{_NODE}/qemu/\d+/remote_migrate"): _ACROSS,
    ("POST", rf"{_NODE}/lxc/\d+/migrate"): frozenset({"target", "restart", "bwlimit", "target-storage"}),
    ("POST", rf"{_GUEST}/status/(?:start|shutdown)"): frozenset(),
    ("POST", rf"{_NODE}/qemu/\d+/move_disk"): frozenset({"disk", "storage", "delete", "bwlimit"}),
    ("POST", rf"{_NODE}/lxc/\d+/move_volume"): frozenset({"volume", "storage", "delete", "bwlimit"}),
    ("POST", r"/cluster/ha/resources/(?:vm|ct)(?::|%3A)\d+/(?:migrate|relocate)"): frozenset({"node"}),
    ("DELETE", rf"{_NODE}/tasks/{_UPID}"): frozenset(),
}
"""(method, whole path) → fields of the form that may be sent with it."""

_CHANGES = tuple((method, re.compile(path, re.ASCII), fields) for (method, path), fields in CHANGES.items())

_CONFIG = re.compile(rf"{_GUEST}/config", re.ASCII)
UNLOCK = {"delete": "lock", "skiplock": "1"}
"""The one change of a config we make; with any other field or value it is not sent."""

_BASE = re.compile(r"/api2/json(?P<path>/.*)", re.ASCII)


def judge(method: str, path: str, body: bytes | str | None) -> Verdict:
    """`path` without the query, as it stands on the wire. A body that cannot be understood is foreign."""
    found = _BASE.fullmatch(path)
    fields = _fields(body)
    if found is None or fields is None:
        return Verdict.FOREIGN
    below = found["path"]
    if (method == "GET" and not fields and any(one.fullmatch(below) for one in READS)) or (
        method == "POST" and below == LOGIN
    ):
        return Verdict.READS
    if method == "PUT" and _CONFIG.fullmatch(below) and fields == UNLOCK:
        return Verdict.CHANGES
    for verb, pattern, allowed in _CHANGES:
        if method == verb and pattern.fullmatch(below) and fields.keys() <= allowed:
            return Verdict.CHANGES
    return Verdict.FOREIGN


def _fields(body: bytes | str | None) -> dict[str, str] | None:
    """Of a form; None: it is none, or names a field twice."""
    if not body:
        return {}
    try:
        text = body.decode("ascii") if isinstance(body, bytes) else body
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None
