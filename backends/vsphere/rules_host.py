"""Rules about the target host's state and room. Pure."""

from __future__ import annotations

from backends.vsphere import mapping
from backends.vsphere.scene import Place, Scene
from backends.vsphere.verdicts import OK, Said, fail, risk, unknown


def state(seen: Scene, place: Place) -> Said:
    """Connected, on, not in maintenance nor in quarantine."""
    del seen
    row = place.row
    link, power = row.text("runtime.connectionState"), row.text("runtime.powerState")
    if link and link != "connected":
        return fail(
            f"{place.name} is {'not responding' if link == 'notResponding' else link}", "Choose another host."
        )
    if power and power != "poweredOn":
        return fail(
            f"{place.name} is {'in standby' if power == 'standBy' else power}", "Choose another host."
        )
    resting = mapping.flag(row.text("runtime.inMaintenanceMode"))
    if resting:
        return fail(f"{place.name} is in maintenance", "Take it out, or choose another host.")
    if not link or resting is None:
        return unknown(f"vCenter does not tell the state of {place.name}")
    if row.text("runtime.inQuarantineMode") == "true":
        return risk(
            f"{place.name} is in quarantine: Proactive HA holds its hardware for degraded",
            "Choose another host.",
        )
    return OK


def memory(seen: Scene, place: Place) -> Said:
    """Free physical memory; ESXi overcommits, so too little is a risk and no refusal."""
    if not seen.running:
        return OK
    whole = mapping.number(place.row.node("summary.hardware").text("memorySize"))
    used = mapping.number(place.row.text("summary.quickStats.overallMemoryUsage"))
    wanted = mapping.number(seen.guest.text("summary.config.memorySizeMB"))
    if whole is None or used is None or wanted is None:
        return unknown(f"how much memory is free on {place.name} is not told")
    free = whole - used * mapping.MIB
    if wanted * mapping.MIB > free:
        return risk(
            f"{place.name} has {free / 2**30:.0f} GiB free, the VM has {wanted / 1024:.0f} GiB: it may swap",
            "Choose a host with more free memory.",
        )
    return OK
