"""Ways into a real Keystone: application credentials, TLS with a CA of one's own, several regions; each failure in a line."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backends.openstack import PLUGIN
from evac.backend import Settings
from evac.errors import AuthFailed, BackendError, Forbidden, NotFound, Unreachable
from evac.model import Problem
from tests.real.openstack.layout import HOSTS, PASSWORD, URL
from tests.real.recorder import Recorder
from tests.real.rig import CLUSTER, EngineRig
from tests.real.world import World
from tests.wire.certificates import authority

LOGIN = {
    "username": "admin",
    "password": PASSWORD,
    "project_name": "admin",
    "user_domain_id": "default",
    "project_domain_id": "default",
}


def clouds(folder: Path, cloud: dict[str, Any]) -> Path:
    path = folder / "clouds.yaml"
    path.write_text(json.dumps({"clouds": {"lab": cloud}}))
    path.chmod(0o600)
    return path


@asynccontextmanager
async def opened(folder: Path, *, region: str = "RegionOne", **cloud: Any) -> AsyncIterator[Any]:
    """A backend that comes in by this entry of a clouds.yaml."""
    entry = {"auth": {"auth_url": f"{URL['keystone']}/v3", **LOGIN}, "identity_api_version": 3, **cloud}
    if region:
        entry["region_name"] = region
    options = PLUGIN.options_type(cloud="lab", clouds_file=str(clouds(folder, entry)))
    backend: Any = PLUGIN.build(Settings(name=CLUSTER, options=options, read_only=False))
    try:
        yield backend
    finally:
        await backend.close()


async def trouble(folder: Path, kind: type[BackendError], **entry: Any) -> Problem:
    """What an admin is told; it is one line with a remedy, and says what is unaffected."""
    async with opened(folder, **entry) as backend:
        with pytest.raises(kind) as error:
            await backend.inventory()
    problem = error.value.problem
    assert problem.next_step
    assert problem.unaffected
    assert "\n" not in problem.happened
    assert "Traceback" not in problem.happened
    assert PASSWORD not in f"{problem.happened} {problem.next_step}"
    return problem


# --- application credentials -----------------------------------------------------------------------------------------


class Credential(NamedTuple):
    id: str
    secret: str

    @property
    def entry(self) -> dict[str, Any]:
        auth = {
            "auth_url": f"{URL['keystone']}/v3",
            "application_credential_id": self.id,
            "application_credential_secret": self.secret,
        }
        return {"auth_type": "v3applicationcredential", "auth": auth}


@contextlib.contextmanager
def credential(world: World, *roles: str) -> Iterator[Credential]:
    """One of the admin's, restricted to these roles where some are named."""
    identity: Any = world.cloud.identity
    me = world.cloud.current_user_id
    body: dict[str, Any] = {"name": f"evac-{uuid.uuid4().hex[:8]}"}
    if roles:
        body["roles"] = [{"name": role} for role in roles]
    made = identity.create_application_credential(me, **body)
    try:
        yield Credential(made.id, made.secret)
    finally:
        identity.delete_application_credential(me, made.id, ignore_missing=True)


async def test_an_application_credential_reads_and_changes(any_world: World, tmp_path: Path) -> None:
    with credential(any_world) as made:
        async with opened(tmp_path, **made.entry) as backend:
            inventory = await backend.inventory()
            assert {host.name for host in inventory.hosts} == set(HOSTS)
            assert inventory.problems == ()
            host = HOSTS[-1]
            try:
                await backend.enter_maintenance(host, "by an application credential")
                seen = await backend.host(host)
                assert seen.maintenance
                assert seen.reason == "by an application credential"
            finally:
                await backend.leave_maintenance(host)
            assert not (await backend.host(host)).maintenance


async def test_a_credential_that_is_deleted_is_told_as_that(any_world: World, tmp_path: Path) -> None:
    """At the next login: a Nova that caches tokens, as this one does, takes the old token some minutes more."""
    with credential(any_world) as made:
        async with opened(tmp_path, **made.entry) as backend:
            await backend.inventory()
            identity: Any = any_world.cloud.identity
            identity.delete_application_credential(any_world.cloud.current_user_id, made.id)
            problem = await trouble(tmp_path, AuthFailed, **made.entry)
    assert "refuses the login of the application credential" in problem.happened
    assert "openstack application credential create" in problem.next_step


async def test_a_wrong_secret_is_told_and_not_shown(any_world: World, tmp_path: Path) -> None:
    with credential(any_world) as made:
        wrong = Credential(made.id, "not-the-secret-at-all")
        problem = await trouble(tmp_path, AuthFailed, **wrong.entry)
    assert "the application credential" in problem.happened
    assert "not-the-secret" not in f"{problem.happened} {problem.next_step}"


