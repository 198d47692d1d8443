"""vCenter's tags, which its SOAP API does not tell: read seldom by REST, in a session of its own that is closed at once.

Three kinds of calls: the list of tags, the name of each (remembered for an hour), and which objects have them. vCenter 7.0
U2 and newer answer below /api, older ones below /rest, where answers are wrapped in "value". What fails is told as a
Problem and spoils nothing: the tags that were read before stay.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backends.trouble import quoted
from backends.vsphere import words
from backends.vsphere.session import Session
from evac.backend import Settings
from evac.decoding import from_json
from evac.errors import BackendError
from evac.model import VM, Problem

EVERY = 300.0
"""Seconds from one reading to the next."""

NAMES = 3600.0
"""Seconds for which the name of a tag is believed: each costs a call."""

MOST = 2000
"""Tags whose names are read."""

AT_ONCE = 100
"""Tags whose objects are asked for in one call."""

PATIENCE = 120.0
"""Seconds one reading may take in all."""

TAGGED = frozenset({"VirtualMachine", "HostSystem"})
"""What is shown with its tags; clusters, datastores and networks may have some too."""

SESSION_ID = "vmware-api-session-id"


class _Named(Struct):
    name: str = ""
    category_id: str = ""


class _Thing(Struct):
    id: str = ""
    type: str = ""


class _Attached(Struct):
    tag_id: str = ""
    object_ids: list[_Thing] | None = None


class Dialect(Struct, frozen=True, kw_only=True):
    """Where the calls are, and how they look."""

    session: str
    tagging: str
    action: str
    id_prefix: str = ""
    wrapped: bool = False


MODERN = Dialect(session="/api/session", tagging="/api/cis/tagging", action="action")
OLD = Dialect(
    session="/rest/com/vmware/cis/session",
    tagging="/rest/com/vmware/cis/tagging",
    action="~action",
    id_prefix="id:",
    wrapped=True,
)


class Tags:
    """Blocking; one reading at a time. What is known is replaced as a whole, so that others may look at any time."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings
        self._known: Mapping[str, tuple[str, ...]] = {}
        self._told: Mapping[str, tuple[str, ...]] = self._known
        self._names: dict[str, tuple[float, str]] = {}
        self._due = float("-inf")
        self.problem: Problem | None = None
        """Why they could not be read the last time."""

    # --- what is known ------------------------------------------------------------------------------------------

    def on(self, vm: VM) -> VM:
        """The VM with its tags as "category:name"."""
        found = self._known.get(vm.id)
        return replace(vm, tags=found) if found else vm

    def of(self, host: str) -> tuple[str, ...]:
        """Those of a host, by its id. References of VMs and hosts are told apart by their prefix in one vCenter."""
        return self._known.get(host, ())

    def take_news(self) -> dict[str, tuple[str, ...]]:
        """Objects whose tags are others than when this was asked last."""
        known, told = self._known, self._told
        if known is told:
            return {}
        self._told = known
        ids = known.keys() | told.keys()
        return {one: known.get(one, ()) for one in ids if known.get(one) != told.get(one)}

    # --- reading ------------------------------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Whether to read them again; then nobody else is told so for a while."""
        if not self._session.options.tags or time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + EVERY
        return True

    def read(self) -> None:
        """Reads them all. Raises nothing of a vCenter in trouble."""
        try:
            if not self._session.live().vcenter:
                return  # tags are vCenter's
            self._known = self._read()
        except (BackendError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.problem = self._trouble(error)
        else:
            self.problem = None

    def _trouble(self, error: Exception) -> Problem:
        why = (
            error.problem.happened
            if isinstance(error, BackendError)
            else f'{self._session.cluster}: the answer about tags makes no sense: "{quoted(str(error))}".'
        )
        return Problem(
            happened=f"{why} So vCenter's tags are not known, or not as they are now.",
            unaffected="Everything else of the inventory comes by another way and is shown.",
            next_step=f"evac tries again every {EVERY / 60:.0f} minutes; tags = false in [clusters.{self._session.cluster}]"
            " does without them.",
            severity="warning",
        )

    def _read(self) -> dict[str, tuple[str, ...]]:
        visit = _log_in(self._session, self._settings)
        try:
            return self._read_by(visit)
        finally:
            visit.end()

    def _read_by(self, visit: Visit) -> dict[str, tuple[str, ...]]:
        ids = (visit.get(list[str] | None, "/tag") or [])[:MOST]
        names = {id_: name for id_ in ids if (name := self._name(visit, id_))}
        found: dict[str, list[str]] = {}
        for at in range(0, len(ids), AT_ONCE):
            for one in visit.attached(ids[at : at + AT_ONCE]):
                for thing in one.object_ids or ():
                    if thing.type in TAGGED and one.tag_id in names:
                        found.setdefault(thing.id, []).append(names[one.tag_id])
        self._names = {id_: self._names[id_] for id_ in names}
        return {thing: tuple(sorted(tags)) for thing, tags in found.items()}

    def _name(self, visit: Visit, tag: str) -> str:
        """As "category:name"; "" for one that has gone meanwhile, or that the account may not see."""
        read, name = self._names.get(tag, (0.0, ""))
        if name and time.monotonic() - read < NAMES:
            return name
        told = visit.get(_Named, f"/tag/{visit.dialect.id_prefix}{_quoted(tag)}", missing=_Named())
        if not told.name:
            return ""
        name = f"{visit.category(told.category_id)}:{told.name}"
        self._names[tag] = (time.monotonic(), name)
        return name


class Visit:
    """One REST session."""

    def __init__(self, session: Session, dialect: Dialect, token: str) -> None:
        self.dialect = dialect
        self._session = session
        self._headers = {SESSION_ID: token, "Accept": "application/json", "User-Agent": "evac"}
        self._categories: dict[str, str] = {}
        self._until = time.monotonic() + PATIENCE

    def get(self, kind: Any, where: str, missing: Any = None) -> Any:
        """What is at `where` below the tagging API; `missing` where it is gone or hidden."""
        status, body = self._send("GET", self.dialect.tagging + where)
        if status in {403, 404} and missing is not None:
            return missing
        return self._good(kind, status, body, "its tags")

    def category(self, id_: str) -> str:
        """A category's name, asked once; its id where it is not told."""
        if id_ not in self._categories:
            where = f"/category/{self.dialect.id_prefix}{_quoted(id_)}"
            self._categories[id_] = self.get(_Named, where, missing=_Named()).name or id_
        return self._categories[id_]

    def attached(self, tags: Sequence[str]) -> list[_Attached]:
        """Which objects have these tags, as far as the account may see them."""
        where = f"{self.dialect.tagging}/tag-association?{self.dialect.action}=list-attached-objects-on-tags"
        status, body = self._send("POST", where, msgspec.json.encode({"tag_ids": list(tags)}))
        return self._good(list[_Attached] | None, status, body, "what its tags are on") or []

    def end(self) -> None:
        """Close it; one that cannot be closed ends by itself after five idle minutes."""
        try:
            self._session.wire.rest("DELETE", self.dialect.session, self._headers)
        except BackendError:
            return

    def _send(self, method: str, where: str, body: bytes = b"") -> tuple[int, bytes]:
        if time.monotonic() > self._until:
            raise words.bad_answer(
                self._session.cluster, "the tags", f"not there after {PATIENCE:.0f} seconds"
            )
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        return self._session.wire.rest(method, where, headers, body)

    def _good(self, kind: Any, status: int, body: bytes, what: str) -> Any:
        if status != 200:
            raise words.rest_status(status, self._session.cluster, what)
        return _decoded(kind, body, self.dialect)


def _log_in(session: Session, settings: Settings) -> Visit:
    """By the password in the config, over the same checked connection as everything else."""
    options = session.options
    secret = settings.secret(options.password) if settings.secret else options.password
    plain = base64.b64encode(f"{options.username}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {plain}", "Accept": "application/json", "User-Agent": "evac"}
    for dialect in (MODERN, OLD):
        status, body = session.wire.rest("POST", dialect.session, headers)
        if status in {200, 201}:
            return Visit(session, dialect, str(_decoded(str, body, dialect)))
        if status not in {404, 405}:
            break
    raise words.rest_status(status, session.cluster, "the login to its REST API")


def _decoded(kind: Any, body: bytes, dialect: Dialect) -> Any:
    if dialect.wrapped:
        body = bytes(from_json(body, dict[str, msgspec.Raw]).get("value", b"null"))
    return from_json(body, kind)


def _quoted(id_: str) -> str:
    return quote(id_, safe=":")
