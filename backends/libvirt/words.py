"""What libvirt says, in an admin's words: from an error of its library to an error of the contract. Pure.

The vendor's own text is always kept. Codes: virErrorNumber, domains: virErrorDomain (libvirt/virterror.h).
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from backends.trouble import uncertain
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Problem

NO_SUPPORT, INVALID_CONN, OPERATION_FAILED = 3, 6, 9
GET_FAILED, DENIED, SYSTEM, RPC, NO_DOMAIN, AUTH, NO_CONNECT = 26, 29, 38, 39, 42, 45, 32
INVALID, TIMEOUT, UNSAFE, ABORTED, ACCESS = 55, 68, 81, 78, 88
AUTH_CANCELLED, AUTH_UNAVAILABLE = 79, 80

SHOWN = 600
"""Characters of the vendor's text that are shown."""


class Failure(Struct, frozen=True, kw_only=True):
    """An error of libvirt's library as values."""

    code: int
    domain: int
    message: str


def failure_of(error: Any) -> Failure:
    """From a libvirtError."""
    said = str(error.get_error_message() or error)
    return Failure(
        code=error.get_error_code() or 0, domain=error.get_error_domain() or 0, message=quoted(said)
    )


def quoted(text: str) -> str:
    """One line, without control characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


_CUT = re.compile(
    r"client socket is closed|end of file while reading|cannot recv data|cannot write data|connection reset"
    r"|broken pipe|keepalive|connection closed|disconnected from|not connected|i/o error",
    re.IGNORECASE,
)
_CONNECT = re.compile(
    r"unable to connect to server|connection refused|no route to host|timed out|name or service not known"
    r"|temporary failure in name resolution|could not resolve|failed to connect socket|unable to resolve",
    re.IGNORECASE,
)


def read_failed(failure: Failure, *, where: str, what: str) -> BackendError:
    """A read on host `where` that failed."""
    kind, step = _sorted(failure)
    happened = f'{where}: {what} failed: "{failure.message}".'
    return kind(
        Problem(
            happened=happened,
            unaffected="Guests run on; what other hosts tell is shown.",
            next_step=step or "See libvirtd's log on that host; evac asks again.",
        )
    )


def _sorted(failure: Failure) -> tuple[type[BackendError], str]:
    if failure.code == NO_DOMAIN:
        return NotFound, ""
    if failure.code in {AUTH, AUTH_CANCELLED, AUTH_UNAVAILABLE} or _is_auth(failure.message):
        return AuthFailed, connect_advice(failure)
    if failure.code in {DENIED, ACCESS}:
        return (
            Forbidden,
            "The account may not do this in libvirt: see its polkit rules, or connect as another user.",
        )
    if (
        failure.code in {RPC, NO_CONNECT, INVALID_CONN, TIMEOUT}
        or _CUT.search(failure.message)
        or _CONNECT.search(failure.message)
    ):
        return Unreachable, connect_advice(failure)
    return BadAnswer, ""


def _is_auth(message: str) -> bool:
    return bool(
        re.search(
            r"permission denied|authentication failed|authentication unavailable|certificate",
            message,
            re.IGNORECASE,
        )
    )


_CONNECT_ADVICE = (
    ("host key verification failed", "The SSH host key is not in known_hosts (or has changed): log in once by hand as the user evac runs as, and compare the key."),
    ("permission denied (", "SSH refused the key: the user evac runs as needs a key without a passphrase, or an agent, and the right to log in there."),
    ("permission denied", "The account may not use that libvirt socket: use root, or put the user into the group libvirt."),
    ("client certificate", "It is evac's own: renew the certificate in the folder that the URI's pkipath names (else /etc/pki/libvirt)."),
    ("our own certificate", "It is evac's own: it must be signed by the authority in the same folder, the URI's pkipath (else /etc/pki/libvirt)."),
    ("cannot read ca certificate", "libvirt's TLS certificates are not where it looks: install them there, name their folder with ?pkipath=/FOLDER in the URI, or use qemu+ssh."),
    ("certificate", "Check the TLS certificates: the host's must bear the name used in the URI, and both must be signed by the CA in /etc/pki/CA/cacert.pem."),
    ("tls handshake", "Check the TLS certificates: the host's must bear the name used in the URI, and both must be signed by the CA in /etc/pki/CA/cacert.pem."),
    ("failed to collect auth credentials", "libvirt wants a user and a password there (SASL): set username and password."),
    ("authentication", "libvirt took neither: check username and password (SASL), and that the host has a mechanism in common with this machine (libsasl2-modules)."),
    ("connection refused", "Nothing listens there: is libvirtd (or its socket unit) running? If only libvirtd died, the guests run on."),
    ("name or service not known", "The name does not resolve: check the URI."),
    ("name resolution", "The name does not resolve: check the URI, and DNS."),
    ("no route to host", "The network does not reach that host: is it powered off?"),
    ("keepalive", "The host stopped answering: is it, or the network, down?"),
    ("end of file", "The other side hung up: with ssh, see whether `virsh -c URI list` works as the user evac runs as."),
    ("cannot recv data", "The other side hung up: with ssh, see whether `virsh -c URI list` works as the user evac runs as."),
)  # fmt: skip


def connect_advice(failure: Failure) -> str:
    """What to do about a connection that cannot be had."""
    said = failure.message.lower()
    return next(
        (advice for words, advice in _CONNECT_ADVICE if words in said),
        "evac keeps trying; `evac doctor` has more.",
    )


# --- changing ------------------------------------------------------------------------------------


def change_failed(failure: Failure, *, where: str, what: str) -> BackendError:
    """A changing call that failed. What was cut off in the middle is uncertain; the rest libvirt refused."""
    said = f'{where}: {what} failed: "{failure.message}".'
    if failure.code == NO_DOMAIN:
        return NotFound(Problem(happened=said, unaffected="Nothing was changed."))
    if failure.code in {DENIED, ACCESS}:
        return Forbidden(
            Problem(happened=said, unaffected="Nothing was changed.", next_step=_sorted(failure)[1])
        )
    if failure.code in {RPC, INVALID_CONN, TIMEOUT} or _CUT.search(failure.message):
        return Uncertain(uncertain(said, "the VM"))
    return Refused(
        Problem(happened=said, unaffected="Nothing was changed.", next_step=change_advice(failure))
    )


_CHANGE_ADVICE = (
    ("missing features", "The target's CPU lacks what this guest was started with: choose another target, or give guests a CPU model that all hosts have."),
    ("incompatible with host cpu", "Choose another target, or give guests a CPU model that all hosts have."),
    ("already active", "The guest runs there already, or somebody else is just moving it there. Do NOT start it again; find out where it runs."),
    ("already exists with uuid", "Another domain has this name there: rename one of them."),
    ("without shared storage is unsafe", 'Its disks are not on storage that both hosts share: name the folder in shared_paths if they are, or set migration.storage = "copy".'),
    ("unsafe migration", "Disks with cache mode other than none are unsafe on most storage: set cache=none in the guest, or migration.unsafe if the storage is coherent."),
    ("non-migratable device", "Take that device out of the guest first, or shut it down and migrate it cold."),
    ("host devices", "A device of the host is passed through to it: take it out, or shut the guest down and migrate it cold."),
    ("unable to connect to server", "The source host does not reach the target's libvirt: set peer_uri of the target to an address it can reach, and open the port."),
    ("cannot recv data", "The source host could not log in to the target's libvirt: with qemu+ssh the *source's* root needs a key for the target."),
    ("host key verification failed", "The source host does not know the target's SSH key: log in once by hand, from the source to the target."),
    ("migrate guest to the same host", "Both hosts have the same host UUID (a cloned machine?): set host_uuid in libvirtd.conf."),
    ("unable to resolve", "The source cannot resolve the target's own name: set migrate_uri of the target, or migration_host in its qemu.conf."),
    ("no route to host", "The migration ports (49152-49215 of the target) are not reachable from the source: open them."),
    ("unable to write to monitor", "QEMU ended while it was asked: look at the guest's log in /var/log/libvirt/qemu."),
    ("monitor", "QEMU ended or stands still: look at the guest's log in /var/log/libvirt/qemu on both hosts."),
    ("unexpectedly failed", "QEMU gave the migration up: look at the guest's log in /var/log/libvirt/qemu on both hosts."),
    ("client socket is closed", "The connection between the two hosts broke. The guest is where it was unless it is shown elsewhere."),
    ("end of file", "The connection between the two hosts broke. The guest is where it was unless it is shown elsewhere."),
    ("post-copy", "Look at the guest on both hosts: post-copy that broke may go on by itself when the network is back."),
    ("no storage pool with matching target path", "The target has no such file, and no storage pool over that folder in which libvirt could make it: define the pool there (or make a file of the same size), then move it again."),
    ("could not open", "The target does not have a file of this guest: is the storage mounted there?"),
    ("no such file", "The target does not have a file of this guest: is the storage mounted there?"),
    ("cannot access storage file", "The target does not have a file of this guest: is the storage mounted there?"),
    ('failed to get "write" lock', "Another process has the disk open: the guest runs somewhere. Find out where before anything else."),
    ("cannot get interface mtu", "The target lacks the guest's bridge: create it there."),
    ("no such device", "The target lacks the guest's bridge or a device of it: create it there."),
    ("network not found", "The target lacks the guest's libvirt network: define it there."),
    ("cannot acquire state change lock", "libvirt is busy with the guest: see which job runs (virsh domjobinfo)."),
    ("no job is active", "The migration has just ended: look again."),
    ("cannot allocate memory", "The target has not enough free memory: choose another."),
)  # fmt: skip


def change_advice(failure: Failure) -> str:
    """What to do about a refusal whose words we know (measured on libvirt 9.0, QEMU 7.2 and 10.0)."""
    said = failure.message.lower()
    found = next((advice for words, advice in _CHANGE_ADVICE if words in said), "")
    return found or "See libvirtd's log on that host."


def missing_features(message: str) -> str:
    """The CPU features libvirt names as missing, as a list for people; "" where it names none."""
    found = re.search(
        r"(?:missing features|required features|not provide required features)[: ]+([\w ,.-]+)", message
    )
    if not found:
        return ""
    return ", ".join(part for part in re.split(r"[ ,]+", found.group(1).strip()) if part)
