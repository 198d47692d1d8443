"""The source's side of a move to another cluster, by remote_migrate, which Proxmox VE itself calls experimental.

The target's API token goes into one field of this one form. It is in no record (`manners.redacted`), no error and no log.
Blocking; run in worker threads.
"""

from __future__ import annotations

import re
from typing import NoReturn

from msgspec.structs import replace

from backends.proxmox.changing import managed
from backends.proxmox.client import Client, path
from backends.proxmox.looking import Looks
from backends.proxmox.options import TOKEN, Options
from backends.proxmox.payload import Guest
from evac.across import Credential, Crossing, Door
from evac.backend import Receipt, Settings
from evac.errors import AuthFailed, BackendError, Refused
from evac.model import Problem
from evac.secret import REDACTOR

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
"""What storages and bridges are called. Anything else could say more than a name in the form."""

_SECRET = re.compile(r"[A-Za-z0-9-]{8,}", re.ASCII)
"""Proxmox VE makes UUIDs. A comma or a space would begin another property of the endpoint."""

_ADDRESS = re.compile(r"[A-Za-z0-9.:-]+", re.ASCII)
_PRINT = re.compile(r"(?:[A-F0-9]{2}:){31}[A-F0-9]{2}", re.ASCII)


class Departures:
    """One call per move."""

    def __init__(self, settings: Settings, client: Client, looks: Looks) -> None:
        self._settings = settings
        self._client = client
        self._looks = looks

    def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """With `delete`, for otherwise a locked copy stays here; Proxmox VE removes it only when all has arrived."""
        what = f"the move of guest {vm} to {going.destination.cluster}"
        row = self._client.before_change(lambda: self._looks.find(vm), what)
        self._fits(row, what)
        form = self._form(row, going, what)
        form["target-endpoint"] = self._endpoint(self._door(going, what), credential, what)
        where = path("nodes", row.node, row.type, row.vmid, "remote_migrate")
        REDACTOR.add(credential.secret)
        try:
            upid = self._client.change("POST", where, form, what=what)
        except BackendError as error:
            raise _without_secret(error, going.destination.cluster) from None
        self._looks.remember(upid)
        number = going.destination.number or row.vmid
        return Receipt(
            task=upid, note=f"experimental in Proxmox VE; it becomes guest {number} on {going.host}"
        )

    def _fits(self, row: Guest, what: str) -> None:
        if row.type == "lxc" and row.status != "stopped":
            self._refuse(
                f"{what}: it is a container that runs, and none moves to another cluster while it does.",
                "Move it by hand, with a restart: pct remote-migrate.",
            )
        if row.type == "lxc":
            self._refuse(
                f"{what}: it is a container; evac moves VMs alone across.", "By hand: pct remote-migrate."
            )
        if row.lock:
            self._refuse(f"{what}: it is locked ({row.lock}).", "Wait for the task that locked it.")
        if managed(row):
            self._refuse(
                f"{what}: HA manages it, and Proxmox VE moves no such VM across.", "Take it out of HA first."
            )
        if row.name in {None, "", f"VM {row.vmid}"}:
            self._refuse(
                f"{what}: it has no name, and its number changes: it could not be known again over there.",
                "Give it a name that no VM of the target has.",
            )

    def _form(self, row: Guest, going: Crossing, what: str) -> dict[str, str | int]:
        node, _, storage = going.storage.rpartition("/")
        if not storage:
            self._refuse(
                f"{what}: Proxmox VE chooses no storage over there.", "Name one that the target node has."
            )
        if node not in {"", going.host}:
            self._refuse(f"{what}: {storage} is of {node}, not of {going.host}.", "Choose another.")
        names = (storage, *(name for pair in going.networks for name in pair))
        if odd := [name for name in names if not _NAME.fullmatch(name)]:
            self._refuse(f'{what}: "{odd[0]}" is no name of a storage or a bridge.', "Choose another.")
        options: Options = self._settings.options
        form: dict[str, str | int] = {
            "target-storage": storage,
            # "1": each bridge has the same name there, which is also what holds for one that is not in the map
            "target-bridge": ",".join(f"{here}:{there}" for here, there in going.networks) or "1",
            "delete": 1,
        }
        if going.destination.number is not None:
            form["target-vmid"] = going.destination.number
        if row.status != "stopped":
            form["online"] = 1
        if options.migration.bandwidth:
            form["bwlimit"] = options.migration.bandwidth * 1024
        return form

    def _door(self, going: Crossing, what: str) -> Door:
        there = going.destination
        door = next((one for one in there.doors if one.host == going.host), None)
        if there.kind != "proxmox":
            self._refuse(f"{what}: that is no Proxmox VE.", "Choose a cluster of the same kind.")
        if door is None:
            known = ", ".join(one.host for one in there.doors) or "none"
            self._refuse(
                f"{what}: a VM lands on the node whose API is asked, and of {there.cluster} evac has those of {known}.",
                f"Choose one of them, or add the API of {going.host} to its endpoints.",
            )
        if not (_ADDRESS.fullmatch(door.address) and _PRINT.fullmatch(door.fingerprint)):
            self._refuse(f"{what}: the certificate of {going.host} is not known.", "evac doctor tells more.")
        return door

    def _endpoint(self, door: Door, credential: Credential, what: str) -> str:
        if not TOKEN.fullmatch(credential.user):
            self._refuse(
                f"{what}: the target is logged in to by an API token, and the user given is none.",
                "Give its id (it looks like evac@pve!move) and its secret.",
            )
        if not _SECRET.fullmatch(credential.secret):
            self._refuse(f"{what}: what was given is no secret of an API token.", "It looks like a UUID.")
        token = f"PVEAPIToken={credential.user}={credential.secret}"
        return f"apitoken={token},host={door.address},port={door.port},fingerprint={door.fingerprint}"

    def _refuse(self, why: str, step: str) -> NoReturn:
        raise Refused(
            Problem(
                happened=f"{self._client.cluster}: evac did not ask for {why}",
                unaffected="Nothing was changed.",
                next_step=step,
            )
        )


def _without_secret(error: BackendError, cluster: str) -> BackendError:
    """The same error. A 401 is the target's: the source has just answered our own login."""
    told = error.problem
    clean = Problem(
        happened=REDACTOR(told.happened),
        unaffected=REDACTOR(told.unaffected),
        next_step=REDACTOR(told.next_step),
    )
    if isinstance(error, AuthFailed):
        step = f"Give the id and the secret of an API token of {cluster} that has not expired."
        return Refused(replace(clean, next_step=step))
    error.problem, error.args = clean, (clean.happened,)
    return error
