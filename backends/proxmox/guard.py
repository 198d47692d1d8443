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
BACKUP_JOB = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Id of a backup job as Proxmox VE makes them; one of another form is not turned."""

READS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"/version",
        r"/access/(?:permissions|ticket)",
        r"/access/users/[^/]+/token/[^/]+",
        r"/cluster/(?:resources|tasks|status|options|nextid|backup)",
        r"/cluster/ha/(?:status/manager_status|resources|rules)",
        rf"{_NODE}/(?:status|version|tasks|time|network)",
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
    ("PUT", rf"/cluster/backup/{BACKUP_JOB}"): frozenset({"enabled"}),
    ("PUT", r"/cluster/options"): frozenset({"crs"}),
}
"""(method, whole path) → fields of the form that may be sent with it."""

_CHANGES = tuple((method, re.compile(path, re.ASCII), fields) for (method, path), fields in CHANGES.items())

_PART = r"ha(?:-[a-z-]+)?=[\w.]+"
_VALUES: Mapping[str, re.Pattern[str]] = {
    "enabled": re.compile(r"[01]", re.ASCII),
    "crs": re.compile(rf"(?:{_PART},)*ha-auto-rebalance=[01](?:,{_PART})*", re.ASCII),
}
"""Fields of which only such values are sent: a backup job's switch, and the scheduler's options with the balancer's."""

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
        if method == verb and pattern.fullmatch(below) and fields.keys() <= allowed and _sane(method, fields):
            return Verdict.CHANGES
    return Verdict.FOREIGN


def _sane(method: str, fields: Mapping[str, str]) -> bool:
    if method == "PUT" and not fields:
        return False
    return all(_VALUES[name].fullmatch(value) for name, value in fields.items() if name in _VALUES)


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
