"""The same calls to the simulated Proxmox VE and to fakepve, a stranger's double: where fakepve is faithful, both say the same.

fakepve's migrations of VMs, node status and HA are filler (nothing moves there), so these are left to the schema.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fakepve import FakePve
from fakepve.certs import make_cert
from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException

from tests.wire.proxmox_site import Site

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

CALLS: dict[str, Callable[[Any], Any]] = {
    "a guest that is not there": lambda api: api.nodes("pve1").qemu(999).config.get(),
    "a stop under a lock": lambda api: api.nodes("pve1").qemu(104).status.stop.post(),
    "a parameter too many": lambda api: api.nodes("pve1").qemu(100).migrate.post(target="pve2", sudo=1),
    "a truth that is none": lambda api: api.nodes("pve1").qemu(100).migrate.post(target="pve2", online="x"),
    "a number that is none": lambda api: api.nodes("pve1").qemu(100).migrate.post(target="pve2", bwlimit="x"),
    "a parameter that lacks": lambda api: api.nodes("pve1").qemu(100).migrate.post(online=1),
}


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Site, Any, Any]]:
    site = Site()
    site.guest(104).lock = "backup"
    cert, key, _ = make_cert(str(tmp_path), hosts=("127.0.0.1",))
    other = FakePve(host="127.0.0.1", port=0)
    other.add_node("pve2")
    for vmid, guest in site.simulator.site.guests.items():
        if guest.kind == "qemu":
            other.add_vm(vmid, guest.vm.name, node=guest.vm.host, status="running")
    other.vm(104).lock = "backup"
    await other.start(cert, key)

    def connect() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ProxmoxAPI(
                "127.0.0.1", port=other.port, user="root@pam", password="secret", verify_ssl=False
            )

    async with site.simulator.serve():
        yield site, await site.call(site.connect), await site.call(connect)
    await other.stop()


def refusal(act: Callable[[Any], Any], api: Any) -> tuple[int, str, set[str]]:
    """Status, words, and the parameters that are blamed."""
    with pytest.raises(ResourceException) as error:
        act(api)
    blamed = error.value.errors if isinstance(error.value.errors, dict) else {}
    return error.value.status_code, error.value.content.strip(), set(blamed)


@pytest.mark.parametrize("what", CALLS)
async def test_both_refuse_with_the_same_status_words_and_parameters(
    both: tuple[Site, Any, Any], what: str
) -> None:
    site, ours, theirs = both
    assert await site.call(lambda: refusal(CALLS[what], ours)) == await site.call(
        lambda: refusal(CALLS[what], theirs)
    )


async def test_both_tell_the_same_of_guests_and_of_nodes(both: tuple[Site, Any, Any]) -> None:
    site, ours, theirs = both
    keys = ("id", "vmid", "node", "name", "status", "type", "lock")
    rows = []
    for api in (ours, theirs):
        found = await site.call(lambda api=api: api.cluster.resources.get(type="vm"))  # type: ignore[misc]
        rows.append(
            sorted(
                (
                    tuple((key, row[key]) for key in keys if row.get(key))
                    for row in found
                    if row["type"] == "qemu"
                ),
                key=repr,
            )
        )
    assert rows[0] == rows[1]
    for read in ("version", "nodes"):
        mine, other = [await site.call(getattr(api, read).get) for api in (ours, theirs)]
        assert type(mine) is type(other)
    told, heard = [
        await site.call(lambda api=api: api.nodes("pve1").qemu(100).status.current.get())  # type: ignore[misc]
        for api in (ours, theirs)
    ]
    assert {key: type(heard[key]) for key in ("vmid", "name", "status", "qmpstatus", "maxmem", "uptime")} == {
        key: type(told[key]) for key in ("vmid", "name", "status", "qmpstatus", "maxmem", "uptime")
    }


async def test_both_shut_the_door_with_401(both: tuple[Site, Any, Any]) -> None:
    site, ours, theirs = both
    for api in (ours, theirs):
        port = int(api._store["base_url"].split(":")[2].split("/")[0])

        def knock(port: int = port) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ProxmoxAPI("127.0.0.1", port=port, user="root@pam", password="wrong", verify_ssl=False)

        with pytest.raises(AuthenticationError, match="401"):
            await site.call(knock)
