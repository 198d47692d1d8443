"""Options for a Ceph cluster say in words what is wrong with them, and become what a worker needs to know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.ceph.options import SSH, Options
from backends.ceph.setup import setup_of
from evac.backend import Settings

HOST = {"host": "mon1.example.org"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"carrier": "rest"}, "librados, command, ssh"),
        ({"carrier": "ssh"}, "add a table ssh"),
        ({"carrier": "command", "ssh": HOST}, "remove one of the two"),
        ({"carrier": "socket"}, 'needs socket = "PATH"'),
        ({"user": "evac"}, "such as client.evac"),
        ({"user": "osd.4"}, "such as client.evac"),
        ({"user": ""}, "user is empty"),
        ({"write_user": "admin"}, 'write_user is "admin"'),
        ({"write_keyring": "/etc/k"}, "add write_user"),
        ({"keyring": "a\nb"}, "keyring is no path"),
        ({"command": []}, "command is empty"),
        ({"command": [""]}, "command is empty"),
        ({"command": ["sudo ceph"]}, r'write \["sudo", "ceph"\]'),
        ({"command": ["ceph", "a\nb"]}, "line break"),
        ({"key": "AQ=="}, "key"),
        ({"ssh": {}}, "host"),
        ({"ssh": {"host": "admin@mon1"}}, "without user and port"),
        ({"ssh": {"host": "-oProxyCommand=x"}}, "without user and port"),
        ({"ssh": {**HOST, "port": 0}}, "1 to 65535"),
        ({"ssh": {**HOST, "user": "-l root"}}, "login name"),
        ({"ssh": {**HOST, "jump": "a b"}}, "admin@bastion"),
        ({"ssh": {**HOST, "password": "x"}}, "password"),
        ({"ssh": {**HOST, "strict_host_key_checking": False}}, "strict_host_key_checking"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(given, Options)


def test_all_mistakes_of_a_table_are_told_at_once_each_beginning_with_its_key() -> None:
    with pytest.raises(msgspec.ValidationError) as told:
        msgspec.convert({"carrier": "rest", "user": "evac", "command": ["sudo ceph"]}, Options)
    lines = str(told.value).splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["carrier", "user", "command"]
    with pytest.raises(msgspec.ValidationError) as told:
        msgspec.convert({"host": "", "port": 70_000, "jump": "a b"}, SSH)
    assert [line.split(" ", 1)[0] for line in str(told.value).splitlines()] == ["host", "port", "jump"]


@pytest.mark.parametrize(
    ("given", "carrier"),
    [
        ({}, "auto"),
        ({"carrier": "librados"}, "librados"),
        ({"carrier": "command", "command": ["cephadm", "shell", "--", "ceph"]}, "command"),
        ({"ssh": HOST}, "ssh"),
        ({"ssh": {**HOST, "jump": "admin@bastion.example.org:2222", "user": "ops", "sudo": True}}, "ssh"),
        ({"ssh": {"host": "2001:db8::1"}, "carrier": "ssh"}, "ssh"),
        ({"write_user": "client.noout"}, "auto"),
    ],
)
def test_options_that_can_work_are_taken(given: dict[str, Any], carrier: str) -> None:
    options = msgspec.convert(given, Options)
    assert setup_of(Settings(name="c", options=options, read_only=False)).carrier == carrier


def test_paths_here_are_relative_to_the_config_and_paths_elsewhere_stay_as_written() -> None:
    given = {"conf": "ceph.conf", "keyring": "k"}
    here = msgspec.convert(given, Options)
    setup = setup_of(Settings(name="c", options=here, read_only=True, config_dir=Path("/etc/evac")))
    assert (setup.conf, setup.keyring, setup.read_only) == ("/etc/evac/ceph.conf", "/etc/evac/k", True)
    ssh = {**HOST, "identity": "id", "known_hosts": "kh"}
    there = msgspec.convert({**given, "ssh": ssh}, Options)
    setup = setup_of(Settings(name="c", options=there, read_only=True, config_dir=Path("/etc/evac")))
    assert (setup.conf, setup.keyring) == ("ceph.conf", "k")
    assert setup.door is not None
    assert (setup.door.identity, setup.door.known_hosts) == ("/etc/evac/id", "/etc/evac/kh")


def test_the_engine_side_imports_no_carrier_and_no_numpy() -> None:
    code = (
        "import sys, backends.ceph.client, backends.ceph.options\n"
        "heavy = ('asyncssh', 'numpy', 'rados', 'backends.ceph.rados', 'backends.ceph.ssh', 'backends.ceph.worker')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
