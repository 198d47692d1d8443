"""Where nodes take migrations in: their addresses in the network that the datacenter's options, or evac's config, name."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.proxmox import PLUGIN
from backends.proxmox.options import Moves, Options
from backends.simulation import deeds
from evac.backend import KnowsMigrationNetwork, Settings
from evac.errors import ReadOnly
from tests.wire.proxmox_site import Site


@asynccontextmanager
async def opened(site: Site, *, network: str = "") -> AsyncIterator[Any]:
    """Read-only: it is a look."""
    async with site.simulator.serve():
        options = Options(
            endpoints=(site.simulator.endpoint,),
            fingerprints=(site.simulator.fingerprint,),
            username="root@pam",
            password=site.simulator.password,
            migration=Moves(network=network),
        )
        backend = PLUGIN.build(Settings(name="pve", options=options, read_only=True))
        try:
            yield backend
        finally:
            await backend.close()


@pytest.fixture
def site() -> Site:
    site = Site()
    for host in site.world.hosts.values():
        host.inward = host.address.replace("10.0.", "10.1.", 1)
        host.machine.links.append(("vmbr1", "bridge"))
        host.machine.carrier = "vmbr1"
        host.machine.mtus["vmbr1"] = 9000
    return site


async def asked(site: Site, *nodes: str, network: str = "") -> Mapping[str, str]:
    async with opened(site, network=network) as backend:
        assert isinstance(backend, KnowsMigrationNetwork)
        found: Mapping[str, str] = await backend.migration_addresses(nodes)
    assert not site.simulator.troubles
    return found


async def test_without_a_network_of_its_own_nothing_is_said(site: Site) -> None:
    assert await asked(site, "pve1", "pve2") == {}


async def test_the_addresses_in_the_datacenters_network_are_told(site: Site) -> None:
    site.simulator.site.migration_network = "10.1.0.0/16"
    assert await asked(site, "pve1", "pve2") == {"pve1": "10.1.0.2", "pve2": "10.1.0.3"}


async def test_evacs_own_word_goes_before_and_a_node_without_an_address_there_is_left_out(site: Site) -> None:
    site.simulator.site.migration_network = "192.0.2.0/24"
    site.world.hosts["pve2"].inward = ""
    assert await asked(site, "pve1", "pve2", network="10.1.0.0/16") == {"pve1": "10.1.0.2"}


async def test_a_node_that_is_down_is_left_out_and_the_look_changes_nothing(site: Site) -> None:
    site.simulator.site.migration_network = "10.1.0.0/16"
    deeds.kill(site.world, "pve3")
    async with opened(site) as backend:
        end = time.monotonic() + 10
        while "pve3" in (told := await backend.migration_addresses(["pve1", "pve3"])):
            assert time.monotonic() < end, "the others never notice"
        assert told == {"pve1": "10.1.0.2"}
        with pytest.raises(ReadOnly):
            await backend.stop("100")
    assert {method for method, path, _ in site.simulator.forms if "ticket" not in path} == {"GET"}
