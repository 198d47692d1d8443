"""What a [clusters.NAME] table with kind = "libvirt" may hold."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct, field

SECRET_KEYS = ("password",)
"""Options that hold a reference to a secret, never the secret itself."""

DRIVERS = ("qemu", "test")
TRANSPORTS = ("ssh", "libssh", "libssh2", "tls", "tcp", "unix")

STORAGE = ("shared", "copy", "copy-incremental")
ADDRESSES = ("lease", "arp", "agent")

UNCHECKED = frozenset({"no_verify", "no_sanity"})
"""Words of a URI by which libvirt takes any certificate, or any SSH host key."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


class HostEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[clusters.NAME.hosts]]: one host that needs more said about it than its URI."""

    uri: str
    name: str = ""
    """What the host is called in evac; "": the host of its URI."""
    peer_uri: str = ""
    """The URI by which the *other hosts* reach its libvirt; "": the same as evac does."""
    migrate_uri: str = ""
    """Where the guests' memory is sent, such as tcp://10.0.0.12; "": libvirt's own choice."""


class Moves(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clusters.NAME.migration]: how guests are moved live."""

    storage: str = "shared"
    """shared: libvirt refuses a guest whose disk is not. copy: disks that are not shared are copied, whole;
    copy-incremental: only what differs from the backing file."""
    bandwidth: int = 0
    """MiB/s; 0: no limit of ours."""
    max_downtime: int = 0
    """Milliseconds the guest may stand still at the end; 0: libvirt's own (300)."""
    auto_converge: bool = False
    """Slow the guest down when it writes faster than can be sent."""
    post_copy: bool = False
    """Allow force-complete to switch to post-copy. When the link breaks then, the guest is lost."""
    tunnelled: bool = False
    """Through libvirt's own (encrypted) connection: slower."""
    parallel: int = 0
    """Connections for the memory; 0: one."""
    unsafe: bool = False
    """Tell libvirt not to look at disk cache modes: only where the storage is known to be coherent."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some hosts of which each has a libvirt of its own; together they are one cluster for evac."""

    uris: tuple[str, ...] = ()
    """qemu+ssh://root@kvm1.example.org/system, qemu+tls://kvm2.example.org/system, qemu:///system, …"""
    hosts: tuple[HostEntry, ...] = ()
    allow_plain_tcp: bool = False
    """qemu+tcp is neither encrypted nor, as a rule, authenticated: whoever reaches it owns the host."""
    username: str = ""
    """For SASL, where the hosts want it."""
    password: str = ""
    """A secret reference."""
    shared_paths: tuple[str, ...] = ()
    """Folders that are the same storage on every host, such as /srv/nfs. Pools of a network kind are known by themselves."""
    addresses: tuple[str, ...] = ("lease", "agent", "arp")
    """Where guests' addresses are asked for, in this order."""
    cpu_check: bool = True
    """Ask the target whether its CPU fits before a guest is moved there."""
    shutdown_timeout: float = 120.0
    """Seconds a guest gets to shut down for a cold migration. It is never switched off instead."""
    migration: Moves = field(default_factory=Moves)

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; msgspec turns the ValueError into a ValidationError."""
        if trouble := _trouble(self):
            raise ValueError(trouble)


def entries(options: Options) -> tuple[HostEntry, ...]:
    """Every host, with its name, in the order given."""
    plain = (HostEntry(uri=uri) for uri in options.uris)
    every = (*plain, *options.hosts)
    return tuple(
        HostEntry(
            uri=_quiet(entry.uri),
            name=entry.name or name_of(entry.uri),
            peer_uri=_quiet(entry.peer_uri or entry.uri),
            migrate_uri=entry.migrate_uri,
        )
        for entry in every
    )


def name_of(uri: str) -> str:
    """What a host is called by its URI: the host in it, else the last word of a test driver's path, else localhost."""
    parts = urlsplit(uri)
    if parts.hostname:
        return parts.hostname
    if parts.scheme == "test" and parts.path not in {"", "/default"}:
        return parts.path.rsplit("/", 1)[-1].removesuffix(".xml")
    return "localhost"


def transport_of(uri: str) -> str:
    """ssh, tls, tcp, …; "": this machine. A remote URI without one is TLS, as libvirt has it."""
    parts = urlsplit(uri)
    _, _, transport = parts.scheme.partition("+")
    return transport or ("tls" if parts.hostname else "")


def _quiet(uri: str) -> str:
    """Over ssh nobody is there to answer a question: it fails instead of asking (libvirt's no_tty)."""
    if transport_of(uri) != "ssh" or "no_tty" in parse_qs(urlsplit(uri).query):
        return uri
    return f"{uri}{'&' if urlsplit(uri).query else '?'}no_tty=1"


def _trouble(options: Options) -> str:
    if not options.uris and not options.hosts:
        return 'give uris = ["qemu+ssh://root@HOST/system", …], or tables hosts'
    for entry in (*(HostEntry(uri=uri) for uri in options.uris), *options.hosts):
        if trouble := _trouble_of_host(entry, options):
            return trouble
    names = [entry.name for entry in entries(options)]
    if doubled := {name for name in names if names.count(name) > 1}:
        return f"two hosts are called {min(doubled)}; give them a name in [[hosts]]"
    return _trouble_of_rest(options)


def _trouble_of_host(entry: HostEntry, options: Options) -> str:
    for uri in filter(None, (entry.uri, entry.peer_uri)):
        if trouble := _trouble_of_uri(uri, options):
            return trouble
    if entry.name and not _NAME.fullmatch(entry.name):
        return f'"{entry.name}" is no name of a host'
    return ""


def _trouble_of_uri(uri: str, options: Options) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f'"{uri}" is no URI'
    driver = parts.scheme.partition("+")[0]
    if driver not in DRIVERS or (transport := transport_of(uri)) not in {"", *TRANSPORTS}:
        return f'"{uri}" is no URI of a libvirt host; it looks like qemu+ssh://root@kvm1.example.org/system'
    if transport == "tcp" and not options.allow_plain_tcp:
        return f'"{uri}" is neither encrypted nor, as a rule, authenticated: use qemu+ssh or qemu+tls, or set allow_plain_tcp = true'
    if UNCHECKED & parse_qs(parts.query).keys():
        return f'"{uri}" switches off the check that it is that host which answers'
    if parts.password:
        return f'"{uri.replace(parts.password, "…")}" holds a password: use username and password = "file:…"'
    return ""


def _trouble_of_rest(options: Options) -> str:
    unknown = sorted(set(options.addresses) - set(ADDRESSES))
    rules = (
        (bool(unknown), f'addresses has "{"".join(unknown[:1])}"; it can be {", ".join(ADDRESSES)}'),
        (not all(path.startswith("/") for path in options.shared_paths), "shared_paths holds absolute paths"),
        (options.shutdown_timeout <= 0, "shutdown_timeout is more than 0 seconds"),
        (bool(options.username) != bool(options.password), "username and password go together"),
    )
    return _trouble_of_moves(options.migration) or next((words for broken, words in rules if broken), "")


def _trouble_of_moves(moves: Moves) -> str:
    if moves.storage not in STORAGE:
        return f'migration.storage is "{moves.storage}"; it can be {", ".join(STORAGE)}'
    if min(moves.bandwidth, moves.max_downtime, moves.parallel) < 0:
        return "bandwidth, max_downtime and parallel cannot be negative"
    if moves.tunnelled and (moves.parallel > 1 or moves.storage != "shared"):
        return "a tunnelled migration copies no disks and has one connection (libvirt's rule)"
    return ""
