"""Plain libvirt/KVM hosts. Importing this package is cheap: libvirt is imported by the worker process alone."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.libvirt.options import SECRET_KEYS, Options
from evac.backend import MissingExtra, Plugin

if TYPE_CHECKING:
    from evac.backend import Backend, Settings


def build(settings: Settings) -> Backend:
    """A backend for some hosts; starts nothing and does no I/O.

    Raises:
        MissingExtra: libvirt-python is not installed.
    """
    if find_spec("libvirt") is None:
        raise MissingExtra("libvirt", "libvirt", "libvirt (libvirt-python)")
    from backends.libvirt.backend import LibvirtBackend  # noqa: PLC0415 - not needed to read a config

    return LibvirtBackend(settings)


PLUGIN = Plugin(
    kind="libvirt",
    options_type=Options,
    build=build,
    extra="libvirt",
    secret_keys=SECRET_KEYS,
)
"""What the entry point "evac.backends" yields."""
