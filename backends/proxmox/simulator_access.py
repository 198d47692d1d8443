"""Who may do what: realms and passwords, tickets and the CSRF token that goes with them, API tokens, second factors."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backends.proxmox.simulator_wire import Answer, Ask, Route, Wrong, wrong_parameter

TICKET_LIFE = 7200.0
"""Seconds; PVE::AccessControl's $ticket_lifetime."""

AUDIT = frozenset({"Sys.Audit", "VM.Audit", "Datastore.Audit", "Pool.Audit", "SDN.Audit", "Mapping.Audit"})
"""The role PVEAuditor."""

OPERATE = AUDIT | {"VM.Migrate", "VM.PowerMgmt", "VM.Config.Options", "VM.Config.Disk", "VM.GuestAgent.Audit"}
"""What somebody needs who drains nodes."""

EVERYTHING = OPERATE | {
    "Sys.Modify",
    "Sys.Console",
    "Sys.PowerMgmt",
    "VM.Allocate",
    "VM.Monitor",
    "VM.Clone",
    "VM.Backup",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Pool.Allocate",
    "Permissions.Modify",
}

TFA_WORD = "PVE:!tfa!"


@dataclass(slots=True)
class Account:
    """A user, or a token of one."""

    name: str
    password: str = ""
    privileges: frozenset[str] = frozenset()
    code: str = ""
    """The second factor that is asked for; "" for none."""
    only: str = ""
    """Glob-free prefix of the paths it may use; "" for all."""

    @property
    def root(self) -> bool:
        """True for the one user that may skip locks. A token of his is not he."""
        return self.name == "root@pam"

    def may(self, path: str, privilege: str) -> bool:
        """True when it has this privilege there."""
        return self.root or (privilege in self.privileges and path.startswith(self.only))


NOBODY = Account(name="")


