"""A cluster played by a test: it says what the script tells it to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evac.backend import Backend, Plugin, Receipt, Settings
from evac.config import Cluster, ClusterRules, Config
from evac.model import VM, Capability, Finding, Host, Inventory, Sighting

Line = Inventory | Exception | Callable[[], Awaitable[Any]] | object


class NoOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    pass


class PlayedCluster:
    """`script` holds what inventory() does, call by call; the last line is repeated."""

    def __init__(self, name: str, *script: Line) -> None:
        self.name = name
        self.script = list(script)
        self.asked: list[str] = []
        self.closed = False
        self.able: Sequence[Capability] = (Capability(action="live_migrate", able=True),)

    async def inventory(self, since: str = "") -> Inventory:
        self.asked.append(since)
        line: Any = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, Exception):
            raise line
        if callable(line):
            line = await line()
        answer: Inventory = line
        return answer

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        return {vm: Sighting(vm=None) for vm in vms}

    async def host(self, host: str) -> Host | None:
        return None

    async def capabilities(self) -> Sequence[Capability]:
        return self.able

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        raise AssertionError(f"nobody should have moved {vm} to {to}")

    async def examine(self) -> Sequence[Finding]:
        return ()

    def describe(self) -> Mapping[str, str]:
        return {"endpoint": "https://nova.example:8774", "region": "one", "secret": "not a field"}

    async def close(self) -> None:
        self.closed = True


def hosts(cluster: str, *names: str) -> tuple[Host, ...]:
    return tuple(Host(cluster=cluster, id=name, name=name) for name in names)


def vms(cluster: str, count: int, host: str = "h1") -> tuple[VM, ...]:
    return tuple(VM(cluster=cluster, id=f"v{n}", name=f"vm-{n}", host=host) for n in range(count))


def answer(cluster: str, count: int = 3, **more: Any) -> Inventory:
    fields: dict[str, Any] = {"hosts": hosts(cluster, "h1"), "vms": vms(cluster, count), "mark": "m1", **more}
    return Inventory(**fields)


def plugin(players: Iterable[Backend]) -> dict[str, Plugin]:
    """A kind "played" whose clusters are the given players, by name."""
    by_name = {player.name: player for player in players}

    def build(settings: Settings) -> Backend:
        return by_name[settings.name]

    return {"played": Plugin(kind="played", options_type=NoOptions, build=build)}


def cluster(name: str, **rules: Any) -> Cluster:
    return Cluster(name=name, rules=ClusterRules(kind="played", **rules), options=NoOptions())


def config(*names: str, poll_interval: float = 1.0, **more: Any) -> Config:
    clusters = {name: cluster(name, poll_interval=poll_interval) for name in names}
    return Config(file=Path("/none/config.toml"), clusters=clusters, **more)


async def until(truth: Callable[[], object], what: str, seconds: float = 5.0) -> None:
    """Wait for a condition, with a bound and a message."""
    try:
        async with asyncio.timeout(seconds):
            while not truth():  # noqa: ASYNC110  # any condition, not only those with an event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
