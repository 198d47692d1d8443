"""`evac doctor` for one Ceph cluster: from the files to the right to set noout, each finding with a remedy."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from backends.ceph.client import CephClient
from backends.ceph.trouble import READ_CAPS, WRITE_CAPS
from backends.checkup import PROBES, failed
from evac.backend import Settings
from evac.errors import BackendError, Forbidden
from evac.model import Finding

SLOW = 1.0
"""Seconds per question from which every poll is felt."""

_VERSION = re.compile(r"ceph version (\S+) .*?\) (\w+)")

_MAY_WRITE = re.compile(
    r"""allow\s+(?:\*|rwx?\b|all\b|profile\s+(?:mon|osd)\b|command\s+["']?osd\ set-group)""", re.VERBOSE
)
"""Rights of a key on the monitors that let it set noout for a host."""


async def examine(client: CephClient, settings: Settings) -> Sequence[Finding]:
    """Every finding, good ones too, in the order in which things depend on each other. Raises nothing."""
    return [finding async for finding in _examine(client, settings)]


async def _examine(client: CephClient, settings: Settings) -> AsyncIterator[Finding]:
    try:
        for finding in await client.examine():
            yield finding
        await client.ask("mon", "status")
    except BackendError as error:
        yield failed("monitors", error)
        return
    yield await _latency(client)
    yield await _release(client)
    yield await _manager(client)
    yield await _limit(client)
    yield await _noout(client, settings)


async def _latency(client: CephClient) -> Finding:
    took = []
    try:
        for _ in range(PROBES):
            began = time.monotonic()
            await client.ask("mon", "fsid")
            took.append(time.monotonic() - began)
    except BackendError as error:
        return failed("monitors", error)
    middle = statistics.median(took)
    slow = middle > SLOW
    return Finding(
        check="monitors",
        ok=None if slow else True,
        detail=f"answer in {middle * 1000:.1f} ms (median of {PROBES})",
        fix="Look at the monitors' load and their disks; or use librados." if slow else "",
    )


async def _release(client: CephClient) -> Finding:
    try:
        versions = await client.ask("mon", "versions")
    except BackendError as error:
        return failed("release", error)
    found = _VERSION.findall(" ".join(_mapping(_mapping(versions).get("overall"))))
    told = ", ".join(f"{number} {name}" for number, name in found) or "not told"
    several = len(found) > 1
    return Finding(
        check="release",
        ok=None if several or not found else True,
        detail=f"{told}{': an upgrade is under way' if several else ''}",
    )


async def _manager(client: CephClient) -> Finding:
    """What needs the manager: placement groups, utilisation, ok-to-stop."""
    try:
        stat = _mapping(await client.ask("mon", "mgr stat"))
        if not stat.get("available"):
            fix = "Start one: systemctl start ceph-mgr.target on its host. Until then PGs and ok-to-stop are not known."
            return Finding(check="manager", ok=False, detail="none is active", fix=fix)
        await client.ask("mgr", "pg stat")
    except Forbidden as error:
        user = client.setup.user
        fix = f"Grant it: ceph auth caps {user} {READ_CAPS}"
        return Finding(check="manager", ok=False, detail=error.problem.happened, fix=fix)
    except BackendError as error:
        return failed("manager", error)
    return Finding(check="manager", ok=True, detail=f"{stat.get('active_name', '')} answers; may watch")


async def _limit(client: CephClient) -> Finding:
    try:
        limit = await client.ask("mon", "config get", who="mon", key="mon_max_pg_per_osd")
    except BackendError as error:
        return failed("may read settings", error, ok=None)
    return Finding(check="may read settings", ok=True, detail=f"mon_max_pg_per_osd is {limit}")


async def _noout(client: CephClient, settings: Settings) -> Finding:
    """By the rights of the key, as far as it may read them: trying would be doing."""
    check = "may set noout"
    if settings.read_only:
        return Finding(check=check, ok=None, detail="not asked: this cluster is read-only here")
    user = client.setup.write_user or client.setup.user
    grant = f"ceph auth caps {user} {WRITE_CAPS}"
    try:
        await client.try_write_key()
        entries = await client.ask("mon", "auth get", entity=user)
    except Forbidden:
        detail = f"cannot tell without doing it: {user} may not read its own rights"
        return Finding(check=check, ok=None, detail=detail, fix=f"If setting it is refused: {grant}")
    except BackendError as error:
        return failed(check, error)
    rights = _rights(entries)
    if _MAY_WRITE.search(rights):
        return Finding(check=check, ok=True, detail=f"{user} has mon '{rights}'")
    return Finding(check=check, ok=False, detail=f"{user} has only mon '{rights}'", fix=f"Grant it: {grant}")


def _rights(entries: Any) -> str:
    first = entries[0] if isinstance(entries, list) and entries else {}
    return str(_mapping(_mapping(first).get("caps")).get("mon", ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
