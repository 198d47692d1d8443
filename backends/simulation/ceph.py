"""A storage cluster on the hosts of a simulated world: OSDs, pools, and what a lost disk or host does to them.

Nothing ticks: the world's clock drives it, event by event, as it drives the VMs. A host that loses power takes its
OSDs with it. Every public method first lets the world catch up.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from backends.simulation.ceph_crush import NOBODY, Crush, Ints, Reals, Rule, compact
from backends.simulation.ceph_daemons import Daemons
from backends.simulation.ceph_peering import Peering
from backends.simulation.ceph_progress import Progress
from backends.simulation.ceph_things import Ailing, CephTiming, Key, SimOSD, SimPool
from backends.simulation.things import SimHost
from backends.simulation.world import World

FLAGS = frozenset(
    [
        "full",
        "pause",
        "noup",
        "nodown",
        "noout",
        "noin",
        "nobackfill",
        "norebalance",
        "norecover",
        "noscrub",
        "nodeep-scrub",
        "notieragent",
        "nosnaptrim",
    ]
)
"""What `osd set` takes (pauserd and pausewr are set together as "pause")."""

GROUP_FLAGS = frozenset({"noup", "nodown", "noin", "noout"})
"""What may be set for a host, an OSD or a device class."""


class CephWorld:
    """The cluster's map, and the truth behind it."""

    def __init__(
        self, world: World, *, seed: int = 0, timing: CephTiming | None = None, max_pg_per_osd: int = 250
    ) -> None:
        self.world = world
        self.timing = timing or CephTiming()
        self.seed = seed
        self.fsid = str(uuid.UUID(int=world.random.getrandbits(128), version=4))
        self.config: dict[str, str] = {"mon_max_pg_per_osd": str(max_pg_per_osd)}
        self.crush = Crush(seed)
        self.osds: dict[int, SimOSD] = {}
        self.pools: dict[int, SimPool] = {}
        self.rules: dict[str, Rule] = {}
        self.flags: set[str] = set()
        self.node_flags: dict[str, set[str]] = {}
        self.class_flags: dict[str, set[str]] = {}
        self.muted: set[str] = set()
        self.epoch = 1
        self.last_up = self.last_in = world.time
        self.flag_listeners: list[Callable[[], None]] = []
        """Called after a flag was set or unset."""
        self.scrubs = 0
        """PGs that are being scrubbed at any time; they have no other effect than their state."""
        self.progress = Progress(self)
        self.peering = Peering(self)
        self.daemons = Daemons(self)
        world.power_listeners.append(self._power)

    @property
    def now(self) -> float:
        """Seconds since the world began, up to which everything has happened."""
        return self.world.time

    @property
    def ailing(self) -> dict[Key, Ailing]:
        """PGs that are not simply where they belong."""
        return self.peering.ailing

    def advance(self) -> None:
        """Let everything happen that falls due."""
        self.world.advance()

    # --- building it -----------------------------------------------------------------------------

    def add_osd(
        self, host: str, rack: str, *, size: int, device_class: str = "hdd", weight: float = 0.0
    ) -> SimOSD:
        """A new, empty OSD on a host. Its CRUSH weight is its size in TiB unless given."""
        number = len(self.osds)
        osd = SimOSD(number, self.world.new_uuid(), host, rack, device_class, size)
        self.osds[number] = osd
        self.crush.add_osd(number, host, rack, weight=weight or size / 2**40, device_class=device_class)
        return osd

    def add_rule(
        self, name: str, *, domain: str = "host", device_class: str = "", erasure: bool = False
    ) -> Rule:
        """A new CRUSH rule."""
        rule = Rule(len(self.rules), name, domain, device_class, erasure)
        self.rules[name] = rule
        return rule

    def add_pool(
        self, name: str, rule: str, *, size: int, min_size: int, pg_num: int, **details: object
    ) -> SimPool:
        """A new pool, filled and clean as far as its rule finds OSDs. `details` are fields of SimPool."""
        self.advance()
        pool = SimPool(len(self.pools) + 1, name, self.rules[rule], size, min_size, pg_num)
        for key, value in details.items():
            setattr(pool, key, value)
        self.pools[pool.id] = pool
        pool.raw = self._draw(pool, np.arange(pg_num))
        pool.up = self._living(pool)
        pool.acting = pool.up.copy()
        for seed in np.flatnonzero((pool.up == NOBODY).any(axis=1)).tolist():
            self.peering.settle(pool, seed, peer=False)
        self.epoch += 1
        return pool

    # --- what people and fate do to OSDs ---------------------------------------------------------

    def stop_osd(self, number: int) -> None:
        """The daemon is stopped in good order: the map knows at once."""
        self.advance()
        self.osds[number].running = False
        self._down([number])

    def crash_osd(self, number: int, *, broken: bool = False) -> None:
        """It falls silent; the map follows after the grace. A broken one does not come back with its host."""
        self.advance()
        self.osds[number].broken = broken
        self._silence([number])

    def start_osd(self, number: int) -> None:
        """The daemon runs again (on a new disk, if the old one was broken)."""
        self.advance()
        if self.osds[number].broken:
            self.osds[number].broken = False
            self.peering.forget(number)
        self._boot([number])

    def mark_out(self, number: int, *, by_itself: bool = False) -> None:
        """`osd out`: its data goes elsewhere."""
        self.advance()
        self._out(number, by_itself=by_itself)

    def mark_in(self, number: int) -> None:
        """`osd in`: data may come back to it."""
        self.advance()
        osd = self.osds[number]
        if not osd.inside:
            osd.auto_out = False
            self._set_reweight(osd, osd.before_out or 1.0)

    def reweight(self, number: int, value: float) -> None:
        """`osd reweight`, 0 to 1."""
        self.advance()
        self._set_reweight(self.osds[number], value)

    # --- flags -----------------------------------------------------------------------------------

    def set_flag(self, flag: str, *, on: bool) -> None:
        """A flag for the whole cluster."""
        self.advance()
        (self.flags.add if on else self.flags.discard)(flag)
        self._flags_changed()

    def set_group(self, flags: Iterable[str], who: Iterable[str], *, on: bool) -> None:
        """Flags of OSDs ("osd.3", "3"), CRUSH nodes or device classes; all of them exist."""
        self.advance()
        for name in who:
            number = name.removeprefix("osd.")
            if number.isdecimal():
                target = self.osds[int(number)].flags
            elif name in self.crush.names:
                target = self.node_flags.setdefault(name, set())
            else:
                target = self.class_flags.setdefault(name, set())
            (target.update if on else target.difference_update)(flags)
        self.node_flags = {name: kept for name, kept in self.node_flags.items() if kept}
        self.class_flags = {name: kept for name, kept in self.class_flags.items() if kept}
        self._flags_changed()

    def flagged(self, osd: SimOSD, flag: str) -> bool:
        """A flag holds for this OSD: its own, its host's, rack's or class's, or the cluster's."""
        above = {name for _, name in self.crush.location(osd.id)}
        return (
            flag in self.flags
            or flag in osd.flags
            or flag in self.class_flags.get(osd.device_class, ())
            or any(flag in self.node_flags.get(name, ()) for name in above)
        )

    def _flags_changed(self) -> None:
        self.epoch += 1
        self.peering.recovery.flags_changed()
        for osd in self.osds.values():
            if not osd.up and osd.inside:
                self._watch_down(osd)
            if osd.up and not osd.running:
                self._down([osd.id])
        for listener in self.flag_listeners:
            listener()

    # --- down and up -----------------------------------------------------------------------------

    def _power(self, host: SimHost) -> None:
        here = [osd.id for osd in self.osds.values() if osd.host == host.name]
        if host.alive:
            self.world.later(self.timing.boot, lambda: self._boot(here) if host.alive else None)
        else:
            self._silence(here)
        self.daemons.power(host)

    def _silence(self, numbers: list[int]) -> None:
        for number in numbers:
            self.osds[number].running = False
        self.world.later(self.timing.grace, lambda: self._down(numbers))

    def _down(self, numbers: list[int]) -> None:
        """The map says down, unless they are back already or nodown is set."""
        gone = [
            self.osds[number] for number in numbers if not self.osds[number].running and self.osds[number].up
        ]
        gone = [osd for osd in gone if not self.flagged(osd, "nodown")]
        if not gone:
            return
        self.epoch += 1
        for osd in gone:
            osd.up = False
            osd.down_since = self.now
            osd.down_at = self.epoch
        self._remap(stirred={osd.id for osd in gone})
        for osd in gone:
            self._watch_down(osd)

    def _watch_down(self, osd: SimOSD) -> None:
        since = osd.down_since
        assert since is not None, "it is down"
        wait = max(0.0, since + self.timing.down_out - self.now)
        self.world.later(wait, lambda: self._out_if_still_down(osd, since))

    def _out_if_still_down(self, osd: SimOSD, since: float) -> None:
        if osd.up or osd.down_since != since or not osd.inside or self.flagged(osd, "noout"):
            return
        rack = self.crush.osds_below(self.crush.names[osd.rack])
        if not any(self.osds[number].up for number in rack):
            return  # mon_osd_down_out_subtree_limit is "rack": a dead rack is somebody's mistake, not lost disks
        self._out(osd.id, by_itself=True)

    def _boot(self, numbers: list[int]) -> None:
        back = [self.osds[number] for number in numbers if not self.osds[number].broken]
        for osd in back:
            osd.running = True
        back = [osd for osd in back if not osd.up and not self.flagged(osd, "noup")]
        if not back:
            return
        self.epoch += 1
        for osd in back:
            osd.up, osd.down_since, osd.up_from = True, None, self.epoch
        self.last_up = self.now
        inside = [osd for osd in back if osd.auto_out and not self.flagged(osd, "noin")]
        for osd in inside:
            osd.auto_out = False
            osd.reweight = osd.before_out
        moved = self._remap(stirred={osd.id for osd in back}, grown=bool(inside))
        for osd in inside:
            self.progress.begin(f"Rebalancing after osd.{osd.id} marked in", [["osd", osd.id]], moved)

    # --- the map ---------------------------------------------------------------------------------

    def _out(self, number: int, *, by_itself: bool) -> None:
        osd = self.osds[number]
        if osd.inside:
            osd.before_out, osd.auto_out = osd.reweight, by_itself
            self._set_reweight(osd, 0.0)

    def _set_reweight(self, osd: SimOSD, value: float) -> None:
        before, osd.reweight = osd.reweight, value
        if before == value:
            return
        self.epoch += 1
        self.last_in = self.now
        moved = self._remap(lessened=osd.id if value < before else None, grown=value > before)
        if (value > 0) != (before > 0):
            word = "in" if value > 0 else "out"
            refs: list[list[object]] = [["osd", osd.id]]
            self.progress.begin(f"Rebalancing after osd.{osd.id} marked {word}", refs, moved)

    def _remap(
        self, *, stirred: set[int] | None = None, lessened: int | None = None, grown: bool = False
    ) -> list[Key]:
        """Draw anew where PGs belong and settle those that are concerned.

        `stirred` OSDs went down or came up. An OSD that takes less concerns only PGs drawn on it; one that takes more
        may draw any.
        """
        moved: list[Key] = []
        for pool in self.pools.values():
            if grown:
                pool.raw = self._draw(pool, np.arange(pool.pg_num))
            elif lessened is not None:
                rows = np.flatnonzero((pool.raw == lessened).any(axis=1))
                if len(rows):
                    pool.raw[rows] = self._draw(pool, rows)
            before, pool.up = pool.up, self._living(pool)
            changed = (before != pool.up).any(axis=1)
            if stirred:
                changed |= np.isin(pool.acting, list(stirred)).any(axis=1)
            moved.extend((pool.id, seed) for seed in np.flatnonzero(changed).tolist())
        keys = dict.fromkeys(moved)
        for key, ailing in self.ailing.items():
            if stirred and any(osd in stirred for _, osd in ailing.have):
                keys[key] = None
        for pool_id, seed in keys:
            self.peering.settle(self.pools[pool_id], seed)
        if keys:
            self.progress.follow_all()
        return moved

    def _draw(self, pool: SimPool, seeds: npt.NDArray[np.int64]) -> Ints:
        weights: Reals = np.array([osd.reweight for osd in self.osds.values()], dtype=np.float64)
        return self.crush.place(pool.rule, pool.id, seeds, pool.size, weights)

    def _living(self, pool: SimPool) -> Ints:
        up = np.array([osd.up for osd in self.osds.values()] + [False])
        rows = np.where(up[pool.raw], pool.raw, np.int32(NOBODY))
        return rows if pool.erasure else compact(rows)
