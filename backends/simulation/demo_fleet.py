"""The demo's clouds: three of them, about 40 hosts and 1,200 VMs, and what goes wrong there. Also fleets for benches."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle

from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from backends.simulation.things import GIB, SimRule, SimVM, Timing
from backends.simulation.world import World
from evac.model import AffinityKind, VMState

LINK = 1.1e9
"""Bytes per second for migrations: most of 10 Gbit/s. Two at a time, 4 to 32 GiB then take 8 to 65 s."""

SLOW_LINK = 0.5e9
"""The lab's."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A batch of servers bought together."""

    hosts: int
    model: str
    vendor: str
    features: tuple[str, ...]
    vcpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one cloud of the demo looks like."""

    name: str
    label: str
    prefix: str
    zone: str
    generations: tuple[Generation, ...]
    vms: int
    live_per_source: int = 2
    link: float = LINK


_OLD = ("sse4.2", "avx", "avx2")
_AVX512 = (*_OLD, "avx512f", "avx512dq")
_VNNI = (*_AVX512, "avx512vnni")
_AMD = ("sse4.2", "avx", "avx2", "sha-ni", "clzero")

PLANS = (
    Plan(
        "fra-prod",
        "PROD",
        "fra-cmp",
        "fra-1",
        (
            Generation(8, "Cascadelake-Server", "Intel", _AVX512, 80, 768 * GIB),
            Generation(6, "Icelake-Server", "Intel", _VNNI, 96, 1024 * GIB),
            Generation(4, "EPYC-Milan", "AMD", (*_AMD, "vaes"), 128, 1024 * GIB),
        ),
        620,
    ),
    Plan(
        "ams-prod",
        "PROD",
        "ams-hv",
        "ams-1",
        (
            Generation(6, "EPYC-Rome", "AMD", _AMD, 96, 768 * GIB),
            Generation(8, "EPYC-Milan", "AMD", (*_AMD, "vaes"), 128, 1024 * GIB),
        ),
        440,
    ),
    Plan(
        "lab",
        "LAB",
        "lab",
        "nova",
        (
            Generation(4, "Broadwell", "Intel", _OLD, 40, 384 * GIB),
            Generation(4, "Skylake-Server", "Intel", _AVX512, 56, 512 * GIB),
        ),
        140,
        live_per_source=1,
        link=SLOW_LINK,
    ),
)

FLAVORS = (
    ("m1.medium", 2, 4 * GIB, 30),
    ("m1.large", 4, 8 * GIB, 30),
    ("c2.large", 8, 8 * GIB, 15),
    ("m1.xlarge", 8, 16 * GIB, 18),
    ("r2.large", 4, 32 * GIB, 7),
)
"""Name, vCPUs, memory, weight."""

ROLES = (
    ("shop-web", "shop"),
    ("shop-api", "shop"),
    ("shop-cart", "shop"),
    ("db-orders", "shop"),
    ("k8s-prod-node", "platform"),
    ("k8s-stage-node", "platform"),
    ("kafka", "platform"),
    ("rabbit", "platform"),
    ("prometheus", "monitoring"),
    ("loki", "monitoring"),
    ("gitlab-runner", "ci"),
    ("jenkins-agent", "ci"),
    ("mail-relay", "office"),
    ("ldap", "office"),
    ("erp-app", "erp"),
    ("erp-db", "erp"),
    ("vpn-gw", "network"),
    ("dns", "network"),
)
WIDE = ("東京-支店-db", "大阪-販売-web", "서울-결제-api", "深圳-缓存", "台北-報表")
HOSTILE = "\x1b[31mroot\x1b[0m[bold red]oops[/]\x07\u202egnp.exe"
"""A name nobody should have been able to give: escape sequences, markup, a bell, and text that runs backwards."""

STUBBORN = "db-orders-primary"
"""The VM that does not converge."""

OUTAGE = (70.0, 95.0)
"""From when to when, in seconds, the lab's API is away."""


def build(plan: Plan, *, seed: int, now: Callable[[], float]) -> World:
    """One cloud with its VMs spread over its hosts, and nothing wrong yet."""
    world = World(seed=seed, now=now, timing=Timing(live_per_source=plan.live_per_source, service_down=30.0))
    names = _hosts(world, plan)
    chance = random.Random(seed)  # noqa: S311 - a demo must look the same each time
    weights = [flavor[3] for flavor in FLAVORS]
    labels = _labels(chance)
    for host, number in zip(cycle(names), range(plan.vms), strict=False):
        flavor = chance.choices(FLAVORS, weights)[0]
        _vm(world, chance, host, next(labels), flavor[:3], number=number)
    return world


