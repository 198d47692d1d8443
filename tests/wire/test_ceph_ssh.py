"""The `ceph` command on another host: whom it is said to, how it is written, and what happens when the line breaks."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from evac.errors import AuthFailed, Forbidden, Refused, Uncertain, Unreachable
from tests.wire.ceph_site import PLAYER, Site
from tests.wire.ceph_ssh import SSHSite

NOOUT = {"flags": "noout", "who": ["node01"]}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[SSHSite]:
    async with SSHSite(tmp_path).serve() as far:
        yield far


def ssh(far: SSHSite, **more: Any) -> dict[str, Any]:
    """Options by which the server is reached, unless something else is said."""
    given = {
        "host": "127.0.0.1",
        "port": far.port,
        "user": "ops",
        "known_hosts": str(far.known()),
        "identity": str(far.identity),
        "agent": False,
    }
    return {"carrier": "ssh", "ssh": given | more}


async def test_questions_share_one_connection_to_a_host_whose_key_is_known(site: Site, far: SSHSite) -> None:
    async with site.client(**ssh(far)) as client:
        tree = await client.ask("mon", "osd tree")
        await asyncio.gather(*(client.ask("mon", "osd df") for _ in range(8)))
        assert (await client.placement()).columns == tuple(range(1, 16))
    assert len(tree["nodes"]) == 19
    assert len(far.connections) == 1
    assert far.logins[0] == "ops"


async def test_a_host_that_is_not_known_is_never_logged_in_to(site: Site, far: SSHSite) -> None:
    far.known()
    (far.folder / "empty").write_text("")
    for file in ("empty", "missing"):
        async with site.client(**ssh(far, known_hosts=str(far.folder / file))) as client:
            with pytest.raises(AuthFailed, match="is not known") as caught:
                await client.ask("mon", "status")
        problem = caught.value.problem
        assert far.host_key.get_fingerprint() in problem.happened
        assert f"ssh-keyscan -p {far.port} 127.0.0.1" in problem.next_step
    assert far.logins == []


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_host_that_shows_another_key_than_the_known_one_is_never_logged_in_to(
    site: Site, far: SSHSite, kind: str
) -> None:
    options = ssh(far)
    far.known(asyncssh.generate_private_key(kind))
    async with site.client(**options) as client:
        with pytest.raises(AuthFailed, match="somebody stands in between"):
            await client.ask("mon", "status")
        with pytest.raises(AuthFailed):
            await client.ask("mon", "osd set-group", **NOOUT)
    assert far.logins == []


async def test_a_host_whose_key_is_revoked_is_never_logged_in_to(site: Site, far: SSHSite) -> None:
    options = ssh(far)
    known = far.known()
    known.write_text(f"@revoked {known.read_text()}{known.read_text()}")
    async with site.client(**options) as client:
        with pytest.raises(AuthFailed):
            await client.ask("mon", "status")
    assert far.logins == []


async def test_a_login_with_a_key_the_host_does_not_know_is_refused_in_words(
    site: Site, far: SSHSite
) -> None:
    other = far.folder / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(other))
    async with site.client(**ssh(far, identity=str(other))) as client:
        with pytest.raises(AuthFailed, match="refuses the SSH login of ops") as caught:
            await client.ask("mon", "status")
    assert "ssh-copy-id ops@127.0.0.1" in caught.value.problem.next_step
    assert far.commands == []


async def test_a_key_with_a_passphrase_belongs_into_the_agent(site: Site, far: SSHSite) -> None:
    locked = far.folder / "locked"
    making = await asyncio.create_subprocess_exec(
        *("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked))
    )
    assert await making.wait() == 0
    async with site.client(**ssh(far, identity=str(locked))) as client:
        with pytest.raises(AuthFailed, match="cannot be used") as caught:
            await client.ask("mon", "status")
    assert "ssh-add" in caught.value.problem.next_step


async def test_a_key_of_the_agent_is_used(site: Site, far: SSHSite, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(far.folder / "agent")
    async with _agent(place):
        adding = await asyncio.create_subprocess_exec(
            "ssh-add", "-q", str(far.identity), env={"SSH_AUTH_SOCK": place, "PATH": "/usr/bin:/bin"}
        )
        assert await adding.wait() == 0
        monkeypatch.setenv("SSH_AUTH_SOCK", place)
        monkeypatch.setenv("HOME", str(far.folder))
        async with site.client(**ssh(far, identity="", agent=True)) as client:
            assert await client.ask("mon", "osd tree")
        async with site.client(**ssh(far, identity="", agent=False)) as client:
            with pytest.raises(AuthFailed, match="refuses"):
                await client.ask("mon", "osd tree")


class _agent:  # noqa: N801 - reads as a function
    """ssh-agent, in the foreground."""

    def __init__(self, place: str) -> None:
        self._place = place

    async def __aenter__(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            "ssh-agent", "-D", "-a", self._place, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()


async def test_no_word_reaches_the_other_shell_as_anything_but_a_word(site: Site, far: SSHSite) -> None:
    bait = site.folder / "bait"
    hostile = [f"$(touch {bait})", f"`touch {bait}`", f"; touch {bait} #", "a'b\"c", "*", "ünïcode \\"]
    folder = site.folder / hostile[3]
    folder.mkdir()
    there = Site(folder)
    command = [sys.executable, str(PLAYER), str(folder)]
    keyring = "".join(hostile[:3])
    async with site.client(**ssh(far), command=command, conf=hostile[4], keyring=keyring) as client:
        await client.ask("mon", "osd tree")
    (words,) = there.calls
    assert words[4:8] == ["--conf", "*", "--keyring", keyring]
    assert not bait.exists()
    assert shlex.split(far.commands[0])[0] == "timeout", "the other host ends what nobody waits for"


async def test_a_connection_that_was_lost_is_made_again_without_a_word(site: Site, far: SSHSite) -> None:
    async with site.client(**ssh(far)) as client:
        await client.ask("mon", "osd tree")
        far.connections[-1].abort()
        assert await client.ask("mon", "osd tree")
        far.drop_in_the_middle = True
        assert await client.ask("mon", "osd tree")
    assert len(far.connections) == 3


async def test_a_change_whose_connection_breaks_is_uncertain_and_sent_once(site: Site, far: SSHSite) -> None:
    async with site.client(**ssh(far)) as client:
        await client.ask("mon", "osd tree")
        far.drop_in_the_middle = True
        with pytest.raises(Uncertain, match="broke"):
            await client.ask("mon", "osd set-group", **NOOUT)
    assert len([line for line in far.commands if "set-group" in line]) == 1


async def test_a_change_that_could_not_even_be_sent_did_nothing(site: Site, far: SSHSite) -> None:
    options = ssh(far, port=1)
    async with site.client(**options) as client:
        with pytest.raises(Refused, match="Connection refused") as caught:
            await client.ask("mon", "osd set-group", **NOOUT)
    assert caught.value.problem.unaffected == "Nothing was changed."


async def test_the_way_through_a_jump_host_checks_both_hosts(site: Site, far: SSHSite) -> None:
    folder = site.folder / "jump"
    folder.mkdir()
    async with SSHSite(folder, far.client_key).serve() as bastion:
        options = ssh(far, jump=f"ops@127.0.0.1:{bastion.port}")
        async with site.client(**options) as client:
            with pytest.raises(AuthFailed, match="is not known") as caught:
                await client.ask("mon", "osd tree")
            assert str(bastion.port) in caught.value.problem.next_step
            assert (bastion.logins, far.logins) == ([], [])
        far.known().open("a").write(bastion.known().read_text())
        async with site.client(**options) as client:
            assert await client.ask("mon", "osd tree")
        assert (bastion.logins, far.logins) == (["ops"], ["ops"])
        assert bastion.commands == []


async def test_sudo_that_asks_for_a_password_is_explained(site: Site, far: SSHSite, tmp_path: Path) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (fake / "sudo").chmod(0o755)
    async with site.client(**ssh(far, sudo=True)) as client:
        far.environment = {"PATH": f"{fake}:/usr/bin:/bin"}
        with pytest.raises(Forbidden, match="a password is required") as caught:
            await client.ask("mon", "status")
    assert "NOPASSWD" in caught.value.problem.next_step
    assert "sudo -n -- " in far.commands[0]


async def test_a_host_without_the_command_names_its_package(site: Site, far: SSHSite) -> None:
    async with site.client(**ssh(far), command=["/nowhere/ceph"]) as client:
        with pytest.raises(Unreachable, match=r"cannot be run on 127\.0\.0\.1") as caught:
            await client.ask("mon", "status")
    assert "ceph-common" in caught.value.problem.next_step
