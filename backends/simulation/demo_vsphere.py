"""The demo's vCenter: two clusters of four hosts, 200 VMs, and what an admin meets before a maintenance window.

EVC holds the first cluster together. The second has none, and one host of an older CPU generation: what was started on
the newer ones cannot move there. One VM stands still and asks, one has the host's CD drive connected, one a LUN that two
hosts see, one a GPU of its host; each cluster has a vCLS VM, which is vCenter's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.simulation.demo_fleet import Generation, Plan, big, build
from backends.simulation.demo_stage import Stage, toml
from backends.simulation.things import GIB, SimRule, SimVM
from evac.model import AffinityKind

if TYPE_CHECKING:
    from backends.simulation.world import World
    from backends.vsphere.simulator import VCenterSimulator

_OLD = ("sse4.2", "avx", "avx2")
_AVX512 = (*_OLD, "avx512f", "avx512dq")
_VNNI = (*_AVX512, "avx512vnni")

FIRST, SECOND = "ber-cl01", "ber-cl02"
PLAN = Plan(
    "ber-vc",
    "PROD",
    "ber-esx",
    FIRST,
    (
        Generation(4, "Icelake-Server", "Intel", (*_VNNI, "vaes"), 96, 1024 * GIB),
        Generation(3, "Cascadelake-Server", "Intel", _VNNI, 80, 768 * GIB),
        Generation(1, "Broadwell", "Intel", _OLD, 56, 512 * GIB),
    ),
    198,
    live_per_source=8,
)
"""Eight vMotions at once: vCenter's limit for a host with 10 Gbit/s."""

EVC = "intel-cascadelake"
NEEDS = ("pyVmomi", "cryptography")
QUESTION = (
    "There is no more space for virtual disk '{name}.vmdk'. You might be able to continue this session by freeing disk "
    "space on the relevant volume, and clicking Retry. Click Cancel to terminate this session."
)


async def serve(stage: Stage) -> None:
    """One vCenter, or one of any size."""
    if not stage.asked("vsphere"):
        return
    lacking = [name for name in NEEDS if find_spec(name) is None]
    if lacking:
        stage.missing.append(
            f"vSphere is not shown: it needs {' and '.join(lacking)} (the extra evac[vsphere])"
        )
        return
    name = "scale" if stage.scale else PLAN.name
    simulator = _big(stage) if stage.scale else vcenter(seed=stage.options.seed, now=time.monotonic)
    await stage.stack.enter_async_context(simulator.serve(name=f"{name}.example"))
    stage.worlds[name] = simulator.world
    stage.tables.append(_table(stage, name, simulator))


def vcenter(*, seed: int, now: Callable[[], float]) -> VCenterSimulator:
    """The demo's, with what stands in the way of a drain."""
    from backends.vsphere.simulator import VCenterSimulator  # noqa: PLC0415 - needs pyvmomi, which is an extra
    from backends.vsphere.simulator_facts import ClusterPlan, Traits  # noqa: PLC0415

    world = build(PLAN, seed=seed + 40, now=now)
    for host in list(world.hosts.values())[4:]:
        host.zone = SECOND
    for vm in world.vms.values():
        vm.zone = world.hosts[vm.host].zone
    agents = [_agent(world, host) for host in ("ber-esx-01", "ber-esx-05")]
    asking, drive, mapped, card, kept, busy = (_first(world, number) for number in (2, 3, 4, 6, 7, 1))
    busy.name, busy.tags = "erp-db-primary", ("critical",)
    busy.dirty_rate, busy.working_set = 0.9e9, busy.memory * 0.5
    card.name = "gpu-render-02"
    pair = frozenset({"ber-esx-03", "ber-esx-04"})
    traits = {
        drive.id: Traits(cdrom="host"),
        mapped.id: Traits(rdm="physicalMode", rdm_hosts=pair),
        card.id: Traits(passthrough=True),
        kept.id: Traits(snapshots=2),
        **{agent.id: Traits(agent=True, networks=(), tools=False) for agent in agents},
    }
    plans = {FIRST: ClusterPlan(evc=EVC), SECOND: ClusterPlan()}
    simulator = VCenterSimulator(world, plans=plans, traits=traits)
    _ties(world)
    world.placing.ask(asking.id, QUESTION.format(name=asking.name), "Retry", "Cancel")
    for vm in (asking, drive, mapped, card, kept, busy):
        world.touch(vm)
    return simulator


def _ties(world: World) -> None:
    """DRS rules, and a clone that kept its original's BIOS UUID."""
    apart = [_last(world, number) for number in (1, 2)]
    licensed, original, clone = (_last(world, number) for number in (3, 5, 6))
    for rule in (
        SimRule("separate-dns", "separate-dns", AffinityKind.APART, [vm.id for vm in apart]),
        SimRule("licence", "licence", AffinityKind.PINNED, [licensed.id], ("ber-esx-03", "ber-esx-04")),
    ):
        world.rules[rule.id] = rule
    original.machine_id = clone.machine_id = "421f5a0e-3c1d-7a90-55b1-0c2f9d1e6b77"


def _last(world: World, number: int) -> SimVM:
    home = f"ber-esx-{number:02}"
    found = [vm for vm in world.vms.values() if vm.host == home and not vm.local_disk]
    return next(vm for vm in reversed(found) if not vm.name.startswith("vCLS"))


def _first(world: World, number: int) -> SimVM:
    """A VM of that host whose disk the other hosts see too."""
    home = f"ber-esx-{number:02}"
    return next(vm for vm in world.vms.values() if vm.host == home and not vm.local_disk)


def _agent(world: World, host: str) -> SimVM:
    name = f"vCLS-{world.new_uuid()}"
    return world.add_vm(name, host, memory=GIB // 8, disk=2 * GIB, dirty_rate=1e5, working_set=8e6)


def _big(stage: Stage) -> VCenterSimulator:
    from backends.vsphere.simulator import VCenterSimulator  # noqa: PLC0415 - needs pyvmomi, which is an extra

    options = stage.options
    return VCenterSimulator(big(stage.scale, seed=options.seed, now=time.monotonic, churn=options.churn))


def _table(stage: Stage, name: str, simulator: VCenterSimulator) -> str:
    from backends.vsphere.simulator import ADMIN, PASSWORD  # noqa: PLC0415 - needs pyvmomi, which is an extra

    secret = stage.secret(f"{name}.secret", f"{PASSWORD}\n")
    return f"""[clusters.{name}]
kind = "vsphere"
label = "{PLAN.label if name == PLAN.name else "BENCH"}"
server = {toml(simulator.endpoint)}
username = {toml(ADMIN)}
password = {toml(secret)}
fingerprint = {toml(simulator.fingerprint)}
poll_interval = 2.0
stale_after = 15.0
"""
