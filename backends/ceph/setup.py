"""From the config's options to what a worker needs to know."""

from __future__ import annotations

import os
from pathlib import Path

from backends.ceph.frames import Setup
from backends.ceph.options import SSH, Options
from evac.backend import Settings
from evac.ssh_rules import door


def setup_of(settings: Settings) -> Setup:
    """Paths on this machine become absolute ones; paths for another host stay as written. Reads no file."""
    options = settings.options
    assert isinstance(options, Options)
    carrier = carrier_of(options)
    ssh = options.ssh or SSH(host="localhost")

    def place(path: str) -> str:
        return str(settings.config_dir / Path(path).expanduser()) if path else ""

    def far(path: str) -> str:
        return path if carrier == "ssh" else place(path)

    return Setup(
        cluster=settings.name,
        carrier=carrier,
        read_only=settings.read_only,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        conf=far(options.conf),
        keyring=far(options.keyring),
        user=options.user,
        write_user=options.write_user,
        write_keyring=far(options.write_keyring),
        command=tuple(options.command),
        socket=place(options.socket),
        door=door(ssh, ssh.host, folder=settings.config_dir, connect_timeout=settings.connect_timeout)
        if carrier == "ssh"
        else None,
    )


def carrier_of(options: Options) -> str:
    """The one that is named; "auto" leaves it to the worker, which can see what is installed."""
    if options.carrier:
        return options.carrier
    if options.ssh is not None:
        return "ssh"
    if options.socket:
        return "socket"
    return "auto"


def cluster_name(conf: str) -> str:
    """As the `ceph` command has it: /etc/ceph/NAME.conf belongs to the cluster NAME, whose keyrings begin with it too."""
    place = Path(conf)
    return place.stem if place.suffix == ".conf" else "ceph"


def found_conf() -> str:
    """Where Ceph itself would look: $CEPH_CONF, /etc/ceph/ceph.conf, ~/.ceph/ceph.conf."""
    places = (os.environ.get("CEPH_CONF", ""), "/etc/ceph/ceph.conf", str(Path.home() / ".ceph/ceph.conf"))
    return next((place for place in places if place and Path(place).is_file()), "")
