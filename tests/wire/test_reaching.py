"""The way onto a host: what is asked there, what is run there, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from backends.simulation.direct import DirectBackend
from backends.simulation.world import World
from evac.backend import Call
from evac.config import Cluster, load, plugins
from evac.errors import AuthFailed, BackendError, BadAnswer, ReadOnly, Refused, Uncertain, Unreachable
from evac.fleet import Fleet
from evac.model import ClusterState, Datastore, Host
from evac.window import reach_doctor
from evac.window.hostfacts import WORDS
from evac.window.nouns import HostFacts
from evac.window.reaching import Reaching
from tests.wire.ceph_ssh import SSHSite


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[SSHSite]:
    async with SSHSite(tmp_path).serve() as far:
        yield far


def config(far: SSHSite, *, read_timeout: float = 5.0, **more: Any) -> dict[str, Cluster]:
    """A cluster "nova" whose hosts are all this server, as a config file says it."""
    rules = {
        "user": "ops",
        "known_hosts": "known_hosts",
        "identity": "id",
        "agent": False,
        "hosts": {"h1": f"127.0.0.1:{far.port}"},
    } | more
    far.known()
    lines = "".join(f"{key} = {_toml(value)}\n" for key, value in rules.items())
    file = far.folder / "config.toml"
    file.write_text(
        f'[clusters.nova]\nkind = "openstack"\ncloud = "x"\nread_timeout = {read_timeout}\n[clusters.nova.shell]\n'
        + lines
    )
    return dict(load(file, plugins()).clusters)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(text)}" for key, text in value.items()) + " }"
        )
    return json.dumps(value)


class Way:
    """A Reaching over one host, with what it recorded."""

    def __init__(self, far: SSHSite, *, read_only: bool = False, backend: Any = None, **more: Any) -> None:
        self.calls: list[Call] = []
        self.said: list[str] = []
        fleet = Fleet()
        fleet.publish(
            clusters=(
                ClusterState(name="nova", kind="openstack", read_only=read_only, read_only_why="for now"),
            ),
            hosts=(Host(cluster="nova", id="h1", name="h1", address="192.0.2.1"),),
            datastores=(
                Datastore(cluster="nova", id="nas", name="nas", hosts=("h1", "h2")),
                Datastore(cluster="nova", id="off", name="off", hosts=("h1",), usable=False),
            ),
        )
        self.reach = Reaching(
            config(far, **more),
            folder=far.folder,
            fleet=fleet,
            backends={"nova": backend} if backend else {},
            record=self.calls.append,
        )

    async def facts(self) -> HostFacts:
        return await self.reach.facts("nova", "h1")

    async def run(self, *words: str, timeout: float = 20.0) -> int:  # noqa: ASYNC109
        return await self.reach.run("nova", "h1", words, timeout=timeout, said=self.said.append)


async def test_a_host_tells_of_itself_in_one_command(far: SSHSite) -> None:
    facts = await Way(far).facts()
    assert facts.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # noqa: ASYNC240
    assert abs(facts.clock or 0.0) <= facts.clock_unsure
    assert (facts.how, facts.datastores) == ("ssh", ("nas",))
    assert len(far.commands) == 1
    assert far.logins == ["ops"]


async def test_a_read_only_cluster_is_looked_at_and_nothing_is_run_there(far: SSHSite) -> None:
    way = Way(far, read_only=True)
    assert (await way.facts()).kernel
    assert way.reach.why_not_run("nova", "h1") == "nova is read-only (for now)"
    with pytest.raises(ReadOnly, match="read-only"):
        await way.run("touch", str(far.folder / "bait"))
    assert len(far.commands) == 1
    assert not (far.folder / "bait").exists()


async def test_below_that_the_line_itself_lets_nothing_pass_that_was_not_meant_to_read(far: SSHSite) -> None:
    line = Way(far, read_only=True).reach._line("nova", "h1")
    with pytest.raises(ReadOnly):
        await line.run(["touch", "x"], within=5.0, said=lambda _: None)
    assert far.logins == []


async def test_a_command_is_quoted_followed_line_by_line_and_recorded(far: SSHSite) -> None:
    way = Way(far)
    bait = far.folder / "bait"
    code = await way.run("sh", "-c", 'echo one; echo "$1" >&2; exit 3', "x", f"$(touch {bait}); touch {bait}")
    assert code == 3
    assert sorted(way.said) == sorted(["one", f"$(touch {bait}); touch {bait}"])
    assert not bait.exists()
    (call,) = way.calls
    assert (call.method, call.path, call.status) == ("ssh", "h1", 3)
    assert "one" in call.answer


async def test_a_line_that_breaks_while_a_command_runs_leaves_it_uncertain(far: SSHSite) -> None:
    way = Way(far)
    far.drop_in_the_middle = True
    with pytest.raises(Uncertain, match="connection broke"):
        await way.run("reboot-now")
    assert len(far.commands) == 1
    (call,) = way.calls
    assert call.status is None


async def test_a_command_that_takes_too_long_is_left_running_and_uncertain(far: SSHSite) -> None:
    with pytest.raises(Uncertain, match=r"not ended within 0\.3 s"):
        await Way(far).run("sleep", "3", timeout=0.3)


async def test_a_command_that_could_not_be_begun_did_nothing(far: SSHSite) -> None:
    with pytest.raises(Refused, match="Connection refused") as caught:
        await Way(far, hosts={"h1": "127.0.0.1:1"}).run("reboot")
    assert caught.value.problem.unaffected == "Nothing was run."


async def test_a_host_that_is_not_known_is_neither_asked_nor_told(far: SSHSite) -> None:
    way = Way(far)
    far.known(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(AuthFailed, match="has CHANGED"):
        await way.facts()
    with pytest.raises(Refused, match="has CHANGED"):
        await way.run("reboot")
    assert far.logins == []


def commands_in(folder: Path, **scripts: str) -> dict[str, str]:
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


async def test_sudo_that_refuses_is_no_command_that_failed(far: SSHSite) -> None:
    way = Way(far, sudo=True)
    far.environment = commands_in(far.folder, sudo="echo 'sudo: a password is required' >&2; exit 1")
    with pytest.raises(Refused, match="a password is required") as caught:
        await way.run("patch-and-reboot", "--now")
    assert "NOPASSWD: patch-and-reboot --now" in caught.value.problem.next_step
    assert far.commands[0].startswith("sudo -n -- ")


async def test_an_answer_that_makes_no_sense_is_told_as_such(far: SSHSite) -> None:
    far.environment = commands_in(far.folder, sh="echo This account is restricted.")
    with pytest.raises(BadAnswer, match="does not begin"):
        await Way(far).facts()


async def test_a_host_that_takes_the_login_and_is_silent_is_unreachable_within_the_time_out(
    far: SSHSite,
) -> None:
    way = Way(far, read_timeout=0.3)
    far.environment = commands_in(far.folder, sh="exec /bin/sleep 3")
    with pytest.raises(Unreachable, match=r"did not answer for 0\.3 s"):
        await way.facts()


async def test_where_nobody_tells_that_is_said_with_what_would_help(tmp_path: Path) -> None:
    world = World(seed=1)
    backend = DirectBackend("nova", world)
    reach = Reaching({}, folder=tmp_path, fleet=Fleet(), backends={"nova": backend})
    assert "no [clusters.nova.shell]" in reach.why_not_run("nova", "h1")
    with pytest.raises(BackendError) as caught:
        await reach.facts("nova", "nowhere")
    assert caught.value.problem.happened


async def test_the_doctor_has_a_line_for_each_host(far: SSHSite) -> None:
    far.environment = commands_in(far.folder, sudo="exit 0")
    cluster = config(
        far, sudo=True, hosts={"h1": f"127.0.0.1:{far.port}", "h2": "127.0.0.1:1", "h9": "192.0.2.9"}
    )["nova"]
    hosts = [Host(cluster="nova", id=name, name=name) for name in ("h1", "h2")]
    async with asyncio.timeout(30):
        found = await reach_doctor.examine(cluster, hosts, folder=far.folder)
    by = {one.check: one for one in found}
    assert by["shell h1"].ok
    assert "sudo works" in by["shell h1"].detail
    assert by["shell h2"].ok is False
    assert "Connection refused" in by["shell h2"].detail or "not known" in by["shell h2"].detail
    assert by["shell.hosts"].detail == "nova has no host h9"
    assert all(WORDS[0] in line or "true" in line for line in far.commands)
