"""Why a host could not be reached by SSH, or no longer could, in an admin's words."""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Sequence
from typing import Literal

import asyncssh

from evac.model import Problem
from evac.said import last_line
from evac.ssh_rules import Door

Kind = Literal["unreachable", "auth", "forbidden"]


class SSHTrouble(Exception):
    """No connection, or no longer one. `kind` says why, `sent` whether something may have arrived."""

    def __init__(self, kind: Kind, problem: Problem, *, sent: bool = False) -> None:
        super().__init__(problem.happened)
        self.kind: Kind = kind
        self.problem = problem
        self.sent = sent


def _auth(happened: str, next_step: str) -> SSHTrouble:
    return SSHTrouble("auth", Problem(happened=happened, next_step=next_step))


def _silent(happened: str, next_step: str) -> SSHTrouble:
    return SSHTrouble("unreachable", Problem(happened=happened, next_step=next_step))


def host_key(at: tuple[str, int], key: asyncssh.SSHKey | None, known: bytes, file: str) -> SSHTrouble:
    """The host is not in known_hosts, or shows another key than the one there. It is never connected to."""
    host, port = at
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "one that is revoked"
    where = file or "~/.ssh/known_hosts"
    name = host if port == 22 else f"[{host}]:{port}"
    if known_keys(known, host, port):
        return _auth(
            f"The SSH host key of {host} has CHANGED: it shows {shown}, and {where} has another. "
            "Nothing was sent. Either the host was reinstalled, or somebody stands in between.",
            f"Compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own console; if it is right: "
            f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(where)}, then add the new key.",
        )
    return _auth(
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


def no_known_hosts(name: str, error: OSError) -> SSHTrouble:
    """The file is there and cannot be read."""
    return _auth(
        f"{name} cannot be read: {error.strerror}.", "evac runs as its own user and must be able to read it."
    )


def unreachable(door: Door, host: str, port: int, error: BaseException) -> SSHTrouble:
    """No connection, or no login. `host` is the door's, or the one to go through."""
    at = f"{host} port {port}"
    match error:
        case asyncssh.KeyExchangeFailed() if "host key" in str(error):
            return _auth(
                f"{host} shows no SSH host key of the kind that {door.known_hosts or 'known_hosts'} has for it. "
                "Nothing was sent. It was reinstalled or set up anew, or somebody stands in between.",
                f"Compare on the host's own console, then add its keys: ssh-keyscan -p {port} {shlex.quote(host)}",
            )
        case asyncssh.PermissionDenied():
            return _refused_login(door, host)
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return _auth(
                f"The private key {door.identity or 'in ~/.ssh'} cannot be used: {error}.",
                "A key with a passphrase goes into the agent: ssh-add; or give `identity` a key without one.",
            )
        case OSError():
            return _no_network(door, host, at, error)
    return _silent(f"No SSH connection to {at}: {said(error)}.", f"Try: ssh -v -p {port} {host} true")


def _no_network(door: Door, host: str, at: str, error: OSError) -> SSHTrouble:
    match error:
        case socket.gaierror():
            return _silent(
                f"The name {host} cannot be resolved: {error.strerror}.", "Check ssh.host or shell.hosts."
            )
        case TimeoutError():
            return _silent(
                f"No SSH answer from {at} within {door.connect_timeout:g} s.",
                "Check the network and firewalls between this machine and the host.",
            )
    told = os.strerror(error.errno) if error.errno else str(error)
    return _silent(f"No SSH connection to {at}: {told}.", "Check that sshd runs there.")


def _refused_login(door: Door, host: str) -> SSHTrouble:
    login = f"{door.user}@" if door.user else ""
    tried = door.identity or ("the agent and the keys in ~/.ssh" if door.agent else "the keys in ~/.ssh")
    return _auth(
        f"{host} refuses the SSH login{f' of {door.user}' if door.user else ''} with {tried}.",
        f"Give the host our public key: ssh-copy-id {login}{host}. evac never types a password.",
    )


def broken(host: str, error: BaseException) -> SSHTrouble:
    """The connection ended while a command ran."""
    problem = Problem(
        happened=f"The SSH connection to {host} broke: {said(error)}.",
        next_step="evac connects again at the next question.",
    )
    return SSHTrouble("unreachable", problem, sent=True)


def sudo_refused(door: Door, words: Sequence[str], code: int, err: str) -> SSHTrouble | None:
    """Sudo asked for a password or said no, so that nothing was run; None: it did not."""
    if code != 1 or not re.search(r"^sudo: ", err, re.MULTILINE):
        return None
    problem = Problem(
        happened=f"sudo on {door.host} refuses: {last_line(err)}.",
        next_step=f"Allow it there without a password: {door.user or 'that user'} ALL=(root) NOPASSWD: {shlex.join(words)}",
    )
    return SSHTrouble("forbidden", problem)


def said(error: BaseException) -> str:
    """An error's own words, or its name."""
    return last_line(str(error)) or type(error).__name__
