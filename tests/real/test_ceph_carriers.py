"""Watching a real cluster with read-only rights, by each way to it; and what each says when it may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backends.ceph.client import CephClient
from backends.ceph.frames import Placement
from evac.errors import AuthFailed, Forbidden, ReadOnly
from tests.real.ceph.client import client
from tests.real.ceph.layout import ADMIN, OSDS, WRITER, facts, keyring, osds_of
from tests.real.ceph.oneliner import Table, oneliner
from tests.real.ceph.rig import CARRIERS, options
from tests.real.ceph.sshd import HOST_KEY, known
from tests.real.ceph.witness import Witness, command
from tests.real.ceph.witness import ceph as ceph_command


def _table(placement: Placement) -> Table:
    return {
        number: {pool: count for pool, count in zip(placement.columns, row.up, strict=True) if count}
        for number, row in placement.rows.items()
        if any(row.up)
    }


async def _watch(watcher: CephClient) -> None:
    """Everything an admin looks at, and it is what the `ceph` command says with an admin's key."""
    placement = await watcher.placement()
    assert _table(placement) == oneliner(ceph_command("pg", "dump"))
    tree = await watcher.ask("mon", "osd tree")
    assert {node["id"] for node in tree["nodes"] if node["type"] == "osd"} == set(OSDS)
    df = await watcher.ask("mgr", "osd df")
    in_rows = {number: sum(row.acting) for number, row in placement.rows.items()}
    assert {one["id"]: one["pgs"] for one in df["nodes"]} == in_rows
    checks = (await watcher.ask("mon", "status"))["health"]["checks"]
    assert checks["TOO_MANY_PGS"]["summary"]["message"] == "too many PGs per OSD (480 > max 300)"
    answer = await watcher.ask("mgr", "osd ok-to-stop", ids=[str(number) for number in osds_of("node01")])
    assert answer["ok_to_stop"] is True


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_reader_s_key_is_enough_to_watch(ceph: Witness, carrier: str) -> None:
    async with client(options(carrier)) as watcher:
        await _watch(watcher)


def _binding() -> Path | None:
    """Debian's binding, if it is compiled for the Python of this suite."""
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
    return next(Path("/usr/lib/python3/dist-packages").glob(f"rados.{tag}*.so"), None)


async def test_the_vendor_s_binding_is_used_where_python_can_import_it(
    ceph: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Debian's binding on the path it is taken, without it librados itself; both show the same."""
    binding = _binding()
    if binding is not None:  # a Python newer than Debian's cannot load it, and then ctypes must do
        (tmp_path / binding.name).symlink_to(binding)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with client(options("librados")) as watcher:
        await _watch(watcher)
        assert (str(tmp_path) in watcher.how) == (binding is not None)
        assert ("ctypes" in watcher.how) == (binding is None)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_reader_s_key_that_shall_set_noout_is_forbidden_in_words(ceph: Witness, carrier: str) -> None:
    """The cluster says no; the words name the key and the rights it lacks."""
    async with client(options(carrier), read_only=False) as reader:
        with pytest.raises(Forbidden) as caught:
            await reader.ask("mon", "osd set-group", flags="noout", who=["node01"])
    said = f"{caught.value.problem.happened} {caught.value.problem.next_step}"
    assert "client.evac" in said
    assert 'allow command "osd set-group"' in said
    assert ceph.node_flags() == {}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_read_only_holds_below_every_carrier_even_with_an_admin_s_key(
    ceph: Witness, carrier: str
) -> None:
    table = options(carrier) | {"user": ADMIN, "keyring": str(keyring(ADMIN))}
    before = ceph.ask("osd dump")["epoch"]
    async with client(table) as reader:
        for prefix in ("osd set-group", "osd unset-group"):
            with pytest.raises(ReadOnly):
                await reader.ask("mon", prefix, flags="noout", who=["node01"])
        assert (await reader.ask("mon", "osd dump"))["epoch"] == before


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_the_writer_s_key_sets_noout_for_a_host_by_every_carrier(ceph: Witness, carrier: str) -> None:
    async with client(options(carrier, writer=True), read_only=False) as writer:
        await writer.ask("mon", "osd set-group", flags="noout", who=["node02"])
        assert ceph.node_flags() == {"node02": ["noout"]}
        await writer.ask("mon", "osd unset-group", flags="noout", who=["node02"])
        assert ceph.node_flags() == {}


def test_the_writer_s_key_is_good_for_noout_and_nothing_else(ceph: Witness) -> None:
    """The rights that evac asks for, tried with the unmodified `ceph` command."""
    before = ceph.ask("osd dump")["epoch"]
    for words in (
        "osd set noout",
        "osd set-group noin node01",
        "osd out 3",
        "osd set-group noup,noout node01",
    ):
        done = command(*words.split(), name=WRITER)
        assert (done.returncode, "EACCES" in done.stderr) == (13, True), words
    assert ceph.ask("osd dump")["epoch"] == before


async def test_an_ssh_host_that_is_not_known_is_refused_with_its_fingerprint(
    ceph: Witness, tmp_path: Path
) -> None:
    nobody = tmp_path / "known_hosts"
    nobody.touch()
    said = await _refused(nobody)
    assert "not known" in said
    assert _fingerprint(HOST_KEY) in said


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A known_hosts that has another key for the host, as after a reinstallation."""
    key = tmp_path / "former_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    file = tmp_path / "known_hosts"
    file.write_text(known(facts().ssh_port, key))
    return file


async def test_an_ssh_host_whose_key_has_changed_is_refused(ceph: Witness, former: Path) -> None:
    said = await _refused(former)
    assert "CHANGED" in said
    assert _fingerprint(HOST_KEY) in said


async def _refused(known_hosts: Path) -> str:
    async with client(options("ssh", known_hosts=known_hosts)) as watcher:
        with pytest.raises(AuthFailed) as caught:
            await watcher.ask("mon", "status")
    return caught.value.problem.happened


def _fingerprint(key: Path) -> str:
    line = ["ssh-keygen", "-lf", str(key.with_suffix(".pub"))]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[1]
