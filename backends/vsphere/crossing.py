"""A VM's way to another vCenter: what is read of it here, and the RelocateSpec that names the other one. Blocking.

The source's vCenter logs in to the target by itself, with the credential in the spec's ServiceLocator; host, pool,
folder, datastore and networks in it are the target's (vSphere Web Services API, VirtualMachineRelocateSpec.service).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backends.vsphere import mapping, sdk
from backends.vsphere.arrival import OLDEST, Arrival, Arrivals, too_old
from backends.vsphere.placing import Places, network_of
from backends.vsphere.reading import Reader
from backends.vsphere.scene import Scene
from backends.vsphere.session import Live, Session
from evac.across import Credential, Crossing, Destination
from evac.errors import BackendError, Refused
from evac.model import VM, MigrationKind, Problem

HTTPS = 443


class Leaving(Struct, frozen=True):
    """A VM that is to go, and its network cards."""

    guest: VM
    kind: MigrationKind
    size: int | None
    """Bytes of its disks."""
    cards: tuple[tuple[Any, str], ...]
    """(card, name of its network)"""
    nets: dict[str, str]
    """Name of a network of its → the id of that network."""


def leaving(live: Live, reader: Reader, places: Places, vm: str, there: Destination) -> Leaving:
    """What is read here.

    Raises:
        NotFound, Refused: it cannot leave, in words.
    """
    cluster = reader.cluster
    _may_leave(live, cluster, there)
    seen = places.scene(live, vm, [])
    if seen.source is not None and too_old(seen.source.row):
        raise _refused(cluster, f"{seen.source.name} is older than ESXi 6.0, which sends no VM elsewhere")
    opaque = _opaque(live, reader, seen)
    cards = tuple(
        (one, network_name(one, seen, opaque))
        for one in places.devices(live, vm)
        if isinstance(one, sdk.vim.vm.device.VirtualEthernetCard)
    )
    running = seen.guest.text("runtime.powerState") == "poweredOn"
    return Leaving(
        guest=mapping.vm(cluster, seen.guest, {}),
        kind=MigrationKind.LIVE if running else MigrationKind.COLD,
        size=mapping.number(seen.guest.text("summary.storage.committed")),
        cards=cards,
        nets={seen.net_name(net): net for net in seen.nets},
    )


def network_name(card: Any, seen: Scene, opaque: Mapping[str, str]) -> str:
    """What a card's network is called; "" where that is not told. Never its key: over there it is another network's."""
    name = network_of(card, seen)
    port = getattr(card.backing, "port", None)
    if port is not None and name == str(port.portgroupKey or ""):
        return ""
    return name or opaque.get(str(getattr(card.backing, "opaqueNetworkId", "")), "")


@contextmanager
def hiding(session: Session, secret: str) -> Iterator[Callable[[str], str]]:
    """No record of a call and no error that leaves holds the secret, should a server repeat it.

    Gives what takes it out of any other text.
    """
    with session.wire.hiding(secret) as hidden:
        try:
            yield hidden
        except BackendError as error:
            error.problem = replace(
                error.problem,
                happened=hidden(error.problem.happened),
                unaffected=hidden(error.problem.unaffected),
                next_step=hidden(error.problem.next_step),
            )
            error.args = (error.problem.happened,)
            raise error from None


def _may_leave(live: Live, cluster: str, there: Destination) -> None:
    about = live.content.about
    if there.kind != "vsphere" or not (there.instance and there.fingerprint and there.fingerprint_sha1):
        raise _refused(cluster, f"{there.cluster} is no vCenter that evac knows, with its certificate")
    if not live.vcenter:
        raise _refused(cluster, "an ESXi host that stands alone moves nothing")
    if live.api < OLDEST:
        raise _refused(
            cluster, f"its API is {about.apiVersion}, and moves between vCenters need 6.0 or newer"
        )
    if about.instanceUuid == there.instance:
        raise _refused(cluster, f"{there.cluster} is the same vCenter", "Migrate the VM within it.")


def _opaque(live: Live, reader: Reader, seen: Scene) -> dict[str, str]:
    """NSX's id of each segment → its name."""
    wanted = [("OpaqueNetwork", id_) for id_, row in seen.nets.items() if row.type == "OpaqueNetwork"]
    rows = reader.many(live, wanted, {"OpaqueNetwork": ("summary",)})
    return {row.node("summary").text("opaqueNetworkId"): seen.net_name(row.id) for row in rows}


def arrival(
    arrivals: Arrivals, cluster: str, gone: Leaving, going: Crossing, credential: Credential
) -> Arrival:
    """Where that is over there.

    Raises:
        Refused: it cannot go there, in words.
    """
    (found,) = arrivals.find(
        going, [going.host], credential, wanted(cluster, gone, going), gone.size
    ).values()
    if isinstance(found, Refused):
        raise found
    return found


def wanted(cluster: str, gone: Leaving, going: Crossing) -> dict[str, str]:
    """Network of each card → its name or id over there. What is not mapped keeps its name.

    Raises:
        Refused: the network of a card is not known.
    """
    if any(not name for _, name in gone.cards):
        raise _refused(
            cluster,
            f"the network of a card of {gone.guest.name} is not known",
            "Connect the card to a network, or remove it.",
        )
    pairs = dict(going.networks)
    return {name: pairs.get(name) or pairs.get(gone.nets.get(name, "")) or name for _, name in gone.cards}


def note(gone: Leaving, there: Arrival, going: Crossing) -> str:
    """What was chosen on the way, for the record."""
    pairs = [
        f"network {here} → {to}" for here, to in going.networks if here in {name for _, name in gone.cards}
    ]
    chosen = f"disks to {there.store.name}, into the root resource pool and VM folder of {going.host}"
    return "; ".join([chosen, *pairs])


def spec(live: Live, gone: Leaving, there: Arrival, to: Destination, credential: Credential) -> Any:
    """vim.vm.RelocateSpec. It holds the credential: it is made for the one call, and shown nowhere."""
    vim, stub = sdk.vim, live.stub
    edits = []
    for card, name in gone.cards:
        card.backing = there.backings[name]
        edits.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    return vim.vm.RelocateSpec(
        service=_locator(to, credential),
        host=vim.HostSystem(there.host, stub),
        pool=vim.ResourcePool(there.pool, stub),
        folder=vim.Folder(there.folder, stub),
        datastore=vim.Datastore(there.store.id, stub),
        deviceChange=edits,
    )


def _locator(to: Destination, credential: Credential) -> Any:
    name = f"[{to.host}]" if ":" in to.host else to.host
    made = sdk.vim.ServiceLocator(
        instanceUuid=to.instance,
        url=f"https://{name}" + (f":{to.port}" if to.port != HTTPS else ""),
        credential=sdk.vim.ServiceLocator.NamePassword(username=credential.user, password=credential.secret),
        sslThumbprint=to.fingerprint_sha1,
    )
    if hasattr(made, "sslCertificate"):  # since API 9.0; pyvmomi leaves it out towards older servers
        made.sslCertificate = to.certificate
    return made


def _refused(cluster: str, happened: str, step: str = "") -> Refused:
    return Refused(
        Problem(happened=f"{cluster}: {happened}.", unaffected="Nothing was changed.", next_step=step)
    )
