"""What a [clusters.NAME] table with kind = "ceph" may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

CARRIERS = ("librados", "command", "ssh")
"""As offered; "socket" is for the simulator only."""

USER = re.compile(r"client\.[A-Za-z0-9_.-]{1,100}", re.ASCII)
"""Name of a key as in `ceph auth ls`."""

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:%-]{0,252}", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,100}", re.ASCII)
_JUMP = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*(?::\d{1,5})?", re.ASCII)


class SSH(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.ssh]: the host on which the `ceph` command is run."""

    host: str
    port: int = 22
    user: str = ""
    """"": the user evac runs as."""
    known_hosts: str = ""
    """Path; "": ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts. A host that is not in it is never connected to."""
    identity: str = ""
    """Path of a private key without a passphrase; "": the agent's, then those in ~/.ssh."""
    agent: bool = True
    """Use the ssh-agent evac was started with."""
    jump: str = ""
    """A host to go through: [USER@]HOST[:PORT]."""
    sudo: bool = False
    """Run the command with `sudo -n`, which must not ask for a password."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words."""
        if trouble := _trouble_of_ssh(self):
            raise ValueError(trouble)


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


def _trouble_of_ssh(ssh: SSH) -> str:
    return "\n".join(_of_ssh(ssh))


def _of_ssh(ssh: SSH) -> Iterator[str]:
    if not _HOST.fullmatch(ssh.host):
        yield f'host is "{_shown(ssh.host)}"; it is a name or an address, without user and port'
    if not 0 < ssh.port < 65536:
        yield f"port is {ssh.port}; it can be 1 to 65535"
    if ssh.user and not _LOGIN.fullmatch(ssh.user):
        yield f'user is "{_shown(ssh.user)}"; it is a login name'
    if ssh.jump and not _JUMP.fullmatch(ssh.jump):
        yield f'jump is "{_shown(ssh.jump)}"; it looks like admin@bastion.example.org:22'


def _shown(text: str) -> str:
    return text[:60].replace("\n", " ")
