"""`evac doctor` for a Ceph cluster: what is missing is named with what to do, and nothing is changed to find out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backends.ceph import doctor_local
from backends.ceph.doctor import examine
from backends.ceph.frames import Setup
from evac.backend import Settings
from evac.model import Finding
from evac.ssh_rules import Door
from tests.wire.ceph_site import Site

VERSION = "ceph version 16.2.15 (618f4408) pacific (stable)"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.tell("status", out="{}")
    site.tell("fsid", out='{"fsid":"x"}')
    site.tell("versions", out=json.dumps({"overall": {VERSION: 14}}))
    site.tell("mgr stat", out='{"available":true,"active_name":"x"}')
    site.tell("pg stat", out="{}")
    site.tell("config get mon", out="300")
    rights(site, "allow r")
    return site


def rights(site: Site, mon: str) -> None:
    entry = {"entity": "client.evac", "key": "AQBTOPSECRET==", "caps": {"mon": mon, "mgr": "allow r"}}
    site.tell("auth get", out=json.dumps([entry]), err="exported keyring for client.evac\n")


async def found(site: Site, *, read_only: bool = False, **options: Any) -> Mapping[str, Finding]:
    async with site.client(read_only=read_only, **options) as client:
        settings = Settings(name="lab", options=None, read_only=read_only)
        findings = await examine(client, settings)
    assert all(finding.fix for finding in findings if finding.ok is False)
    assert "TOPSECRET" not in repr(findings)
    return {finding.check: finding for finding in findings}


async def test_a_cluster_that_is_well_is_said_to_be_and_nothing_was_changed(site: Site) -> None:
    rights(site, 'allow r, allow command "osd set-group" with flags=noout')
    all_ = await found(site)
    assert all(finding.ok for finding in all_.values()), all_
    assert list(all_) == ["carrier", "monitors", "release", "manager", "may read settings", "may set noout"]
    assert "16.2.15 pacific" in all_["release"].detail
    assert "300" in all_["may read settings"].detail
    assert site.records == []
    assert not [words for words in site.calls if "set-group" in words]


@pytest.mark.parametrize(
    ("mon", "ok"),
    [
        ("allow r", False),
        ("profile rbd", False),
        ("allow rw", True),
        ("allow *", True),
        ("allow r, allow command 'osd set-group'", True),
        ('allow r, allow command "osd blocklist"', False),
    ],
)
async def test_the_right_to_set_noout_is_read_from_the_key(site: Site, mon: str, ok: bool) -> None:
    rights(site, mon)
    finding = (await found(site))["may set noout"]
    assert finding.ok is ok
    assert mon in finding.detail
    if not ok:
        assert "ceph auth caps client.evac" in finding.fix


async def test_a_key_that_may_not_see_its_rights_leaves_that_open(site: Site) -> None:
    site.tell("auth get", code=13, err="Error EACCES: access denied\n")
    finding = (await found(site))["may set noout"]
    assert finding.ok is None
    assert "cannot tell without doing it" in finding.detail


async def test_a_read_only_cluster_is_not_asked_what_may_be_changed(site: Site) -> None:
    finding = (await found(site, read_only=True))["may set noout"]
    assert finding.ok is None
    assert not [words for words in site.calls if "auth" in words]


async def test_the_key_for_changes_is_tried_too(site: Site) -> None:
    await found(site, write_user="client.noout")
    assert [words[3] for words in site.calls if words[-1] == "fsid"][-1] == "client.noout"


async def test_without_a_manager_that_is_what_is_said(site: Site) -> None:
    site.tell("mgr stat", out='{"available":false,"active_name":""}')
    finding = (await found(site))["manager"]
    assert (finding.ok, finding.detail) == (False, "none is active")


async def test_a_key_without_rights_at_the_manager_is_named(site: Site) -> None:
    site.tell("pg stat", code=13, err="Error EACCES: access denied\n")
    finding = (await found(site))["manager"]
    assert finding.ok is False
    assert "mgr 'allow r'" in finding.fix


async def test_when_nobody_answers_nothing_more_is_asked(site: Site) -> None:
    site.tell("status", code=1, err="timed out\n")
    all_ = await found(site)
    assert all_["monitors"].ok is False
    assert "release" not in all_
    assert len(site.calls) == 1


async def test_an_upgrade_under_way_is_seen(site: Site) -> None:
    newer = "ceph version 17.2.7 (b12291d1) quincy (stable)"
    site.tell("versions", out=json.dumps({"overall": {VERSION: 1, newer: 3}}))
    finding = (await found(site))["release"]
    assert finding.ok is None
    assert "16.2.15 pacific, 17.2.7 quincy: an upgrade is under way" in finding.detail


def local(folder: Path, **setup: Any) -> Mapping[str, Finding]:
    given = {
        "cluster": "c",
        "carrier": "librados",
        "read_only": True,
        "connect_timeout": 1.0,
        "read_timeout": 1.0,
    }
    how = "librados 3.0.0 by ctypes" if setup.get("carrier", "librados") == "librados" else "ssh"
    asked = Setup(**{**given, "conf": str(folder / "lab.conf"), **setup})
    return {finding.check: finding for finding in doctor_local.findings(asked, how)}


@pytest.mark.parametrize(("mode", "ok"), [(0o600, True), (0o640, None), (0o644, False), (0o604, False)])
def test_a_keyring_that_others_can_read_is_reported(tmp_path: Path, mode: int, ok: bool | None) -> None:
    (tmp_path / "lab.conf").touch()
    keyring = tmp_path / "k"
    keyring.touch()
    keyring.chmod(mode)
    all_ = local(tmp_path, keyring=str(keyring))
    assert all_["ceph.conf"].ok is True
    assert all_["keyring"].ok is ok
    assert ("chmod" in all_["keyring"].fix) is (ok is not True)


def test_a_conf_and_a_keyring_that_are_not_there_are_named(tmp_path: Path) -> None:
    all_ = local(tmp_path, keyring=str(tmp_path / "k"), write_user="client.noout", write_keyring="/nowhere/k")
    assert [all_[check].ok for check in ("ceph.conf", "keyring", "keyring for noout")] == [False] * 3
    assert "/nowhere/k" in all_["keyring for noout"].detail


def test_a_keyring_that_is_not_named_is_looked_for_under_the_clusters_name(tmp_path: Path) -> None:
    (tmp_path / "lab.conf").touch()
    assert "/etc/ceph/lab.client.evac.keyring" in local(tmp_path)["keyring"].detail


def test_hosts_missing_from_known_hosts_are_named_with_the_way_to_add_them(tmp_path: Path) -> None:
    known = tmp_path / "kh"
    known.write_text(
        "mon1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE\n"
    )
    door = Door(host="mon1", known_hosts=str(known))
    setup = {"carrier": "ssh", "door": door}
    assert local(tmp_path, **setup)["known_hosts"].ok is True
    missing = local(tmp_path, carrier="ssh", door=replace(door, host="mon2", port=2222))["known_hosts"]
    assert missing.ok is False
    assert "ssh-keyscan -p 2222 mon2" in missing.fix
