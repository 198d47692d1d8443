"""The target's side of a move from another cluster: which node listens where, by which certificate, and a free number.

Proxmox VE takes a VM in on the very node whose API the source connects to, so evac tells of every node it knows an
endpoint of. Blocking; run in worker threads.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from backends import tls
from backends.proxmox.client import Client
from backends.proxmox.options import PORT, Options, fingerprint
from backends.proxmox.reading import Reader
from evac.across import Destination, Door
from evac.backend import Settings
from evac.errors import BackendError, Unreachable
from evac.model import Problem

HELD = 30.0
"""Seconds for which a number that was told is not told again: a VM takes it as soon as its move has begun."""

TRIES = 50


class Arrivals:
    """What a source must know."""

    def __init__(self, settings: Settings, client: Client, reader: Reader) -> None:
        self._settings = settings
        self._client = client
        self._reader = reader
        self._lock = threading.Lock()
        self._told: dict[int, float] = {}

    def destination(self) -> Destination:
        """Calls: one per endpoint, and one or more for the number. Raises BackendError when no endpoint answers."""
        doors = self._doors()
        first = doors[0]
        return Destination(
            cluster=self._client.cluster,
            kind="proxmox",
            host=first.address,
            port=first.port,
            fingerprint=first.fingerprint,
            doors=doors,
            number=self._number(),
        )

    def _doors(self) -> tuple[Door, ...]:
        doors: list[Door] = []
        failed: BackendError | None = None
        for number, endpoint in enumerate(self._client.endpoints):
            try:
                node = self._reader.local_node(endpoint)
                door = self._door(node, number)
            except BackendError as error:
                failed = failed or error
            else:
                doors += [door] if node else []
        if doors:
            return tuple(doors)
        raise failed or self._client.nonsense("the cluster's status", "does not say which node answers")

    def _door(self, node: str, number: int) -> Door:
        options: Options = self._settings.options
        parts = urlsplit(self._client.endpoints[number])
        host, port = parts.hostname or "", parts.port or PORT
        pin = fingerprint(options.fingerprints[number]).upper() if options.fingerprints else ""
        shown = ":".join(pin[at : at + 2] for at in range(0, len(pin), 2)) or self._signed(host, port)
        return Door(host=node, address=host, port=port, fingerprint=shown)

    def _signed(self, host: str, port: int) -> str:
        """Of the certificate there, after the CA that evac itself trusts has been asked about it."""
        options: Options = self._settings.options
        own = (
            str(self._settings.config_dir / Path(options.cacert).expanduser())
            if options.cacert
            else DEFAULT_CA_BUNDLE_PATH
        )
        try:
            seen = tls.certificate(host, port, timeout=self._settings.connect_timeout, cafile=own)
        except (OSError, ValueError) as error:
            happened = (
                f"{self._client.cluster}: the certificate of {host}:{port} cannot be verified: {error}."
            )
            raise Unreachable(Problem(happened=happened, next_step="evac doctor tells more.")) from error
        return seen.fingerprint

    def _number(self) -> int:
        """Free there, and not told to another move a moment ago."""
        with self._lock:
            now = time.monotonic()
            self._told = {told: until for told, until in self._told.items() if until > now}
            number = first = self._reader.next_number()
            for _ in range(TRIES):
                if number not in self._told and (number == first or self._reader.is_free(number)):
                    break
                number += 1
            self._told[number] = now + HELD
            return number
