"""The demo's process: clouds, a Proxmox VE and storage clusters on loopback, incidents in them, files for their owner only, a clean end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest

from backends.simulation import demo_fleet
from backends.simulation.clocks import ManualClock
from evac.model import VMState


class Demo:
    """A running demo."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backends.simulation.demo", "--dir", str(folder), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.word = self.process.stdout.readline()
        self.took = time.monotonic() - begun
        self.clouds: dict[str, Any] = json.loads((folder / "clouds.yaml").read_text())["clouds"]

    def connect(self, name: str) -> Any:
        entry = self.clouds[name]
        return openstack.connect(region_name=entry["region_name"], **entry["auth"])

    def end(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(10)
        self.process.stdout.close()
        return code


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def test_it_serves_three_clouds_and_ends_when_its_input_closes(demo: Demo) -> None:
    assert demo.word == "ready\n"
    found = {name: demo.connect(name) for name in demo.clouds}
    hosts = {name: len(list(conn.compute.hypervisors())) for name, conn in found.items()}
    assert hosts == {"fra-prod": 18, "ams-prod": 14, "lab": 8}
    servers = sum(
        len(list(conn.compute.servers(all_projects=True, details=False))) for conn in found.values()
    )
    assert servers == 1200
    down = {item.host for item in found["ams-prod"].compute.services() if item.state == "down"}
    assert down == {"ams-hv-07"}
    assert demo.end() == 0


def test_its_files_are_for_their_owner_only_and_the_config_names_every_cloud(demo: Demo) -> None:
    for name in ("clouds.yaml", "config.toml", "muc-pve.secret", "ber-vc.secret"):
        assert (demo.folder / name).stat().st_mode & 0o777 == 0o600
    clusters = tomllib.loads((demo.folder / "config.toml").read_text())["clusters"]
    kinds = {name: table["kind"] for name, table in clusters.items()}
    others = {"fra-ceph": "ceph", "muc-pve": "proxmox", "muc-ceph": "ceph", "ber-vc": "vsphere"}
    assert kinds == {**dict.fromkeys(demo.clouds, "openstack"), **others}
    path = Path(clusters["fra-ceph"]["socket"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert demo.end() == 0
    assert not path.exists()


def test_it_ends_on_sigterm(demo: Demo) -> None:
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(10) == 0


def test_a_fleet_of_any_size_changes_as_fast_as_was_asked(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--scale", "500", "--churn", "0.2")
    conn = demo.connect("scale")

    def changed(since: float) -> int:
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        answer = conn.compute.get(f"/servers/detail?all_tenants=1&changes-since={text}", microversion="2.90")
        return len(answer.json()["servers"])

    end = time.monotonic() + 20
    mark = time.time() + 1
    while changed(mark) < 100:
        assert time.monotonic() < end, "a fifth of 500 did not change within 20 s"
        time.sleep(0.1)
    assert demo.end() == 0


def ask(path: str, target: str, prefix: str, **args: object) -> Any:
    """One command to a demo's storage cluster."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(20)
        link.connect(path)
        link.sendall(json.dumps({"target": target, "command": {"prefix": prefix, **args}}).encode() + b"\n")
        with link.makefile("rb") as stream:
            head = json.loads(stream.readline())
            assert head["code"] == 0
            return json.loads(stream.read(head["size"]))


def sockets(demo: Demo) -> dict[str, str]:
    clusters = tomllib.loads((demo.folder / "config.toml").read_text())["clusters"]
    return {name: table["socket"] for name, table in clusters.items() if table["kind"] == "ceph"}


def test_the_storage_cluster_lies_on_hypervisors_of_the_fleet(demo: Demo) -> None:
    tree = ask(sockets(demo)["fra-ceph"], "mon", "osd tree")["nodes"]
    hosts = {node["name"] for node in tree if node["type"] == "host"}
    known = {item.name for item in demo.connect("fra-prod").compute.hypervisors()}
    assert len(hosts) == 16
    assert hosts < known
    status = ask(sockets(demo)["fra-ceph"], "mon", "status")
    assert status["osdmap"]["num_osds"] == 64
    assert status["health"]["status"] == "HEALTH_WARN"


def test_a_storage_cluster_of_any_size_is_served_alone_even_where_paths_are_long(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 25)
    deep.mkdir()
    demo = Demo(deep, "--ceph-osds", "200", "--ceph-pools", "4", "--ceph-pgs", "1000")
    assert demo.clouds == {}
    path = sockets(demo)["scale-ceph"]
    rows = ask(path, "mgr", "pg dump", dumpcontents=["pgs_brief"])["pg_stats"]
    assert len(rows) == 1000
    assert ask(path, "mon", "osd stat")["num_osds"] == 200
    assert demo.end() == 0
    assert not Path(path).parent.exists()


def test_the_incident_is_as_the_script_says() -> None:
    clock = ManualClock()
    worlds = demo_fleet.clouds(seed=7, now=clock)
    fra, ams, lab = worlds["fra-prod"], worlds["ams-prod"], worlds["lab"]
    stubborn = next(vm for vm in fra.vms.values() if vm.name == demo_fleet.STUBBORN)
    assert stubborn.dirty_rate > fra.hosts[stubborn.host].link
    assert fra.hosts["fra-cmp-12"].maintenance
    states = {vm.state for vm in fra.vms.values()}
    assert {VMState.ERROR, VMState.STOPPED} <= states
    assert [vm.task for vm in fra.vms.values() if vm.task] == ["migrating"]
    assert not ams.host_up(ams.hosts["ams-hv-07"])
    assert len(ams.hosts["ams-hv-07"].vms) > 20
    assert not any(ams.answers(vm) for vm in ams.hosts["ams-hv-07"].vms)
    assert any(vm.name == demo_fleet.HOSTILE for vm in ams.vms.values())
    assert any(ord(letter) > 0x3000 for vm in fra.vms.values() for letter in vm.name)
    assert VMState.PAUSED in {vm.state for vm in lab.vms.values()}


def test_the_stubborn_vm_never_arrives_and_the_others_take_8_to_60_seconds() -> None:
    clock = ManualClock()
    world = demo_fleet.clouds(seed=7, now=clock)["fra-prod"]
    source = "fra-cmp-03"
    movers = [
        vm for vm in world.vms.values() if vm.host == source and vm.state is VMState.RUNNING and not vm.task
    ]
    for vm in movers:
        world.live.migrate(vm.id)
    for _ in range(1800):
        clock.advance(1)
        world.advance()
    left = [vm.name for vm in movers if vm.host == source]
    assert left == [demo_fleet.STUBBORN]
    moved = [move for move in world.moves.values() if move.status == "completed"]
    begun = {entry.move: entry.at for entry in world.log if entry.kind == "started"}
    took = sorted(move.updated - begun[move.id] for move in moved)
    assert 6 <= took[len(took) // 4] <= took[-1] <= 90


def test_the_labs_api_goes_away_and_comes_back() -> None:
    clock = ManualClock()
    world = demo_fleet.clouds(seed=7, now=clock)["lab"]
    begin, end = demo_fleet.OUTAGE
    from backends.simulation.faults import CALL_FAULTS

    struck = []
    for moment in (begin - 1, begin + 1, end - 1, end + 1):
        clock.time = moment
        world.advance()
        struck.append(bool(world.faults.take(("read", "servers"), CALL_FAULTS)))
    assert struck == [False, True, True, False]
