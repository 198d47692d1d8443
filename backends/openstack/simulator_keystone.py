"""Keystone v3 as far as a client of Nova needs it: tokens by password or application credential, catalog, projects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from backends.openstack.simulator_wire import Answer, Ask, Route, Wrong, micro

UNAUTHORIZED = "The request you have made requires authentication."

OWNER_RULES = (
    "servers:index",
    "servers:detail",
    "servers:show",
    "servers:start",
    "servers:stop",
    "servers:delete",
    "servers:confirm_resize",
    "servers:revert_resize",
    "os-instance-actions:list",
    "os-instance-actions:show",
    "os-flavor-extra-specs:index",
    "limits",
)
"""What Nova's default policy gives the owner of a server."""

READ_RULES = (
    "*:list",
    "*:list-detail",
    "*:index",
    "*:show",
    "*:detail",
    "*:get_all_tenants",
    "*:events*",
    "*:all_projects",
    "limits",
)
"""A reader of the whole cloud: everything that changes nothing."""


@dataclass(slots=True)
class Account:
    """A user, what it may do, and how it proves who it is."""

    name: str
    password: str
    project: str
    id: str
    roles: tuple[str, ...]
    rights: tuple[str, ...]
    """Globs over Nova's rule names without "os_compute_api:"."""
    denied: list[str] = field(default_factory=list)
    """Globs that win over `rights`."""
    domain: str = "default"

    @property
    def sees_all(self) -> bool:
        """True when servers of other projects and the names of hosts are shown."""
        return self.may("servers:detail:get_all_tenants")

    def may(self, rule: str) -> bool:
        """Policy."""
        if any(fnmatchcase(rule, glob) for glob in self.denied):
            return False
        return any(fnmatchcase(rule, glob) for glob in self.rights)


@dataclass(slots=True)
class Token:
    """A token and until when it is good."""

    id: str
    account: Account
    issued: float
    expires: float
    methods: tuple[str, ...]
    scoped: bool


