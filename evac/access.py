"""Who may do what, by the credentials the kernel gives for the other end of the socket.

The owner of the state folder and root are admins. `[access]` in the config adds admins and viewers by user name or by
"@group". Everybody else is refused, even where the socket's mode lets them connect. What a client says of itself can
take rights away (`read_only`), never add any.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

ADMIN = "admin"
VIEWER = "viewer"
STRANGER = ""

REMEMBER = 60.0
"""Seconds a user's groups are believed: a name service (LDAP) may need seconds for one answer."""


class AccessRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[access]: user names, or group names as "@group"."""

    admins: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    socket_group: str = ""
    """Group that may open the socket; "" takes the first "@group" named above."""

    @property
    def shared(self) -> bool:
        """True when anybody but the owner is to come in."""
        return bool(self.admins or self.viewers)

    @property
    def group(self) -> str:
        """The group the socket is given to, or ""."""
        named = (name[1:] for name in (*self.admins, *self.viewers) if name.startswith("@"))
        return self.socket_group or next(named, "")


class Person(Struct, frozen=True, kw_only=True):
    """The other end of a connection."""

    uid: int
    user: str
    role: str
    """"admin", "viewer", or "" for somebody who may not come in."""


class Access:
    """Looks roles up, off the event loop, and remembers them for a minute."""

    def __init__(self, rules: AccessRules, *, owner: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._owner = owner
        self._now = now
        self._known: dict[int, tuple[float, Person]] = {}
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="evac-access")

    async def person(self, uid: int) -> Person:
        """Who this uid is and what it may do."""
        at, person = self._known.get(uid, (0.0, None))
        if person is not None and self._now() - at < REMEMBER:
            return person
        loop = asyncio.get_running_loop()
        person = await loop.run_in_executor(self._executor, identify, uid, self._rules, self._owner)
        self._known[uid] = (self._now(), person)
        return person

    def close(self) -> None:
        """Let go of the threads; a hanging name service is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def identify(uid: int, rules: AccessRules, owner: int) -> Person:
    """Blocking: asks the system's user database."""
    if uid in (0, owner):
        # Without their groups: a directory service that hangs must not keep the owner out.
        return Person(uid=uid, user=_name(uid), role=ADMIN)
    user, groups = _names(uid)
    for role, entries in ((ADMIN, rules.admins), (VIEWER, rules.viewers)):
        if any(entry == user or (entry.startswith("@") and entry[1:] in groups) for entry in entries):
            return Person(uid=uid, user=user, role=role)
    return Person(uid=uid, user=user, role=STRANGER)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _names(uid: int) -> tuple[str, frozenset[str]]:
    """User name and all its groups' names. A uid without a name has no groups we could trust."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return f"uid {uid}", frozenset()
    names = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            names.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return entry.pw_name, frozenset(names)


def peer_uid(connection: socket.socket | None) -> int | None:
    """Uid of the process that opened the other end, as the kernel noted it at connect; None where it cannot tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if connection is None or option is None:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return int(uid)
