"""The ways to hosts that the config and the platforms give: `evac.window.reach.Reach`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evac.backend import Backend, Call, TellsOfHosts
from evac.config import Cluster
from evac.errors import BackendError, ReadOnly, Refused, Unreachable
from evac.fleet import Fleet
from evac.links import LinkLook
from evac.model import Host, Problem
from evac.ssh_rules import Door, ShellRules, door, split
from evac.window.nouns import HostFacts

if TYPE_CHECKING:
    from evac.window.hostline import HostLine

ANSWER = 2000
"""Characters of a command's output that are kept in the audit record: its end."""

KEPT = 200
"""Lines of it that are held for that."""

PLATFORM = 10.0
"""Seconds that a host which tells of itself waits for what its platform adds."""


class Reaching:
    """See the module's docstring."""

    def __init__(
        self,
        clusters: Mapping[str, Cluster],
        *,
        folder: Path,
        fleet: Fleet,
        backends: Mapping[str, Backend],
        record: Callable[[Call], None] | None = None,
    ) -> None:
        """`folder`: what relative paths of the config are relative to. `record`: as `Settings.record`."""
        self._clusters, self._folder = clusters, folder
        self._fleet, self._backends, self._record = fleet, backends, record

    async def facts(self, cluster: str, host: str) -> HostFacts:
        """As `Reach` says. The two ways are never mixed: another teller's word for a boot is no other boot."""
        if self._shell(cluster) is not None:
            told, version = await asyncio.gather(
                self._line(cluster, host).facts(), self._version(cluster, host)
            )
            told = replace(told, version=version)
        else:
            told = await self._platform(cluster, host)
        return replace(told, datastores=self._datastores(cluster, host))

    def why_not_paths(self, cluster: str) -> str:
        """As `SeesPaths` says."""
        if self._shell(cluster) is None:
            return f"the config has no [clusters.{cluster}.shell]: evac does not get onto its hosts"
        return "" if find_spec("asyncssh") is not None else 'SSH is not installed: it needs "evac[ssh]"'

    async def paths(self, cluster: str, host: str, addresses: Collection[str]) -> Mapping[str, LinkLook]:
        """As `SeesPaths` says. A look, also on a cluster that is read-only."""
        if why := self.why_not_paths(cluster):
            raise Refused(Problem(happened=f"The ways from {host} cannot be looked at: {why}."))
        return await self._line(cluster, host).paths(addresses)

    def why_not_run(self, cluster: str, host: str) -> str:
        """As `Reach` says."""
        state = self._fleet.cluster(cluster)
        if why := self.why_not_paths(cluster):
            return why
        if state is None or self._fleet.host(cluster, host) is None:
            return f"{cluster} has not been read yet"
        if state.read_only:
            return f"{cluster} is read-only" + (f" ({state.read_only_why})" if state.read_only_why else "")
        return ""

    async def run(
        self,
        cluster: str,
        host: str,
        words: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109  # as the protocol has it
        said: Callable[[str], None],
    ) -> int:
        """As `Reach` says."""
        if why := self.why_not_run(cluster, host):
            state = self._fleet.cluster(cluster)
            kind = ReadOnly if state is not None and state.read_only else Refused
            raise kind(
                Problem(happened=f"No command can be run on {host}: {why}.", unaffected="Nothing was run.")
            )
        line = self._line(cluster, host)
        told: list[str] = []

        def heard(text: str) -> None:
            del told[:-KEPT]
            told.append(text)
            said(text)

        call = Call(
            cluster=cluster, method="ssh", path=host, body=line.line(words)[:ANSWER], status=None, answer=""
        )
        began = time.monotonic()
        try:
            code = await line.run(words, within=timeout, said=heard)
            call = replace(call, status=code)
        except BackendError as error:
            told.append(error.problem.happened)
            raise
        finally:
            if self._record is not None:
                answer = "\n".join(told)[-ANSWER:]
                self._record(replace(call, answer=answer, took=time.monotonic() - began))
        return code

    def door(self, cluster: str, host: Host) -> Door:
        """Where a host is knocked at."""
        rules = self._shell(cluster)
        assert rules is not None, "asked before"
        return door_of(rules, host, self._folder, self._clusters[cluster].rules.connect_timeout)

    def _shell(self, cluster: str) -> ShellRules | None:
        found = self._clusters.get(cluster)
        return found.rules.shell if found is not None else None

    def _line(self, cluster: str, host: str) -> HostLine:
        if find_spec("asyncssh") is None:
            raise Refused(
                Problem(
                    happened=f"{cluster} has a shell in the config, and SSH is not installed here.",
                    next_step='Install it (pipx inject evac "evac[ssh]"), then restart the engine.',
                )
            )
        from evac.window.hostline import HostLine  # noqa: PLC0415  # asyncssh takes a while to import

        known, state = self._fleet.host(cluster, host), self._fleet.cluster(cluster)
        return HostLine(
            known.name if known else host,
            self.door(cluster, known or Host(cluster=cluster, id=host, name=host)),
            read_only=state is None or state.read_only,
            timeout=self._clusters[cluster].rules.read_timeout,
        )

    async def _platform(self, cluster: str, host: str) -> HostFacts:
        backend: object = self._backends.get(cluster)
        if isinstance(backend, TellsOfHosts):
            return await backend.host_facts(host)
        raise Unreachable(
            Problem(
                happened=f"Nobody tells anything of {host} itself: {cluster} does not, and evac has no way onto it.",
                unaffected="What the cluster says of it is known all the same.",
                next_step=f"Give evac one: [clusters.{cluster}.shell] in the config.",
            )
        )

    async def _version(self, cluster: str, host: str) -> str:
        """What the platform knows and a shell does not; "" when it does not say: nothing depends on it."""
        try:
            async with asyncio.timeout(PLATFORM):
                return (await self._platform(cluster, host)).version
        except (BackendError, TimeoutError):
            return ""

    def _datastores(self, cluster: str, host: str) -> tuple[str, ...]:
        stores = self._fleet.table("datastores").values()
        return tuple(
            sorted(one.id for one in stores if one.cluster == cluster and one.usable and host in one.hosts)
        )


def door_of(rules: ShellRules, host: Host, folder: Path, connect_timeout: float) -> Door:
    """By the config's own word for a host, else by its address, else by its name."""
    where = rules.hosts.get(host.name) or rules.hosts.get(host.id) or ""
    address, port = split(where, rules.port) if where else (host.address or host.name, rules.port)
    return door(rules, address, port=port, folder=folder, connect_timeout=connect_timeout)
