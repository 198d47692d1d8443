"""What a [clusters.NAME] table with kind = "proxmox" may hold."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct, field

from evac.ssh_rules import SSHRules, is_host

SECRET_KEYS = ("password", "token_secret")
"""Options that hold a reference to a secret, never the secret itself."""

PORT = 8006

_USER = re.compile(r"[^\s:/@!]+@[A-Za-z][\w.-]+", re.ASCII)
TOKEN = re.compile(r"[^\s:/@!]+@[A-Za-z][\w.-]+![A-Za-z][\w.-]+", re.ASCII)
_STORAGE = re.compile(r"[A-Za-z][\w.-]*[A-Za-z0-9]", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


class Moves(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.migration]: how guests are moved. What is left out is as the datacenter's options say."""

    bandwidth: int = 0
    """MiB/s; 0: the limit of the datacenter or of the storage."""
    local_disks: bool = True
    """Copy disks that lie on the node, when a guest has such."""
    target_storage: str = ""
    """Where disks that are copied go: a storage, pairs "local:fast,data:data2", or "1" for the same name on the target."""
    network: str = ""
    """CIDR of the network for migration traffic. Proxmox VE lets root@pam alone say this, and no API token."""
    type: str = ""
    """secure or insecure. root@pam alone, as `network`."""


class Shell(SSHRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.ssh]: a node on which `ha-manager` and `pvesh` may be run; the API has no call for what they do."""

    host: str = ""
    """Any node of the cluster; "": the one whose API is used."""
    user: str = "root"

    def mistakes(self) -> Iterator[str]:
        """All of them, each begins with its key."""
        if self.host and not is_host(self.host):
            yield f'host is "{self.host[:60]}"; it is a name or an address, without user and port'
        yield from super().mistakes()


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cluster: where its API is, and an API token or a user with a password."""

    endpoints: tuple[str, ...]
    """Nodes of the same cluster, "pve1.example.org" or "https://pve1.example.org:8006"; the next is asked when one is silent."""
    fingerprints: tuple[str, ...] = ()
    """SHA-256 of each endpoint's certificate, in the same order; then no CA is asked."""
    cacert: str = ""
    """Path of a CA, such as a copy of /etc/pve/pve-root-ca.pem; "": the system's."""
    username: str = ""
    """user@realm."""
    password: str = ""
    """A secret reference."""
    token: str = ""
    """user@realm!name of an API token."""
    token_secret: str = ""
    """A secret reference."""
    guest_agent: bool = True
    """Ask the QEMU guest agent for the addresses of guests that are looked at."""
    migration: Moves = field(default_factory=Moves)
    ssh: Shell | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; msgspec turns the ValueError into a ValidationError."""
        if trouble := _trouble(self):
            raise ValueError(trouble)


def url_of(endpoint: str) -> str:
    """An endpoint as https://HOST:PORT."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    host = parts.hostname or ""
    return f"https://{f'[{host}]' if ':' in host else host}:{parts.port or PORT}"


def fingerprint(text: str) -> str:
    """Its 64 digits, however it was written; "" when it is no SHA-256."""
    bare = text.strip().replace(":", "")
    return bare.lower() if _HEX.fullmatch(bare) else ""


def _trouble(options: Options) -> str:
    return _of_endpoints(options) or _of_login(options) or _of_moves(options.migration)


def _of_endpoints(options: Options) -> str:
    if not options.endpoints:
        return 'give endpoints = ["pve1.example.org", …], nodes of one cluster'
    if trouble := next(filter(None, map(_of_endpoint, options.endpoints)), ""):
        return trouble
    if options.fingerprints and len(options.fingerprints) != len(options.endpoints):
        return f"{len(options.endpoints)} endpoints need as many fingerprints, in the same order, or none"
    if bad := [one for one in options.fingerprints if not fingerprint(one)]:
        return (
            f'"{bad[0]}" is no SHA-256 fingerprint; on the node, pvenode cert info prints the one of pveproxy'
        )
    if options.fingerprints and options.cacert:
        return "give fingerprints or cacert, not both: a fingerprint asks no CA"
    return ""


def _of_endpoint(endpoint: str) -> str:
    wrong = f'"{endpoint}" is no endpoint; it looks like pve1.example.org or https://pve1.example.org:8006'
    try:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        good = bool(parts.hostname) and parts.path in {"", "/"} and (parts.port or PORT) > 0
    except ValueError:
        return wrong
    if not good or "@" in endpoint:
        return wrong
    if parts.scheme not in {"", "https"}:
        return f'"{endpoint}": the API of Proxmox VE is spoken over https alone'
    return ""


def _of_login(options: Options) -> str:
    if (options.token or options.token_secret) and (options.username or options.password):
        return "give a token with token_secret, or a username with password, not both"
    if options.token or options.token_secret:
        if not (options.token and options.token_secret):
            return "an API token needs both token and token_secret"
        good = TOKEN.fullmatch(options.token)
        return "" if good else f'"{options.token}" is no API token; it looks like evac@pve!console'
    if not (options.username and options.password):
        return 'give token = "evac@pve!console" with token_secret, or username with password'
    good = _USER.fullmatch(options.username)
    return "" if good else f'"{options.username}" has no realm; it looks like root@pam or evac@pve'


def _of_moves(moves: Moves) -> str:
    if moves.bandwidth < 0:
        return "migration.bandwidth cannot be negative"
    if moves.type not in {"", "secure", "insecure"}:
        return f'migration.type is "{moves.type}"; it can be secure or insecure'
    if moves.network:
        try:
            ipaddress.ip_network(moves.network, strict=False)
        except ValueError:
            return f'migration.network is "{moves.network}"; it looks like 10.10.0.0/24'
    for pair in filter(None, moves.target_storage.split(",")):
        if pair != "1" and not all(_STORAGE.fullmatch(name) for name in pair.split(":", 1)):
            return f'migration.target_storage has "{pair}"; it looks like fast, local:fast or 1'
    return ""
