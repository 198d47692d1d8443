"""What a [clusters.NAME] table with kind = "ceph" may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from evac.ssh_rules import SSHRules, is_host

CARRIERS = ("librados", "command", "ssh")
"""As offered; "socket" is for the simulator only."""

USER = re.compile(r"client\.[A-Za-z0-9_.-]{1,100}", re.ASCII)
"""Name of a key as in `ceph auth ls`."""


class SSH(SSHRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.ssh]: the host on which the `ceph` command is run."""

    host: str

    def mistakes(self) -> Iterator[str]:
        """All of them, each begins with its key."""
        if not is_host(self.host):
            yield f'host is "{_shown(self.host)}"; it is a name or an address, without user and port'
        yield from super().mistakes()


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach a cluster, and with which key. Everything has a default that fits a machine with /etc/ceph."""

    carrier: str = ""
    """librados, command or ssh; "": ssh if there is an ssh table, else librados if it is installed, else command."""
    conf: str = ""
    """Path of ceph.conf; "": where Ceph looks itself. With ssh, a path on that host."""
    keyring: str = ""
    """Path; "": where Ceph looks itself. With ssh, a path on that host."""
    user: str = "client.evac"
    """Name of the key evac watches with."""
    write_user: str = ""
    """Name of the key for noout; "": the same."""
    write_keyring: str = ""
    """Path of the keyring that holds it; "": the same."""
    command: tuple[str, ...] = ("ceph",)
    """The words that run `ceph`, such as ["cephadm", "shell", "--", "ceph"]."""
    ssh: SSH | None = None
    socket: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; one a line; msgspec turns the ValueError into a ValidationError."""
        if trouble := _trouble(self):
            raise ValueError(trouble)


def _trouble(options: Options) -> str:
    """All mistakes, one a line; each begins with the key it is about."""
    return "\n".join((*_of_carrier(options), *_of_keys(options), *_of_command(options)))


def _of_carrier(options: Options) -> Iterator[str]:
    if options.carrier and options.carrier not in {*CARRIERS, "socket"}:
        yield f'carrier is "{_shown(options.carrier)}"; it can be {", ".join(CARRIERS)}'
    elif options.carrier == "ssh" and options.ssh is None:
        yield 'carrier = "ssh" needs to know where: add a table ssh with host = "…"'
    elif options.carrier not in {"", "ssh"} and options.ssh is not None:
        yield f'carrier is "{_shown(options.carrier)}", so the table ssh is never used: remove one of the two'
    elif options.carrier == "socket" and not options.socket:
        yield 'carrier = "socket" needs socket = "PATH"'


def _of_keys(options: Options) -> Iterator[str]:
    for key in ("user", "write_user"):
        name = getattr(options, key)
        if name and not USER.fullmatch(name):
            yield f'{key} is "{_shown(name)}"; it is the name of a key, such as client.evac'
    if not options.user:
        yield "user is empty; it is the name of a key, such as client.evac"
    if options.write_keyring and not options.write_user:
        yield "write_keyring is given, but not whose key is in it: add write_user"
    for key in ("conf", "keyring", "write_keyring"):
        if "\0" in getattr(options, key) or "\n" in getattr(options, key):
            yield f"{key} is no path"


def _of_command(options: Options) -> Iterator[str]:
    if not options.command or not all(options.command):
        yield 'command is empty; it is a list of words, usually ["ceph"]'
    if any("\0" in word or "\n" in word for word in options.command):
        yield "command has a word with a line break in it"
    elif len(options.command) == 1 and " " in options.command[0]:
        yield f'command is one word with spaces in it; write ["{options.command[0].replace(" ", chr(34) + ", " + chr(34))}"]'


def _shown(text: str) -> str:
    return text[:60].replace("\n", " ")
