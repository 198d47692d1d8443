"""Fleets for the planner's tests: one cluster "c", hosts and VMs in whole GiB."""

from __future__ import annotations

from typing import Any

from evac.fleet import Fleet
from evac.model import VM, Affinity, AffinityKind, ClusterState, Host, HostState, Migration, VMState
from evac.planning import History, plan_window
from evac.planning.history import NO_HISTORY
from evac.storage import OSD
from evac.window.plan import HostName, Policy, WindowPlan, WindowPlanRequest

GIB = 1 << 30
NOW = 1_764_460_800.0


def host(name: str, gib: int = 64, used: int = 0, **more: Any) -> Host:
    fields: dict[str, Any] = {"state": HostState.UP, "memory": gib * GIB, "memory_used": used * GIB}
    return Host(cluster="c", id=name, name=name, **(fields | more))


def vm(name: str, on: str = "a", gib: int = 1, **more: Any) -> VM:
    fields: dict[str, Any] = {"state": VMState.RUNNING, "memory": gib * GIB}
    return VM(cluster="c", id=f"id-{name}", name=name, host=on, **(fields | more))


def rule(kind: AffinityKind, *vms: str, hosts: tuple[str, ...] = (), strict: bool = True) -> Affinity:
    name = f"{kind.value} {' '.join((*vms, *hosts))}"
    return Affinity(
        cluster="c",
        id=name,
        name=name,
        kind=kind,
        strict=strict,
        vms=tuple(f"id-{one}" for one in vms),
        hosts=hosts,
    )


def fleet(*things: Host | VM | Affinity | Migration | OSD, state: ClusterState | None = None) -> Fleet:
    made = Fleet()
    made.publish(
        clusters=(state or ClusterState(name="c", kind="sim", fresh_stamp=100.0),),
        hosts=[thing for thing in things if isinstance(thing, Host)],
        vms=[thing for thing in things if isinstance(thing, VM)],
        affinities=[thing for thing in things if isinstance(thing, Affinity)],
        migrations=[thing for thing in things if isinstance(thing, Migration)],
        osds=[thing for thing in things if isinstance(thing, OSD)],
    )
    return made


def asked(*hosts: str, **more: Any) -> WindowPlanRequest:
    policy = Policy(**{name: more.pop(name) for name in list(more) if name in Policy.__struct_fields__})
    return WindowPlanRequest(
        hosts=tuple(HostName(cluster="c", host=name) for name in hosts), policy=policy, **more
    )


def plan(of: Fleet, *hosts: str, history: History = NO_HISTORY, **more: Any) -> WindowPlan:
    return plan_window(of, asked(*hosts, **more), now=NOW, by="eve", history=history)


def goes(made: WindowPlan, at: int = 0) -> dict[str, str]:
    """VM's name → target, of one host."""
    return {move.name: move.to for move in made.hosts[at].moves}


def stays(made: WindowPlan, at: int = 0) -> dict[str, str]:
    """VM's name → why, of one host."""
    return {stay.name: stay.why for stay in made.hosts[at].stays}
