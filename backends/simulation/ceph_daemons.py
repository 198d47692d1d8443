"""Monitors and managers of a simulated storage cluster: quorum, and who answers the manager's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation.ceph_things import SimMgr, SimMon
from backends.simulation.things import SimHost

if TYPE_CHECKING:
    from backends.simulation.ceph import CephWorld


class Daemons:
    """All of them. Without any monitor named, there is one that never fails; the same for the manager."""

    def __init__(self, ceph: CephWorld) -> None:
        self._ceph = ceph
        self.mons: list[SimMon] = [SimMon("a", "", 0)]
        self.mgr = SimMgr([("x", "")])
        self.election = 3
        self.quorum_since = ceph.now

    def put_mons(self, hosts: list[str]) -> None:
        """One monitor on each of these hosts, named like it."""
        self.mons = [SimMon(host, host, rank) for rank, host in enumerate(hosts)]

    def put_mgrs(self, hosts: list[str]) -> None:
        """One manager on each of these hosts, the active one first."""
        self.mgr = SimMgr([(f"{host}.{'abcdefgh'[index % 8]}", host) for index, host in enumerate(hosts)])

    # --- quorum ----------------------------------------------------------------------------------

    def in_quorum(self) -> list[SimMon]:
        """The monitors that agree on the maps; none when fewer than half are left."""
        alive = [mon for mon in self.mons if mon.running]
        return alive if len(alive) * 2 > len(self.mons) else []

    def set_mon(self, name: str, *, running: bool) -> None:
        """Stop or start one."""
        self._ceph.advance()
        self._set_mons([mon for mon in self.mons if mon.name == name], running=running)

    def _set_mons(self, mons: list[SimMon], *, running: bool) -> None:
        for mon in mons:
            mon.running = running
        if mons:
            self.election += 2
            self.quorum_since = self._ceph.now

    # --- manager ---------------------------------------------------------------------------------

    @property
    def active_mgr(self) -> str:
        """Its name; "" while there is none, and then nobody answers manager commands."""
        return "" if self.mgr.gone is not None or not self.mgr.names else self.mgr.names[0][0]

    @property
    def mgr_ready(self) -> bool:
        """False for some seconds after its start: it does not know all PGs yet."""
        return self._ceph.now >= self.mgr.ready_at

    def fail_mgr(self) -> None:
        """`ceph mgr fail`: the next one takes over at once; a single one starts again."""
        self._ceph.advance()
        self._take_over()

    def _take_over(self) -> None:
        mgr = self.mgr
        mgr.names = [*mgr.names[1:], *mgr.names[:1]]
        mgr.gone = None
        mgr.epoch += 1
        mgr.since = self._ceph.now
        mgr.ready_at = self._ceph.now + self._ceph.timing.mgr_warm

    def power(self, host: SimHost) -> None:
        """A host lost its power or got it back: its monitor and its manager with it."""
        here = [mon for mon in self.mons if mon.host == host.name and mon.running != host.alive]
        delay = self._ceph.timing.boot if host.alive else 0.0
        if here:
            self._ceph.world.later(delay, lambda: self._set_mons(here, running=host.alive))
        if host.alive or not self.mgr.names or self.mgr.names[0][1] != host.name:
            return
        self.mgr.gone = self._ceph.now
        self._ceph.world.later(self._ceph.timing.mgr_grace, self._replace_gone)

    def _replace_gone(self) -> None:
        alive = [pair for pair in self.mgr.names if pair[1] not in self._dead()]
        if self.mgr.gone is not None and alive:
            self.mgr.names = [*(pair for pair in self.mgr.names if pair not in alive), *alive]
            while self.mgr.names[0] != alive[-1]:
                self._take_over()
            self.mgr.gone = None

    def _dead(self) -> set[str]:
        return {host.name for host in self._ceph.world.hosts.values() if not host.alive}
