"""OpenStack, by openstacksdk. Importing this package is cheap: the SDK is imported by `build`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.openstack.options import SECRET_KEYS, Options
from evac.backend import Found, MissingExtra, Plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evac.backend import Backend, Settings


def build(settings: Settings) -> Backend:
    """A backend for one cloud and region; imports openstacksdk, does no I/O on the network.

    Raises:
        MissingExtra: openstacksdk is not installed.
    """
    if find_spec("openstack") is None:
        raise MissingExtra("openstack", "openstack", "openstack (openstacksdk)")
    from backends.openstack.backend import OpenStackBackend  # noqa: PLC0415 - the SDK takes half a second to import

    return OpenStackBackend(settings)


def discover() -> Sequence[Found]:
    """The clouds and regions of clouds.yaml; reads files only, raises nothing."""
    from backends.openstack.clouds import discover as find  # noqa: PLC0415 - pulls in a YAML parser

    return find()


PLUGIN = Plugin(
    kind="openstack",
    options_type=Options,
    build=build,
    extra="openstack",
    discover=discover,
    secret_keys=SECRET_KEYS,
)
"""What the entry point "evac.backends" yields."""
