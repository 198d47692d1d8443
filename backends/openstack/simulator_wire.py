"""What every simulated service shares: a request, an answer, a refusal in Nova's form, routes, and microversions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from backends.simulation.world import World

if TYPE_CHECKING:
    from backends.openstack.simulator_keystone import Account

FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""Nova's names of faults (nova/api/openstack/wsgi.py); anything else is a computeFault."""

MAX_LIMIT = 1000
"""Nova's [api]max_limit: no list answers with more."""


class Wrong(Exception):
    """The service refuses; nothing was done."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Ask:
    """One request as a service sees it."""

    world: World
    method: str
    path: str
    base: str
    """URL of this service without a trailing slash: links in answers begin with it."""
    query: Mapping[str, str]
    queries: Sequence[tuple[str, str]]
    body: Any
    account: Account
    request: str
    minor: int = 1
    """Microversion 2.minor."""
    params: dict[str, str] = field(default_factory=dict)

    def want(self, rule: str, api: str = "os_compute_api") -> None:
        """Policy: 403 in Nova's words, which Masakari shares, when the account lacks this right."""
        if not self.account.may(rule):
            raise Wrong(403, f"Policy doesn't allow {api}:{rule} to be performed.")

    def need(self, minor: int, below: int = 10_000) -> None:
        """This route exists from 2.minor on, and below 2.below; otherwise Nova says 404."""
        if not minor <= self.minor < below:
            raise Wrong(404, "The resource could not be found.")


@dataclass(slots=True)
class Answer:
    """What goes back."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Already encoded JSON; goes before `body`."""

    def encoded(self) -> bytes:
        """The bytes of the body."""
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else msgspec.json.encode(self.body)


Handler = Callable[[Ask], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of one service. `name` is what faults are ordered by."""

    method: str
    path: str
    """With {names} for one path segment each."""
    name: str
    handler: Handler
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        """Turn the path into a pattern."""
        parts = re.split(r"(\{\w+\})", self.path)
        text = "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in parts
        )
        object.__setattr__(self, "pattern", re.compile(f"{text}/?$"))


def find(routes: Sequence[Route], method: str, path: str) -> tuple[Route | None, dict[str, str]]:
    """The route and its parameters; None when no service knows the path, or not with this method."""
    for route in routes:
        match = route.pattern.match(path) if route.method == method else None
        if match:
            return route, match.groupdict()
    return None, {}


def error_body(code: int, message: str) -> dict[str, Any]:
    """A refusal as Nova writes it."""
    return {FAULT_NAMES.get(code, "computeFault"): {"code": code, "message": message}}


def second(unix: float) -> str:
    """A time as 2026-11-21T08:00:00Z."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(unix: float) -> str:
    """A time as 2026-11-21T08:00:00.000000: no zone, as Nova's oldest tables."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%S.000000")


def parse_time(text: str) -> float:
    """Unix seconds of an ISO 8601 time; without a zone it is UTC. Raises Wrong 400."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Wrong(
            400,
            f"Invalid input for query parameters changes-since. Value: {text}. '{text}' is not a 'date-time'",
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def parse_minor(headers: Mapping[str, str], maximum: int) -> int:
    """The microversion asked for; 1 without a header. Raises Wrong 400 or 406 as Nova does."""
    text = "2.1"
    for part in headers.get("OpenStack-API-Version", "").split(","):
        words = part.split()
        if len(words) == 2 and words[0] == "compute":
            text = words[1]
            break
    else:
        text = headers.get("X-OpenStack-Nova-API-Version", text)
    if text == "latest":
        return maximum
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    if not match:
        raise Wrong(
            400, f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    major, minor = int(match[1]), int(match[2])
    if major != 2 or not 1 <= minor <= maximum:
        raise Wrong(
            406, f"Version {text} is not supported by the API. Minimum is 2.1 and maximum is 2.{maximum}."
        )
    return minor


def page(ask: Ask, names: Sequence[str]) -> tuple[Sequence[str], list[dict[str, str]]]:
    """One page of these ids by `limit` and `marker`, and the links to the next. Raises Wrong 400."""
    limit = parse_limit(ask)
    start = 0
    marker = ask.query.get("marker")
    if marker:
        try:
            start = list(names).index(marker) + 1
        except ValueError:
            raise Wrong(400, f"marker [{marker}] not found") from None
    chosen = names[start : start + limit]
    return chosen, next_link(ask, chosen, limit)


def parse_limit(ask: Ask) -> int:
    """`limit`, at most MAX_LIMIT. Raises Wrong 400."""
    text = ask.query.get("limit", str(MAX_LIMIT))
    if not text.isdigit():
        raise Wrong(
            400,
            f"Invalid input for query parameters limit. Value: {text}. '{text}' does not match '^[0-9]*$'",
        )
    return min(int(text), MAX_LIMIT)


def next_link(ask: Ask, chosen: Sequence[str], limit: int) -> list[dict[str, str]]:
    """As Nova: a full page has a next link, even when nothing follows."""
    if not chosen or len(chosen) < limit:
        return []
    query = "&".join(f"{name}={value}" for name, value in ask.queries if name != "marker")
    href = f"{ask.base}{ask.path}?{query}&marker={chosen[-1]}".replace("?&", "?")
    return [{"rel": "next", "href": href}]
