"""An engine that watches the lab's Ceph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evac.api import Delta
from evac.storage import OSD, HealthCheck, Storage
from tests.real.ceph.layout import CONF, READER, WRITER, facts, keyring
from tests.real.ceph.oneliner import Table
from tests.real.ceph.sshd import CLIENT_KEY, KNOWN_HOSTS
from tests.real.rig import CLUSTER, EngineRig

CARRIERS = ("librados", "command", "ssh")


def ssh_options(known_hosts: Path = KNOWN_HOSTS) -> dict[str, object]:
    """The table ssh: nothing of this user's own ~/.ssh nor of his agent is used."""
    return {
        "host": "127.0.0.1",
        "port": facts().ssh_port,
        "user": "root",
        "known_hosts": str(known_hosts),
        "identity": str(CLIENT_KEY),
        "agent": False,
    }


def options(
    carrier: str = "librados", *, writer: bool = False, known_hosts: Path = KNOWN_HOSTS
) -> dict[str, object]:
    """A cluster's options: watching with the reader's key, changing with the writer's if `writer`."""
    found: dict[str, object] = {"carrier": carrier, "conf": str(CONF), "user": READER}
    found["keyring"] = str(keyring(READER))
    if writer:
        found |= {"write_user": WRITER, "write_keyring": str(keyring(WRITER))}
    if carrier == "ssh":
        found["ssh"] = ssh_options(known_hosts)
    return found


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_toml(name: str, table: Mapping[str, object] | None = None, *, read_only: bool = False) -> str:
    """The lab as a cluster of that name in a config; by default with the key that may set noout."""
    lines = {"kind": "ceph", "poll_interval": 2, "read_timeout": 5, "read_only": read_only}
    lines |= options(writer=True) if table is None else table
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in lines.items())
    return f"[clusters.{name}]\n{text}\n"


class CephRig(EngineRig):
    """One engine with one cluster, the lab."""

    def __init__(
        self, folder: Path, *, table: Mapping[str, object] | None = None, read_only: bool = False
    ) -> None:
        super().__init__(folder, as_toml(CLUSTER, table, read_only=read_only))

    def known(self, delta: Delta) -> bool:
        """True once the placement groups have been counted."""
        return super().known(delta) and any(one.placed for one in delta.storages)


def storage(delta: Delta) -> Storage:
    """The lab's."""
    return next(one for one in delta.storages if one.cluster == CLUSTER)


def osds(delta: Delta) -> dict[int, OSD]:
    """By id."""
    return {one.id: one for one in delta.osds if one.cluster == CLUSTER}


def table(delta: Delta, which: str = "pgs_up") -> Table:
    """The matrix that the engine has, zeros left out."""
    columns = storage(delta).columns
    rows = {number: getattr(one, which) for number, one in osds(delta).items()}
    return {
        number: {pool: count for pool, count in zip(columns, row, strict=True) if count}
        for number, row in rows.items()
        if any(row)
    }


def states(delta: Delta) -> dict[str, int]:
    """PG state → how many PGs are in it, as the engine has it."""
    return {one.state: one.count for one in storage(delta).pg_states}


def checks(delta: Delta) -> dict[str, HealthCheck]:
    """By code."""
    return {one.code: one for one in storage(delta).checks}
