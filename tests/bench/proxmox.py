"""What a poll of 10,000 Proxmox VE guests costs: ours, plain proxmoxer, and the floor of fetching and decoding the bytes.

    python -m tests.bench.proxmox [GUESTS]

The cluster is another process that answers /cluster/resources with bytes made beforehand, over TLS, as large as those of
Proxmox VE 9; load, uptime and traffic of every guest differ from one answer to the next. CPU is this process's own, all
threads; medians of RUNS runs that take turns. The floor is one kept connection of http.client, used before, whose bytes
msgspec decodes into the fields we use. Answers of ours are also compared with the one before: the last lines say how soon
a guest that has moved is told.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import multiprocessing
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from proxmoxer import ProxmoxAPI

from backends.proxmox import PLUGIN
from backends.proxmox.client import Data
from backends.proxmox.options import Options
from backends.proxmox.payload import Resource
from evac.backend import Settings
from tests.bench.table import table
from tests.wire.certificates import authority

GUESTS = 10_000
NODES = 40
RUNS = 9
WARM = 3
"""Fetches of the floor that do not count, lest it pay for the memory that the backend before gave back."""
TOKEN = "evac@pve!bench"


ROUNDS = 4
"""Answers that differ in the guests' figures, over and over."""


def guest(number: int, *, node: int | None = None, tick: int = 0) -> dict[str, Any]:
    """A running VM as Proxmox VE 9 lists it, `tick` rounds of pvestatd after the first."""
    home = number % NODES if node is None else node
    return {
        "id": f"qemu/{100 + number}",
        "vmid": 100 + number,
        "node": f"pve{home:02d}",
        "type": "qemu",
        "name": f"app-{number:05d}.prod.example.org",
        "status": "running",
        "uptime": 864000 + number + 10 * tick,
        "cpu": 0.0312345 + number / 1e7 + tick / 1e5,
        "maxcpu": 4,
        "mem": 3221225472 + number + 4096 * tick,
        "maxmem": 8589934592,
        "memhost": 3421225472 + number + 4096 * tick,
        "disk": 0,
        "maxdisk": 68719476736,
        "diskread": 123456789012 + number + 1_234_567 * tick,
        "diskwrite": 98765432109 + number + 1_234_567 * tick,
        "netin": 55555555555 + number + 1_234_567 * tick,
        "netout": 44444444444 + number + 1_234_567 * tick,
        "template": 0,
        "tags": "prod;web",
        "pool": "team-a",
        "hastate": "started",
    }


def node(number: int) -> dict[str, Any]:
    name = f"pve{number:02d}"
    used = {
        "cpu": 0.25,
        "maxcpu": 128,
        "mem": 400 << 30,
        "maxmem": 1 << 40,
        "disk": 9 << 30,
        "maxdisk": 90 << 30,
    }
    return {
        "id": f"node/{name}",
        "type": "node",
        "node": name,
        "status": "online",
        "uptime": 864000,
        "level": "",
        **used,
    }


