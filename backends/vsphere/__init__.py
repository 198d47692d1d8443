"""vSphere (vCenter, stand-alone ESXi), by pyvmomi. Importing this package is cheap: the SDK is imported by `build`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.vsphere.options import SECRET_KEYS, Options
from evac.backend import MissingExtra, Plugin

if TYPE_CHECKING:
    from evac.backend import Backend, Settings


def build(settings: Settings) -> Backend:
    """A backend for one vCenter or one ESXi host; imports pyvmomi, does no I/O.

    Raises:
        MissingExtra: pyvmomi is not installed.
    """
    if find_spec("pyVmomi") is None:
        raise MissingExtra("vsphere", "vsphere", "pyVmomi (pyvmomi)")
    from backends.vsphere.backend import VSphereBackend  # noqa: PLC0415 - the SDK takes a tenth of a second to import

    return VSphereBackend(settings)


PLUGIN = Plugin(kind="vsphere", options_type=Options, build=build, extra="vsphere", secret_keys=SECRET_KEYS)
"""What the entry point "evac.backends" yields."""
