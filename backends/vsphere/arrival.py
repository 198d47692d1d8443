"""The other end of a move between two vCenters: what is read there before anything is asked of the source. Blocking.

Read with the credential that the move itself will use, and of the server whose certificate is pinned, through a session
that cannot write. A wrong password, another server or a host that is not there is so told before the move is sent. And
references such as "host-12" are looked up there: in the source's vCenter the same name is another thing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backends.vsphere import mapping
from backends.vsphere.moves import Moves
from backends.vsphere.named import HostNames
from backends.vsphere.options import Options
from backends.vsphere.placing import Places
from backends.vsphere.reading import GROUPS, Reader
from backends.vsphere.scene import NET_TYPES
from backends.vsphere.session import LOCKED_AFTER, Live, Session, version_of
from backends.vsphere.soap import Row
from evac.across import Credential, Crossing, Destination
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError, Refused
from evac.model import Datastore, Problem

OLDEST = (6, 0)
"""What both vCenters and both hosts must be for it."""

HIGHEST = 32
"""Folders between a host and its datacenter, at most."""


class Arrival(Struct, frozen=True):
    """Where a VM goes, in the target's own references."""

    host: str
    pool: str
    folder: str
    store: Datastore
    backings: Mapping[str, Any]
    """Network of the VM → what a card is put on there."""


