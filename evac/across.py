"""Moves from one cluster to another: where to, and with whose rights. The credential lives in memory only."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from msgspec import Struct

from evac import clock
from evac.noun import Noun
from evac.secret import REDACTOR

LIFE = 3600.0
"""Seconds for which a credential is kept: an order may wait in the queue for its turn."""

MOST = 100
"""Credentials kept at once; the oldest goes."""


class Door(Noun, frozen=True, kw_only=True):
    """Where one host of the target is reached, on platforms that take a VM in on the very host they are asked at."""

    host: str
    """Host.id"""
    address: str
    """Name or address that the *source* connects to."""
    port: int
    fingerprint: str = ""
    """As Destination.fingerprint."""


class Destination(Noun, frozen=True, kw_only=True):
    """What the platform a VM leaves must know of the one it goes to. Made by the target's own backend."""

    cluster: str
    """The target cluster's name in evac."""
    kind: str
    """The target's kind of backend: a platform moves VMs to its own kind only."""
    host: str
    """Name or address that the *source* connects to."""
    port: int
    certificate: str = ""
    """The server's certificate as PEM, pinned: the one that evac itself talks to; "" where it is not known."""
    fingerprint: str = ""
    """Its SHA-256 in hexadecimal, upper case, with colons."""
    fingerprint_sha1: str = ""
    """The same by SHA-1, which vSphere's ServiceLocator wants."""
    instance: str = ""
    """The target's own identity (vSphere: about.instanceUuid)."""
    doors: tuple[Door, ...] = ()
    """Proxmox VE: its nodes whose API evac itself uses."""
    number: int | None = None
    """Proxmox VE: a guest's number that is free there; None: the platform numbers none."""


class Crossing(Noun, frozen=True, kw_only=True):
    """Where a VM goes in another cluster. The ids are those of the target."""

    destination: Destination
    host: str
    """Host.id there"""
    storage: str = ""
    """Datastore.id there; "": the platform's choice, where it has one."""
    networks: tuple[tuple[str, str], ...] = ()
    """(network of the VM now, network there), by name or id as the platform names them; what is not named keeps its name."""


class Net(Noun, frozen=True, kw_only=True):
    """A network that a card can be on."""

    id: str
    name: str


class Luggage(Noun, frozen=True, kw_only=True):
    """What a VM wants of a host in another cluster. None: not told."""

    networks: tuple[Net, ...] | None = None
    """Those its cards are on."""
    hardware: str = ""
    """Version of its virtual hardware (vSphere: "vmx-19"); "": not told."""


class Reception(Noun, frozen=True, kw_only=True):
    """What a host has for a VM that comes from elsewhere. None: not told."""

    host: str
    """Host.id"""
    networks: tuple[Net, ...] | None = None
    hardware: tuple[str, ...] | None = None
    """Versions of virtual hardware that it runs."""


class Credential(Struct, frozen=True, kw_only=True):
    """What the source logs in to the target with. Shown nowhere: its repr and str name the user only."""

    user: str
    """vSphere: user name. Proxmox VE: the API token's id."""
    secret: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Credential(user={self.user!r})"

    __str__ = __repr__


class Vault:
    """Credentials by handle, for a while. Nothing of it is ever written, and a new engine begins with none."""

    def __init__(self, *, now: Callable[[], float] = clock.stamp) -> None:
        self._now = now
        self._held: dict[str, tuple[float, int, Credential]] = {}

    def put(self, credential: Credential, uid: int) -> tuple[str, float]:
        """Keep it for a user; its handle, and for how many seconds it is kept. No log keeps the secret from now on."""
        REDACTOR.add(credential.secret)
        self._sweep()
        while len(self._held) >= MOST:
            del self._held[next(iter(self._held))]
        handle = secrets.token_urlsafe(16)
        self._held[handle] = (self._now() + LIFE, uid, credential)
        return handle, LIFE

    def get(self, handle: str, uid: int) -> Credential | None:
        """None: it is not this user's, it has expired, or the engine was started anew."""
        self._sweep()
        held = self._held.get(handle)
        return held[2] if held is not None and held[1] == uid else None

    def drop(self, handle: str) -> None:
        """It is needed no more."""
        self._held.pop(handle, None)

    def _sweep(self) -> None:
        at = self._now()
        self._held = {handle: held for handle, held in self._held.items() if held[0] > at}