class Answers(http.server.BaseHTTPRequestHandler):
    """Bytes made beforehand, so that it answers as fast as it can; "POST /next" has a guest moved, or moved back."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the kernel holds each small answer for 40 ms
    wbufsize = -1
    still: tuple[bytes, ...] = ()
    moved: tuple[bytes, ...] = ()
    asked = 0

    def do_GET(self) -> None:
        status = {"cpuinfo": {"model": "EPYC", "flags": "fpu aes"}, "pveversion": "pve-manager/9.1.3/abc"}
        other = {"status": status, "manager_status": {"manager_status": {"node_status": {}}}}
        last = urlsplit(self.path).path.rsplit("/", 1)[-1]
        if last == "resources":
            type(self).asked += 1
            body = self.still[self.asked % ROUNDS]
        else:
            body = msgspec.json.encode({"data": other.get(last, [])})
        if self.path.endswith("/cluster/status"):
            body = b'{"data":[]}'
        if self.path.endswith("/config"):
            body = b'{"data":{"scsi0":"ceph:vm-1-disk-0,size=64G"}}'
        self._say(body)

    def do_POST(self) -> None:
        type(self).still, type(self).moved = self.moved, self.still
        self._say(b"{}")

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def cluster(guests: int, folder: str, ready: Connection) -> None:
    """Another process."""
    _, context = authority(Path(folder))
    for tick in range(ROUNDS):
        rows = [*(guest(number, tick=tick) for number in range(guests)), *map(node, range(NODES))]
        moved = [guest(0, node=1, tick=tick), *rows[1:]]
        Answers.still += (msgspec.json.encode({"data": rows}),)
        Answers.moved += (msgspec.json.encode({"data": moved}),)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ready.send(f"https://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


class Floor:
    """One kept connection, decoded."""

    def __init__(self, url: str, ca: str) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=ca)
        self._line = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context)
        self._decoder = msgspec.json.Decoder(Data[list[Resource]])
        self.size = 0

    def fetch(self) -> int:
        headers = {"Authorization": f"PVEAPIToken={TOKEN}=secret", "Accept": "application/json"}
        self._line.request("GET", "/api2/json/cluster/resources", headers=headers)
        body = self._line.getresponse().read()
        self.size = len(body)
        return len(self._decoder.decode(body).data)

    def move(self) -> None:
        self._line.request("POST", "/next")
        self._line.getresponse().read()


def backend_of(url: str, ca: str) -> Any:
    options = Options(endpoints=(url,), cacert=ca, token=TOKEN, token_secret="secret", guest_agent=False)
    return PLUGIN.build(Settings(name="bench", options=options, read_only=True))


Took = tuple[float, float]


def clocked(work: Callable[[], object]) -> Took:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


async def polled(backend: Any, since: str) -> tuple[Took, Any]:
    """With all its reads: the list of everything, tasks and HA."""
    cpu, wall = time.process_time(), time.perf_counter()
    answer = await backend.inventory(since)
    return (time.process_time() - cpu, time.perf_counter() - wall), answer


async def measure(url: str, ca: str, guests: int) -> None:
    floor = Floor(url, ca)
    peer = ProxmoxAPI(
        urlsplit(url).netloc, user="evac@pve", token_name="bench", token_value="secret", verify_ssl=ca
    )
    rows: dict[str, list[Took]] = {}
    seen: list[float] = []
    assert floor.fetch() == guests + NODES
    for _ in range(RUNS):
        backend = backend_of(url, ca)
        for _ in range(WARM):
            floor.fetch()
        rows.setdefault("floor: http.client, msgspec", []).append(clocked(floor.fetch))
        rows.setdefault("proxmoxer, its dicts", []).append(clocked(peer.cluster.resources.get))
        first, answer = await polled(backend, "")
        rows.setdefault("ours, first of all", []).append(first)
        rows.setdefault("  then in the background: 40 nodes, 32 configs", []).append(await filled(backend))
        again, answer = await polled(backend, "")
        rows.setdefault("ours, in full again", []).append(again)
        assert len(answer.vms) == guests
        await filled(backend)
        rows.setdefault("ours, what changed", []).append((await polled(backend, answer.mark))[0])
        await filled(backend)
        seen.append(await told(backend, floor))
        await backend.close()
    show(rows, floor.size, guests, seen)


async def filled(backend: Any) -> Took:
    """What a poll goes on to read when it has answered: what nodes are made of, where some guests' disks lie."""
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.wait([*backend._knowledge._tasks, asyncio.ensure_future(asyncio.sleep(0))])
    return time.process_time() - cpu, time.perf_counter() - wall


async def told(backend: Any, floor: Floor) -> float:
    """Seconds from the moment the cluster tells that a guest has moved until our answer names it."""
    mark = (await backend.inventory()).mark
    floor.move()
    began = time.perf_counter()
    answer = await backend.inventory(mark)
    took = time.perf_counter() - began
    assert {vm.id: vm.host for vm in answer.vms}["100"] in {"pve00", "pve01"}
    return took


def show(rows: dict[str, list[Took]], size: int, guests: int, seen: list[float]) -> None:
    base = [statistics.median(column) for column in zip(*next(iter(rows.values())), strict=True)]
    lines = []
    for name, took in rows.items():
        cpu, wall = (statistics.median(column) for column in zip(*took, strict=True))
        lines.append(
            (name, f"{cpu * 1000:.0f}", f"{wall * 1000:.0f}", f"{cpu / base[0]:.2f}", f"{wall / base[1]:.2f}")
        )
    title = f"{guests:,} Proxmox VE guests on {NODES} nodes, {size / 1e6:.1f} MB, medians of {RUNS}"
    note = f"a guest that has moved is named by the next answer, {statistics.median(seen) * 1000:.0f} ms after it was asked for"
    table(title, ("", "CPU ms", "wall ms", "CPU x floor", "wall x floor"), lines, note)


def main() -> None:
    guests = int(sys.argv[1]) if len(sys.argv) > 1 else GUESTS
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=cluster, args=(guests, folder, there), daemon=True)
        process.start()
        try:
            url = here.recv()
            asyncio.run(measure(url, f"{folder}/ca.pem", guests))
        finally:
            process.terminate()
            process.join(10)


if __name__ == "__main__":
    main()
