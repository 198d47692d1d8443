"""The lab as a witness sees it: an SDK connection of its own, the computes' own records, and the unmodified CLI.

Nothing here goes through evac. What a test claims about evac is checked against this.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import openstack.connection
from openstack.config import OpenStackConfig
from openstack.exceptions import ConflictException, NotFoundException, SDKException

from tests.real.openstack import lab
from tests.real.openstack.layout import CLOUDS, CONTROL, HOSTS, LAB

SERVERS = 20
LEAST = 3
"""Servers on each host before each test."""
PREFIX = "evac-"
_ASYNC = "2.68"
"""From 2.34 a live migration is accepted before it is checked."""
_LISTED = "2.80"


class World:
    """Asks and arranges. Every wait is bounded and says what it waited for."""

    def __init__(self) -> None:
        config = OpenStackConfig(config_files=[str(CLOUDS)], load_envvars=False)
        self.cloud = openstack.connection.Connection(config=config.get_one(cloud="lab"))

    def close(self) -> None:
        self.cloud.close()

    # --- what is --------------------------------------------------------------------------------------------

    def servers(self) -> dict[str, dict[str, Any]]:
        """id -> name, host, status, task, fault of every server of every project."""
        answer = self._get("/servers/detail?all_tenants=1&limit=1000", "2.80")["servers"]
        return {
            one["id"]: {
                "name": one["name"],
                "host": one["OS-EXT-SRV-ATTR:host"],
                "status": one["status"],
                "task": one["OS-EXT-STS:task_state"],
            }
            for one in answer
        }

    def ours(self) -> dict[str, dict[str, Any]]:
        """Only the suite's own servers: others may use the lab by hand."""
        return {key: one for key, one in self.servers().items() if one["name"].startswith(PREFIX)}

    def on(self, host: str) -> dict[str, dict[str, Any]]:
        return {key: one for key, one in self.servers().items() if one["host"] == host}

    def migrations(self, since: float) -> list[dict[str, Any]]:
        """Nova's own list of moves created since then, oldest first."""
        stamp = dt.datetime.fromtimestamp(since, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = self._get(f"/os-migrations?changes-since={stamp}&limit=1000", _LISTED)["migrations"]
        rows = [one for one in answer if _epoch(one["created_at"]) >= int(since)]
        return sorted(rows, key=lambda one: int(one["id"]))

    def moves(self, since: float) -> list[dict[str, Any]]:
        """Live migrations as the source hosts carried them out; Nova's database has no say in it."""
        rows = [
            json.loads(line)
            for path in LAB.glob("compute/*/moves.jsonl")
            for line in path.read_text().splitlines()
        ]
        return sorted((row for row in rows if row["at"] >= since), key=lambda row: float(row["at"]))

    def running_on(self) -> dict[str, list[str]]:
        """VM id -> hosts whose hypervisor believes to have it."""
        found: dict[str, list[str]] = {}
        for path in sorted(LAB.glob("compute/*/domains.json")):
            for uuid in json.loads(path.read_text()):
                found.setdefault(uuid, []).append(path.parent.name)
        return found

    def service(self, host: str) -> dict[str, Any]:
        answer = self._get(f"/os-services?binary=nova-compute&host={host}", "2.69")["services"]
        return dict(answer[0])

    # --- what the unmodified command line says ----------------------------------------------------------------

    def openstack_hosts(self) -> dict[str, str]:
        """VM id -> host, by `openstack server list`."""
        rows = self.openstack("server", "list", "--all-projects", "--long", "-f", "json")
        return {row["ID"]: row["Host"] for row in rows}

    def openstack(self, *words: str) -> Any:
        """Run the unmodified `openstack` and decode what it prints."""
        program = Path(sys.executable).with_name("openstack")
        env = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        env |= {"OS_CLIENT_CONFIG_FILE": str(CLOUDS), "OS_CLOUD": "lab"}
        done = subprocess.run(
            [str(program), *words], capture_output=True, text=True, env=env, timeout=120, check=False
        )
        assert done.returncode == 0, f"openstack {' '.join(words)}: {done.stderr[-2000:]}"
        return json.loads(done.stdout)

    # --- how the computes behave ------------------------------------------------------------------------------

    def last(self, seconds: float) -> None:
        """A live migration begun from now on takes that long."""
        (CONTROL / "lm_seconds").write_text(json.dumps(seconds))

    def fail_migrations(self, fail: bool) -> None:
        """Running live migrations fail from now on, or no longer."""
        if fail:
            (CONTROL / "lm_fail").touch()
        else:
            (CONTROL / "lm_fail").unlink(missing_ok=True)

    # --- arranging ----------------------------------------------------------------------------------------------

    def settle(self, *, spread: bool = True) -> None:
        """All hosts up and in use, at least 20 servers, all active, nothing in progress; `spread`: three a host."""
        self.fail_migrations(False)
        self.last(0)
        self.heal_hosts()
        self._heal_servers()
        self._create_missing()
        if spread:
            self.arrange(dict.fromkeys(HOSTS, LEAST))
        self.last(3)

    def heal_hosts(self) -> None:
        """Every compute runs, is up, enabled and not forced down."""
        for host in HOSTS:
            lab.compute_start(host)
        for host in HOSTS:
            self._until(partial(self._raise, host), f"{host} is up", 90)

    def _raise(self, host: str) -> bool:
        service = self.service(host)
        wish: dict[str, Any] = {}
        if service["forced_down"]:
            wish = {"forced_down": False}
        elif service["status"] != "enabled":
            wish = {"status": "enabled"}
        if wish:
            # Refused until the restarted compute has closed its evacuation records: asked again by the caller.
            self.cloud.compute.put(f"/os-services/{service['id']}", json=wish, microversion="2.69")
            return False
        return bool(service["state"] == "up")

    def _heal_servers(self) -> None:
        for key, one in self.ours().items():
            if one["task"] == "migrating":
                self._abort(key)
        end = time.monotonic() + 60
        while busy := [key for key, one in self.ours().items() if one["task"]]:
            if time.monotonic() > end:
                for key in busy:
                    self.cloud.compute.reset_server_state(key, "active")
                break
            time.sleep(0.5)
        for key, one in self.ours().items():
            if one["status"] == "VERIFY_RESIZE":
                self.cloud.compute.confirm_server_resize(key)
            elif one["status"] == "SHUTOFF":
                self.cloud.compute.start_server(key)
            elif one["status"] != "ACTIVE":
                self.delete(key)
        self.calm()

    def _create_missing(self) -> None:
        names = {one["name"] for one in self.ours().values()}
        wanted = [name for number in range(1, SERVERS + 1) if (name := f"{PREFIX}{number:02}") not in names]
        load = Counter(one["host"] for one in self.ours().values())
        for name in wanted:
            host = min(HOSTS, key=lambda host: load[host])
            load[host] += 1
            self.create(name, host)
        self.calm()

    def create(self, name: str, host: str, flavor: str = "m1.tiny") -> str:
        """A server on that host; not waited for. Returns its id."""
        compute = self.cloud.compute
        image, kind = self.cloud.image.find_image("cirros"), compute.find_flavor(flavor)
        assert image is not None
        assert kind is not None
        server = compute.create_server(
            name=name, image_id=image.id, flavor_id=kind.id, networks="none", host=host
        )
        return str(server.id)

    def delete(self, server: str) -> None:
        """Delete and wait until it is gone."""
        with contextlib.suppress(NotFoundException):
            self.cloud.compute.delete_server(server, force=True)
        self._until(lambda: server not in self.servers(), f"{server} is deleted", 60)

    def arrange(self, wanted: Mapping[str, int]) -> None:
        """Move servers by hand until each host has its number of ours. Numbers must add up to what there is, or less."""
        end = time.monotonic() + 120
        while needed := self._needed(wanted):
            # For some ten seconds the scheduler refuses a host that came back, without a word: hence again.
            assert time.monotonic() < end, f"wanted {wanted}, still to do {needed}"
            for server, host in needed:
                self.migrate(server, host)
            self.calm(300)
            if self._needed(wanted):
                time.sleep(2)

    def _needed(self, wanted: Mapping[str, int]) -> list[tuple[str, str]]:
        current = self.ours()
        held = {host: sorted(key for key, one in current.items() if one["host"] == host) for host in HOSTS}
        spare = [key for host in HOSTS for key in held[host][wanted.get(host, 0) :]]
        places = [host for host in HOSTS for _ in range(wanted.get(host, 0) - len(held[host]))]
        assert len(places) <= len(spare), f"wanted {wanted}, there are {len(current)}"
        return list(zip(reversed(spare), places, strict=False))

    def migrate(self, server: str, host: str) -> None:
        """Ask for a live migration by hand; not waited for."""
        body = {"os-migrateLive": {"host": host, "block_migration": "auto"}}
        answer = self.cloud.compute.post(f"/servers/{server}/action", json=body, microversion=_ASYNC)
        assert answer.status_code == 202, answer.text

    def until_migrating(self, server: str) -> None:
        """Until bytes flow."""

        def flows() -> bool:
            rows = self._get(f"/servers/{server}/migrations", _LISTED)["migrations"]
            return any(row["memory_processed_bytes"] for row in rows)

        self._until(flows, f"{server} migrates", 60)

    def abort_all(self) -> None:
        """Stop every live migration of ours and wait until it is quiet."""
        for server, one in self.ours().items():
            if one["task"] == "migrating":
                self._abort(server)
        self.calm()

    def _abort(self, server: str) -> None:
        for row in self._get(f"/servers/{server}/migrations", _LISTED)["migrations"]:
            self.cloud.compute.delete(f"/servers/{server}/migrations/{row['id']}", microversion=_LISTED)

    def calm(self, seconds: float = 120) -> None:
        """Until every server of ours is active and nothing is done to it."""

        def quiet() -> bool:
            rows = self.ours().values()
            wrong = [one for one in rows if one["status"] == "ERROR"]
            assert not wrong, f"in ERROR: {wrong}"
            return all(one["status"] == "ACTIVE" and not one["task"] for one in rows)

        self._until(quiet, f"all servers active and idle: {self._unquiet()}", seconds)

    def _unquiet(self) -> list[dict[str, Any]]:
        return [one for one in self.ours().values() if one["status"] != "ACTIVE" or one["task"]]

    def _until(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        problem = ""
        while time.monotonic() < end:
            try:
                if ready():
                    return
            except (ConflictException, SDKException) as error:
                problem = str(error)
            time.sleep(0.4)
        raise AssertionError(f"not within {seconds:.0f} s: {what} {problem}")

    def _get(self, path: str, microversion: str) -> Any:
        answer = self.cloud.compute.get(path, microversion=microversion)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()


def once_each(migrations: Iterable[Mapping[str, Any]], servers: Iterable[str]) -> None:
    """Assert that each of these servers has exactly one migration there, and that it completed."""
    rows = list(migrations)
    counts = Counter(row["instance_uuid"] for row in rows)
    wanted = set(servers)
    assert {key: count for key, count in counts.items() if count > 1} == {}, (
        f"migrated more than once: {rows}"
    )
    assert set(counts) >= wanted, f"never migrated: {wanted - set(counts)}"
    ends = {row["instance_uuid"]: row["status"] for row in rows if row["instance_uuid"] in wanted}
    assert set(ends.values()) <= {"completed"}, f"not completed: {ends}"


def _epoch(text: str) -> float:
    """Nova's "2026-11-21T07:53:03.000000" is UTC without saying so."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()
