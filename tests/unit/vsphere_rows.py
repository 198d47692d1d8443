"""Rows as the decoder makes them of vSphere's answers, for tests: written as XML, since that is what comes."""

from __future__ import annotations

from typing import Any

from backends.vsphere.scene import Place, Scene
from backends.vsphere.soap import Decoder, Row

HEAD = (
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    '<e:Body><RetrievePropertiesExResponse xmlns="urn:vim25"><returnval>'
)
TAIL = "</returnval></RetrievePropertiesExResponse></e:Body></e:Envelope>"


def row(kind: str, id_: str, missing: tuple[str, ...] = (), /, **props: Any) -> Row:
    """`props`: path, with "__" for ".", → what is inside of its value. `missing`: paths that may not be read."""
    inside = "".join(
        f"<propSet><name>{name.replace('__', '.')}</name><val>{value}</val></propSet>"
        for name, value in props.items()
    )
    inside += "".join(
        f"<missingSet><path>{path}</path><fault><fault xsi:type='NoPermission'/></fault></missingSet>"
        for path in missing
    )
    decoder = Decoder()
    decoder.feed(f'{HEAD}<objects><obj type="{kind}">{id_}</obj>{inside}</objects>{TAIL}'.encode())
    decoder.close()
    return decoder.rows[0]


def refs(*ids: str) -> str:
    """An ArrayOfManagedObjectReference's inside."""
    return "".join(f"<ManagedObjectReference type='T'>{one}</ManagedObjectReference>" for one in ids)


def vnics(*chosen: tuple[str, str]) -> str:
    """VirtualNicManagerNetConfig of (nicType, device)."""
    return "".join(
        f"<VirtualNicManagerNetConfig><nicType>{kind}</nicType><candidateVnic><device>{device}</device><key>{kind}.{device}"
        f"</key></candidateVnic><selectedVnic>{kind}.{device}</selectedVnic></VirtualNicManagerNetConfig>"
        for kind, device in chosen
    )


def feature(key: str, value: str) -> str:
    return f"<F><key>{key}</key><featureName>{key}</featureName><value>{value}</value></F>"


CPU = {"needs": feature("cpuid.avx2", "Bool:Min:1"), "gives": feature("cpuid.avx2", "1")}

GUEST: dict[str, str] = {
    "name": "web",
    "runtime__host": "host-1",
    "runtime__powerState": "poweredOn",
    "runtime__connectionState": "connected",
    "runtime__featureRequirement": CPU["needs"],
    "runtime__dasVmProtection__dasProtected": "true",
    "summary__config__memorySizeMB": "4096",
    "datastore": refs("ds-1"),
    "network": refs("net-1"),
    "config__hardware__device": "<VirtualDevice xsi:type='VirtualVideoCard'><key>500</key></VirtualDevice>",
    "config__migrateEncryption": "opportunistic",
}
HOST: dict[str, str] = {
    "runtime__connectionState": "connected",
    "runtime__powerState": "poweredOn",
    "runtime__inMaintenanceMode": "false",
    "summary__hardware": f"<memorySize>{64 << 30}</memorySize><cpuModel>Intel Xeon</cpuModel>",
    "summary__quickStats__overallMemoryUsage": "1024",
    "hardware__cpuPkg": "<HostCpuPackage><vendor>intel</vendor></HostCpuPackage>",
    "capability__encryptedVMotionSupported": "true",
    "config__virtualNicManagerInfo__netConfig": vnics(("vmotion", "vmk1"), ("management", "vmk0")),
    "config__featureCapability": CPU["gives"],
    "datastore": refs("ds-1"),
    "network": refs("net-1"),
    "parent": "domain-c1",
}
CLUSTER = (
    "<dasConfig><enabled>true</enabled><admissionControlEnabled>true</admissionControlEnabled></dasConfig>"
)


def group(id_: str = "domain-c1", config: str = CLUSTER) -> Row:
    return row(
        "ClusterComputeResource",
        id_,
        name=f"cluster {id_}",
        resourcePool="resgroup-1",
        configurationEx=config,
    )


def place(number: int, missing: tuple[str, ...] = (), *, inside: Row | None = None, **props: Any) -> Place:
    told = {name: value for name, value in ({**HOST, "name": f"esx{number}"} | props).items() if value}
    return Place(row("HostSystem", f"host-{number}", missing, **told), inside or group())


def store(*hosts: str, accessible: str = "true") -> Row:
    mounts = "".join(
        f"<DatastoreHostMount><key>{host}</key><mountInfo><accessMode>readWrite</accessMode></mountInfo></DatastoreHostMount>"
        for host in hosts
    )
    return row("Datastore", "ds-1", name="fast", summary__accessible=accessible, host=mounts)


def scene(missing: tuple[str, ...] = (), *, target: Place | None = None, **more: Any) -> Scene:
    """A VM on esx1 of which everything is well known, and esx2 to go to. Capitalised names are fields of the scene."""
    props = {**GUEST, **{name: value for name, value in more.items() if not name.startswith("of_")}}
    fields = {name.removeprefix("of_"): value for name, value in more.items() if name.startswith("of_")}
    there = target or place(2)
    base: dict[str, Any] = {
        "guest": row("VirtualMachine", "vm-1", missing, **{key: one for key, one in props.items() if one}),
        "source": place(1),
        "places": {there.id: there},
        "stores": {"ds-1": store("host-1", "host-2")},
        "nets": {
            "net-1": row("Network", "net-1", name="prod"),
            "net-2": row("Network", "net-2", name="prod-2"),
        },
        "api": (8, 0, 3, 0),
    }
    return Scene(**(base | fields))