class Access:
    """Accounts, and who a request comes from."""

    def __init__(self, wall: Callable[[], float], secret: str, *, life: float = TICKET_LIFE) -> None:
        """`wall`: Unix seconds by the cluster's clock. `secret`: what tickets are signed with."""
        self._wall = wall
        self._key = secret.encode()
        self._life = life
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, tuple[str, Account]] = {}
        """Token id → its secret, and what it may."""
        self.revoked = 0.0
        """Tickets made before this Unix time are no longer taken."""

    def routes(self) -> list[Route]:
        """What is served."""
        words = (
            "username!",
            "password!",
            "realm",
            "otp",
            "tfa-challenge",
            "path",
            "privs",
            "new-format:bool",
        )
        return [
            Route("GET", "/access/ticket", "ticket", lambda _: Answer(None)),
            Route("POST", "/access/ticket", "auth", self._login, words),
            Route("GET", "/access/permissions", "permissions", self._permissions, ("path", "userid")),
        ]

    def add(self, name: str, password: str, privileges: frozenset[str], **more: str) -> Account:
        """A user."""
        self.accounts[name] = Account(name, password, privileges, **more)
        return self.accounts[name]

    def add_token(self, name: str, secret: str, privileges: frozenset[str]) -> None:
        """A token: user@realm!id."""
        self.tokens[name] = (secret, Account(name, privileges=privileges))

    def who(self, headers: Mapping[str, str], cookies: Mapping[str, str], *, writes: bool) -> Account:
        """Whose request this is. Raises Wrong 401 in PVE's words."""
        given = headers.get("Authorization", "")
        if given.startswith("PVEAPIToken"):
            return self._by_token(given[len("PVEAPIToken") :].lstrip("= "))
        ticket = cookies.get("PVEAuthCookie", "")
        if not ticket:
            raise Wrong(401, "No ticket")
        name = self._ticket_of(ticket)
        if writes and not self._sound_csrf(headers.get("CSRFPreventionToken", ""), name):
            raise Wrong(401, "Permission denied - invalid csrf token")
        return self.accounts[name]

    def _by_token(self, given: str) -> Account:
        name, _, secret = given.rpartition("=")
        if not name:
            name, _, secret = given.partition(":")
        known = self.tokens.get(name)
        if known is None:
            raise Wrong(401, "no such token" if "!" in name else "invalid API token")
        if not hmac.compare_digest(known[0].encode(), secret.encode()):
            raise Wrong(401, "invalid token value!")
        return known[1]

    # --- login -----------------------------------------------------------------------------------

    def _login(self, ask: Ask) -> Answer:
        name = ask.text("username")
        if "@" not in name and ask.text("realm"):
            name = f"{name}@{ask.text('realm')}"
        if not re.fullmatch(r"[^\s:/]+@[\w.-]+", name):
            raise wrong_parameter("username", "value does not look like a valid user name")
        account = self.accounts.get(name)
        if account is None:
            raise Wrong(401, "authentication failure")
        if ask.text("tfa-challenge"):
            self._answer_challenge(account, ask)
        elif not self._knows(account, ask.text("password")):
            raise Wrong(401, "authentication failure")
        elif account.code and not ask.text("password").startswith("PVE:"):
            if ask.text("otp") and ask.text("otp") != account.code:
                raise Wrong(401, "authentication failure")
            if not ask.text("otp"):
                return Answer(self._challenge(account))
        return Answer(self._entry(account))

    def _knows(self, account: Account, password: str) -> bool:
        if password.startswith("PVE:"):
            try:
                return self._ticket_of(password) == account.name
            except Wrong:
                return False
        return hmac.compare_digest(password.encode(), account.password.encode())

    def _answer_challenge(self, account: Account, ask: Ask) -> None:
        challenge, answer = ask.text("tfa-challenge"), ask.text("password")
        if not challenge.startswith(TFA_WORD) or challenge != self._challenge(account)["ticket"]:
            raise Wrong(401, "authentication failure")
        if answer.partition(":")[2] != account.code:
            raise Wrong(401, "authentication failure")

    def _challenge(self, account: Account) -> dict[str, object]:
        return {
            "username": account.name,
            "ticket": f"{TFA_WORD}{account.name}::{self._sign('tfa', account.name)}",
            "CSRFPreventionToken": self._csrf(account.name),
            "NeedTFA": 1,
            "clustername": "evac",
        }

    def _entry(self, account: Account) -> dict[str, object]:
        stamp = f"{int(self._wall()):08X}"
        return {
            "username": account.name,
            "ticket": f"PVE:{account.name}:{stamp}::{self._sign('ticket', account.name, stamp)}",
            "CSRFPreventionToken": self._csrf(account.name),
            "clustername": "evac",
            "cap": {
                "vms": {one: 1 for one in account.privileges if one.startswith("VM.")},
                "nodes": {one: 1 for one in account.privileges if one.startswith("Sys.")},
            },
        }

    def _sign(self, *words: str) -> str:
        return hmac.new(self._key, "\0".join(words).encode(), hashlib.sha256).hexdigest()

    def _csrf(self, name: str) -> str:
        stamp = f"{int(self._wall()):08X}"
        return f"{stamp}:{self._sign('csrf', name, stamp)}"

    def _sound_csrf(self, given: str, name: str) -> bool:
        stamp, _, signature = given.partition(":")
        return hmac.compare_digest(signature.encode(), self._sign("csrf", name, stamp).encode())

    def _ticket_of(self, ticket: str) -> str:
        match = re.fullmatch(r"PVE:(.+):([0-9A-F]{8})::(\w+)", ticket)
        if not match or not hmac.compare_digest(match[3], self._sign("ticket", match[1], match[2])):
            raise Wrong(401, "permission denied - invalid PVE ticket")
        made = int(match[2], 16)
        if not self.revoked <= made or not -300 < self._wall() - made < self._life:
            raise Wrong(401, "permission denied - invalid PVE ticket")
        if match[1] not in self.accounts:
            raise Wrong(401, "permission denied - user does not exist")
        return match[1]

    def _permissions(self, ask: Ask) -> Answer:
        account = ask.account
        held = EVERYTHING if account.root else account.privileges
        path = ask.text("path") or account.only or "/"
        return Answer({path: dict.fromkeys(sorted(held), 1)})