async def test_a_credential_without_the_role_reads_what_it_may_and_names_what_it_lacks(
    any_world: World, tmp_path: Path
) -> None:
    with credential(any_world, "reader") as made:
        async with opened(tmp_path, **made.entry) as backend:
            inventory = await backend.inventory()
            with pytest.raises(Forbidden) as error:
                await backend.enter_maintenance(HOSTS[-1], "tried")
    assert inventory.problems, "a reader of one project may not see all there is"
    assert all(problem.next_step for problem in inventory.problems)
    assert "reader" in error.value.problem.next_step


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_over_tls_with_its_own_ca_everything_is_read(any_world: World, tmp_path: Path) -> None:
    """Keystone, and by its catalog Nova, behind TLS; `evac doctor` names issuer and expiry."""
    ca, context = authority(tmp_path / "pki", days=12)
    with Recorder(context) as proxy:
        entry: dict[str, Any] = {"auth": {"auth_url": proxy.url, **LOGIN}, "cacert": str(ca)}
        async with opened(tmp_path, **entry) as backend:
            inventory = await backend.inventory()
            assert {host.name for host in inventory.hosts} == set(HOSTS)
            assert backend.describe()["endpoint"].startswith("https://127.0.0.1:")
        assert {seen.api for seen in proxy.seen()} >= {"keystone", "nova"}
        config = f'[clusters.{CLUSTER}]\nkind = "openstack"\ncloud = "lab"\nclouds_file = "{tmp_path}/clouds.yaml"\n'
        done = await EngineRig(tmp_path / "evac", config).evac_later("doctor", "--json")
    sections = {part["section"]: part["findings"] for part in json.loads(done.stdout)["sections"]}
    found = {one["check"]: one for one in sections[f"cluster {CLUSTER}"]}
    assert "Example Ops CA" in found["identity: TLS"]["detail"]
    assert "12 days" in found["identity: TLS"]["detail"]
    assert found["login"]["ok"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no CA", "Example Ops CA"),
        ("wrong CA", "Example Ops CA"),
        ("expired", "expired"),
        ("another name", "192.0.2.7"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_told_with_its_remedy(
    any_world: World, tmp_path: Path, case: str, words: str
) -> None:
    ca, context = authority(
        tmp_path / "pki",
        days=-1 if case == "expired" else 12,
        address="192.0.2.7" if case == "another name" else "127.0.0.1",
    )
    if case == "wrong CA":
        ca, _ = authority(tmp_path / "other")
    with Recorder(context) as proxy:
        entry: dict[str, Any] = {"auth": {"auth_url": proxy.url, **LOGIN}}
        if case != "no CA":
            entry["cacert"] = str(ca)
        problem = await trouble(tmp_path, Unreachable, **entry)
        assert proxy.seen() == [], "no password was sent"
    told = f"{problem.happened} {problem.next_step}"
    assert words in told
    assert ("cacert" in told) == (case in {"no CA", "wrong CA"})
    assert ("Renew it" in told) == (case == "expired")
    assert ("address that the certificate is for" in told) == (case == "another name")


async def test_https_at_a_plain_port_is_told(any_world: World, tmp_path: Path) -> None:
    address = f"{URL['keystone']}/v3".replace("http:", "https:")
    problem = await trouble(tmp_path, Unreachable, auth={"auth_url": address, **LOGIN})
    assert "did not begin TLS within 5 s" in problem.happened
    assert "plain http" in problem.next_step


# --- regions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_regions(any_world: World) -> Iterator[None]:
    """A second region in the catalog, which leads to the same services."""
    identity: Any = any_world.cloud.identity
    region = identity.create_region(id="RegionTwo", description="of evac's tests")
    made = [
        identity.create_endpoint(
            service_id=one.service_id, interface=one.interface, url=one.url, region_id=region.id
        )
        for one in identity.endpoints()
        if one.region_id == "RegionOne"
    ]
    try:
        yield
    finally:
        for endpoint in made:
            identity.delete_endpoint(endpoint)
        identity.delete_region(region)


@pytest.mark.usefixtures("two_regions")
@pytest.mark.parametrize("region", ["RegionOne", "RegionTwo"])
async def test_the_region_that_is_named_is_used(tmp_path: Path, region: str) -> None:
    async with opened(tmp_path, region=region) as backend:
        inventory = await backend.inventory()
        assert {host.name for host in inventory.hosts} == set(HOSTS)
        assert backend.describe()["region"] == region


@pytest.mark.usefixtures("two_regions")
@pytest.mark.parametrize("region", ["RegionThree", "regionone", ""])
async def test_a_region_that_is_none_is_told_with_those_there_are(tmp_path: Path, region: str) -> None:
    problem = await trouble(tmp_path, NotFound, region=region)
    assert "RegionOne, RegionTwo" in problem.happened
    assert "region" in problem.next_step
