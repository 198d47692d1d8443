"""Proxmox VE, by proxmoxer. Importing this package is cheap: the SDK is imported by `build`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.proxmox.options import SECRET_KEYS, Options
from evac.backend import MissingExtra, Plugin

if TYPE_CHECKING:
    from evac.backend import Backend, Settings


def build(settings: Settings) -> Backend:
    """A backend for one cluster; imports proxmoxer, does no I/O on the network.

    Raises:
        MissingExtra: proxmoxer, requests or asyncssh is not installed.
    """
    options: Options = settings.options
    for module in ("proxmoxer", "requests", *(("asyncssh",) if options.ssh else ())):
        if find_spec(module) is None:
            raise MissingExtra("proxmox", "proxmox", module)
    from backends.proxmox.backend import ProxmoxBackend  # noqa: PLC0415 - requests takes a while to import

    return ProxmoxBackend(settings)


PLUGIN = Plugin(
    kind="proxmox",
    options_type=Options,
    build=build,
    extra="proxmox",
    secret_keys=SECRET_KEYS,
)
"""What the entry point "evac.backends" yields."""