def _hosts(world: World, plan: Plan) -> list[str]:
    number = count(1)
    names: list[str] = []
    for generation in plan.generations:
        for _ in range(generation.hosts):
            name = f"{plan.prefix}-{next(number):02}"
            names.append(name)
            world.add_host(
                name,
                cpu_model=generation.model,
                cpu_vendor=generation.vendor,
                cpu_features=generation.features,
                vcpus=generation.vcpus,
                memory=generation.memory,
                link=plan.link,
                zone=plan.zone,
                aggregates=(generation.model.lower(),),
            )
    return names


def _labels(chance: random.Random) -> Iterator[tuple[str, str]]:
    """(name, project), each name once."""
    used: dict[str, int] = {}
    while True:
        wide = chance.random() < 0.02
        base, project = (chance.choice(WIDE), "asia") if wide else chance.choice(ROLES)
        used[base] = used.get(base, 0) + 1
        yield f"{base}-{used[base]:02}", project


def _vm(
    world: World,
    chance: random.Random,
    host: str,
    label: tuple[str, str],
    flavor: tuple[str, int, int],
    *,
    number: int,
) -> SimVM:
    kind, vcpus, memory = flavor
    local = chance.random() < 0.03
    volume = world.new_uuid()
    age = chance.uniform(1, 400) * 86400.0
    return world.add_vm(
        label[0],
        host,
        project=label[1],
        created=-age,
        updated=-age * chance.random() - 60.0,
        flavor=kind,
        vcpus=vcpus,
        memory=memory,
        disk=(10 if local else 40) * GIB,
        local_disk=local,
        volumes=() if local else (volume,),
        addresses=(f"10.{20 + number // 62500}.{number // 250 % 250}.{number % 250 + 2}",),
        dirty_rate=chance.choice((1e6, 4e6, 12e6, 30e6, 60e6)),
        working_set=memory * chance.choice((0.02, 0.05, 0.1)),
        tags=("critical",) if label[0].startswith(("db-", "erp-db")) else (),
    )


def clouds(*, seed: int, now: Callable[[], float]) -> dict[str, World]:
    """The demo: all clouds, with the incident prepared."""
    worlds = {plan.name: build(plan, seed=seed + index, now=now) for index, plan in enumerate(PLANS)}
    _trouble_in_frankfurt(worlds["fra-prod"])
    _trouble_in_amsterdam(worlds["ams-prod"])
    _trouble_in_the_lab(worlds["lab"])
    for world in worlds.values():
        _ties(world)
    return worlds


def _ties(world: World) -> None:
    """Server groups of what runs more than once, and a server with a card of its host's."""
    for base, kind, strict in (
        ("kafka", AffinityKind.APART, True),
        ("ldap", AffinityKind.APART, True),
        ("rabbit", AffinityKind.APART, False),
        ("erp-app", AffinityKind.TOGETHER, False),
    ):
        apart = kind is AffinityKind.APART
        group = (_on_hosts_of_their_own if apart else _on_one_host)(world, base)[:3]
        if len(group) > 1:
            name = f"{base}-{kind.value}"
            world.rules[name] = SimRule(world.new_uuid(), name, kind, [vm.id for vm in group], strict=strict)
    card = next(vm for vm in reversed(world.vms.values()) if vm.state is VMState.RUNNING)
    card.flavor, card.devices = "g1.gpu", ("0000:3b:00.0",)
    world.touch(card)


def _on_one_host(world: World, base: str) -> list[SimVM]:
    """VMs of that name, of the host that has most of them."""
    named = [vm for vm in world.vms.values() if vm.name.startswith(f"{base}-")]
    homes = Counter(vm.host for vm in named)
    return [vm for vm in named if vm.host == homes.most_common(1)[0][0]] if homes else []


def _on_hosts_of_their_own(world: World, base: str) -> list[SimVM]:
    """VMs of that name, one of each host."""
    found: dict[str, SimVM] = {}
    for vm in world.vms.values():
        if vm.name.startswith(f"{base}-"):
            found.setdefault(vm.host, vm)
    return list(found.values())


