"""The lab: `python -m tests.real.ceph up|down|status|install`.

`up` is all one needs: it installs what is missing and makes a new cluster unless one runs whole: 1 monitor, 1 manager,
12 OSDs in memory on 4 CRUSH hosts in 2 racks, 16 pools, every PG active+clean. `down` ends it; what it stored is gone.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from contextlib import ExitStack

import msgspec

from tests.real.ceph import configs, crush, install, sshd
from tests.real.ceph.daemons import DAEMONS, environment, start_mgr, start_mon, start_osds
from tests.real.ceph.layout import (
    CONF,
    FACTS,
    LAB,
    LOG,
    MAX_PGS_PER_OSD,
    MGR,
    MON,
    OBJECTS,
    OSDS,
    PGS,
    POOLS,
    RUN,
    SSH,
    SSHD,
    Facts,
    facts,
    osd,
)
from tests.real.ceph.witness import Witness
from tests.real.daemons import LabError, run, say

EVERYBODY = (MON, MGR, SSHD, *(osd(number) for number in OSDS))


def is_up() -> bool:
    """True when every daemon runs."""
    return FACTS.exists() and all(DAEMONS.pid_of(name) for name in EVERYBODY)


def is_begun() -> bool:
    """True when somebody brought it up and did not take it down, whatever a test has ended since."""
    return FACTS.exists() and any(DAEMONS.pid_of(name) for name in EVERYBODY)


def up() -> None:
    """Install what is missing; a cluster that is not whole is made anew."""
    began = time.monotonic()
    install.install()
    if not is_up():
        down()
        shutil.rmtree(LAB, ignore_errors=True)
        _make(began)
    say(f"the Ceph lab is up after {time.monotonic() - began:.1f} s: ceph --conf {CONF} -s")


def down() -> None:
    """Kill every process of the lab: what is stored in memory need not be saved. Logs stay until the next start."""
    FACTS.unlink(missing_ok=True)
    for name in DAEMONS.recorded():
        DAEMONS.signal_only(name, signal.SIGKILL)
    for name in DAEMONS.recorded():
        DAEMONS.end(name, signal.SIGKILL)


def _make(began: float) -> None:
    def lap(what: str) -> None:
        say(f"  [{time.monotonic() - began:5.1f} s] {what}")

    chosen = Facts(fsid=str(uuid.uuid4()), mon_port=_free_region(), ssh_port=_free_port())
    for folder in (RUN, LOG, SSH, LAB / "mgr", *(LAB / osd(number) for number in OSDS)):
        folder.mkdir(parents=True)
    LAB.chmod(0o700)
    configs.write_all(chosen)
    sshd.make_keys(chosen.ssh_port)
    sshd.start()
    _make_monitor(chosen)
    with ExitStack() as stack:
        witness = stack.enter_context(_first_witness())
        lap("a monitor answers")
        _settings(witness)
        start_mgr()
        _make_osds(witness)
        start_osds()
        witness.until("the OSDs are up", lambda: witness.up() == set(OSDS))
        lap(f"{len(OSDS)} OSDs up")
        crush.make_pools(witness)
        # On by default, and it would level the map between two reads of a test. Refused until its module is there.
        witness.until("the balancer is off", lambda: not witness.text("balancer off"))
        lap(f"{len(POOLS) + 1} pools")
        settle(witness)
        lap(f"{PGS} PGs active+clean")
        _fill()
        witness.ask("config set", who="global", name="mon_max_pg_per_osd", value=str(MAX_PGS_PER_OSD))
        witness.until("too many PGs per OSD", lambda: "TOO_MANY_PGS" in witness.checks())
        lap(witness.text("health").strip())
    FACTS.write_bytes(msgspec.json.encode(chosen))


def settle(witness: Witness, seconds: float = 120) -> None:
    """Until every PG is active+clean."""
    witness.until("every PG is active+clean", lambda: witness.states() == {"active+clean": PGS}, seconds)


def _make_monitor(chosen: Facts) -> None:
    address = f"[v2:127.0.0.1:{chosen.mon_port}/0]"
    env = environment()
    run("monmaptool", "--create", "--fsid", chosen.fsid, "--addv", "a", address, LAB / "monmap", env=env)
    keys = LAB / "seed.keyring"
    make = ("ceph-mon", "-c", CONF, "-i", "a", "--mkfs", "--monmap", LAB / "monmap", "--keyring", keys)
    run(*make, env=env)
    start_mon()
    DAEMONS.wait("the monitor listens", lambda: _listens(chosen.mon_port), process=MON, seconds=30)


def _first_witness() -> Witness:
    try:
        return Witness()
    except LabError as error:
        raise LabError(f"{error}\n{DAEMONS.logs(MON)}") from error


def _settings(witness: Witness) -> None:
    """Set at run time, since a test changes some of them, and before the manager starts."""
    for who, name, value in (
        ("global", "mon_max_pg_per_osd", "10000"),  # else `osd pool create` answers ERANGE
        ("mgr", "mgr/devicehealth/enable_monitoring", "false"),  # else it makes a pool of its own
        ("mon", "mon_warn_on_insecure_global_id_reclaim_allowed", "false"),
        ("osd", "osd_fast_shutdown", "false"),  # else an orderly stop does not save the memstore
    ):
        witness.ask("config set", who=who, name=name, value=value, force=True)


def _make_osds(witness: Witness) -> None:
    """Their place in the CRUSH map and their empty stores, four at a time."""
    ids = {number: str(uuid.uuid4()) for number in OSDS}
    crush.make_tree(witness, ids)
    asyncio.run(_make_stores(ids))


async def _make_stores(ids: dict[int, str]) -> None:
    slots = asyncio.Semaphore(4)

    async def make(number: int, name: str) -> None:
        line = ("ceph-osd", "-c", str(CONF), "-i", str(number), "--mkfs", "--osd-uuid", name)
        async with slots:
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(),
            )
            _, said = await process.communicate()
        if process.returncode:
            raise LabError(f"osd.{number} could not make its store: {said.decode()[-2000:]}")

    await asyncio.gather(*(make(number, name) for number, name in ids.items()))


def _fill() -> None:
    """A few objects, so that lost copies and moves have something to count."""
    line = ("rados", "--conf", CONF, "--pool", POOLS[0], "bench", "60", "write", "-b", "4096", "-t", "8")
    run(*line, "--max-objects", OBJECTS, "--no-cleanup", env=environment())


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _free_region() -> int:
    """A port for the monitor, with room above it for the others, who look for free ones there by themselves.

    Below 32768, since the kernel hands out the ports above to outgoing connections.
    """
    for base in random.sample(range(20_000, 32_000, 500), 24):
        if not any(_listens(port) for port in range(base, base + 60)):
            return base
    raise LabError("no free ports between 20000 and 32000 on 127.0.0.1")


def status() -> None:
    """Each daemon, and where the cluster is."""
    DAEMONS.status()
    if is_up():
        say(f"ceph --conf {CONF} -s; ssh port {facts().ssh_port}")


_COMMANDS = {"up": up, "down": down, "status": status, "install": install.install}


def main(words: list[str]) -> int:
    """Exit code 0, 1 when the lab cannot, 2 for a word it does not know."""
    match words:
        case [command] if command in _COMMANDS:
            job = _COMMANDS[command]
        case _:
            say(__doc__ or "")
            return 2
    try:
        job()
    except LabError as error:
        say(f"the Ceph lab cannot go on: {error}")
        return 1
    return 0
