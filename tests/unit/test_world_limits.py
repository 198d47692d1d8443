"""What Proxmox VE needs of the simulated world: limits, moves that wait for nobody, hosts that admit everything."""

from __future__ import annotations

import pytest

from backends.simulation.clocks import ManualClock
from backends.simulation.things import GIB, Denied, SimMove, SimVM, Timing
from backends.simulation.world import World
from evac.model import VMState

MIB = 1 << 20


class Lab:
    """Two hosts, and one VM of 1 GiB with a local disk of 10 GiB on the first."""

    def __init__(self, **timing: object) -> None:
        self.clock = ManualClock()
        self.world = World(seed=3, now=self.clock, timing=Timing(live_per_source=0, **timing))  # type: ignore[arg-type]
        for name in ("a", "b"):
            self.world.add_host(name, link=1000.0 * MIB, memory=4 * GIB)
        self.vm: SimVM = self.world.add_vm("one", "a", memory=GIB, disk=10 * GIB, dirty_rate=0.0)
        self.ended: list[SimMove] = []
        self.world.end_listeners.append(self.ended.append)

    def run(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.advance()


def test_a_live_migration_keeps_to_its_limit_and_leaves_the_rest_of_the_link_to_others() -> None:
    lab = Lab()
    other = lab.world.add_vm("two", "a", memory=GIB, dirty_rate=0.0)
    lab.world.live.migrate(lab.vm.id, "b", limit=100.0 * MIB)
    lab.world.live.migrate(other.id, "b")
    lab.run(3.0)
    assert [move.vm for move in lab.ended] == [other.id]
    limited = lab.world.moves_of(lab.vm.id)[0]
    assert limited.memory_sent == pytest.approx(2.5 * 100 * MIB, rel=0.05)


def test_a_cold_migration_at_once_waits_for_nobodys_word() -> None:
    lab = Lab()
    lab.world.cold.migrate(lab.vm.id, "b", at_once=True)
    lab.run(5.0)
    assert (lab.vm.host, lab.vm.runs_on, lab.vm.state) == ("b", "b", VMState.RUNNING)
    assert [move.status for move in lab.ended] == ["confirmed"]
    assert (lab.world.hosts["a"].memory_used, lab.world.hosts["b"].memory_used) == (0, GIB)


def test_a_cold_migration_that_is_aborted_runs_again_where_it_was() -> None:
    lab = Lab()
    lab.vm.local_disk = True
    lab.world.cold.migrate(lab.vm.id, "b", at_once=True, limit=100.0 * MIB)
    lab.run(20.0)
    assert lab.vm.runs_on == ""
    lab.world.cold.abort(lab.vm.id)
    assert (lab.vm.host, lab.vm.runs_on, lab.vm.task) == ("a", "a", "")
    assert [move.status for move in lab.ended] == ["cancelled"]
    assert lab.world.hosts["b"].memory_used == 0
    lab.run(200.0)
    assert lab.vm.host == "a"
    with pytest.raises(Denied):
        lab.world.cold.abort(lab.vm.id)


@pytest.mark.parametrize("admits", [False, True])
def test_a_full_host_in_maintenance_takes_what_is_sent_to_it_only_where_nothing_is_admitted(
    *, admits: bool
) -> None:
    lab = Lab(admits_all=admits)
    lab.world.hosts["b"].maintenance = True
    lab.world.hosts["b"].memory = GIB // 2
    lab.world.live.migrate(lab.vm.id, "b")
    lab.run(10.0)
    assert lab.vm.host == ("b" if admits else "a")
