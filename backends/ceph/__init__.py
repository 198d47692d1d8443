"""Ceph, by librados or the `ceph` command. Importing this package is cheap: libraries are imported by the worker."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backends.ceph.options import Options
from evac.backend import Found, MissingExtra, Plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evac.backend import Backend, Settings


def build(settings: Settings) -> Backend:
    """A backend for one cluster; starts nothing and does no I/O.

    Raises:
        MissingExtra: a module is missing that counts placement groups, or that reaches a host over SSH.
    """
    from backends.ceph.setup import carrier_of  # noqa: PLC0415 - looks for libraries

    if find_spec("numpy") is None:
        raise MissingExtra("ceph", "ceph", "numpy")
    if carrier_of(settings.options) == "ssh" and find_spec("asyncssh") is None:
        raise MissingExtra("ceph", "ceph", "asyncssh")
    from backends.ceph.backend import CephBackend  # noqa: PLC0415 - not needed to read a config

    return CephBackend(settings)


def discover() -> Sequence[Found]:
    """The clusters this machine has a ceph.conf for; reads files only, raises nothing."""
    from backends.ceph.discovery import discover as find  # noqa: PLC0415 - for `evac import` only

    return find()


PLUGIN = Plugin(
    kind="ceph",
    options_type=Options,
    build=build,
    extra="ceph",
    discover=discover,
)
"""What the entry point "evac.backends" yields."""
