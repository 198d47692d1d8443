"""Rules about what a VM has with it: disks, devices, snapshots, images in its drives, identities."""

from __future__ import annotations

from collections.abc import Iterator

from evac.model import Datastore, Host, Outlook
from evac.rules.context import Case, RuleContext
from evac.rules.platforms import traits
from evac.rules.said import Said, fail, listed, risk, unknown
from evac.window.plan import Way

GIB = 1 << 30


def local_disk(case: Case) -> Iterator[Said]:
    """A disk on the host must be copied (Nova "block migration", Proxmox VE `--with-local-disks`, libvirt copy storage)."""
    vm, held = case.vm, traits(case.world.cluster.kind).local_disk
    if held is Outlook.OK:
        return
    if vm.local_disk is None and not vm.volumes and not vm.datastores:
        yield unknown("where its disks lie is not told", "Look at it on the platform.")
    elif vm.local_disk:
        size = f"{vm.disk / GIB:.0f} GiB lie" if vm.disk else "its disks lie"
        fix = "Allow for the time, or move the disks to shared storage first."
        yield Said(held, f"{size} on its host and must be copied", fix)


def lost_disk(case: Case) -> Iterator[Said]:
    """A disk on a dead host is gone: the guest is rebuilt from its image (Nova admin guide "Evacuate instances")."""
    if case.vm.local_disk:
        yield risk(
            "its disk lies on the dead host: it is rebuilt from its image, its data is lost", "Have a backup."
        )


def devices(case: Case) -> Iterator[Said]:
    """No device of the host goes along (Nova "Attaching physical PCI devices", vSphere DirectPath I/O, pve-docs "PCI(e) Passthrough")."""
    held = list(case.vm.devices)
    if held and case.way is Way.LIVE:
        yield fail(
            f"devices of its host are handed to it: {listed(held)}", "Shut it down and move it with a stop."
        )
    elif held:
        yield risk(
            f"it needs a device as on its host: {listed(held)}", "Choose a host that has one, or take it off."
        )


def snapshots(case: Case) -> Iterator[Said]:
    """See `evac.rules.platforms`."""
    held = traits(case.world.cluster.kind)
    if case.vm.snapshots and case.way is Way.LIVE and held.snapshots is not Outlook.OK:
        count = "1 snapshot" if case.vm.snapshots == 1 else f"{case.vm.snapshots} snapshots"
        yield Said(held.snapshots, f"{count}: {held.snapshots_why}", "Remove them, or move it with a stop.")


def twins(case: Case) -> Iterator[Said]:
    """Clones that share a firmware UUID, a MAC or an address are taken for each other by backups, agents and switches."""
    for words in case.world.twins.get(case.vm.id, ()):
        yield risk(words, "Find out which is the right one before either moves.")


def media(case: Case, host: Host) -> Iterator[Said]:
    """The target must see what is in the drives (vSphere "vMotion requirements", libvirt: the file must be there, pve-docs qm)."""
    unseen = [image for image in case.vm.media if not _seen(case.world, image, host)]
    if unseen and not case.vm.container:
        yield risk(f"whether {host.name} sees {listed(unseen)} in its drive is not known", "Eject it.")


def datastores(case: Case, host: Host) -> Iterator[Said]:
    """Disks on shared storage are not copied, so the target must see it (vSphere, Proxmox VE `storage.cfg`)."""
    for one in case.vm.datastores:
        store = case.world.datastores.get(one)
        if store is None or not store.shared or not store.hosts:
            continue
        if host.id not in store.hosts:
            yield fail(
                f"{host.name} does not see datastore {store.name}",
                "Choose a host that does, or move its disks first.",
            )
        elif not store.usable:
            yield risk(f"datastore {store.name} is switched off or in maintenance", "Look at it first.")


def _seen(world: RuleContext, image: str, host: Host) -> bool:
    """By the datastore's name before or in the image's: "nfs:iso/x.iso", "[iso] x.iso"."""
    stores = (one for one in world.datastores.values() if one.shared and host.id in one.hosts)
    return any(_lies_on(image, store) for store in stores)


def _lies_on(image: str, store: Datastore) -> bool:
    return image.startswith((f"{store.name}:", f"[{store.name}]"))
