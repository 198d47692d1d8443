"""Why no answer came, in an admin's words. The cluster's name is put before them by the client."""

from __future__ import annotations

import errno
import os
import re

from backends.ceph.carrier import CarrierError, FailureKind
from evac.model import Problem
from evac.said import last_line

READ_CAPS = "mon 'allow r' mgr 'allow r'"
"""Enough for everything evac reads; tried on 16.2.15."""

WRITE_CAPS = (
    'mon \'allow r, allow command "osd set-group" with flags=noout,'
    " allow command \"osd unset-group\" with flags=noout' mgr 'allow r'"
)
"""Reading, and noout of single hosts: on 16.2.15 such a key can set no other flag. 'allow rw' would do as well."""

PACKAGES = "Debian and Ubuntu: librados2; RHEL, Rocky, Alma and SUSE: librados2; Arch: ceph-libs"

CLI_PACKAGES = "Debian, Ubuntu, RHEL, Rocky, Alma and SUSE: ceph-common; Arch: ceph"

_LIBRARY_SAYS = re.compile(r"\[errno (\d+)\]")


def _failure(kind: FailureKind, happened: str, next_step: str, *, sent: bool = False) -> CarrierError:
    return CarrierError(kind, Problem(happened=happened, next_step=next_step), sent=sent)


def grant(user: str, caps: str = READ_CAPS) -> str:
    """The command that makes a key with these rights, or gives them to one that exists."""
    return f"ceph auth get-or-create {user} {caps}"


def too_large(most: int) -> Problem:
    """An answer that nobody could use."""
    return Problem(
        happened=f"The answer is larger than {most >> 20} MB.",
        next_step="Something else than Ceph may be answering; run the command by hand.",
    )


def no_command(program: str) -> CarrierError:
    """The `ceph` command is not there."""
    return _failure(
        "unreachable",
        f"There is no command {program} on this machine.",
        f'Install it ({CLI_PACKAGES}), name another in `command`, or use carrier = "ssh".',
    )


def cannot_run(program: str, error: OSError) -> CarrierError:
    """The `ceph` command does not start."""
    return _failure(
        "unreachable", f"{program} cannot be run: {error.strerror}.", "Check `command` in the config."
    )


def no_socket(path: str, error: BaseException) -> Problem:
    """The simulator does not answer."""
    return Problem(
        happened=f"The simulator at {path} does not answer: {error}.", next_step="Start the demo again."
    )


def no_library(error: object) -> CarrierError:
    """librados.so.2 cannot be loaded."""
    return _failure(
        "unreachable",
        f"librados cannot be loaded: {error}.",
        f'Install it ({PACKAGES}), or use carrier = "command" or "ssh".',
    )


def command_failed(code: int, err: str, *, where: str = "") -> CarrierError:
    """The `ceph` command ended without an answer of the cluster."""
    said = err.strip()
    told = _LIBRARY_SAYS.search(said)
    if "calling conf_read_file" in said:
        return connecting(errno.ENOENT, "conf", where=where)
    if "unable to find a keyring" in said:
        code = errno.EACCES if "(13) Permission denied" in said else errno.ENOENT
        return connecting(code, "keyring", where=where)
    if told:
        return connecting(int(told[1]), "connect", where=where)
    if said.splitlines()[-1:] == ["timed out"] or code == 124:
        return connecting(errno.ETIMEDOUT, "connect", where=where)
    return _failure(
        "bad",
        f"The ceph command{where} ended with exit code {code}: {last_line(said) or 'it said nothing'}.",
        "Run it by hand as the same user to see more.",
        sent=True,
    )


def connecting(code: int, step: str, *, where: str = "", user: str = "") -> CarrierError:
    """Librados could not start or log in. `step`: conf, keyring or connect; `where`: " on HOST" or ""."""
    who = user or "the configured user"
    if step == "conf":
        return _failure(
            "unreachable",
            f"Ceph's configuration file{where} cannot be read: {os.strerror(code)}.",
            "Set `conf` to its path, usually /etc/ceph/ceph.conf; evac runs as its own user and must be able to read it.",
        )
    if step == "keyring" and code != errno.ENOENT:
        return _failure(
            "auth",
            f"The keyring of {who}{where} cannot be read: {os.strerror(code)}.",
            "evac runs as its own user and must be able to read it; nobody else should.",
        )
    if code == errno.ENOENT:
        return _failure(
            "auth",
            f"There is no keyring{where} with a key for {who}.",
            f"Make one: umask 077; {grant(user or 'client.evac')} -o /etc/ceph/ceph.{user or 'client.evac'}.keyring, and set `keyring`.",
        )
    if code in {errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL}:
        return _failure(
            "auth",
            f"The monitors refuse the key of {who}{where}: {os.strerror(code)}.",
            f"Compare the keyring with `ceph auth get {user or 'client.evac'}` run as an admin of the cluster.",
        )
    return _failure(
        "unreachable",
        f"No monitor answers{where}: {os.strerror(code)}.",
        "Check mon_host in ceph.conf, the network to ports 3300 and 6789, and whether the monitors have a quorum.",
    )


def slow(seconds: float, target: str, *, write: bool) -> CarrierError:
    """The command was sent and no answer came."""
    manager = (
        "No active manager may be the reason: `ceph mgr stat`. What the monitors tell is still up to date."
        if target == "mgr"
        else "The monitors may have no quorum: ask them on their own host with `ceph daemon mon.NAME mon_status`."
    )
    return CarrierError(
        "unreachable",
        Problem(happened=f"No answer within {seconds:g} s from the {_NAMES[target]}.", next_step=manager),
        sent=write,
    )


_NAMES = {"mon": "monitors", "mgr": "manager"}
