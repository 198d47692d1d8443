"""Why the `ceph` command on another host gave no answer, in an admin's words."""

from __future__ import annotations

import os
import re
import shlex
import socket

import asyncssh

from backends.ceph import trouble
from backends.ceph.carrier import CarrierError, FailureKind
from backends.ceph.frames import Setup
from evac.model import Problem


def _failure(kind: FailureKind, happened: str, next_step: str, *, sent: bool = False) -> CarrierError:
    return CarrierError(kind, Problem(happened=happened, next_step=next_step), sent=sent)


def host_key(at: tuple[str, int], key: asyncssh.SSHKey | None, known: bytes, file: str) -> CarrierError:
    """The host is not in known_hosts, or shows another key than the one there. It is never connected to."""
    host, port = at
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "one that is revoked"
    where = file or "~/.ssh/known_hosts"
    name = host if port == 22 else f"[{host}]:{port}"
    if known_keys(known, host, port):
        return _failure(
            "auth",
            f"The SSH host key of {host} has CHANGED: it shows {shown}, and {where} has another. "
            "Nothing was sent. Either the host was reinstalled, or somebody stands in between.",
            f"Compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own console; if it is right: "
            f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(where)}, then add the new key.",
        )
    return _failure(
        "auth",
        f"The SSH host key of {host} is not known: it shows {shown}, and {where} has none. Nothing was sent.",
        f"Compare it on the host, then add it: ssh-keyscan -p {port} {shlex.quote(host)} >> {where}",
    )


def known_keys(known: bytes, host: str, port: int) -> bool:
    """True if known_hosts has any key for this host."""
    try:
        found = asyncssh.match_known_hosts(known, host, "", port)
    except (ValueError, asyncssh.Error):
        return False
    return any(found[:2])


def no_known_hosts(name: str, error: OSError) -> CarrierError:
    """The file is there and cannot be read."""
    return _failure(
        "auth",
        f"{name} cannot be read: {error.strerror}.",
        "evac runs as its own user and must be able to read it.",
    )


def unreachable(setup: Setup, host: str, port: int, error: BaseException) -> CarrierError:
    """No connection, or no login."""
    at = f"{host} port {port}"
    match error:
        case asyncssh.KeyExchangeFailed() if "host key" in str(error):
            return _failure(
                "auth",
                f"{host} shows no SSH host key of the kind that {setup.known_hosts or 'known_hosts'} has for it. "
                "Nothing was sent. It was reinstalled or set up anew, or somebody stands in between.",
                f"Compare on the host's own console, then add its keys: ssh-keyscan -p {port} {shlex.quote(host)}",
            )
        case asyncssh.PermissionDenied():
            return _refused_login(setup, host)
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return _failure(
                "auth",
                f"The private key {setup.identity or 'in ~/.ssh'} cannot be used: {error}.",
                "A key with a passphrase goes into the agent: ssh-add; or give `identity` a key without one.",
            )
        case OSError():
            return _no_network(setup, host, at, error)
    return _failure(
        "unreachable", f"No SSH connection to {at}: {_said(error)}.", f"Try: ssh -v -p {port} {host} true"
    )


def _no_network(setup: Setup, host: str, at: str, error: OSError) -> CarrierError:
    match error:
        case socket.gaierror():
            why, step = f"The name {host} cannot be resolved: {error.strerror}.", "Check ssh.host."
        case TimeoutError():
            why = f"No SSH answer from {at} within {setup.connect_timeout:g} s."
            step = "Check the network and firewalls between this machine and the host."
        case _:
            told = os.strerror(error.errno) if error.errno else str(error)
            why, step = f"No SSH connection to {at}: {told}.", "Check that sshd runs there."
    return _failure("unreachable", why, step)


def _refused_login(setup: Setup, host: str) -> CarrierError:
    login = f"{setup.login}@" if setup.login else ""
    tried = setup.identity or ("the agent and the keys in ~/.ssh" if setup.agent else "the keys in ~/.ssh")
    return _failure(
        "auth",
        f"{host} refuses the SSH login{f' of {setup.login}' if setup.login else ''} with {tried}.",
        f"Give the host our public key: ssh-copy-id {login}{host}. evac never types a password.",
    )


def broken(host: str, error: BaseException, *, sent: bool) -> CarrierError:
    """The connection ended while a command ran."""
    return _failure(
        "unreachable",
        f"The SSH connection to {host} broke: {_said(error)}.",
        "evac connects again at the next question.",
        sent=sent,
    )


def _said(error: BaseException) -> str:
    return trouble.last_line(str(error)) or type(error).__name__


def command_failed(setup: Setup, code: int, err: str) -> CarrierError | None:
    """What the shell, sudo or `timeout` said; None: the `ceph` command itself ran."""
    host = setup.host
    if code in {126, 127}:
        return _failure(
            "unreachable",
            f"{setup.command[0]} cannot be run on {host}: {trouble.last_line(err) or 'command not found'}.",
            f"Install it there ({trouble.CLI_PACKAGES}), or name it with its path in `command`.",
        )
    if re.search(r"^sudo: ", err, re.MULTILINE) and code == 1:
        who = setup.login or "that user"
        return _failure(
            "forbidden",
            f"sudo on {host} refuses: {trouble.last_line(err)}.",
            f"Allow it there without a password: {who} ALL=(root) NOPASSWD: {shlex.join(setup.command)}",
        )
    return None
