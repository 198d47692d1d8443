"""The guard below proxmoxer: nothing leaves this machine that is not on its list."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.proxmox.guard import judge
from backends.proxmox.manners import redacted
from backends.wire import Verdict
from tests.pve_schema import request_troubles

API = "/api2/json"
UPID = "UPID:pve1:000003E8:00001B58:6B0C037F:qmigrate:100:root@pam!evac:"

READS = [
    ("GET", "/cluster/resources"),
    ("GET", "/cluster/tasks"),
    ("GET", "/cluster/nextid"),
    ("GET", "/cluster/backup"),
    ("GET", "/cluster/options"),
    ("GET", "/nodes/pve1/network"),
    ("GET", f"/nodes/pve-1/tasks/{UPID}/log"),
    ("GET", "/nodes/pve1/qemu/100/status/current"),
    ("GET", "/nodes/pve1/qemu/100/migrate"),
    ("GET", "/nodes/pve1/qemu/100/agent/network-get-interfaces"),
    ("POST", "/access/ticket"),
]

CHANGES = [
    ("POST", "/nodes/pve1/qemu/100/migrate", "target=pve2&online=1&with-local-disks=1&bwlimit=1024"),
    ("POST", "/nodes/pve1/lxc/100/migrate", "target=pve2&restart=1"),
    ("POST", "/nodes/pve1/qemu/100/status/start", None),
    ("POST", "/nodes/pve1/lxc/100/status/shutdown", None),
    ("POST", "/nodes/pve1/qemu/100/move_disk", "disk=scsi0&storage=fast&delete=1"),
    ("POST", "/cluster/ha/resources/vm:100/migrate", "node=pve2"),
    ("PUT", "/nodes/pve1/qemu/100/config", "delete=lock&skiplock=1"),
    ("DELETE", f"/nodes/pve1/tasks/{UPID}", None),
    ("PUT", "/cluster/backup/backup-1a2b3c4d-5e6f", "enabled=0"),
    ("PUT", "/cluster/options", "crs=ha%3Ddynamic%2Cha-auto-rebalance%3D0%2Cha-auto-rebalance-margin%3D12.5"),
]

TOKEN = "5b1d2c3e-4f50-4d1e-9a7e-7f3a52c04c86"
ACROSS = (
    f"target-endpoint=apitoken%3DPVEAPIToken%3Droot%40pam%21evac%3D{TOKEN}%2Chost%3Dpve9%2Cport%3D8006"
    "&target-storage=fast&target-bridge=vmbr0%3Avmbr1&delete=1&online=1&target-vmid=500&bwlimit=1024"
)

FOREIGN: list[tuple[str, str, str | None]] = [
    ("POST", "/nodes/pve1/qemu/100/status/stop", None),
    ("POST", "/nodes/pve1/qemu/100/status/reset", None),
    ("DELETE", "/nodes/pve1/qemu/100", None),
    ("PUT", "/nodes/pve1/qemu/100/config", "delete=scsi0&skiplock=1"),
    ("PUT", "/nodes/pve1/qemu/100/config", "delete=lock&skiplock=1&memory=16"),
    ("PUT", "/nodes/pve1/qemu/100/config", "delete=lock"),
    ("POST", "/nodes/pve1/qemu/100/config", "delete=lock&skiplock=1"),
    ("POST", "/nodes/pve1/qemu/100/migrate", "target=pve2&force=1"),
    ("POST", "/nodes/pve1/qemu/100/migrate", "target=pve2&target=pve3"),
    ("POST", "/nodes/pve1/qemu/100/status/shutdown", "forceStop=1"),
    ("POST", "/nodes/pve1/lxc/100/remote_migrate", "target-storage=fast"),
    ("POST", "/nodes/pve1/qemu/100/remote_migrate", "target-storage=fast&force=1"),
    ("POST", "/nodes/pve1/qemu/100/agent/exec", "command=sh"),
    ("GET", "/nodes/pve1/qemu/100/vncwebsocket", None),
    ("GET", "/nodes/pve1/qemu/100/agent/exec-status", None),
    ("GET", "/cluster/resources", "a=b"),
    ("POST", "/nodes/pve1/../pve2/qemu/100/status/start", None),
    ("POST", "/nodes/pve1/qemu/100/migrate/../config", "target=pve2"),
    ("DELETE", "/cluster/ha/resources/vm:100", None),
    ("PATCH", "/cluster/resources", None),
    ("PUT", "/cluster/backup/nightly", None),
    ("PUT", "/cluster/backup/nightly", "enabled=2"),
    ("PUT", "/cluster/backup/nightly", "enabled=0&storage=other"),
    ("PUT", "/cluster/backup/..", "enabled=0"),
    ("POST", "/cluster/backup", "enabled=0"),
    ("DELETE", "/cluster/backup/nightly", None),
    ("PUT", "/cluster/options", None),
    ("PUT", "/cluster/options", "crs=ha%3Dstatic"),
    ("PUT", "/cluster/options", "crs=ha-auto-rebalance%3D0%2Cmigration%3Dinsecure"),
    ("PUT", "/cluster/options", "crs=ha-auto-rebalance%3D0&migration=insecure"),
    ("PUT", "/cluster/options", "delete=crs"),
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_reads_and_the_login_are_let_through(method: str, path: str) -> None:
    assert judge(method, API + path, None) is Verdict.READS


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_each_change_evac_makes_is_known_and_fits_proxmox_ves_own_schema(
    method: str, path: str, body: str | None
) -> None:
    assert judge(method, API + path, body) is Verdict.CHANGES
    values = dict(parse_qsl(body or ""))
    assert request_troubles(method, path, values) == {}


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
def test_anything_else_is_never_sent(method: str, path: str, body: str | None) -> None:
    assert judge(method, API + path, body) is Verdict.FOREIGN


def test_a_move_across_is_known_and_its_record_is_without_the_token() -> None:
    path = "/nodes/pve1/qemu/100/remote_migrate"
    assert judge("POST", API + path, ACROSS) is Verdict.CHANGES
    assert request_troubles("POST", path, dict(parse_qsl(ACROSS))) == {}
    kept = redacted(ACROSS)
    assert TOKEN not in kept
    assert kept.startswith("target-endpoint=***&target-storage=fast&")
    assert TOKEN not in redacted(f'{{"message":"invalid apitoken=PVEAPIToken=root@pam!evac={TOKEN}"}}')


def test_what_is_not_below_the_api_is_foreign() -> None:
    assert judge("GET", "/cluster/resources", None) is Verdict.FOREIGN
    assert judge("GET", "/api2/extjs/cluster/resources", None) is Verdict.FOREIGN


PARTS = st.sampled_from(
    [
        "nodes",
        "pve1",
        "qemu",
        "100",
        "status",
        "start",
        "stop",
        "migrate",
        "config",
        "..",
        "",
        "tasks",
        UPID,
        "access",
        "ticket",
    ]
)


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "get"]),
    st.lists(PARTS, max_size=7),
    st.one_of(st.none(), st.text(), st.binary()),
)
def test_only_a_get_or_the_login_reads(method: str, parts: list[str], body: Any) -> None:
    path = API + "".join(f"/{part}" for part in parts)
    if judge(method, path, body) is Verdict.READS:
        assert method == "GET" or (method, path) == ("POST", f"{API}/access/ticket")


@pytest.mark.parametrize(
    "text",
    [
        "username=root%40pam&password=hunter2",
        '{"data":{"ticket":"PVE:root@pam:hunter2","CSRFPreventionToken":"hunter2"}}',
        "Authorization: PVEAPIToken=hunter2",
        "target-endpoint=apitoken=hunter2,host=x",
    ],
)
def test_no_secret_is_kept_of_what_was_sent_or_answered(text: str) -> None:
    assert "hunter2" not in redacted(text)
