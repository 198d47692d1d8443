"""ceph.conf, the keys, and the SSH server's configuration."""

from __future__ import annotations

import base64
import os
import secrets
import struct
import time

from tests.real.ceph.layout import (
    ADMIN,
    CONF,
    LAB,
    LOG,
    MGR_ID,
    OSDS,
    READER,
    RUN,
    SSH,
    WRITER,
    Facts,
    keyring,
    osd,
)

_ALL = {"mon": "allow *", "mgr": "allow *", "osd": "allow *"}
CAPS = {
    "mon.": {"mon": "allow *"},
    ADMIN: _ALL,
    READER: {"mon": "allow r", "mgr": "allow r"},
    WRITER: {
        "mon": 'allow r, allow command "osd set-group" with flags=noout, '
        'allow command "osd unset-group" with flags=noout',
        "mgr": "allow r",
    },
    f"mgr.{MGR_ID}": {"mon": "allow profile mgr", "osd": "allow *"},
    **{
        osd(number): {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"}
        for number in OSDS
    },
}
"""Who → what it may. The monitor takes all of them over at its first start."""


def write_all(facts: Facts) -> None:
    """Every file for a cluster that does not exist yet."""
    CONF.write_text(_ceph(facts))
    keys = {name: _key() for name in CAPS}
    for name in CAPS:
        _write_secret(keyring(name), _section(name, keys[name], {}))
    everything = (_section(name, keys[name], caps) for name, caps in CAPS.items())
    _write_secret(LAB / "seed.keyring", "".join(everything))
    (SSH / "sshd_config").write_text(_sshd(facts))


def _write_secret(path: os.PathLike[str], text: str) -> None:
    with open(path, "w", encoding="utf-8", opener=lambda name, how: os.open(name, how, 0o600)) as file:
        file.write(text)


def _key() -> str:
    """A cephx secret as `ceph-authtool --gen-print-key` makes it: type 1 (AES), time made, 16 random bytes."""
    secret = secrets.token_bytes(16)
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, len(secret)) + secret).decode()


def _section(name: str, key: str, caps: dict[str, str]) -> str:
    quoted = (f'\tcaps {kind} = "{_escaped(words)}"\n' for kind, words in caps.items())
    return f"[{name}]\n\tkey = {key}\n{''.join(quoted)}"


def _escaped(words: str) -> str:
    return words.replace('"', '\\"')


def _ceph(facts: Facts) -> str:
    """What is here cannot be changed while the cluster runs: the file beats `ceph config set`.

    mon_max_pg_per_osd is not here for that reason. The PG logs are so short that a new OSD of a PG is filled by backfill,
    as on a cluster that is in use: with few objects Ceph replays its log instead, and "up" is "acting" at once. Without `mgr initial modules` the module `restful` is loaded and
    fails on Debian 12 (PyO3), which is a health warning. No admin sockets: their paths can be too long for the kernel.
    """
    return f"""[global]
fsid = {facts.fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{facts.mon_port}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind msgr1 = false
ms bind msgr2 = true
ms bind port min = {facts.mon_port + 1}
ms bind port max = {facts.mon_port + 500}
ms async op threads = 1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = {RUN}
admin socket =
pid file =
log file = {LOG}/$name.log
log to stderr = false
mon cluster log file = {LOG}/cluster.log
crash dir = {LAB}/crash
keyring = {LAB}/$name.keyring
osd pool default size = 3
osd pool default min size = 2
osd pool default pg autoscale mode = off
osd crush update on start = false
paxos propose interval = 0.05
paxos min wait = 0.01
mon allow pool delete = true
mon warn on pool no redundancy = false
mon osd max creating pgs = 65536
mon osd max initial pgs = 65536
mon data avail crit = 1
mon data avail warn = 2
[mon]
mgr initial modules = iostat
mon data = {LAB}/mon
keyring = {LAB}/seed.keyring
auth allow insecure global id reclaim = false
mon mgr beacon grace = 12
[mgr]
mgr data = {LAB}/mgr
mgr stats period = 1
[osd]
osd data = {LAB}/$name
osd objectstore = memstore
memstore device bytes = 1073741824
osd max object name len = 256
osd op num shards = 1
osd op num threads per shard = 2
osd mclock skip benchmark = true
osd min pg log entries = 1
osd max pg log entries = 2
osd pg log trim min = 1
"""


def _sshd(facts: Facts) -> str:
    """An SSH server of our own. SetEnv stands for the /etc/ceph/ceph.conf that a real host has."""
    return f"""ListenAddress 127.0.0.1
Port {facts.ssh_port}
HostKey {SSH}/host_key
AuthorizedKeysFile {SSH}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
SetEnv CEPH_CONF={CONF}
"""
