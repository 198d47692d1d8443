"""The demo's Proxmox VE: eight hyperconverged nodes, 180 VMs and containers, a third of them under HA, and one incident.

A node dies some minutes after the start. HA recovers its own guests elsewhere; the others stay where they are, unknown,
until somebody brings the node back. One guest is held by the lock of a backup that was killed, one by a PCI card.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from importlib.util import find_spec

from backends.proxmox.simulator import PveSimulator
from backends.proxmox.simulator_site import Mix, Pace
from backends.simulation import deeds
from backends.simulation.demo_fleet import Generation, Plan, build, one_big
from backends.simulation.demo_stage import Stage, logins, toml
from backends.simulation.things import GIB, SimRule, SimSwitch
from evac.model import AffinityKind

PLAN = Plan(
    "muc-pve",
    "PROD",
    "muc-pve",
    "muc-1",
    (
        Generation(
            5,
            "Icelake-Server",
            "Intel",
            ("sse4.2", "avx", "avx2", "avx512f", "avx512dq", "avx512vnni"),
            64,
            512 * GIB,
        ),
        Generation(
            3, "EPYC-Milan", "AMD", ("sse4.2", "avx", "avx2", "sha-ni", "clzero", "vaes"), 96, 768 * GIB
        ),
    ),
    180,
)
MIX = Mix(
    containers=0.2, managed=0.35, host_cpu=0.08, silent=0.1, pools=("shop", "platform", "office", "analytics")
)
PACE = Pace(refresh=10.0, crm=8.0, fence=60.0)
"""As in reality; a node is fenced after a minute instead of two."""

DEAD = "muc-pve-07"
DIES, REPAIRED = 420.0, 1200.0
"""When, in seconds after the start, the node loses power, and when it has it again."""

SMALL = "muc-pve-05"
"""The node whose link for migrations has an MTU of 1500 among 9000."""

ENDPOINTS = 2
"""Nodes whose API the demo's config names."""

NEEDS = ("proxmoxer", "requests", "cryptography")


async def serve(stage: Stage) -> None:
    """One cluster, or one of any size."""
    if not stage.asked("proxmox"):
        return
    lacking = [name for name in NEEDS if find_spec(name) is None]
    if lacking:
        stage.missing.append(
            f"Proxmox VE is not shown: it needs {' and '.join(lacking)} (the extra evac[proxmox])"
        )
        return
    name = "scale" if stage.scale else PLAN.name
    simulator = _big(stage) if stage.scale else cluster(seed=stage.options.seed, now=time.monotonic)
    nodes = list(simulator.world.hosts)[:ENDPOINTS]
    await stage.stack.enter_async_context(simulator.serve(nodes=nodes))
    stage.worlds[name] = simulator.world
    secret = stage.secret(f"{name}.secret", f"{simulator.token}\n")
    table = _table(name, simulator, secret)
    if find_spec("asyncssh") is not None:
        table += await _shell(stage, name, simulator)
    table += await logins(stage, name, simulator.world)
    stage.tables.append(table)


async def _shell(stage: Stage, name: str, simulator: PveSimulator) -> str:
    """A node's shell, by which `ha-manager` is told of maintenance; its config table."""
    from backends.proxmox.simulator_shell import Shell  # noqa: PLC0415 - asyncssh is another extra's

    door = await stage.stack.enter_async_context(Shell(simulator).serve(stage.folder.absolute()))
    return f"""
[clusters.{name}.ssh]
host = {toml(door.host)}
port = {door.port}
user = {toml(door.user)}
identity = {toml(str(door.identity))}
known_hosts = {toml(str(door.known_hosts))}
agent = false
"""


def cluster(*, seed: int, now: Callable[[], float]) -> PveSimulator:
    """The demo's, with the incident prepared."""
    world = build(PLAN, seed=seed + 30, now=now)
    chance = random.Random(seed)  # noqa: S311 - a demo must look the same each time
    for vm in world.vms.values():
        if not vm.name.isascii():  # PVE takes DNS names only
            vm.name = f"branch-{chance.randrange(10, 99)}-{vm.name[-2:]}"
    simulator = PveSimulator(world, seed=seed, name=PLAN.name, pace=PACE, mix=MIX)
    _migration_network(simulator)
    _trouble(simulator)
    return simulator