def _trouble_in_frankfurt(world: World) -> None:
    """One VM writes faster than the link is; one has been stuck for two hours; one host is being serviced."""
    first, stuck, broken = _on(world, "fra-cmp-03")[:3]
    first.name, first.tags = STUBBORN, ("critical", "no-downtime")
    home = world.hosts[first.host]
    world.release(home, first)
    first.flavor, first.vcpus, first.memory = "m1.xlarge", 8, 16 * GIB
    world.claim(home, first)
    first.dirty_rate, first.working_set = 1.7e9, 9.0 * GIB
    stuck.task = "migrating"
    broken.state = VMState.ERROR
    broken.fault = (
        "Instance failed to spawn: libvirtError: internal error: process exited while connecting to monitor"
    )
    for vm in _on(world, "fra-cmp-05")[:2]:
        vm.state, vm.power, vm.runs_on = VMState.STOPPED, "shutdown", ""
    deeds.maintain(world, "fra-cmp-12", on=True, reason="DIMM B2 replaced, burn-in until Thursday (jk)")
    for vm in (first, stuck, broken):
        world.touch(vm)
    stuck.updated = world.time - 2 * 3600.0


def _trouble_in_amsterdam(world: World) -> None:
    """One host died an hour ago."""
    deeds.kill(world, "ams-hv-07")
    world.hosts["ams-hv-07"].lost = world.time - 3600.0
    hostile = _on(world, "ams-hv-02")[0]
    hostile.name = HOSTILE
    world.touch(hostile)


def _trouble_in_the_lab(world: World) -> None:
    """The API goes away for a while; one VM waits for the confirmation of a resize."""
    begin, end = OUTAGE
    world.faults.order(Fault(kind=Kind.RESET_BEFORE, after=begin, before=end, times=float("inf")))
    paused = _on(world, "lab-02")[0]
    paused.state, paused.power = VMState.PAUSED, "paused"
    world.touch(paused)


def _on(world: World, host: str) -> list[SimVM]:
    return [vm for vm in world.vms.values() if vm.host == host]


def one_big(servers: int, *, seed: int, now: Callable[[], float], churn: float = 0.0) -> World:
    """As `big`, for platforms whose names are shorter and whose guests have no floating addresses: tags change."""
    hosts = max(2, -(-servers // 40))
    batch = Generation(hosts, "Cascadelake-Server", "Intel", _AVX512, 128, 1024 * GIB)
    world = build(Plan("scale", "BENCH", "node", "nova", (batch,), servers), seed=seed, now=now)
    if churn > 0:
        _Churn(world, churn, seed, tags=True)
    return world


def big(servers: int, *, seed: int, now: Callable[[], float], churn: float = 0.0) -> World:
    """One cloud of that many servers, 40 to a host, of which the share `churn` changes each second."""
    hosts = max(2, -(-servers // 40))
    batch = Generation(hosts, "Cascadelake-Server", "Intel", _AVX512, 128, 1024 * GIB)
    plan = Plan("scale", "BENCH", "cmp", "nova", (batch,), servers)
    world = build(plan, seed=seed, now=now)
    if churn > 0:
        _Churn(world, churn, seed)
    return world


class _Churn:
    """Gives floating addresses or tags to servers and takes them away: a change that is seen and hurts nothing."""

    EVERY = 0.25
    """Seconds."""

    def __init__(self, world: World, share: float, seed: int, *, tags: bool = False) -> None:
        self._world = world
        self._tags = tags
        self._share = share
        self._owed = 0.0
        self._chance = random.Random(seed)  # noqa: S311 - a bench must repeat itself
        self._ids = list(world.vms)
        world.later(self.EVERY, self._tick)

    def _tick(self) -> None:
        self._owed += len(self._ids) * self._share * self.EVERY
        for _ in range(int(self._owed)):
            self._owed -= 1
            vm = self._world.vms.get(self._chance.choice(self._ids))
            if vm is not None:
                self._change(vm)
                self._world.touch(vm)
        self._world.later(self.EVERY, self._tick)

    def _change(self, vm: SimVM) -> None:
        if self._tags:
            vm.tags = () if vm.tags else (f"wave-{self._chance.randrange(1, 9)}",)
            return
        floating = f"203.0.113.{self._chance.randrange(1, 255)}"
        vm.addresses = vm.addresses[:1] if len(vm.addresses) > 1 else (*vm.addresses, floating)
