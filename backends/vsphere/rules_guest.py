"""Rules about the VM itself. Pure."""

from __future__ import annotations

from backends.vsphere import mapping
from backends.vsphere.scene import Place, Scene
from backends.vsphere.verdicts import OK, Said, fail, ok, risk, unknown


def state(seen: Scene, place: Place) -> Said:
    """Connected, no question open, no Fault Tolerance, not pinned to CPUs."""
    del place
    guest = seen.guest
    lost = guest.text("runtime.connectionState")
    if lost in mapping.LOST:
        return fail(mapping.LOST[lost], "Bring its host or its files back first.")
    if mapping.question(guest) is not None:
        return fail("it stands still and asks a question", "Answer it first.")
    if not lost or not guest.text("runtime.powerState"):
        return unknown("vCenter does not tell its state")
    return _held(seen)


def _held(seen: Scene) -> Said:
    guest = seen.guest
    if "config.ftInfo" in guest.nested:
        return fail("Fault Tolerance is on for it", "Suspend Fault Tolerance, or move its secondary.")
    pinned = guest.node("config.cpuAffinity").deep("affinitySet")
    if pinned and seen.running:
        return fail(
            f"it is pinned to CPUs {', '.join(pinned)} of its host",
            "Remove the CPU affinity, or move it powered off.",
        )
    if guest.text("runtime.powerState") == "suspended":
        return risk(
            "it is suspended: it can be resumed only on a CPU with the same features", "Resume it first."
        )
    return OK


def encryption(seen: Scene, place: Place) -> Said:
    """Encrypted vMotion (since 6.5): "required" needs both hosts to be able; an encrypted VM always requires it."""
    guest = seen.guest
    if not seen.running:
        return ok("it is off: nothing goes over the vMotion network in clear but its disks")
    mode = guest.text("config.migrateEncryption")
    encrypted = "config.keyId" in guest.nested
    if "config.migrateEncryption" in guest.missing or (not mode and seen.api >= (6, 5) and not encrypted):
        return unknown("vCenter does not tell whether its vMotion must be encrypted")
    if mode != "required" and not encrypted:
        return OK
    able = [_able(one) for one in (seen.source, place)]
    if False in able:
        return fail(
            "its vMotion must be encrypted, which one of the hosts cannot", "Choose a host of 6.5 or later."
        )
    if None in able:
        return unknown("its vMotion must be encrypted; whether both hosts can is not told")
    return OK


def _able(place: Place | None) -> bool | None:
    return mapping.flag(place.row.text("capability.encryptedVMotionSupported")) if place is not None else None
