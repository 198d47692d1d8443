"""Backup jobs and the scheduler's options of the simulated Proxmox VE: what a maintenance window turns to calm.

They are the world's own switches: "backup/ID", which are enabled or disabled, and "crs/auto-rebalance", on or off.
"""

from __future__ import annotations

from backends.proxmox.simulator_site import Site
from backends.proxmox.simulator_wire import BOOLEANS, Answer, Ask, Route, wrong_parameter
from backends.proxmox.switches import BACKUP, DISABLED, ENABLED, KEY, OFF, ON, REBALANCE, parsed
from backends.simulation import deeds
from backends.simulation.things import SimSwitch


class Scheduled:
    """/cluster/backup and /cluster/options."""

    def __init__(self, site: Site) -> None:
        self._site, self._world = site, site.world
        self.crs = {"ha": "dynamic", "ha-auto-rebalance-threshold": "30"}
        """The rest of that property, which nobody may lose."""

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/cluster/backup", "backup_jobs", self._jobs),
            Route("GET", "/cluster/backup/{id}", "backup_job", self._one),
            Route("PUT", "/cluster/backup/{id}", "turn_switch", self._turn, ("enabled:bool",)),
            Route("GET", "/cluster/options", "options", self._options),
            Route("PUT", "/cluster/options", "turn_switch", self._set, ("crs",)),
        ]

    def _jobs(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        return Answer([_row(one) for one in self._world.switches.values() if one.id.startswith(BACKUP)])

    def _one(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        return Answer(_row(self._job(ask)))

    def _job(self, ask: Ask) -> SimSwitch:
        found = self._world.switches.get(BACKUP + ask.where["id"])
        if found is None:
            raise wrong_parameter("id", f"No such job '{ask.where['id']}'")
        return found

    def _turn(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Modify")
        self._site.need_quorum()
        job = self._job(ask)
        to = ENABLED if ask.flag("enabled") else DISABLED
        deeds.turn(self._world, job.id, job.value, to)
        return Answer(None)

    def _options(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        options: dict[str, object] = {"keyboard": "en-us", "allowed-tags": []}
        if self._site.migration_network:
            options["migration"] = f"secure,network={self._site.migration_network}"
        balancer = self._world.switches.get(REBALANCE)
        if balancer is None:
            return Answer(options)
        crs = self.crs | {KEY: str(int(balancer.value == ON))}
        return Answer(options | {"crs": ",".join(f"{key}={value}" for key, value in crs.items())})

    def _set(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Modify")
        self._site.need_quorum()
        given = parsed(ask.text("crs"))
        balancer = self._world.switches.get(REBALANCE)
        to = ON if BOOLEANS.get(given.pop(KEY, "0"), False) else OFF
        self.crs = given
        if balancer is not None and balancer.value != to:
            deeds.turn(self._world, REBALANCE, balancer.value, to)
        return Answer(None)


def _row(job: SimSwitch) -> dict[str, object]:
    row: dict[str, object] = {
        "id": job.id.removeprefix(BACKUP),
        "type": "vzdump",
        "schedule": "02:30",
        "storage": "local",
        "mode": "snapshot",
        "all": 1,
    }
    return row | {"enabled": int(job.value == ENABLED)}
