"""Byte for byte what Nova says: microversions, refusals, lists. Compared with what a real Nova 34 answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from backends.openstack.simulator import NovaSimulator
from backends.simulation import deeds
from backends.simulation.clocks import ManualClock
from backends.simulation.things import GIB, SimVM, Timing
from backends.simulation.world import World
from evac.model import VMState


class Wire:
    """Plain HTTP with a token, on a cloud whose clock stands still until it is told to move."""

    def __init__(self, simulator: NovaSimulator, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.world = simulator.world
        self.clock = clock
        self.session = session
        self.vm: SimVM = next(iter(self.world.vms.values()))

    async def ask(
        self, method: str, path: str, body: Any = None, *, minor: str = "2.96", user: str = "admin"
    ) -> tuple[int, Any, Any]:
        """(status, decoded body, headers)"""
        account = self.simulator.keystone.accounts[user]
        headers = {"X-Auth-Token": await self.token(user), "OpenStack-API-Version": f"compute {minor}"}
        url = f"{self.simulator.keystone.endpoints['RegionOne']['compute']}{path}"
        assert account.name == user
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            whole = await answer.read()
            is_json = answer.content_type == "application/json"
            decoded = (await answer.json() if is_json else whole.decode()) if whole else None
            return answer.status, decoded, answer.headers

    async def token(self, user: str) -> str:
        known = [item.id for item in self.simulator.keystone.tokens.values() if item.account.name == user]
        if known:
            return known[0]
        identity = {"methods": ["password"], "password": {"user": {"name": user, "password": user}}}
        body = {
            "auth": {
                "identity": identity,
                "scope": {"project": {"name": user if user == "demo" else "admin"}},
            }
        }
        async with self.session.post(f"{self.simulator.auth_url}/auth/tokens", json=body) as answer:
            assert answer.status == 201
            return answer.headers["X-Subject-Token"]

    async def act(self, body: dict[str, Any], *, minor: str = "2.96") -> tuple[int, Any]:
        status, answer, _ = await self.ask("POST", f"/servers/{self.vm.id}/action", body, minor=minor)
        return status, answer

    async def get(self, path: str, *, minor: str = "2.96") -> Any:
        status, answer, _ = await self.ask("GET", path, minor=minor)
        assert status == 200, answer
        return answer


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    clock = ManualClock()
    world = World(seed=5, now=clock, epoch=1_800_000_000.0, timing=Timing())
    for number in range(1, 4):
        world.add_host(f"cmp0{number}", link=1e9)
    for number in range(3):
        world.add_vm(f"vm-{number}", "cmp01", memory=GIB, addresses=("10.0.0.9", "fd00::9"))
    simulator = NovaSimulator(world)
    async with simulator.serve(), aiohttp.ClientSession() as session:
        yield Wire(simulator, clock, session)


LIVE = {"host": "cmp02", "block_migration": "auto"}


def error(wire: Wire) -> None:
    wire.vm.state = VMState.ERROR


def stopped(wire: Wire) -> None:
    wire.vm.state, wire.vm.power = VMState.STOPPED, "shutdown"


def migrating(wire: Wire) -> None:
    wire.vm.task = "migrating"


def source_down(wire: Wire) -> None:
    deeds.force_down(wire.world, "cmp01", down=True)


def target_down(wire: Wire) -> None:
    deeds.force_down(wire.world, "cmp02", down=True)


def nothing(_wire: Wire) -> None:
    return


REFUSALS: list[tuple[str, Callable[[Wire], None], dict[str, Any], str, int, str]] = [
    (
        "evacuate, host up",
        nothing,
        {"evacuate": {}},
        "2.96",
        400,
        "Compute service of cmp01 is still in use.",
    ),
    (
        "evacuate to unknown",
        nothing,
        {"evacuate": {"host": "nohost"}},
        "2.96",
        404,
        "Compute host nohost not found.",
    ),
    (
        "evacuate to its own",
        nothing,
        {"evacuate": {"host": "cmp01"}},
        "2.96",
        400,
        "The target host can't be the same one.",
    ),
    (
        "evacuate at 2.1",
        nothing,
        {"evacuate": {}},
        "2.1",
        400,
        "Invalid input for field/attribute evacuate. Value: {}. 'onSharedStorage' is a required property",
    ),
    (
        "live to its own host, 2.25",
        nothing,
        {"os-migrateLive": LIVE | {"host": "cmp01"}},
        "2.25",
        400,
        "Unable to migrate instance (UUID) to current host (cmp01).",
    ),
    (
        "live to its own host, 2.30",
        nothing,
        {"os-migrateLive": LIVE | {"host": "cmp01"}},
        "2.30",
        400,
        "No valid host was found. There are not enough hosts available.",
    ),
    (
        "live to unknown",
        nothing,
        {"os-migrateLive": LIVE | {"host": "nohost"}},
        "2.96",
        400,
        "Compute host nohost could not be found.",
    ),
    (
        "live, in error",
        error,
        {"os-migrateLive": LIVE},
        "2.96",
        409,
        "Cannot 'os-migrateLive' instance UUID while it is in vm_state error",
    ),
    (
        "live, stopped",
        stopped,
        {"os-migrateLive": LIVE},
        "2.96",
        409,
        "Cannot 'os-migrateLive' instance UUID while it is in vm_state stopped",
    ),
    (
        "live, migrating",
        migrating,
        {"os-migrateLive": LIVE},
        "2.96",
        409,
        "Cannot 'os-migrateLive' instance UUID while it is in task_state migrating",
    ),
    (
        "live from a down host, 2.30",
        source_down,
        {"os-migrateLive": LIVE},
        "2.30",
        400,
        "Compute service of cmp01 is unavailable at this time.",
    ),
    (
        "live with force at 2.68",
        nothing,
        {"os-migrateLive": LIVE | {"force": True}},
        "2.68",
        400,
        "Invalid input for field/attribute os-migrateLive. Value: {'host': 'cmp02', 'block_migration': 'auto', 'force': True}. Additional properties are not allowed ('force' was unexpected)",
    ),
    (
        "cold, in error",
        error,
        {"migrate": None},
        "2.96",
        409,
        "Cannot 'migrate' instance UUID while it is in vm_state error",
    ),
    (
        "cold from a down host",
        source_down,
        {"migrate": None},
        "2.96",
        409,
        "Service is unavailable at this time.",
    ),
    (
        "cold to its own host",
        nothing,
        {"migrate": {"host": "cmp01"}},
        "2.96",
        400,
        "Cannot migrate to the host where the server exists.",
    ),
    (
        "cold to unknown",
        nothing,
        {"migrate": {"host": "nohost"}},
        "2.96",
        400,
        "Compute host nohost could not be found.",
    ),
    (
        "confirm when not resized",
        nothing,
        {"confirmResize": None},
        "2.96",
        409,
        "Cannot 'confirmResize' instance UUID while it is in vm_state active",
    ),
    (
        "reset to nonsense",
        nothing,
        {"os-resetState": {"state": "banana"}},
        "2.96",
        400,
        "Invalid input for field/attribute state. Value: banana. 'banana' is not one of ['active', 'error']",
    ),
]
NOBODY = "11111111-1111-4111-8111-111111111111"
CHANGES = "Invalid input for query parameters changes-since. Value: yesterday. {}"
NAMES = {400: "badRequest", 404: "itemNotFound", 409: "conflictingRequest"}


@pytest.mark.parametrize(
    ("prepare", "body", "minor", "code", "message"),
    [row[1:] for row in REFUSALS],
    ids=[row[0] for row in REFUSALS],
)
async def test_a_refusal_is_word_for_word_novas_and_changes_nothing(  # noqa: PLR0917 - pytest passes them by name
    wire: Wire, prepare: Callable[[Wire], None], body: dict[str, Any], minor: str, code: int, message: str
) -> None:
    prepare(wire)
    wire.world.log.clear()
    status, answer = await wire.act(body, minor=minor)
    assert status == code
    assert answer == {NAMES[code]: {"code": code, "message": message.replace("UUID", wire.vm.id)}}
    assert wire.world.log == []


@pytest.mark.parametrize(
    ("prepare", "target", "details"),
    [
        (nothing, "cmp01", "No valid host was found. There are not enough hosts available."),
        (source_down, "cmp02", "Compute service of cmp01 is unavailable at this time."),
        (target_down, "cmp02", "Compute service of cmp02 is unavailable at this time."),
    ],
)
async def test_from_2_34_on_it_is_accepted_and_fails_later_with_the_reason_in_the_action(
    wire: Wire, prepare: Callable[[Wire], None], target: str, details: str
) -> None:
    prepare(wire)
    assert await wire.act({"os-migrateLive": LIVE | {"host": target}}, minor="2.68") == (202, None)
    wire.clock.advance(5)
    server = (await wire.get(f"/servers/{wire.vm.id}"))["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"], "fault" in server) == ("ACTIVE", None, False)
    (record,) = (await wire.get("/os-migrations"))["migrations"]
    assert (record["status"], record["dest_compute"]) == ("error", None)
    (action,) = (await wire.get(f"/servers/{wire.vm.id}/os-instance-actions"))["instanceActions"]
    assert action["message"] == "Error"
    shown = (await wire.get(f"/servers/{wire.vm.id}/os-instance-actions/{action['request_id']}"))[
        "instanceAction"
    ]
    assert (shown["events"][0]["result"], shown["events"][0]["details"]) == ("Error", details)


async def test_a_queued_migration_can_be_aborted_from_2_65_on_and_never_forced(wire: Wire) -> None:
    first, second, _ = wire.world.vms.values()
    for vm in (first, second):
        wire.world.live.migrate(vm.id)
    wire.clock.advance(1)
    path = f"/servers/{second.id}/migrations/2"
    status, answer, _ = await wire.ask("DELETE", path, minor="2.64")
    words = f"Migration 2 state of instance {second.id} is queued. Cannot %s while the migration is in this state."
    assert (status, answer["badRequest"]["message"]) == (400, words % "abort live migration")
    status, answer, _ = await wire.ask("POST", f"{path}/action", {"force_complete": None})
    assert (status, answer["badRequest"]["message"]) == (400, words % "force complete")
    status, _, _ = await wire.ask("DELETE", path)
    assert status == 202
    assert wire.world.moves[2].status == "cancelled"


async def test_the_capacity_of_a_hypervisor_is_told_below_2_88_only(wire: Wire) -> None:
    old = (await wire.get("/os-hypervisors/detail", minor="2.87"))["hypervisors"][0]
    new = (await wire.get("/os-hypervisors/detail", minor="2.88"))["hypervisors"][0]
    oldest = (await wire.get("/os-hypervisors/detail", minor="2.1"))["hypervisors"][0]
    assert (old["vcpus"], old["memory_mb"], old["running_vms"], old["cpu_info"]["vendor"]) == (
        64,
        524288,
        3,
        "Intel",
    )
    assert {"vcpus", "memory_mb", "cpu_info"} & set(new) == set()
    assert " up " in new["uptime"]
    assert (oldest["id"], isinstance(oldest["cpu_info"], str)) == (1, True)
    with_servers = (await wire.get("/os-hypervisors/detail?with_servers=true", minor="2.53"))["hypervisors"]
    assert [len(host["servers"]) for host in with_servers] == [3, 0, 0]


async def test_services_are_changed_by_uuid_from_2_53_on_and_by_name_before(wire: Wire) -> None:
    service = (await wire.get("/os-services?host=cmp02"))["services"][0]
    body = {"status": "disabled", "disabled_reason": "dust"}
    status, answer, _ = await wire.ask("PUT", f"/os-services/{service['id']}", body)
    assert (status, answer["service"]["status"], answer["service"]["disabled_reason"]) == (
        200,
        "disabled",
        "dust",
    )
    status, answer, _ = await wire.ask(
        "PUT", "/os-services/enable", {"host": "cmp02", "binary": "nova-compute"}, minor="2.52"
    )
    assert (status, answer["service"]["status"]) == (200, "enabled")
    down = {"host": "cmp02", "binary": "nova-compute", "forced_down": True}
    status, answer, _ = await wire.ask("PUT", "/os-services/force-down", down, minor="2.11")
    assert (status, answer["service"]["forced_down"]) == (200, True)
    unknown = "11111111-2222-4333-8444-555555555555"
    status, answer, _ = await wire.ask("PUT", f"/os-services/{unknown}", {"forced_down": True})
    assert (status, answer) == (
        404,
        {"itemNotFound": {"code": 404, "message": f"Service {unknown} could not be found."}},
    )


async def test_what_newer_microversions_add_to_a_server_is_not_there_before(wire: Wire) -> None:
    path = f"/servers/{wire.vm.id}"
    first = (await wire.get(path, minor="2.1"))["server"]
    last = (await wire.get(path, minor="2.96"))["server"]
    assert {"locked", "tags", "host_status", "description"} & set(first) == set()
    assert set(first["flavor"]) == {"id", "links"}
    assert (last["host_status"], last["tags"], last["flavor"]["original_name"]) == ("UP", [], "m1.small")
    assert [item["version"] for item in last["addresses"]["private"]] == [4, 6]
    deeds.force_down(wire.world, "cmp01", down=True)
    assert (await wire.get(path))["server"]["host_status"] == "DOWN"


async def test_a_server_without_a_host_and_one_in_a_state_nobody_knows(wire: Wire) -> None:
    wire.vm.hostless = True
    wire.vm.native = "QUIESCED"
    wire.world.touch(wire.vm)
    server = (await wire.get(f"/servers/{wire.vm.id}"))["server"]
    assert (server["OS-EXT-SRV-ATTR:host"], server["status"]) == (None, "QUIESCED")


@pytest.mark.parametrize(
    ("minor", "code", "body"),
    [
        (
            "2.200",
            406,
            {
                "computeFault": {
                    "code": 406,
                    "message": "Version 2.200 is not supported by the API. Minimum is 2.1 and maximum is 2.96.",
                }
            },
        ),
        (
            "two",
            400,
            {
                "badRequest": {
                    "code": 400,
                    "message": "API Version String two is of invalid format. Must be of format MajorNum.MinorNum.",
                }
            },
        ),
    ],
)
async def test_a_microversion_that_is_not_there_is_refused(
    wire: Wire, minor: str, code: int, body: Any
) -> None:
    assert (await wire.ask("GET", "/servers", minor=minor))[:2] == (code, body)


async def test_an_old_cloud_announces_what_it_has(wire: Wire) -> None:
    old = NovaSimulator(wire.world, max_minor=60)
    async with old.serve():
        url = old.keystone.endpoints["RegionOne"]["compute"]
        async with wire.session.get(url) as answer:
            version = (await answer.json())["version"]
    assert (version["min_version"], version["version"]) == ("2.1", "2.60")


async def test_lists_are_cut_by_limit_and_go_on_from_the_marker(wire: Wire) -> None:
    status, answer, _ = await wire.ask("GET", "/servers?all_tenants=1&limit=2")
    assert (status, len(answer["servers"]), answer["servers_links"][0]["rel"]) == (200, 2, "next")
    next_url = answer["servers_links"][0]["href"]
    rest = await wire.get(next_url.partition("/v2.1")[2])
    assert len(rest["servers"]) == 1
    assert "servers_links" not in rest
    status, answer, _ = await wire.ask("GET", "/servers?all_tenants=1&marker=nobody")
    assert (status, answer["badRequest"]["message"]) == (400, "marker [nobody] not found")
    status, _, _ = await wire.ask("GET", "/servers?limit=-1")
    assert status == 400


async def test_migrations_are_filtered_and_paged_newest_first(wire: Wire) -> None:
    for vm in wire.world.vms.values():
        wire.world.live.migrate(vm.id, "cmp02")
        wire.clock.advance(30)
    listed = await wire.get("/os-migrations?limit=2")
    assert [item["id"] for item in listed["migrations"]] == [3, 2]
    assert listed["migrations_links"][0]["href"].endswith(f"marker={listed['migrations'][1]['uuid']}")
    later = (await wire.get("/os-migrations?changes-since=2027-01-15T08:01:00Z"))["migrations"]
    assert [item["id"] for item in later] == [3]
    mine = (await wire.get(f"/os-migrations?instance_uuid={wire.vm.id}&status=completed", minor="2.23"))[
        "migrations"
    ]
    assert [(item["id"], item["migration_type"], "uuid" in item) for item in mine] == [
        (1, "live-migration", False)
    ]


async def test_without_a_token_or_with_a_stale_one_the_door_is_shut(wire: Wire) -> None:
    simulator = wire.simulator
    url = f"{simulator.keystone.endpoints['RegionOne']['compute']}/servers"
    async with wire.session.get(url) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (
            401,
            f'Keystone uri="{simulator.auth_url}"',
        )
    token = await wire.token("admin")
    wire.clock.advance(simulator.keystone.token_life + 1)
    async with wire.session.get(url, headers={"X-Auth-Token": token}) as answer:
        assert (await answer.json())["error"][
            "message"
        ] == "The request you have made requires authentication."


async def test_a_right_can_be_taken_away_alone(wire: Wire) -> None:
    wire.simulator.deny("admin", "os-hypervisors:*")
    status, answer, _ = await wire.ask("GET", "/os-hypervisors/detail")
    message = "Policy doesn't allow os_compute_api:os-hypervisors:list-detail to be performed."
    assert (status, answer) == (403, {"forbidden": {"code": 403, "message": message}})
    assert (await wire.ask("GET", "/os-services"))[0] == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing/here"), ("PATCH", "/servers")])
async def test_a_path_or_method_nobody_knows_is_404_in_plain_text(wire: Wire, method: str, path: str) -> None:
    status, answer, _ = await wire.ask(method, path)
    assert (status, answer) == (404, "404 Not Found\n\nThe resource could not be found.\n\n   ")


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/servers/detail?all_tenants=1&status=NONSENSE", 400, "Invalid status value"),
        ("/servers/detail?changes-since=yesterday", 400, CHANGES.format("'yesterday' is not a 'date-time'")),
        ("/os-hypervisors/1", 400, "Invalid uuid 1"),
        (f"/os-hypervisors/{NOBODY}", 404, f"Hypervisor with ID '{NOBODY}' could not be found."),
        (
            "/os-hypervisors/detail?hypervisor_hostname_pattern=z",
            404,
            "No hypervisor matching 'z' could be found.",
        ),
        (f"/servers/{NOBODY}", 404, f"Instance {NOBODY} could not be found."),
        ("/servers/UUID/migrations/9", 404, "In-progress live migration 9 is not found for server UUID."),
    ],
)
async def test_a_read_that_makes_no_sense_is_refused_in_novas_words(
    wire: Wire, path: str, code: int, message: str
) -> None:
    status, answer, _ = await wire.ask("GET", path.replace("UUID", wire.vm.id))
    assert (status, answer) == (
        code,
        {NAMES[code]: {"code": code, "message": message.replace("UUID", wire.vm.id)}},
    )


async def test_placement_and_glance_answer(wire: Wire) -> None:
    endpoints = wire.simulator.keystone.endpoints["RegionOne"]
    headers = {"X-Auth-Token": await wire.token("admin")}

    async def get(url: str) -> Any:
        async with wire.session.get(url, headers=headers) as answer:
            assert answer.status == 200
            return await answer.json()

    provider = (await get(f"{endpoints['placement']}/resource_providers?name=cmp01"))["resource_providers"][0]
    base = f"{endpoints['placement']}/resource_providers/{provider['uuid']}"
    assert (await get(f"{base}/inventories"))["inventories"]["VCPU"]["total"] == 64
    assert (await get(f"{base}/usages"))["usages"] == {"VCPU": 3, "MEMORY_MB": 3072, "DISK_GB": 0}
    assert [image["name"] for image in (await get(f"{endpoints['image']}/v2/images"))["images"]] == [
        "debian-13"
    ]
