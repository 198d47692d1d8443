"""The cluster and its nodes: versions, membership, resources in one call, processors, storage and pools."""

from __future__ import annotations

from typing import Any

from backends.proxmox.simulator_guests import Guests, optional
from backends.proxmox.simulator_site import Guest, Site, Storage
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from backends.simulation.things import SimHost

VERSION = "9.1.3"
MODELS = {
    "Broadwell": "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
    "Skylake-Server": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
    "Cascadelake-Server": "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz",
    "Icelake-Server": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
    "EPYC-Rome": "AMD EPYC 7402 24-Core Processor",
    "EPYC-Milan": "AMD EPYC 7543 32-Core Processor",
}
FLAGS = {"sse4.2": "sse4_2", "sha-ni": "sha_ni", "avx512vnni": "avx512_vnni"}
"""libvirt's names for CPU features that Linux spells otherwise."""

BASE_FLAGS = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush mmx fxsr sse sse2 ht syscall nx rdtscp lm"
    " pni ssse3 cx16 sse4_1 popcnt aes"
)


class Nodes:
    """/version, /cluster/status, /cluster/resources, /nodes and /storage."""

    def __init__(self, site: Site, guests: Guests) -> None:
        self._site = site
        self._world = site.world
        self._guests = guests
        self._stats: dict[int, dict[str, Any]] = {}
        self._stats_at = -1e9

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/version", "version", lambda _: Answer(self._version())),
            Route("GET", "/cluster/status", "cluster_status", self._status),
            Route("GET", "/cluster/resources", "resources", self._resources, ("type:vm|storage|node|sdn",)),
            Route("GET", "/cluster/nextid", "nextid", self._next, ("vmid:int",)),
            Route("GET", "/cluster/replication", "replication", lambda _: Answer([])),
            Route("GET", "/nodes", "nodes", lambda ask: Answer([self.row(one) for one in self._seen(ask)])),
            Route("GET", "/nodes/{node}/status", "node", self._node),
            Route("GET", "/nodes/{node}/version", "version", lambda _: Answer(self._version())),
            Route("GET", "/nodes/{node}/time", "time", self._time),
            Route("GET", "/nodes/{node}/network", "network", self._network, ("type",)),
            Route("GET", "/storage", "storage_config", self._storage_config, ("type",)),
            Route(
                "GET",
                "/nodes/{node}/storage",
                "storage",
                self._storage,
                ("content", "enabled:bool", "target", "storage", "format:bool"),
            ),
            Route("GET", "/pools", "pools", self._pools, ("poolid", "type:qemu|lxc|storage")),
        ]

    def _next(self, ask: Ask) -> Answer:
        wanted = ask.number("vmid")
        if wanted in self._site.guests:
            raise wrong_parameter("vmid", f"VM {wanted} already exists")
        return Answer(wanted or max(self._site.guests, default=99) + 1)

    def _version(self) -> dict[str, str]:
        return {"version": VERSION, "release": VERSION.rpartition(".")[0], "repoid": "1f28a3cbd5d1a5a3"}

    def _seen(self, ask: Ask) -> list[SimHost]:
        return [
            host for host in self._world.hosts.values() if ask.account.may(f"/nodes/{host.name}", "Sys.Audit")
        ]

    def _status(self, ask: Ask) -> Answer:
        ask.want("/", "Sys.Audit")
        hosts = list(self._world.hosts.values())
        rows: list[dict[str, Any]] = [
            {
                "type": "cluster",
                "id": "cluster",
                "name": self._site.name,
                "nodes": len(hosts),
                "quorate": int(self._site.quorate()),
                "version": len(hosts),
            }
        ]
        rows += [
            {
                "type": "node",
                "id": f"node/{host.name}",
                "name": host.name,
                "nodeid": host.number,
                "ip": host.address,
                "local": int(host.name == ask.local),
                "online": int(self._site.online(host)),
                "level": "",
            }
            for host in hosts
        ]
        return Answer(rows)

    # --- resources -------------------------------------------------------------------------------

    def _resources(self, ask: Ask) -> Answer:
        wanted = ask.text("type")
        self._site.sync()
        self._refresh()
        rows: list[dict[str, Any]] = []
        if wanted in ("", "vm"):
            rows += [
                self._guest_row(guest)
                for guest in self._site.guests.values()
                if ask.account.may(f"/vms/{guest.vmid}", "VM.Audit")
            ]
        if wanted in ("", "node"):
            rows += [self.row(host) for host in self._seen(ask)]
        if wanted in ("", "storage"):
            rows += [
                self._storage_row(host, storage)
                for host in self._world.hosts.values()
                for storage in self._site.stores_on(host.name)
                if ask.account.may(f"/storage/{storage.name}", "Datastore.Audit")
            ]
        return Answer(rows)

    def _refresh(self) -> None:
        """A round of pvestatd: what it has not yet seen, nobody sees."""
        now = self._world.time
        if now - self._stats_at >= self._site.pace.refresh:
            self._stats_at = now
            self._stats = {vmid: self._guests.figures(guest) for vmid, guest in self._site.guests.items()}

    def _guest_row(self, guest: Guest) -> dict[str, Any]:
        node = guest.vm.host
        row: dict[str, Any] = {
            "id": f"{guest.kind}/{guest.vmid}",
            "vmid": guest.vmid,
            "type": guest.kind,
            "node": node,
            "template": int(guest.template),
        }
        if self._site.online(self._world.hosts[node]):
            stats = self._stats.get(guest.vmid) or self._guests.figures(guest)
            row |= stats | {"maxcpu": guest.vm.vcpus, "memhost": stats["mem"]}
        else:
            row["status"] = "unknown"
        row |= optional(guest) | {"template": int(guest.template)}
        if guest.pool:
            row["pool"] = guest.pool
        state = self._site.ha_state(guest)
        if state:
            row["hastate"] = state
        return row

    def row(self, host: SimHost) -> dict[str, Any]:
        """A node in lists."""
        row: dict[str, Any] = {"id": f"node/{host.name}", "type": "node", "node": host.name, "level": ""}
        if not self._site.online(host):
            return row | {"status": "offline"}
        return row | {
            "status": "online",
            "cpu": round(min(0.95, host.vcpus_used / max(1, host.vcpus) / 4), 4),
            "maxcpu": host.vcpus,
            "mem": min(host.memory, int(host.memory_used * 0.9) + (2 << 30)),
            "maxmem": host.memory,
            "disk": 18 << 30,
            "maxdisk": 96 << 30,
            "uptime": int(self._world.time - host.machine.booted),
            "cgroup-mode": 2,
        }

    # --- one node --------------------------------------------------------------------------------

    def _node(self, ask: Ask) -> Answer:
        host = self._world.hosts[ask.where["node"]]
        ask.want(f"/nodes/{host.name}", "Sys.Audit")
        row = self.row(host)
        flags = [FLAGS.get(one, one) for one in host.cpu_features]
        cores = max(1, host.vcpus // 4)
        return Answer(
            {
                "pveversion": f"pve-manager/{VERSION}/1f28a3cbd5d1a5a3",
                "kversion": f"Linux {host.machine.kernel} #1 SMP PREEMPT_DYNAMIC",
                "current-kernel": {
                    "sysname": "Linux",
                    "release": host.machine.kernel,
                    "version": "#1 SMP",
                    "machine": "x86_64",
                },
                "boot-info": {"mode": "efi", "secureboot": 0},
                "cpu": row["cpu"],
                "wait": 0.001,
                "idle": 0,
                "loadavg": ["3.10", "2.90", "2.70"],
                "uptime": row["uptime"],
                "cpuinfo": {
                    "model": MODELS.get(host.cpu_model, host.cpu_model),
                    "cpus": host.vcpus,
                    "cores": cores,
                    "sockets": 2,
                    "mhz": "2500.000",
                    "hvm": "1",
                    "user_hz": 100,
                    "flags": " ".join((BASE_FLAGS, *flags)),
                },
                "memory": _space(host.memory, row["mem"]),
                "swap": _space(8 << 30, 0),
                "rootfs": _space(96 << 30, 18 << 30) | {"avail": 78 << 30},
                "ksm": {"shared": 0},
            }
        )

    def _time(self, ask: Ask) -> Answer:
        ask.want(f"/nodes/{ask.where['node']}", "Sys.Audit")
        now = int(self._world.wall() + self._world.hosts[ask.where["node"]].machine.clock)
        return Answer({"time": now, "localtime": now, "timezone": "UTC"})

    def _network(self, ask: Ask) -> Answer:
        """As /etc/network/interfaces has it; an MTU only where somebody has set one."""
        host = self._world.hosts[ask.where["node"]]
        addresses = {"vmbr0": host.address} | ({host.machine.carrier: host.inward} if host.inward else {})
        rows = []
        for name, kind in host.machine.links:
            row: dict[str, Any] = {"iface": name, "type": {"device": "eth"}.get(kind, kind), "active": 1}
            row |= {"method": "manual", "method6": "manual", "families": ["inet"]}
            if address := addresses.get(name):
                row |= {"method": "static", "address": address, "cidr": f"{address}/16", "netmask": "16"}
            if name in host.machine.mtus:
                row["mtu"] = host.machine.mtus[name]
            rows.append(row)
        return Answer(rows)

    # --- storage and pools -----------------------------------------------------------------------

    def _storage_config(self, ask: Ask) -> Answer:
        rows = []
        for one in self._site.storages.values():
            if not ask.account.may(f"/storage/{one.name}", "Datastore.Audit"):
                continue
            row: dict[str, Any] = {"storage": one.name, "type": one.type, "content": one.content}
            row |= {"shared": 1} if one.shared else {}
            rows.append(row | ({"nodes": ",".join(one.nodes)} if one.nodes else {}))
        return Answer(rows)

    def _storage(self, ask: Ask) -> Answer:
        if ask.text("target"):
            self._site.node(ask.text("target"))
        rows = [
            self._volume_row(one)
            for one in self._site.stores_on(ask.where["node"])
            if ask.account.may(f"/storage/{one.name}", "Datastore.Audit")
            and (not ask.text("content") or set(ask.text("content").split(",")) & set(one.content.split(",")))
            and ask.text("storage", one.name) == one.name
            and (not ask.text("target") or self._site.has(ask.text("target"), one.name))
        ]
        return Answer(rows)

    def _volume_row(self, one: Storage) -> dict[str, Any]:
        return {
            "storage": one.name,
            "type": one.type,
            "content": one.content,
            "shared": int(one.shared),
            "active": 1,
            "enabled": 1,
            "total": one.total,
            "used": one.used,
            "avail": one.total - one.used,
            "used_fraction": round(one.used / one.total, 4),
        }

    def _storage_row(self, host: SimHost, one: Storage) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": f"storage/{host.name}/{one.name}",
            "type": "storage",
            "storage": one.name,
            "node": host.name,
            "content": one.content,
            "plugintype": one.type,
            "shared": int(one.shared),
        }
        if not self._site.online(host):
            return row | {"status": "unknown"}
        return row | {"status": "available", "disk": one.used, "maxdisk": one.total}

    def _pools(self, ask: Ask) -> Answer:
        self._site.sync()
        names = sorted({guest.pool for guest in self._site.guests.values() if guest.pool})
        wanted = ask.text("poolid")
        if wanted and wanted not in names:
            raise Wrong(500, f"pool '{wanted}' does not exist")
        if not wanted:
            return Answer(
                [{"poolid": name} for name in names if ask.account.may(f"/pool/{name}", "Pool.Audit")]
            )
        ask.want(f"/pool/{wanted}", "Pool.Audit")
        members = [self._guest_row(one) for one in self._site.guests.values() if one.pool == wanted]
        return Answer([{"poolid": wanted, "members": members}])


def _space(total: int, used: int) -> dict[str, int]:
    return {"total": total, "used": used, "free": total - used, "available": total - used}