def _migration_network(simulator: PveSimulator) -> None:
    """A network of its own for migrations, with jumbo frames; one node was installed anew and got none."""
    simulator.site.migration_network = "10.1.0.0/16"
    for host in simulator.world.hosts.values():
        host.inward = host.address.replace("10.0.", "10.1.", 1)
        machine = host.machine
        machine.links.append(("vmbr1", "bridge"))
        machine.carrier = "vmbr1"
        machine.mtus = {} if host.name == SMALL else {"eno2": 9000, "vmbr1": 9000}


def _trouble(simulator: PveSimulator) -> None:
    world, guests = simulator.world, simulator.site.guests
    plain = [one for one in guests.values() if one.kind == "qemu" and not simulator.site.ha_state(one)]
    locked = next(one for one in plain if one.vm.host == "muc-pve-02")
    locked.lock = "backup"
    card = next(one for one in plain if one.vm.host == "muc-pve-04" and not one.vm.local_disk)
    card.devices, card.cpu = ("hostpci0",), "host"
    card.vm.name, card.vm.tags = "gpu-render-01", ("gpu",)
    busy = next(one for one in plain if one.vm.host == "muc-pve-03" and not one.vm.local_disk)
    busy.vm.name, busy.vm.tags = "erp-db-primary", ("critical",)
    busy.vm.dirty_rate, busy.vm.working_set = 1.3e9, busy.vm.memory * 0.6
    for guest in (card, busy):
        world.touch(guest.vm)
    _ties(simulator)
    nightly = SimSwitch("backup/nightly", "", "backup", "enabled", "disabled")
    world.switches[nightly.id] = nightly
    world.later(DIES, lambda: deeds.kill(world, DEAD))
    world.later(REPAIRED, lambda: deeds.revive(world, DEAD))


def _ties(simulator: PveSimulator) -> None:
    """HA's rules, a CD that somebody left in, and a clone that kept its original's identity."""
    world, site = simulator.world, simulator.site
    managed = [one for one in site.guests.values() if site.ha_state(one) and one.kind == "qemu"]
    apart, pinned, preferred = managed[:2], managed[2], managed[3]
    for rule in (
        SimRule("dns-apart", "dns-apart", AffinityKind.APART, [one.vm.id for one in apart]),
        SimRule("licence", "licence", AffinityKind.PINNED, [pinned.vm.id], (pinned.vm.host, "muc-pve-06")),
        SimRule(
            "near-backup",
            "near-backup",
            AffinityKind.PINNED,
            [preferred.vm.id],
            (preferred.vm.host,),
            strict=False,
        ),
    ):
        world.rules[rule.id] = rule
    plain = [
        one
        for one in site.guests.values()
        if one.kind == "qemu" and not site.ha_state(one) and not one.devices
    ]
    left_in = next(one for one in plain if one.vm.host == "muc-pve-01")
    left_in.cdrom = "local:iso/debian-13.1.0-amd64-netinst.iso"
    first, second = [one for one in plain if one.vm.host == "muc-pve-02" and not one.lock][:2]
    second.vm.machine_id = first.vm.id


def _big(stage: Stage) -> PveSimulator:
    options = stage.options
    world = one_big(stage.scale, seed=options.seed, now=time.monotonic, churn=options.churn)
    return PveSimulator(world, seed=options.seed, name="scale", mix=Mix(containers=0.2, managed=0.2))


def _table(name: str, simulator: PveSimulator, secret: str) -> str:
    addresses = [f"https://{one}" for one in simulator.endpoints.values()]
    return f"""[clusters.{name}]
kind = "proxmox"
label = "{PLAN.label if name == PLAN.name else "BENCH"}"
endpoints = {toml(addresses)}
fingerprints = {toml([simulator.fingerprint] * len(addresses))}
token = {toml(simulator.token_id)}
token_secret = {toml(secret)}
poll_interval = 2.0
stale_after = 15.0
"""