class Keystone:
    """Identity of one simulated cloud. `now` gives Unix seconds by the cloud's clock."""

    def __init__(
        self, now: Callable[[], float], new_id: Callable[[], str], *, token_life: float = 3600.0
    ) -> None:
        self._now = now
        self._new_id = new_id
        self.token_life = token_life
        self.tokens: dict[str, Token] = {}
        self.accounts: dict[str, Account] = {}
        self.credentials: dict[str, tuple[str, Account]] = {}
        """Application credentials: id → (secret, account)."""
        self.projects: dict[str, str] = {}
        """Name → id."""
        self.endpoints: dict[str, dict[str, str]] = {}
        """Region → service type → URL."""
        self.base = ""

    def add_account(
        self, name: str, password: str, project: str, roles: tuple[str, ...], rights: tuple[str, ...]
    ) -> Account:
        """A new user with a project of that name."""
        account = Account(
            name=name, password=password, project=project, id=self._plain_id(), roles=roles, rights=rights
        )
        self.accounts[name] = account
        self.project_id(project)
        return account

    def add_credential(self, account: Account) -> tuple[str, str]:
        """A new application credential: (id, secret)."""
        ident, secret = self._plain_id(), self._plain_id()
        self.credentials[ident] = (secret, account)
        return ident, secret

    def project_id(self, name: str) -> str:
        """Id of a project, made when it is new."""
        return self.projects.setdefault(name, self._plain_id())

    def revoke_all(self) -> None:
        """Every token is refused from now on."""
        self.tokens.clear()

    def who(self, token: str) -> Account:
        """The account behind a token. Raises Wrong 401."""
        found = self.tokens.get(token)
        if found is None or found.expires <= self._now():
            raise Wrong(401, UNAUTHORIZED)
        return found.account

    # --- routes ----------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """All that is served below the identity endpoint."""
        return [
            Route("GET", "", "identity.versions", self._versions),
            Route("GET", "/v3", "identity.version", self._version),
            Route("POST", "/v3/auth/tokens", "auth", self._log_in),
            Route("GET", "/v3/auth/tokens", "identity.token", self._show_token),
            Route("DELETE", "/v3/auth/tokens", "identity.revoke", self._revoke),
            Route(
                "GET", "/v3/auth/catalog", "identity.catalog", lambda _: Answer({"catalog": self.catalog()})
            ),
            Route("GET", "/v3/auth/projects", "identity.projects", self._list_projects),
            Route("GET", "/v3/projects", "identity.projects", self._list_projects),
            Route("GET", "/v3/projects/{id}", "identity.project", self._show_project),
            Route("GET", "/v3/users", "identity.users", self._list_users),
            Route("GET", "/v3/users/{id}", "identity.user", self._show_user),
            Route("GET", "/v3/domains", "identity.domains", lambda _: Answer({"domains": [_DOMAIN]})),
            Route("GET", "/v3/domains/{id}", "identity.domain", lambda _: Answer({"domain": _DOMAIN})),
            Route("GET", "/v3/regions", "identity.regions", self._list_regions),
        ]

    def catalog(self) -> list[dict[str, Any]]:
        """Services with their endpoints in every region."""
        services: dict[str, dict[str, Any]] = {}
        for region, urls in self.endpoints.items():
            for kind, url in urls.items():
                entry = services.setdefault(
                    kind,
                    {"id": f"service-{kind}", "type": kind, "name": _NAMES.get(kind, kind), "endpoints": []},
                )
                entry["endpoints"] += [
                    {
                        "id": f"{kind}-{region}-{interface}",
                        "interface": interface,
                        "region": region,
                        "region_id": region,
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ]
        return list(services.values())

    def _plain_id(self) -> str:
        return self._new_id().replace("-", "")

    def _versions(self, ask: Ask) -> Answer:
        return Answer({"versions": {"values": [self._version_entry(ask)]}}, status=300)

    def _version(self, ask: Ask) -> Answer:
        return Answer({"version": self._version_entry(ask)})

    def _version_entry(self, ask: Ask) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{ask.base}/v3/"}],
            "media-types": [
                {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
            ],
        }

    def _log_in(self, ask: Ask) -> Answer:
        auth = _table(ask.body, "auth")
        identity = _table(auth, "identity")
        methods = identity.get("methods") or []
        account = self._prove(methods, identity)
        scope = auth.get("scope")
        self._check_scope(scope, account)
        scoped = scope not in (None, "unscoped") or "application_credential" in methods
        now = self._now()
        token = Token(
            id=f"gAAAAA{self._plain_id()}{self._plain_id()}",
            account=account,
            issued=now,
            expires=now + self.token_life,
            methods=tuple(methods),
            scoped=scoped or scope is None,
        )
        self.tokens[token.id] = token
        return Answer({"token": self._token_body(token)}, status=201, headers={"X-Subject-Token": token.id})

    def _prove(self, methods: list[str], identity: Mapping[str, Any]) -> Account:
        if "application_credential" in methods:
            given = _table(identity, "application_credential")
            secret, account = self.credentials.get(str(given.get("id")), ("", None))
            if account is not None and given.get("secret") == secret:
                return account
        elif "password" in methods:
            user = _table(_table(identity, "password"), "user")
            found = next(
                (
                    item
                    for item in self.accounts.values()
                    if user.get("name") == item.name or user.get("id") == item.id
                ),
                None,
            )
            if found is not None and user.get("password") == found.password:
                return found
        elif "token" in methods:
            return self.who(str(_table(identity, "token").get("id")))
        raise Wrong(401, UNAUTHORIZED)

    def _check_scope(self, scope: Any, account: Account) -> None:
        if not isinstance(scope, dict) or "project" not in scope:
            return
        project = scope["project"]
        mine = account.project
        if project.get("name", mine) != mine or project.get("id", self.projects[mine]) != self.projects[mine]:
            raise Wrong(401, UNAUTHORIZED)

    def _token_body(self, token: Token) -> dict[str, Any]:
        account = token.account
        body: dict[str, Any] = {
            "methods": list(token.methods),
            "user": {
                "id": account.id,
                "name": account.name,
                "domain": _DOMAIN_REF,
                "password_expires_at": None,
            },
            "audit_ids": [token.id[-22:]],
            "issued_at": f"{micro(token.issued)}Z",
            "expires_at": f"{micro(token.expires)}Z",
        }
        if token.scoped:
            body["project"] = {
                "id": self.projects[account.project],
                "name": account.project,
                "domain": _DOMAIN_REF,
            }
            body["is_domain"] = False
            body["roles"] = [{"id": f"role-{role}", "name": role} for role in account.roles]
            body["catalog"] = self.catalog()
        return body

    def _show_token(self, ask: Ask) -> Answer:
        token = self.tokens.get(ask.params.get("subject", "")) or self.tokens.get(
            ask.query.get("subject", "")
        )
        if token is None:
            raise Wrong(404, "Could not find token.")
        return Answer({"token": self._token_body(token)}, headers={"X-Subject-Token": token.id})

    def _revoke(self, ask: Ask) -> Answer:
        self.tokens.pop(ask.params.get("subject", ""), None)
        return Answer(status=204)

    def _list_projects(self, ask: Ask) -> Answer:
        wanted = ask.query.get("name")
        names = [name for name in self.projects if wanted in (None, name)]
        if not ask.account.sees_all:
            names = [name for name in names if name == ask.account.project]
        return Answer({"projects": [self._project(name) for name in names], "links": {}})

    def _show_project(self, ask: Ask) -> Answer:
        for name, ident in self.projects.items():
            if ident == ask.params["id"]:
                return Answer({"project": self._project(name)})
        raise Wrong(404, f"Could not find project: {ask.params['id']}.")

    def _project(self, name: str) -> dict[str, Any]:
        return {
            "id": self.projects[name],
            "name": name,
            "domain_id": "default",
            "enabled": True,
            "is_domain": False,
        }

    def _user(self, account: Account) -> dict[str, Any]:
        return {"id": account.id, "name": account.name, "domain_id": "default", "password_expires_at": None}

    def _list_users(self, ask: Ask) -> Answer:
        wanted = ask.query.get("name")
        users = [self._user(item) for item in self.accounts.values() if wanted in (None, item.name)]
        return Answer({"users": users, "links": {}})

    def _show_user(self, ask: Ask) -> Answer:
        for account in self.accounts.values():
            if account.id == ask.params["id"]:
                return Answer({"user": self._user(account)})
        raise Wrong(404, f"Could not find user: {ask.params['id']}.")

    def _list_regions(self, _ask: Ask) -> Answer:
        return Answer({"regions": [{"id": name, "description": ""} for name in self.endpoints], "links": {}})


_DOMAIN_REF = {"id": "default", "name": "Default"}
_DOMAIN = {**_DOMAIN_REF, "enabled": True, "description": "The default domain"}
_NAMES = {"identity": "keystone", "compute": "nova", "placement": "placement", "image": "glance"}


def _table(body: Any, key: str) -> dict[str, Any]:
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, dict):
        raise Wrong(400, f"Expecting to find {key} in request body.")
    return found
