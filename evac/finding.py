"""What every plan looks up first: the cluster, the host, what is on its way; and the refusal when it is not there. Pure."""

from __future__ import annotations

from evac.fleet import Fleet
from evac.model import ClusterState, Host, Migration, Problem

UNAFFECTED = "Nothing was done."


class PlanRefused(Exception):
    """There is nothing to plan."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


def find_cluster(fleet: Fleet, name: str) -> ClusterState:
    """A cluster by its name. Raises PlanRefused when there is none."""
    cluster = fleet.cluster(name)
    if cluster is None:
        known = ", ".join(sorted(fleet.table("clusters"))) or "none"
        raise PlanRefused(
            Problem(
                happened=f"There is no cluster {name}.", unaffected=UNAFFECTED, next_step=f"Known: {known}."
            )
        )
    return cluster


def find(fleet: Fleet, name: str, host_name: str) -> tuple[ClusterState, Host]:
    """A cluster, and a host of it by its native id. Raises PlanRefused when there is none."""
    cluster = find_cluster(fleet, name)
    host = fleet.host(name, host_name)
    if host is None:
        raise PlanRefused(
            Problem(
                happened=f"{name} knows no host {host_name}.",
                unaffected=UNAFFECTED,
                next_step="See its hosts; figures may not have been read yet.",
            )
        )
    return cluster, host


def moving_on(fleet: Fleet, host: Host) -> dict[str, Migration]:
    """Moves under way, by VM."""
    moves = fleet.table("migrations").values()
    return {move.vm: move for move in moves if move.cluster == host.cluster and move.phase.active}
