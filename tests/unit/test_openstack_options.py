"""Options say in words what is wrong with them, and clouds.yaml is found and read without asking anybody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.openstack import PLUGIN
from backends.openstack.options import Options

PASSWORD = {"auth_url": "https://k:5000/v3", "username": "u", "password": "env:P", "project_name": "p"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either cloud"),
        ({"cloud": "lab", "username": "u"}, "remove username"),
        ({"auth_url": "k:5000"}, "it looks like https://"),
        ({"auth_url": "https://k:5000/v3"}, "username, password, project_name is missing"),
        ({"auth_url": "https://k:5000/v3", "application_credential_id": "x"}, "needs both"),
        (PASSWORD | {"application_credential_id": "x", "application_credential_secret": "y"}, "not both"),
        (PASSWORD | {"interface": "secret"}, "public, internal, admin"),
        (PASSWORD | {"clouds_file": "x.yaml"}, "which entry"),
        (PASSWORD | {"insecure": True}, "insecure"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(given, Options)


@pytest.mark.parametrize(
    "given",
    [
        {"cloud": "lab"},
        {
            "cloud": "lab",
            "region": "fra1",
            "clouds_file": "/etc/x.yaml",
            "cacert": "ca.pem",
            "interface": "internal",
        },
        PASSWORD,
        {
            "auth_url": "http://k/v3",
            "application_credential_id": "x",
            "application_credential_secret": "file:s",
        },
    ],
)
def test_options_that_can_work_are_taken(given: dict[str, Any]) -> None:
    msgspec.convert(given, Options)


def test_one_cluster_is_found_per_cloud_and_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        """
clouds:
  prod: {regions: [fra1, {name: muc1}], auth: {password: hunter2}}
  lab: {region_name: RegionOne}
  broken: 7
"""
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    assert PLUGIN.discover is not None
    found = {one.name: one.options for one in PLUGIN.discover()}
    assert found == {
        "prod-fra1": {"cloud": "prod", "clouds_file": str(file), "region": "fra1"},
        "prod-muc1": {"cloud": "prod", "clouds_file": str(file), "region": "muc1"},
        "lab": {"cloud": "lab", "clouds_file": str(file)},
    }
    assert "hunter2" not in str(found)
    for options in found.values():
        msgspec.convert(options, Options)


@pytest.mark.parametrize("content", ["", "- a list", "clouds: 7", "clouds: [", "\x00"])
def test_a_clouds_yaml_that_makes_no_sense_finds_nothing_and_raises_nothing(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(content)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    assert PLUGIN.discover is not None
    assert PLUGIN.discover() == ()


def test_importing_the_plugin_imports_no_sdk() -> None:
    code = (
        "import sys, backends.openstack\n"
        "print([name for name in ('openstack', 'keystoneauth1', 'requests', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
