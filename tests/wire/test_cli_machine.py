"""As test_cli_verbs: audit, secrets, doctor, namesakes, clouds that are away, import, completion, bad config."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from evac.paths import paths
from tests.wire.cli_site import EVAC, HOSTS, PASSWORD, Site, changes, on, site, world


@pytest_asyncio.fixture
async def fra(tmp_path: Path) -> AsyncIterator[Site]:
    """One cloud: cmp-1, cmp-2 and cmp-10 with three VMs each."""
    async with site(tmp_path, {"fra": world(HOSTS, 3)}) as made:
        yield made


async def test_the_audit_record_is_intact_until_somebody_touches_it(fra: Site) -> None:
    assert (await fra.evac("migrate", "cmp-1-vm0", "--yes")).code == 0
    good = (await fra.evac("audit", "verify", "--json")).json
    assert good["ok"] is True
    assert good["records"] > 3
    await fra.stop_engine()
    with sqlite3.connect(paths(fra.config, fra.state).journal) as db:
        db.execute(
            "UPDATE audit SET body = replace(body, 'cmp-1', 'cmp-9') WHERE seq = 2 OR body LIKE '%cmp-1%'"
        )
    bad = await fra.evac("audit", "verify")
    assert bad.code == 1
    assert "NOT intact" in bad.out


async def test_a_secret_appears_nowhere(fra: Site) -> None:
    """The password of the cloud, in a file by reference: not in any output, log, journal or audit record."""
    secret = fra.folder / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    fra.config.write_text(
        f'[clusters.fra]\nkind = "openstack"\nauth_url = "{fra.clouds["fra"].auth_url}"\nusername = "admin"\n'
        'password = "file:secret"\nproject_name = "admin"\nuser_domain_name = "Default"\n'
        'project_domain_name = "Default"\nregion = "RegionOne"\n'
    )
    texts = []
    for words in (
        ["hosts", "--json"],
        ["vms"],
        ["doctor", "--json"],
        ["config", "show", "--origin"],
        ["migrate", "cmp-1-vm0", "--yes", "--json"],
        ["problems", "--json"],
        ["events", "--json"],
        ["engine", "status", "--json"],
    ):
        ran = await fra.evac(*words)
        texts += [ran.out, ran.err]
    assert "cmp-1-vm0" in on(fra, "cmp-2") | on(fra, "cmp-10"), "the password was really used"
    await fra.stop_engine()
    for file in fra.state.iterdir():
        if file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
    assert not any(PASSWORD in text for text in texts)


async def test_doctor_finds_a_good_cloud_good(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(HOSTS, 1, pace=1)}) as made:
        examined = await made.evac("doctor", "--json")
        parts = {part["section"]: part["findings"] for part in examined.json["sections"]}
        assert [row for rows in parts.values() for row in rows if row["ok"] is False] == []
        assert examined.code == 0
        assert set(parts) == {
            "config",
            "terminal",
            "notices",
            "ping monitor",
            "state directory",
            "cluster fra",
        }
        assert {"login", "clock", "may migrate", "latency"} <= {row["check"] for row in parts["cluster fra"]}
        assert changes(made) == [], "doctor looks and never touches"


async def test_doctor_finds_each_broken_thing_and_says_what_to_do(tmp_path: Path) -> None:
    """A wrong password, a port nobody listens on, an account without rights: three bad clouds do not hide a good one."""
    worlds = {name: world(("cmp-1",), 1, pace=1) for name in ("good", "wrong", "poor")}
    async with site(tmp_path, worlds) as made:
        made.clouds["wrong"].keystone.accounts["admin"].password = "changed-since"
        entries = {
            "good": made.clouds["good"].cloud(),
            "wrong": made.clouds["wrong"].cloud()
            | {"auth": made.clouds["wrong"].cloud()["auth"] | {"password": "x"}},
            "poor": made.clouds["poor"].cloud("demo"),
            "away": made.clouds["good"].cloud()
            | {"auth": {**made.clouds["good"].cloud()["auth"], "auth_url": "http://127.0.0.1:9/v3"}},
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": entries}))
        made.config.write_text(
            "".join(
                f'[clusters.{name}]\nkind = "openstack"\ncloud = "{name}"\nclouds_file = "clouds.yaml"\n'
                for name in entries
            )
        )
        examined = await made.evac("doctor", "--json")
        assert examined.code == 1
        parts = {part["section"]: part["findings"] for part in examined.json["sections"]}
        assert all(finding["ok"] is not False for finding in parts["cluster good"])
        for name in ("wrong", "poor", "away"):
            bad = [finding for finding in parts[f"cluster {name}"] if finding["ok"] is False]
            assert bad, name
            assert all(finding["fix"] for finding in bad), bad
        human = await made.evac("doctor", "away")
        assert human.code == 1
        assert "Fix:" in human.out
        assert (await made.evac("doctor", "nowhere")).code == 2


async def test_namesakes_are_refused_and_listed(tmp_path: Path) -> None:
    """A host in two clusters, and two VMs of one name in one."""
    one, two = world(("cmp-1", "cmp-2"), 1), world(("cmp-1",), 0)
    one.add_vm("web", "cmp-1")
    one.add_vm("web", "cmp-2")
    async with site(tmp_path, {"fra": one, "ams": two}) as made:
        hosts = await made.evac("drain", "cmp-1", "--yes")
        assert hosts.code == 2
        assert "cluster ams" in hosts.err
        assert "cluster fra" in hosts.err
        assert (await made.evac("drain", "cmp-1", "--cluster", "fra")).code == 0
        vms = await made.evac("migrate", "web", "--yes", "--json")
        assert vms.code == 2
        details = json.loads(vms.err)["error"]["details"]
        ids = {vm.id for vm in one.vms.values() if vm.name == "web"}
        assert len(details) == 2
        assert all(any(number in line for line in details) for number in ids)
        assert changes(made) == []
        assert (await made.evac("migrate", ids.pop(), "--yes")).code == 0


async def test_a_cloud_that_is_away_is_told_and_hides_nothing_of_the_others(tmp_path: Path) -> None:
    async with site(tmp_path, {"fra": world(("cmp-1", "cmp-2"), 1)}) as made:
        with made.config.open("a") as file:
            file.write(
                '[clusters.away]\nkind = "openstack"\nauth_url = "http://127.0.0.1:9/v3"\nusername = "u"\n'
                'password = "env:HOME"\nproject_name = "p"\n'
            )
        hosts = await made.evac("hosts", "--json")
        assert hosts.code == 4
        assert len(hosts.json["hosts"]) == 2
        assert hosts.json["complete"] is False
        assert (await made.evac("hosts", "--cluster", "fra")).code == 0
        assert (await made.evac("hosts", "--cluster", "away")).code == 6
        assert (await made.evac("hosts", "--cluster", "nowhere")).code == 2
        problems = await made.evac("problems")
        assert problems.code == 4
        assert "away" in problems.out
        unsure = await made.evac("migrate", "cmp-1-vm0", "--yes")
        assert unsure.code == 6, "the cloud that was not read may have a VM of that name too"
        assert "--cluster" in unsure.err
        assert (await made.evac("migrate", "cmp-1-vm0", "--cluster", "fra", "--yes")).code == 0


async def test_hostile_names_reach_scripts_exactly_and_terminals_harmlessly(tmp_path: Path) -> None:
    place = world(("cmp-1", "cmp-2"), 0)
    name = "\x1b[2J\x1b]0;owned\x07web\u202e"
    place.add_vm(name, "cmp-1", memory=64 << 20)
    async with site(tmp_path, {"fra": place}) as made:
        shown = await made.evac("vms")
        assert "\x1b" not in shown.out
        assert "\u202e" not in shown.out
        (vm,) = (await made.evac("vms", "--json")).json["vms"]
        assert vm["name"] == name
        moved = await made.evac("migrate", vm["id"], "--yes")
        assert moved.code == 0
        assert "\x1b" not in moved.out + moved.err


async def test_an_import_from_clouds_yaml_leads_to_a_fleet_that_can_only_be_looked_at(fra: Site) -> None:
    fra.config.unlink()
    dry = await fra.evac("import", "--dry-run")
    assert dry.code == 0
    assert not fra.config.exists()
    assert (await fra.evac("import")).code == 0
    assert stat.S_IMODE(fra.config.stat().st_mode) == 0o600
    text = fra.config.read_text()
    assert "read_only = true" in text
    assert PASSWORD not in text + dry.out
    assert (await fra.evac("hosts")).code == 0
    assert (await fra.evac("drain", "cmp-1", "--yes")).code == 3
    assert changes(fra) == []


async def test_a_config_with_ten_mistakes_stops_every_verb_with_all_ten(fra: Site) -> None:
    mistakes = "".join(f"wrong_{number} = {number}\n" for number in range(10))
    fra.config.write_text(mistakes + fra.config.read_text())
    check = await fra.evac("config", "check")
    assert check.code == 1
    assert len(check.out.splitlines()) == 10
    hosts = await fra.evac("hosts")
    assert hosts.code == 1
    for number in range(10):
        assert len(re.findall(rf"^ .*:{number + 1}: wrong_{number}\b.*$", hosts.err, re.MULTILINE)) == 1


async def test_completion_knows_hosts_and_vms_of_a_running_engine_only(fra: Site) -> None:
    async def completed(words: str) -> list[str]:
        environment = {
            **fra.environment(),
            "_EVAC_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split())),
            "EVAC_CONFIG": str(fra.config),
            "EVAC_STATE_DIR": str(fra.state),
        }
        process = await asyncio.create_subprocess_exec(
            str(EVAC), env=environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        return [line.split(",", 1)[1] for line in out.decode().splitlines() if line]

    assert await completed("evac drain ") == []
    assert not fra.state.exists(), "a tab starts no engine"
    await fra.evac("hosts")
    assert await completed("evac drain ") == sorted(HOSTS)
    assert "cmp-1-vm0" in await completed("evac migrate ")
    assert "drain" in await completed("evac ")


async def test_an_engine_that_is_shared_needs_no_config_of_ones_own(fra: Site) -> None:
    """As with the service: the admin's own `evac` knows the state directory and nothing else."""
    await fra.evac("queue")
    fra.config.unlink()
    hosts = await fra.evac("hosts")
    assert hosts.code == 0, hosts.err
    assert "cmp-10" in hosts.out
    examined = await fra.evac("doctor")
    assert examined.code == 0
    assert "none of your own" in examined.out
    assert (await fra.evac("migrate", "cmp-1-vm0", "--yes")).code == 0


async def test_no_engine_can_be_started_and_the_command_says_why(fra: Site) -> None:
    fra.state.write_text("a file where the state directory should be")
    ran = await fra.evac("hosts")
    assert ran.code == 6
    assert str(fra.state) in ran.err


def test_an_installed_evac_has_the_config_template_with_it(tmp_path: Path) -> None:
    """From the wheel alone, with no checkout beside it: the same text as at the root."""
    root = Path(__file__).resolve().parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import tui.cli; tui.cli.main(['config', 'template'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == (root / "config.example.toml").read_text()
