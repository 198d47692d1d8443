"""How a host is reached by SSH, as the config says it, and as one place to knock at. Reads no file, and needs no asyncssh."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:%-]{0,252}", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,100}", re.ASCII)
_JUMP = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*(?::\d{1,5})?", re.ASCII)
_BRACKETS = re.compile(r"\[([^\[\]]+)\](?::(\d{1,5}))?", re.ASCII)


class SSHRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table about SSH may hold."""

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
    """Run commands with `sudo -n`, which must not ask for a password."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; one mistake a line, each begins with its key."""
        if trouble := "\n".join(self.mistakes()):
            raise ValueError(trouble)

    def mistakes(self) -> Iterator[str]:
        """All of them."""
        if not 0 < self.port < 65536:
            yield f"port is {self.port}; it can be 1 to 65535"
        if self.user and not _LOGIN.fullmatch(self.user):
            yield f'user is "{_shown(self.user)}"; it is a login name'
        if self.jump and not _JUMP.fullmatch(self.jump):
            yield f'jump is "{_shown(self.jump)}"; it looks like admin@bastion.example.org:22'


class ShellRules(SSHRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.shell]: how evac gets onto the hosts of a cluster, to look at them and to run a window's command."""

    hosts: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Host's name → "ADDRESS" or "ADDRESS:PORT", where it is another than the cluster tells."""

    def mistakes(self) -> Iterator[str]:
        """As above."""
        yield from super().mistakes()
        for name, where in self.hosts.items():
            if not is_host(split(where, self.port)[0]) or not 0 < split(where, self.port)[1] < 65536:
                yield f'hosts has "{_shown(where)}" for {_shown(name)}; it looks like 192.0.2.7, [2001:db8::7]:22 or pve-a1.example.org:22'


class Door(Struct, frozen=True, kw_only=True):
    """One host and the way to it. Paths are absolute, or ""."""

    host: str
    port: int = 22
    user: str = ""
    known_hosts: str = ""
    identity: str = ""
    agent: bool = True
    jump: str = ""
    sudo: bool = False
    connect_timeout: float = 5.0


def door(rules: SSHRules, host: str, *, folder: Path, connect_timeout: float, port: int = 0) -> Door:
    """`folder`: what relative paths are relative to. `port`: another than the rules have."""

    def place(path: str) -> str:
        return str(folder / Path(path).expanduser()) if path else ""

    return Door(
        host=host,
        port=port or rules.port,
        user=rules.user,
        known_hosts=place(rules.known_hosts),
        identity=place(rules.identity),
        agent=rules.agent,
        jump=rules.jump,
        sudo=rules.sudo,
        connect_timeout=connect_timeout,
    )


def hops(door: Door) -> list[tuple[str, int]]:
    """The hosts whose keys must be known, in the order in which they are reached."""
    host, _, port = door.jump.rpartition("@")[2].partition(":")
    first = [(host, int(port or 22))] if door.jump else []
    return [*first, (door.host, door.port)]


def is_host(text: str) -> bool:
    """True for a name or an address, without user and port."""
    return bool(_HOST.fullmatch(text))


def split(where: str, port: int) -> tuple[str, int]:
    """The address and the port of "ADDRESS[:PORT]"; a bare IPv6 address has no port. A port that is none gives 0."""
    if found := _BRACKETS.fullmatch(where):
        return found[1], int(found[2] or port)
    host, colon, number = where.partition(":")
    if not colon or ":" in number:
        return where, port
    return host, int(number) if number.isascii() and number.isdigit() else 0


def _shown(text: str) -> str:
    return text[:60].replace("\n", " ")
