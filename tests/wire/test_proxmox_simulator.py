"""Unmodified proxmoxer against the simulated Proxmox VE: login, inventory, moves, tasks, refusals in PVE's own words.

Each answer given in any of these tests is held against the schema that Proxmox VE publishes.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from fakepve import schema
from proxmoxer import AuthenticationError, ResourceException
from requests import ConnectionError  # noqa: A004

from backends.proxmox.simulator import CODE
from backends.simulation import deeds
from backends.simulation.faults import Fault, Kind
from tests.wire.proxmox_site import Site

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

ACTIVE = re.compile(
    r"migration active, transferred [\d.]+ [KMG]?i?B of [\d.]+ [KMG]iB VM-state, [\d.]+ [KMG]?i?B/s"
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    async with found.simulator.serve():
        yield found
    assert found.simulator.troubles == []


@pytest.fixture
async def api(site: Site) -> Any:
    return await site.call(site.connect)


# --- who may ---------------------------------------------------------------------------------------------------


async def test_its_certificate_is_the_one_whose_fingerprint_it_tells(site: Site) -> None:
    host, port = site.simulator.endpoint.split(":")
    pem = await site.call(lambda: ssl.get_server_certificate((host, int(port))))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert site.simulator.fingerprint.replace(":", "") == digest
    assert ssl.PEM_cert_to_DER_cert(site.simulator.pem) == ssl.PEM_cert_to_DER_cert(pem)


async def test_a_password_a_token_and_a_second_factor_open_it_and_wrong_ones_do_not(site: Site) -> None:
    token: dict[str, Any] = {"token_name": "evac", "token_value": site.simulator.token, "password": None}
    for more in ({}, token):
        client = await site.call(partial(site.connect, **more))
        assert (await site.call(client.version.get))["version"].startswith("9.")
    factor = await site.call(lambda: site.connect("totp@pve", otp=CODE))
    assert await site.call(factor.version.get)
    with pytest.raises(AuthenticationError, match="401"):
        await site.call(lambda: site.connect(password="wrong"))
    with pytest.raises(AuthenticationError, match="Two Factor"):
        await site.call(lambda: site.connect("totp@pve"))
    liar = await site.call(lambda: site.connect(token_name="evac", token_value="no", password=None))
    with pytest.raises(ResourceException) as refusal:
        await site.call(liar.version.get)
    assert refusal.value.status_code == 401


async def test_an_auditor_reads_all_and_is_refused_with_the_privilege_that_lacks(site: Site) -> None:
    auditor = await site.call(lambda: site.connect("auditor@pve"))
    assert len(await site.rows(auditor)) == 8
    with pytest.raises(
        ResourceException, match=r"Permission check failed \(/vms/100, VM.Migrate\)"
    ) as refusal:
        await site.call(lambda: auditor.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert refusal.value.status_code == 403
    assert site.vms[0].host == "pve1"


async def test_a_ticket_that_is_no_longer_good_is_refused_and_writes_want_the_csrf_token(
    site: Site, api: Any
) -> None:
    api._backend.auth.csrf_prevention_token = "00000000:wrong"
    with pytest.raises(ResourceException, match="invalid csrf token"):
        await site.call(api.nodes("pve1").qemu(100).status.stop.post)
    site.simulator.access.revoked = site.world.wall() + 10
    with pytest.raises(ResourceException, match="invalid PVE ticket"):
        await site.call(api.version.get)


# --- what is told ----------------------------------------------------------------------------------------------


async def test_every_list_is_as_the_schema_has_it(site: Site, api: Any) -> None:
    site.simulator.manager.manage(site.guest(102))
    site.guest(104).pool = "shop"
    node = api.nodes("pve1")
    before = site.simulator.judged
    for read in (
        api.cluster.resources.get,
        api.cluster.status.get,
        api.cluster.tasks.get,
        api.cluster.options.get,
        api.cluster.ha.resources.get,
        api.cluster.ha.status.current.get,
        api.cluster.ha.status.manager_status.get,
        api.cluster.ha.rules.get,
        api.nodes.get,
        api.storage.get,
        api.pools.get,
        api.access.permissions.get,
        node.status.get,
        node.time.get,
        node.version.get,
        node.qemu.get,
        api.nodes("pve2").lxc.get,
        node.storage.get,
        node.tasks.get,
        node.qemu(100).config.get,
        node.qemu(100).status.current.get,
        node.qemu(100).migrate.get,
        node.qemu(100).snapshot.get,
        node.qemu(100).pending.get,
        node.qemu(100).agent("network-get-interfaces").get,
        api.nodes("pve2").lxc(105).config.get,
        api.nodes("pve2").lxc(105).status.current.get,
        api.nodes("pve2").lxc(105).migrate.get,
        api.nodes("pve2").lxc(105).interfaces.get,
        api.nodes("pve2").lxc(105).snapshot.get,
    ):
        await site.call(read)
    assert site.simulator.judged == before + 30


def test_every_route_and_every_parameter_it_takes_is_in_the_schema() -> None:
    known = schema.load()
    example = {"node": "pve1", "vmid": "100", "upid": "UPID:x", "sid": "vm:100", "id": "nightly"}
    for route in Site().simulator._routes:
        match = known.match(re.sub(r"\{(\w+)\}", lambda name: example[name[1]], route.path))
        assert match is not None, route.path
        assert route.method in match.methods, f"{route.method} {route.path}"
        takes = (match.methods[route.method].get("parameters") or {}).get("properties") or {}
        assert set(route.known) <= set(takes), f"{route.method} {route.path}"
        for name, spec in takes.items():
            if not spec.get("optional") and name not in match.params:
                assert route.known.get(name, (False, ""))[0], (
                    f"{route.method} {route.path}: {name} is required"
                )


async def test_resources_tell_kind_node_tags_pool_lock_and_ha_of_each_guest(site: Site, api: Any) -> None:
    site.guest(104).pool, site.guest(104).lock = "shop", "backup"
    site.simulator.manager.manage(site.guest(102))
    rows = await site.rows(api)
    assert {vmid: row["type"] for vmid, row in rows.items() if row["type"] == "lxc"} == {105: "lxc"}
    assert rows[101]["tags"] == "prod;db"
    assert (rows[104]["pool"], rows[104]["lock"]) == ("shop", "backup")
    assert [vmid for vmid, row in rows.items() if "hastate" in row] == [102]
    assert (await site.call(api.nodes("pve1").qemu(100).config.get))["smbios1"] == f"uuid={site.vms[0].id}"
    told = await site.call(api.nodes("pve1").qemu(100).agent("network-get-interfaces").get)
    addresses = [one["ip-address"] for card in told["result"] for one in card["ip-addresses"]]
    assert "10.1.0.1" in addresses


# --- moving ----------------------------------------------------------------------------------------------------


async def test_a_live_migration_is_logged_second_by_second_and_the_guest_is_on_the_target(
    site: Site, api: Any
) -> None:
    site.world.hosts["pve1"].link = 400e6
    before = await site.call(api.nodes("pve1").qemu(100).migrate.get)
    assert before["allowed_nodes"] == ["pve2", "pve3", "pve4"]
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    with pytest.raises(ResourceException, match=r"VM is locked \(migrate\)"):
        await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "OK"
    lines = await site.log(api, upid)
    assert len([line for line in lines if ACTIVE.search(line)]) > 3
    assert any(re.search(r"average migration speed: .*/s - downtime \d+ ms$", line) for line in lines)
    assert lines[-1] == "TASK OK"
    row = (await site.rows(api))[100]
    assert (row["node"], row["status"], "lock" in row) == ("pve3", "running", False)
    assert site.vms[0].runs_on == "pve3"


async def test_a_bandwidth_limit_is_kept(site: Site, api: Any) -> None:
    limit = 200 * 1024
    upid = await site.call(
        lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1, bwlimit=limit)
    )
    assert await site.ended(api, upid) == "OK"
    task = site.simulator.tasks.all[upid]
    assert task.ended is not None
    assert task.ended - task.started > 2 * 2**30 / (limit * 1024)
    assert any("migration speed limit: 200.0 MiB/s" in line for line in task.log)


async def test_a_local_disk_goes_only_when_asked_and_is_mirrored_first(site: Site, api: Any) -> None:
    node = api.nodes("pve2").qemu(103)
    told = await site.call(node.migrate.get)
    assert [one["volid"] for one in told["local_disks"]] == ["local-lvm:vm-103-disk-0"]
    upid = await site.call(lambda: node.migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "migration aborted"
    assert any("without with-local-disks option" in line for line in await site.log(api, upid))
    upid = await site.call(lambda: node.migrate.post(target="pve3", online=1, **{"with-local-disks": 1}))
    assert await site.ended(api, upid) == "OK"
    lines = await site.log(api, upid)
    mirrored = [line for line in lines if line.startswith("drive-scsi0: transferred")]
    assert len(mirrored) > 3
    assert mirrored[-1].endswith("ready")
    assert site.vms[3].runs_on == "pve3"


async def test_a_container_moves_by_a_restart_alone(site: Site, api: Any) -> None:
    node = api.nodes("pve2").lxc(105)
    with pytest.raises(ResourceException, match="running container without --online or --restart"):
        await site.call(lambda: node.migrate.post(target="pve3"))
    upid = await site.call(lambda: node.migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "migration aborted"
    assert any(
        "lxc live migration is currently not implemented" in line for line in await site.log(api, upid)
    )
    upid = await site.call(lambda: node.migrate.post(target="pve3", restart=1))
    assert await site.ended(api, upid) == "OK"
    assert any("start container on target node" in line for line in await site.log(api, upid))
    await site.until_row(api, 105, node="pve3", status="running")


async def test_a_stopped_vm_moves_without_running_anywhere(site: Site, api: Any) -> None:
    upid = await site.call(api.nodes("pve1").qemu(100).status.stop.post)
    assert await site.ended(api, upid) == "OK"
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve4", online=1))
    assert await site.ended(api, upid) == "OK"
    await site.until_row(api, 100, node="pve4", status="stopped")
    assert site.vms[0].runs_on == ""


async def test_a_task_that_is_stopped_leaves_the_guest_where_it_was_and_unlocked(
    site: Site, api: Any
) -> None:
    site.world.hosts["pve1"].link = 5e6
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    await site.until(
        lambda: api.nodes("pve1").tasks(upid).log.get(limit=500),
        lambda lines: any("migration active" in line["t"] for line in lines),
        "bytes",
    )
    await site.call(api.nodes("pve1").tasks(upid).delete)
    assert await site.ended(api, upid) == "migration problems"
    row = await site.until_row(api, 100, node="pve1", status="running")
    assert "lock" not in row
    assert site.vms[0].runs_on == "pve1"


async def test_a_guest_that_does_not_converge_gets_more_downtime_until_it_arrives(
    site: Site, api: Any
) -> None:
    site.world.hosts["pve1"].link = 200e6
    site.vms[0].dirty_rate, site.vms[0].working_set = 300e6, 1e9
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "OK"
    lines = await site.log(api, upid)
    assert any("VM dirties lots of memory" in line for line in lines)
    assert any("auto-increased downtime to continue migration: 200 ms" in line for line in lines)


async def test_a_disk_moves_to_another_storage_while_its_guest_runs(site: Site, api: Any) -> None:
    node = api.nodes("pve1").qemu(100)
    upid = await site.call(lambda: node.move_disk.post(disk="scsi0", storage="ceph-ssd", delete=1))
    assert await site.ended(api, upid) == "OK"
    assert (await site.call(node.config.get))["scsi0"].startswith("ceph-ssd:")
    assert any("mirror-job finished" in line for line in await site.log(api, upid))


async def test_two_disks_that_leave_one_node_share_its_link(site: Site, api: Any) -> None:
    site.world.hosts["pve1"].link = site.world.hosts["pve2"].link = 1e9
    for number in (0, 1, 2):
        site.vms[number].disk = 40 * 10**9

    async def moved(node: str, vmid: int) -> str:
        guest = api.nodes(node).qemu(vmid)
        return str(await site.call(lambda: guest.move_disk.post(disk="scsi0", storage="ceph-ssd", delete=1)))

    tasks = [await moved(*one) for one in (("pve1", 100), ("pve1", 102), ("pve2", 101))]
    assert [await site.ended(api, upid) for upid in tasks] == ["OK"] * 3
    took = [(task.ended or 0.0) - task.started for task in map(site.simulator.tasks.all.__getitem__, tasks)]
    assert took[2] == pytest.approx(40, rel=0.05), "one alone has the whole link"
    assert took[0] + took[1] > 140, "two had to share it"


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"target": "pve1", "online": 1}, 400, "target is local node."),
        ({"target": "pve9", "online": 1}, 500, "no such cluster node 'pve9'"),
        ({"target": "pve2"}, 500, "can't migrate running VM without --online"),
        ({"target": "pve2", "online": "maybe"}, 400, "type check \\('boolean'\\) failed"),
        ({"online": 1}, 400, "property is missing and it is not optional"),
        ({"target": "pve2", "online": 1, "sudo": 1}, 400, "property is not defined in schema"),
        ({"target": "pve2", "online": 1, "targetstorage": "nas"}, 500, "storage 'nas' does not exist"),
    ],
)
async def test_a_migration_is_refused_in_the_words_of_proxmox(
    site: Site, api: Any, given: dict[str, Any], code: int, words: str
) -> None:
    with pytest.raises(ResourceException, match=words) as refusal:
        await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(**given))
    assert refusal.value.status_code == code
    assert site.simulator.tasks.all == {}


async def test_devices_a_cpu_and_a_dead_target_fail_the_task_and_say_why(site: Site, api: Any) -> None:
    site.guest(100).devices = ("hostpci0",)
    site.guest(102).cpu = "host"
    site.world.hosts["pve3"].cpu_features = ("sse4.2",)
    deeds.kill(site.world, "pve4")
    for vmid, target, words in (
        (100, "pve3", "can't migrate VM which uses local devices: hostpci0"),
        (102, "pve3", "Host doesn't support requested features"),
        (104, "pve4", "Can't connect to destination address using public key"),
    ):
        act = api.nodes("pve1").qemu(vmid).migrate
        upid = await site.call(partial(act.post, target=target, online=1))
        assert (await site.ended(api, upid)).startswith("migration")
        assert any(words in line for line in await site.log(api, upid)), words
        assert site.guest(vmid).vm.runs_on == "pve1"
        assert site.guest(vmid).lock == ""


async def test_only_root_himself_takes_a_lock_away(site: Site, api: Any) -> None:
    site.guest(100).lock = "backup"
    token: dict[str, Any] = {"token_name": "evac", "token_value": site.simulator.token, "password": None}
    with_token = await site.call(lambda: site.connect(**token))
    with pytest.raises(ResourceException, match="Only root may use this option"):
        await site.call(lambda: with_token.nodes("pve1").qemu(100).config.put(delete="lock", skiplock=1))
    with pytest.raises(ResourceException, match=r"VM is locked \(backup\)"):
        await site.call(lambda: api.nodes("pve1").qemu(100).config.put(delete="lock"))
    await site.call(lambda: api.nodes("pve1").qemu(100).config.put(delete="lock", skiplock=1))
    assert "lock" not in (await site.rows(api))[100]


async def test_a_locked_guest_is_not_stopped_and_its_start_fails_in_the_task(site: Site, api: Any) -> None:
    node = api.nodes("pve1").qemu(100)
    site.guest(100).lock = "backup"
    with pytest.raises(ResourceException, match=r"VM is locked \(backup\)"):
        await site.call(node.status.stop.post)
    upid = await site.call(node.status.start.post)
    assert await site.ended(api, upid) == "VM is locked (backup)"


# --- what goes wrong -------------------------------------------------------------------------------------------


async def test_faults_of_the_world_strike_on_this_wire(site: Site, api: Any) -> None:
    order = site.world.faults.order
    order(Fault(kind=Kind.STATUS, on="resources", status=596))
    with pytest.raises(ResourceException) as error:
        await site.call(api.cluster.resources.get)
    assert error.value.status_code == 596
    for kind in (Kind.GARBAGE, Kind.TRUNCATED):
        order(Fault(kind=kind, on="resources"))
        assert list(await site.call(api.cluster.resources.get)) == [
            "errors"
        ]  # proxmoxer's way to say: no JSON
    for kind in (Kind.RESET_BEFORE, Kind.RESET_AFTER):
        order(Fault(kind=kind, on="resources"))
        with pytest.raises(ConnectionError):
            await site.call(api.cluster.resources.get)
    order(Fault(kind=Kind.UNAUTHORIZED, on="GET /version"))
    with pytest.raises(ResourceException, match="invalid PVE ticket"):
        await site.call(api.version.get)
    order(Fault(kind=Kind.RESET_AFTER, on="live_migrate"))
    with pytest.raises(ConnectionError):
        await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    await site.until_row(api, 100, node="pve3", status="running")


async def test_a_migration_that_hangs_holds_its_lock_until_somebody_stops_the_task(
    site: Site, api: Any
) -> None:
    for vmid, kind in ((100, Kind.NEVER_STARTS), (102, Kind.STUCK)):
        site.world.faults.order(Fault(kind=kind, on="live_migrate", vm=site.guest(vmid).vm.id))
        act = api.nodes("pve1").qemu(vmid).migrate
        upid = await site.call(partial(act.post, target="pve3", online=1))
        await site.until_row(api, vmid, lock="migrate")
        await site.pass_time(api, 30)
        assert (await site.rows(api))[vmid]["lock"] == "migrate"
        await site.call(api.nodes("pve1").tasks(upid).delete)
        assert await site.ended(api, upid) == "migration problems"
        await site.until_row(api, vmid, node="pve1", status="running")


async def test_a_cluster_that_lies_says_ok_and_the_guest_is_still_on_its_source(site: Site, api: Any) -> None:
    site.world.faults.order(Fault(kind=Kind.LIES_COMPLETED, on="live_migrate"))
    site.world.hosts["pve1"].link = 50e6
    upid = await site.call(lambda: api.nodes("pve1").qemu(100).migrate.post(target="pve3", online=1))
    assert await site.ended(api, upid) == "OK"
    assert (await site.rows(api))[100]["node"] == "pve1"


async def test_a_method_nobody_knows_is_not_implemented(site: Site, api: Any) -> None:
    with pytest.raises(ResourceException, match="not implemented") as refusal:
        await site.call(api.nodes("pve1").hardware.get)
    assert refusal.value.status_code == 501