class Arrivals:
    """Looks at targets. A password that was refused is not tried again for five minutes: SSO locks accounts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._wrong: dict[bytes, tuple[float, Problem]] = {}
        """By a digest that only this process can make: the password itself is kept nowhere."""

    def find(
        self,
        going: Crossing,
        hosts: Sequence[str],
        credential: Credential,
        wanted: Mapping[str, str],
        size: int | None,
    ) -> dict[str, Arrival | Refused]:
        """Each of these hosts (Host.id there) in place of `going.host`, in one session; or why it cannot go to that one.

        `wanted`: network of the VM → its name or id there; `size`: bytes of its disks.

        Raises:
            Refused: nothing could be read there, in words. Nothing was sent to the source.
        """
        there = going.destination

        def work(session: Session, live: Live) -> dict[str, Arrival | Refused]:
            return {host: _tried(session, live, replace(going, host=host), wanted, size) for host in hosts}

        try:
            with self._session(there, credential) as session:
                return session.read(lambda live: work(session, live), f"a look at {there.cluster}")
        except BackendError as error:
            raise Refused(
                Problem(
                    happened=error.problem.happened,
                    unaffected="Nothing was changed.",
                    next_step=error.problem.next_step,
                )
            ) from error

    @contextmanager
    def _session(self, there: Destination, credential: Credential) -> Iterator[Session]:
        """Logged in, read-only, at the server that has the pinned certificate and no other."""
        digest = self._digest(there, credential)
        self._refuse_again(digest)
        name = f"[{there.host}]" if ":" in there.host else there.host
        options = Options(
            server=f"{name}:{there.port}",
            username=credential.user,
            password="-",  # noqa: S106 - a placeholder: `secret` gives it
            fingerprint=there.fingerprint,
        )
        session = Session(
            Settings(
                name=there.cluster,
                options=options,
                read_only=True,
                connect_timeout=self._settings.connect_timeout,
                read_timeout=self._settings.read_timeout,
                secret=lambda _: credential.secret,
            )
        )
        try:
            self._log_in(session, digest)
            yield session
        finally:
            session.close()

    def _log_in(self, session: Session, digest: bytes) -> None:
        try:
            session.live()
        except AuthFailed as error:
            with self._lock:
                self._wrong[digest] = (time.monotonic(), error.problem)
            raise

    def _digest(self, there: Destination, credential: Credential) -> bytes:
        told = f"{there.instance}\0{credential.user}\0{credential.secret}"
        return hmac.digest(self._key, told.encode(), hashlib.sha256)

    def _refuse_again(self, digest: bytes) -> None:
        oldest = time.monotonic() - LOCKED_AFTER
        with self._lock:
            self._wrong = {one: known for one, known in self._wrong.items() if known[0] > oldest}
            known = self._wrong.get(digest)
        if known is not None:
            raise Refused(known[1])


def _tried(
    session: Session, live: Live, going: Crossing, wanted: Mapping[str, str], size: int | None
) -> Arrival | Refused:
    try:
        return _Target(session, live, going).arrival(wanted, size)
    except Refused as refused:
        return refused


class _Target:
    """One look at one target."""

    def __init__(self, session: Session, live: Live, going: Crossing) -> None:
        self._live, self._going = live, going
        self._reader = Reader(session)
        self._cluster = session.cluster
        self._places = Places(session, self._reader, Moves(self._cluster), session.options)

    def arrival(self, wanted: Mapping[str, str], size: int | None) -> Arrival:
        """All of it."""
        self._is_the_one()
        host = self._host()
        paths = ("name", "datastore", "summary.config.product")
        row = self._reader.properties(self._live, "HostSystem", host, paths)
        if row is None:
            raise self._refused(f"it knows no host {self._going.host}", "Choose another.")
        if too_old(row):
            raise self._refused(
                f"{self._going.host} is older than ESXi 6.0, which takes no VM from elsewhere"
            )
        return Arrival(
            host=host,
            pool=self._pool(host),
            folder=self._folder(host),
            store=self._store(row, size),
            backings=self._backings(host, wanted),
        )

    def _is_the_one(self) -> None:
        about = self._live.content.about
        if not self._live.vcenter:
            raise self._refused("it is an ESXi host that stands alone, which takes no VM from a vCenter")
        if about.instanceUuid != self._going.destination.instance:
            raise self._refused("it is another vCenter than a moment ago", "Look what became of it.")
        if self._live.api < OLDEST:
            raise self._refused(
                f"its API is {about.apiVersion}, and moves between vCenters need 6.0 or newer"
            )

    def _host(self) -> str:
        told = self._reader.host_names(self._live)
        names = HostNames()
        names.learn(told)
        found = names.id_of(self._going.host)
        if found not in told:
            raise self._refused(f"it knows no host {self._going.host}", "Choose another.")
        return found

    def _pool(self, host: str) -> str:
        paths: dict[str, tuple[str, ...]] = dict.fromkeys(GROUPS, ("resourcePool",))
        rows = self._reader.walked(self._live, "HostSystem", [host], "parent", paths)
        pool = rows[0].text("resourcePool") if rows else ""
        if not pool:
            raise self._refused(
                f"the resource pool of {self._going.host} is not told", "May the account read it?"
            )
        return pool

    def _folder(self, host: str) -> str:
        """The VM folder of the host's datacenter, which is found upwards from the host."""
        paths: dict[str, tuple[str, ...]] = dict.fromkeys((*GROUPS, "Folder"), ("name",))
        paths["Datacenter"] = ("vmFolder",)
        kind, id_ = "HostSystem", host
        for _ in range(HIGHEST):
            rows = self._reader.walked(self._live, kind, [id_], "parent", paths)
            if not rows:
                break
            kind, id_ = rows[0].type, rows[0].id
            if kind == "Datacenter" and rows[0].text("vmFolder"):
                return rows[0].text("vmFolder")
        raise self._refused(f"the datacenter of {self._going.host} is not told", "May the account read it?")

    def _store(self, host: Row, size: int | None) -> Datastore:
        """The named one, else of the shared ones the one with most free space: vCenter itself does not choose across vCenters."""
        rows = self._reader.objects(
            self._live, [("Datastore", one) for one in host.node("datastore").texts()], "Datastore"
        )
        stores = [mapping.datastore(self._cluster, row) for row in rows]
        wanted = self._going.storage
        if wanted and wanted not in {one.id for one in stores}:
            raise self._refused(f"{self._going.host} sees no datastore {wanted}", "Choose another.")
        usable = [one for one in stores if one.usable and wanted in {"", one.id}]
        roomy = [one for one in usable if size is None or one.free is None or one.free >= size]
        if not roomy:
            which = f"its datastore {wanted}" if wanted else "every datastore"
            raise self._refused(
                f"{which} of {self._going.host} is full or cannot be used now", "Choose another."
            )
        return max(roomy, key=lambda one: (bool(one.shared), one.free or 0, one.name))

    def _backings(self, host: str, wanted: Mapping[str, str]) -> dict[str, Any]:
        paths = dict.fromkeys(NET_TYPES, ("name",))
        rows = self._reader.walked(self._live, "HostSystem", [host], "network", paths)
        nets = {row.id: row for row in rows} | {row.text("name"): row for row in rows}
        lacking = sorted(
            f"{there or 'one of the same name'} (for {here})" if there != here else here
            for here, there in wanted.items()
            if there not in nets
        )
        if lacking:
            raise self._refused(
                f"{self._going.host} has no network {', '.join(lacking)}",
                "Name the network there for each network of the VM: HERE=THERE.",
            )
        return {here: self._places.backing(self._live, nets[there]) for here, there in wanted.items()}

    def _refused(self, happened: str, step: str = "") -> Refused:
        return Refused(
            Problem(
                happened=f"{self._cluster}: {happened}.", unaffected="Nothing was changed.", next_step=step
            )
        )


def too_old(host: Row) -> bool:
    """Whether an ESXi is older than 6.0; one that does not tell is not."""
    version = version_of(host.node("summary.config.product").text("version"))
    return bool(version) and version < OLDEST
