"""What a poll of 10,000 servers costs, beside the floor: the same bytes by a bare HTTP client, decoded with msgspec.

    python -m tests.bench.poll [SERVERS]

CPU is this process's own (the cloud is another process), the median of RUNS runs; floor and poll take turns.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from backends.openstack import PLUGIN, payload
from backends.openstack.options import Options
from evac.backend import Settings
from tests.wire.stub_openstack import Reply, Request, serve, server

SERVERS = 10_000
PAGE = 1000
RUNS = 7
CHANGED = 0.01


BORING: dict[str, Any] = {
    "OS-EXT-SRV-ATTR:user_data": None,
    "OS-EXT-SRV-ATTR:kernel_id": "",
    "OS-EXT-SRV-ATTR:ramdisk_id": "",
    "OS-EXT-SRV-ATTR:launch_index": 0,
    "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
    "OS-DCF:diskConfig": "AUTO",
    "OS-SRV-USG:launched_at": "2026-11-20T10:00:04.000000",
    "OS-SRV-USG:terminated_at": None,
    "accessIPv4": "",
    "accessIPv6": "",
    "config_drive": "",
    "description": None,
    "host_status": "UP",
    "key_name": "ops",
    "locked_reason": None,
    "metadata": {"owner": "team-a", "cost-centre": "4711", "backup": "daily"},
    "pinned_availability_zone": None,
    "progress": 0,
    "security_groups": [{"name": "default"}, {"name": "web"}],
    "server_groups": [],
    "trusted_image_certificates": None,
    "user_id": "5d41402abc4b2a76b9719d911017c592",
}
"""What Nova sends and we skip."""


def full_server(number: int, at: int) -> dict[str, Any]:
    """As long as a real one: 2.3 KB at microversion 2.96 with two addresses and two volumes."""
    one = server(number, status="ACTIVE" if number % 50 else "SHUTOFF")
    address = {"version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:10:20:30"}
    url = f"https://nova.example.org:8774/v2.1/servers/{one['id']}"
    host = f"cmp{number % 400:03d}"
    addresses = [address | {"addr": f"10.{number % 200}.0.{number % 250}"}, address | {"addr": "2001:db8::5"}]
    volumes = [{"id": f"{at:032x}", "delete_on_termination": False} for at in (number, number + 1)]
    return (
        one
        | BORING
        | {
            "updated": f"2026-11-20T10:{at // 60 % 60:02d}:{at % 60:02d}Z",
            "OS-EXT-SRV-ATTR:host": host,
            "OS-EXT-SRV-ATTR:hypervisor_hostname": f"{host}.dc1.example.org",
            "OS-EXT-SRV-ATTR:instance_name": f"instance-{number:08x}",
            "OS-EXT-SRV-ATTR:hostname": one["name"],
            "OS-EXT-SRV-ATTR:reservation_id": f"r-{number:08d}",
            "hostId": f"{number % 400:056x}",
            "links": [{"rel": "self", "href": url}, {"rel": "bookmark", "href": url}],
            "image": {
                "id": "4f2b5c1e-1f7c-4b6a-9a55-2f1d3c4b5a69",
                "links": [{"rel": "bookmark", "href": url}],
            },
            "addresses": {"prod-net": addresses},
            "os-extended-volumes:volumes_attached": volumes,
            "flavor": one["flavor"] | {"extra_specs": {"hw:cpu_policy": "shared", "aggregate:fast": "true"}},
        }
    )


def cloud(count: int, ready: Connection) -> None:
    """Another process: pages made beforehand, so that it answers as fast as it can."""
    every = [full_server(number, number) for number in range(count)]
    starts = {every[at - 1]["id"] if at else "": at for at in range(0, count, PAGE)}
    pages = {}
    for marker, at in starts.items():
        links = {"servers_links": [{"rel": "next", "href": "/"}]} if at + PAGE < count else {}
        pages[marker] = msgspec.json.encode({"servers": every[at : at + PAGE], **links})
    changed = msgspec.json.encode({"servers": every[: int(count * CHANGED)]})

    def page(request: Request) -> Reply:
        if "changes-since" in request.query:
            return Reply(200, changed)
        return Reply(200, pages[request.query.partition("marker=")[2].partition("&")[0]])

    with serve() as stub:
        stub.say("GET", "/v2.1/servers/detail", page)
        stub.requests = _Forgetful()
        ready.send((stub.url, [f"&marker={marker}" if marker else "" for marker in starts]))
        ready.recv()


class _Forgetful(list[Request]):
    def append(self, _: Request) -> None:
        return


def floor(url: str, markers: list[str], kind: Any) -> int:
    """One kept connection, the same pages, decoded. Returns bytes."""
    line = http.client.HTTPConnection(url.removeprefix("http://"))
    token = {"X-Auth-Token": TOKEN[0]}
    size = count = 0
    for marker in markers:
        line.request("GET", f"/v2.1/servers/detail?limit={PAGE}&all_tenants=1{marker}", headers=token)
        body = line.getresponse().read()
        size += len(body)
        decoded = msgspec.json.decode(body, type=kind)
        count += len(decoded["servers"] if isinstance(decoded, dict) else decoded.servers)
    line.close()
    assert count > 0
    return size


TOKEN = [""]


async def measure(url: str, markers: list[str], count: int) -> None:
    options = Options(auth_url=f"{url}/v3", username="ops", password="secret", project_name="ops")
    backend: Any = PLUGIN.build(Settings(name="bench", options=options, read_only=True))
    TOKEN[0] = backend.client.connection.session.get_token()
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    size = floor(url, markers, payload.Servers)
    last = await backend.inventory()
    assert len(last.vms) == count
    await backend.close()
    for _ in range(RUNS):
        fresh: Any = PLUGIN.build(Settings(name="bench", options=options, read_only=True))
        await fresh.capabilities()
        await asyncio.to_thread(getattr, fresh.client, "api")
        rows["floor, typed"].append(clocked(lambda: floor(url, markers, payload.Servers)))
        rows["floor, untyped"].append(clocked(lambda: floor(url, markers, dict[str, Any])))
        rows["first poll"].append(await clocked_poll(fresh, ""))
        rows["full poll again"].append(await clocked_poll(fresh, ""))
        mark = (await fresh.inventory()).mark
        rows["incremental, 1 %"].append(await clocked_poll(fresh, mark))
        await fresh.close()
    print(f"{count:,} servers, {size / 1e6:.1f} MB in {len(markers)} pages, medians of {RUNS}")
    base = statistics.median(cpu for cpu, _ in rows["floor, typed"])
    print(f"{'':18}{'CPU ms':>8}{'wall ms':>9}{'x floor':>9}")
    for name, took in rows.items():
        cpu, wall = (statistics.median(column) for column in zip(*took, strict=True))
        print(f"{name:18}{cpu * 1000:8.0f}{wall * 1000:9.0f}{cpu / base:9.2f}")


ROWS = ("floor, typed", "floor, untyped", "first poll", "full poll again", "incremental, 1 %")


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


async def clocked_poll(backend: Any, since: str) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    await backend.inventory(since)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=cloud, args=(count, there), daemon=True)
    process.start()
    try:
        url, markers = here.recv()
        asyncio.run(measure(url, markers, count))
    finally:
        here.send("over")
        process.join(10)


if __name__ == "__main__":
    main()
