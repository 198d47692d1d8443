"""What of Proxmox VE works against a maintenance window while it is on, and turning it. Blocking; run in worker threads.

Backup jobs of the cluster (a guest that is backed up is locked and cannot move), and since 9.2 the automatic rebalancing
of the Cluster Resource Scheduler, by which HA moves guests onto a node that is being emptied, or off one that is refilled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from backends.proxmox.client import Client, path
from backends.proxmox.guard import BACKUP_JOB
from evac.backend import Receipt
from evac.errors import NotFound, Refused
from evac.model import Problem, Switch

BACKUP = "backup/"
REBALANCE = "crs/auto-rebalance"
KEY = "ha-auto-rebalance"

ENABLED, DISABLED, ON, OFF = "enabled", "disabled", "on", "off"

_LASTING = re.compile(BACKUP_JOB, re.ASCII)
"""Jobs that are still in vzdump.cron have a checksum and a colon in their id, and get another one when they are changed."""


class _Job(Struct):
    """A row of GET /cluster/backup."""

    id: str
    enabled: int | str | bool | None = None
    """Absent: enabled."""
    comment: str | None = None
    node: str | None = None


class _Options(Struct):
    """GET /cluster/options. Proxmox VE documents crs as a string and hands out an object."""

    crs: str | dict[str, str | int | float | bool | None] | None = None


class Switches:
    """Of one cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def all(self) -> list[Switch]:
        """As they stand now."""
        crs = self._crs()
        found = [self._of_job(job) for job in self._jobs() if _LASTING.fullmatch(job.id)]
        if KEY in crs:
            found.append(
                Switch(
                    cluster=self._client.cluster,
                    id=REBALANCE,
                    name="HA auto-rebalance",
                    kind="balancer",
                    value=ON if _true(crs[KEY]) else OFF,
                    calm=OFF,
                    why="HA would move guests by itself while hosts are emptied and refilled",
                )
            )
        return found

    def turn(self, switch: str, was: str, to: str) -> Receipt:
        """One PUT. What is read before is read for the change: its failure means that nothing was sent."""
        what = f"turning {switch} from {was} to {to}"
        found = self._client.before_change(self.all, what)
        now = next((one for one in found if one.id == switch), None)
        words = (ENABLED, DISABLED) if switch.startswith(BACKUP) else (ON, OFF)
        if now is None:
            raise NotFound(self._problem(f"there is no switch {switch}"))
        if now.value != was:
            raise Refused(self._problem(f"{now.name} is {now.value}, and not {was}: it was not turned"))
        if to not in words:
            raise Refused(self._problem(f"{now.name} can be {' or '.join(words)}, and not {to}"))
        if switch == REBALANCE:
            self._rebalance(to == ON, what)
        else:
            where = path("cluster", "backup", switch.removeprefix(BACKUP))
            self._client.change("PUT", where, {"enabled": int(to == ENABLED)}, what=what, worker=False)
        return Receipt()

    def _rebalance(self, on: bool, what: str) -> None:
        """The property is one string: the rest of it goes along as it was read a moment ago."""
        crs = self._client.before_change(self._crs, what) | {KEY: str(int(on))}
        text = ",".join(f"{key}={value}" for key, value in crs.items())
        self._client.change("PUT", "/cluster/options", {"crs": text}, what=what, worker=False)

    def _jobs(self) -> list[_Job]:
        return self._client.read(list[_Job], "/cluster/backup", what="the backup jobs")

    def _crs(self) -> dict[str, str]:
        return parsed(self._client.read(_Options, "/cluster/options", what="the cluster's options").crs)

    def _of_job(self, job: _Job) -> Switch:
        on = job.enabled is None or _true(job.enabled)
        more = job.comment.strip().splitlines()[0] if job.comment and job.comment.strip() else ""
        return Switch(
            cluster=self._client.cluster,
            id=f"{BACKUP}{job.id}",
            name=f"backup job {job.id}" + (f" ({more})" if more else ""),
            kind="backup",
            value=ENABLED if on else DISABLED,
            calm=DISABLED,
            why="a guest whose backup runs is locked and cannot move"
            + (f" (on {job.node} only)" if job.node else ""),
        )

    def _problem(self, happened: str) -> Problem:
        return Problem(
            happened=f"{self._client.cluster}: {happened}.",
            unaffected="Nothing was changed.",
            next_step="Look at it again and confirm anew.",
        )


def parsed(crs: str | Mapping[str, object] | None) -> dict[str, str]:
    """The parts of a property string, in their order, whichever way it was handed out."""
    if crs is None:
        return {}
    if isinstance(crs, str):
        pairs = [part.partition("=") for part in crs.split(",") if part]
        return {key.strip(): value.strip() for key, _, value in pairs}
    return {
        key: str(int(value)) if isinstance(value, bool) else str(value)
        for key, value in crs.items()
        if value is not None
    }


def _true(value: object) -> bool:
    """As PVE::JSONSchema::parse_boolean has it."""
    return str(value).lower() in {"1", "on", "yes", "true"}
