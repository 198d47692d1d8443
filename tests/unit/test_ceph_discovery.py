"""What a machine with /etc/ceph knows already; files only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backends.ceph.discovery import discover
from backends.ceph.options import Options

CONF = "[global]\nfsid = 818a4655\nmon host = [v2:192.0.2.1:3300/0]\n"


def test_each_conf_that_names_monitors_is_a_cluster_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text(CONF)
    (tmp_path / "backup.conf").write_text(CONF.replace("mon host", "mon_host"))
    (tmp_path / "rbdmap.conf").write_text("# nothing of monitors\n")
    (tmp_path / "ceph.conf.bak").write_text(CONF)
    found = {one.name: one for one in discover(tmp_path)}
    assert set(found) == {"ceph", "backup"}
    assert found["ceph"].options == {"conf": str(tmp_path / "ceph.conf")}
    assert found["ceph"].source == str(tmp_path / "ceph.conf")
    for one in found.values():
        msgspec.convert(one.options, Options)


@pytest.mark.parametrize(
    ("keyrings", "user"),
    [((), None), (("evac",), None), (("admin",), "client.admin"), (("admin", "evac"), None)],
)
def test_the_key_with_the_fewest_rights_is_taken(
    tmp_path: Path, keyrings: tuple[str, ...], user: str | None
) -> None:
    (tmp_path / "ceph.conf").write_text(CONF)
    for name in keyrings:
        (tmp_path / f"ceph.client.{name}.keyring").touch()
    (one,) = discover(tmp_path)
    assert one.options.get("user") == user


def test_a_machine_without_ceph_knows_nothing(tmp_path: Path) -> None:
    assert discover(tmp_path / "none") == ()
    assert discover(tmp_path) == ()
    (tmp_path / "ceph.conf").mkdir()
    (tmp_path / "big.conf").write_bytes(b"mon host = x\n" + b"#" * (1 << 21))
    assert discover(tmp_path) == ()
