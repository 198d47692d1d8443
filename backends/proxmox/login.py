"""Who we are at the API: proxmoxer's authentication, with logins sent through our guarded session and no other."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import requests
from proxmoxer.backends.https import (
    ProxmoxHTTPApiTokenAuth,
    ProxmoxHTTPAuth,
    ProxmoxHTTPAuthBase,
    ProxmoxHttpSession,
)

from backends.proxmox import words
from backends.proxmox.options import Options
from backends.trouble import quoted, unaffected
from evac.backend import Settings
from evac.decoding import from_json
from evac.errors import AuthFailed, BadAnswer, Unreachable
from evac.model import Problem

REFUSED_PAUSE = 20.0
"""Seconds before a login that was refused is tried again: realms may lock an account that tries too often."""

TICKET_AGE = 3600.0
"""Seconds after which a ticket is renewed; they are good for two hours (PVE::Ticket)."""


class LoginRefused(AuthFailed):
    """The credentials themselves were refused."""


class _Ticket(msgspec.Struct):
    ticket: str = ""
    csrf: str = msgspec.field(default="", name="CSRFPreventionToken")
    second_factor: int | str | None = msgspec.field(default=None, name="NeedTFA")


class _Answer(msgspec.Struct):
    data: _Ticket | None = None


class TicketAuth(ProxmoxHTTPAuth):  # type: ignore[misc]  # proxmoxer has no types
    """proxmoxer's own logs in by a bare `requests.post`: past every guard, proxy rule and pin. Ours asks the session."""

    def __init__(self, settings: Settings, session: ProxmoxHttpSession, verify: bool | str) -> None:
        base: Any = ProxmoxHTTPAuthBase
        base.__init__(self, verify_ssl=verify, timeout=settings.read_timeout)
        options: Options = settings.options
        self.username = options.username
        self.base_url = ""
        self.pve_auth_ticket = self.csrf_prevention_token = ""
        self.birth_time = float("-inf")
        self._settings = settings
        self._session = session
        self._lock = threading.Lock()
        self._refused: tuple[float, Problem] | None = None

    def ensure(self, base_url: str) -> None:
        """Log in, or renew, where that is due. One thread at a time; the others find it done."""
        if time.monotonic() - self.birth_time < TICKET_AGE:
            return
        with self._lock:
            if time.monotonic() - self.birth_time >= TICKET_AGE:
                self.base_url = base_url
                self._log_in()

    def forget(self, ticket: str) -> None:
        """`ticket` was refused: log in anew with the password."""
        with self._lock:
            if ticket == self.pve_auth_ticket:
                self.birth_time = float("-inf")

    def _get_new_tokens(self, password: Any = None, otp: Any = None, otptype: Any = None) -> None:
        """Proxmoxer asks for this when a ticket is old; `ensure` has done it by then."""

    def _log_in(self) -> None:
        if self._refused and time.monotonic() - self._refused[0] < REFUSED_PAUSE:
            raise LoginRefused(self._refused[1])
        options: Options = self._settings.options
        secret = self._settings.secret(options.password) if self._settings.secret else options.password
        response = self._session.request(
            "POST",
            f"{self.base_url}/access/ticket",
            data={"username": options.username, "password": secret},
            auth=ProxmoxHTTPAuthBase(verify_ssl=self.verify_ssl, timeout=self.timeout),
            allow_redirects=False,
        )
        ticket = self._ticket(response)
        self.pve_auth_ticket, self.csrf_prevention_token = ticket.ticket, ticket.csrf
        self.birth_time, self._refused = time.monotonic(), None

    def _ticket(self, response: requests.Response) -> _Ticket:
        name = self._settings.name
        if response.status_code != 200:
            raise self._not_logged_in(response)
        try:
            ticket = from_json(response.content, _Answer).data or _Ticket()
        except msgspec.MsgspecError as error:
            raise self._nonsense() from error
        if ticket.second_factor:
            problem = Problem(
                happened=f"{name}: {self.username} logs in with a second factor, which evac cannot give.",
                unaffected=unaffected(name),
                next_step="Use an API token, which needs none: pveum user token add USER console; see docs/proxmox.md.",
            )
            self._refused = (time.monotonic(), problem)
            raise LoginRefused(problem)
        if not ticket.ticket or not ticket.csrf:
            raise self._nonsense()
        return ticket

    def _not_logged_in(self, response: requests.Response) -> Exception:
        name, status = self._settings.name, response.status_code
        text = quoted(words.message_of(response.content, response.reason or ""))
        if status in {401, 403, 400}:
            problem = Problem(
                happened=f'{name}: the login of {self.username} is refused (HTTP {status}: "{text}").',
                unaffected=unaffected(name),
                next_step="Wrong password or realm, or an account that is disabled or has expired: pveum user list.",
            )
            self._refused = (time.monotonic(), problem)
            return LoginRefused(problem)
        return Unreachable(
            Problem(
                happened=f'{name}: logging in failed (HTTP {status}: "{text}").',
                unaffected=unaffected(name),
                next_step="pveproxy's and pvedaemon's journals on that node have more.",
            )
        )

    def _nonsense(self) -> BadAnswer:
        name = self._settings.name
        return BadAnswer(
            Problem(
                happened=f"{name}: the answer to the login makes no sense.",
                unaffected=unaffected(name),
                next_step="Is that the API of Proxmox VE? It listens on port 8006.",
            )
        )


class TokenAuth(ProxmoxHTTPApiTokenAuth):  # type: ignore[misc]  # proxmoxer has no types
    """An API token, whose secret is fetched at the first call and again after it was refused."""

    def __init__(self, settings: Settings, verify: bool | str) -> None:
        options: Options = settings.options
        user, _, name = options.token.partition("!")
        super().__init__(user, name, "", verify_ssl=verify, timeout=settings.read_timeout)
        self.token_value: str = ""
        self._settings = settings
        self._lock = threading.Lock()

    def ensure(self, base_url: str) -> None:
        """Fetch the secret where that has not been done."""
        del base_url
        with self._lock:
            if not self.token_value:
                reference = self._settings.options.token_secret
                self.token_value = self._settings.secret(reference) if self._settings.secret else reference

    def forget(self, ticket: str) -> None:
        """It was refused: an admin may have put another one there."""
        del ticket
        with self._lock:
            self.token_value = ""


def authentication(
    settings: Settings, session: ProxmoxHttpSession, verify: bool | str
) -> TicketAuth | TokenAuth:
    """As the options say."""
    options: Options = settings.options
    return TokenAuth(settings, verify) if options.token else TicketAuth(settings, session, verify)
