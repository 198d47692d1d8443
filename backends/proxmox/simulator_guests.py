"""VMs and containers as PVE tells of them: lists, status, config, the guest agent; and the one config change evac makes."""

from __future__ import annotations

import hashlib
from typing import Any

from backends.proxmox.simulator_site import Guest, Site
from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter
from evac.model import VMState

ROOT_ONLY = "Only root may use this option."


class Guests:
    """/nodes/{node}/qemu and /nodes/{node}/lxc, but for what starts a task."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._world = site.world

    def routes(self) -> list[Route]:
        """What is served."""
        found = []
        for kind in ("qemu", "lxc"):
            one = f"/nodes/{{node}}/{kind}/{{vmid}}"
            change: tuple[str, ...] = ("delete", "digest", "tags", "description", "onboot:bool")
            if kind == "qemu":  # a container's lock is taken away in a shell alone
                change += ("skiplock:bool", "force:bool")
            found += [
                Route(
                    "GET",
                    f"/nodes/{{node}}/{kind}",
                    kind,
                    self._list,
                    ("full:bool",) if kind == "qemu" else (),
                ),
                Route("GET", f"{one}/status/current", "status", self._status),
                Route("GET", f"{one}/config", "config", self._config, ("current:bool", "snapshot")),
                Route("PUT", f"{one}/config", "unlock", self._change, change),
                Route("GET", f"{one}/pending", "pending", self._pending),
                Route("GET", f"{one}/snapshot", "snapshots", self._snapshots),
            ]
        agent = "/nodes/{node}/qemu/{vmid}/agent"
        return [
            *found,
            Route("GET", f"{agent}/network-get-interfaces", "agent", self._interfaces),
            Route("GET", "/nodes/{node}/lxc/{vmid}/interfaces", "agent", self._container_interfaces),
        ]

    def find(self, ask: Ask) -> Guest:
        """The guest a path names. Raises Wrong."""
        kind = "lxc" if "/lxc/" in ask.path else "qemu"
        return self._site.find(ask.where["node"], ask.where["vmid"], kind)

    # --- one guest -------------------------------------------------------------------------------

    def figures(self, guest: Guest) -> dict[str, Any]:
        """What lists, /cluster/resources and the status share."""
        vm = guest.vm
        running = self.up(guest)
        load = (guest.vmid * 37 % 80) / 100 if running else 0.0
        used = int(vm.memory * (0.25 + load / 2)) if running else 0
        return {
            "name": vm.name,
            "status": "running" if running else "stopped",
            "cpu": load,
            "mem": used,
            "maxmem": vm.memory,
            "maxdisk": vm.disk,
            "disk": vm.disk // 3 if guest.kind == "lxc" and running else 0,
            "uptime": max(1, int(self._world.time - min(vm.created, 0.0))) if running else 0,
            "netin": guest.vmid * 1_048_573 if running else 0,
            "netout": guest.vmid * 524_287 if running else 0,
            "diskread": guest.vmid * 2_097_143 if running else 0,
            "diskwrite": guest.vmid * 1_048_573 if running else 0,
        }

    def up(self, guest: Guest) -> bool:
        """True while its node would say that it runs."""
        away = guest.vm.task == "resize_migrating"
        return guest.running and not away

    def _list(self, ask: Ask) -> Answer:
        node, kind = ask.where["node"], "lxc" if ask.path.endswith("/lxc") else "qemu"
        self._site.sync()
        rows = []
        for guest in self._site.guests.values():
            if guest.vm.host != node or guest.kind != kind:
                continue
            if ask.account.may(f"/vms/{guest.vmid}", "VM.Audit"):
                rows.append(self._row(guest))
        return Answer(rows)

    def _row(self, guest: Guest) -> dict[str, Any]:
        row = self.figures(guest) | {"vmid": guest.vmid, "cpus": guest.vm.vcpus}
        if guest.kind == "lxc":
            row |= {"type": "lxc", "swap": 0, "maxswap": 0}
        elif row["status"] == "running":
            row["pid"] = 100_000 + guest.vmid
        row |= optional(guest)
        return row

    def _status(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Audit")
        row = self._row(guest) | {"ha": self._ha(guest)}
        if guest.kind == "qemu":
            row["qmpstatus"] = "paused" if guest.vm.state is VMState.PAUSED else row["status"]
            row["agent"] = int(guest.agent)
            if row["status"] == "running":
                row |= {"running-machine": "pc-i440fx-10.1+pve0", "running-qemu": "10.1.2"}
        return Answer(row)

    def _ha(self, guest: Guest) -> dict[str, Any]:
        state = self._site.ha_state(guest)
        return {"managed": 1, "state": state} if state else {"managed": 0}

    # --- its config ------------------------------------------------------------------------------

    def _config(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Audit")
        return Answer(self.config(guest))

    def config(self, guest: Guest) -> dict[str, Any]:
        """Its config file as a table."""
        vm = guest.vm
        config: dict[str, Any] = {"onboot": 1, "cores": vm.vcpus, **guest.protected}
        if guest.kind == "qemu":
            config |= self._qemu_config(guest)
        else:
            config |= self._lxc_config(guest)
        config |= optional(guest)
        config["digest"] = hashlib.sha1(
            repr(sorted(config.items())).encode(), usedforsecurity=False
        ).hexdigest()
        return config

    def _qemu_config(self, guest: Guest) -> dict[str, Any]:
        vm = guest.vm
        config: dict[str, Any] = {
            "name": vm.name,
            "memory": str(vm.memory >> 20),
            "sockets": 1,
            "cpu": guest.cpu,
            "ostype": "l26",
            "scsihw": "virtio-scsi-single",
            "boot": "order=scsi0",
            "scsi0": f"{guest.volume},iothread=1,size={vm.disk >> 30}G",
            "net0": f"virtio={mac(guest)},bridge=vmbr0,firewall=1",
            "smbios1": f"uuid={vm.machine_id or vm.id}",
            "vmgenid": vm.id,
            "agent": str(int(guest.agent)),
        }
        config |= {name: "0000:3b:00.0" for name in guest.devices if name.startswith("hostpci")}
        config |= {name: "host=0627:0001" for name in guest.devices if name.startswith("usb")}
        if vm.snapshots:
            config["parent"] = "before"
        if guest.cdrom:
            config["ide2"] = f"{guest.cdrom},media=cdrom"
        return config

    def _lxc_config(self, guest: Guest) -> dict[str, Any]:
        vm = guest.vm
        address = next(iter(vm.addresses), "")
        network = f"name=eth0,bridge=vmbr0,hwaddr={mac(guest)},type=veth,ip={address or 'dhcp'}"
        return {
            "hostname": vm.name,
            "memory": vm.memory >> 20,
            "swap": 0,
            "arch": "amd64",
            "ostype": "debian",
            "unprivileged": 1,
            "rootfs": f"{guest.volume},size={vm.disk >> 30}G",
            "net0": f"{network}/24" if address else network,
        }

    def _pending(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Audit")
        return Answer([{"key": key, "value": value} for key, value in self.config(guest).items()])

    def _snapshots(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Audit")
        now = {"name": "current", "description": "You are here!", "running": int(self.up(guest))}
        return Answer([now | {"digest": self.config(guest)["digest"]}])

    def _change(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Config.Options")
        if ask.flag("skiplock") and not ask.account.root:
            raise wrong_parameter("skiplock", ROOT_ONLY)
        if guest.lock and not ask.flag("skiplock"):
            raise Wrong(500, f"{guest.word} is locked ({guest.lock})")
        if ask.text("digest") and ask.text("digest") != self.config(guest)["digest"]:
            raise Wrong(500, "detected modified configuration - file changed by other user? Try again.")
        if "lock" in ask.text("delete").replace(";", ",").split(","):
            self._site.unlock(guest)
        if "tags" in ask.given:
            guest.vm.tags = tuple(word for word in ask.text("tags").replace(";", ",").split(",") if word)
        self._world.touch(guest.vm)
        return Answer(None)

    # --- addresses -------------------------------------------------------------------------------

    def _interfaces(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.GuestAgent.Audit", "VM.Monitor", "VM.Audit")
        if not self.up(guest):
            raise Wrong(500, f"VM {guest.vmid} is not running")
        if not guest.agent:
            raise Wrong(500, "No QEMU guest agent configured")
        if not self._world.answers(guest.vm.id):
            raise Wrong(500, "QEMU guest agent is not running")
        local = _interface("lo", "00:00:00:00:00:00", [("127.0.0.1", 8)])
        outer = _interface("eth0", mac(guest).lower(), [(ip, 24) for ip in guest.vm.addresses])
        return Answer({"result": [local, outer]})

    def _container_interfaces(self, ask: Ask) -> Answer:
        guest = self.find(ask)
        ask.want(f"/vms/{guest.vmid}", "VM.Audit")
        if not self.up(guest):
            return Answer([])
        found = []
        for name, hardware, addresses in (
            ("lo", "00:00:00:00:00:00", ("127.0.0.1",)),
            ("eth0", mac(guest).lower(), guest.vm.addresses),
        ):
            entry: dict[str, Any] = {"name": name, "hwaddr": hardware, "hardware-address": hardware}
            if addresses:
                entry["inet"] = f"{addresses[0]}/{8 if name == 'lo' else 24}"
            entry["ip-addresses"] = _addresses([(one, 24) for one in addresses])
            found.append(entry)
        return Answer(found)


def optional(guest: Guest) -> dict[str, Any]:
    """What is only there when it is set."""
    row: dict[str, Any] = {}
    if guest.lock:
        row["lock"] = guest.lock
    if guest.vm.tags:
        row["tags"] = ";".join(guest.vm.tags)
    if guest.template:
        row["template"] = 1
    return row


def mac(guest: Guest) -> str:
    """Its hardware address, with Proxmox' own prefix."""
    return "BC:24:11:{:02X}:{:02X}:{:02X}".format(*guest.vmid.to_bytes(3, "big"))


def _addresses(found: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [
        {"ip-address": ip, "ip-address-type": "ipv6" if ":" in ip else "ipv4", "prefix": bits}
        for ip, bits in found
    ]


def _interface(name: str, hardware: str, found: list[tuple[str, int]]) -> dict[str, Any]:
    return {"name": name, "hardware-address": hardware, "ip-addresses": _addresses(found)}
