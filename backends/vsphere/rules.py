"""evac's own rules before a move: predictions, each with its reason. vCenter's checker has the last word (checks.py).

A rule is a pure function of what was read and one target. What was not told is never taken for good: it is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends.vsphere import (
    rules_cluster,
    rules_cpu,
    rules_devices,
    rules_guest,
    rules_host,
    rules_links,
    rules_network,
    rules_storage,
)
from backends.vsphere.scene import Place, Scene
from backends.vsphere.verdicts import Rule, Said
from evac.model import MoveCheck, Outlook

RULES: Sequence[tuple[str, Rule]] = (
    ("state", rules_guest.state),
    ("host", rules_host.state),
    ("memory", rules_host.memory),
    ("vmotion network", rules_network.vmotion),
    ("mtu", rules_links.mtu),
    ("distance", rules_network.distance),
    ("cpu", rules_cpu.cpu),
    ("storage", rules_storage.shared),
    ("snapshots", rules_storage.snapshots),
    ("rdm", rules_storage.raw),
    ("network", rules_network.networks),
    ("nsx", rules_network.nsx),
    ("passthrough", rules_devices.passthrough),
    ("attached", rules_devices.attached),
    ("affinity", rules_cluster.affinity),
    ("ha", rules_cluster.availability),
    ("encryption", rules_guest.encryption),
)
"""Name of the rule, as filters and scripts know it, and the rule."""


def judged(seen: Scene, place: Place) -> list[MoveCheck]:
    """What every rule says of one target."""
    return [_check(seen, place, name, rule(seen, place)) for name, rule in RULES]


def _check(seen: Scene, place: Place, name: str, said: Said) -> MoveCheck:
    return MoveCheck(
        vm=seen.guest.id, target=place.id, outlook=said.outlook, rule=name, why=said.why, fix=said.fix
    )


def blocked(seen: Scene, place: Place) -> str:
    """Why a rule says that it will fail; "" where none does."""
    return next((one.why for one in judged(seen, place) if one.outlook is Outlook.FAIL), "")
