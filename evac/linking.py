"""Looks at the ways between hosts, for those who ask about moves: few pairs, bounded in time, kept for a while.

Never on a poll. What was seen is in `Fleet.links`, where every rule and every plan finds it; what could not be seen is
told once, in a sentence, to whoever asked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from evac import clock
from evac.backend import Backend, KnowsMigrationNetwork
from evac.errors import BackendError
from evac.fleet import Fleet
from evac.links import KEPT, LinkLook
from evac.model import Host, HostState
from evac.rules.platforms import traits
from evac.rules.said import listed
from evac.window.reach import SeesPaths

FRESH = 120.0
"""Seconds for which a look with nothing bad in it is not repeated."""

MENDED = 10.0
"""The same of one that found something: somebody may just have mended it."""

UNSEEN = 60.0
"""The same of one that could not be made: it may have cost `PATIENCE`, and twenty VMs may be asked about one by one."""

AGED = 20.0
"""Seconds from which its age is told."""

PATIENCE = 9.0
"""Seconds for all looks of one question: a login takes less than five, six lost pings three."""

ASKING = 3.0
"""Seconds of these in which a platform says where its hosts take migrations in."""

MOST_TARGETS = 16
"""Of one host, each looked at both ways."""

MOST = 128
"""Looks for one question: four hosts of a plan."""

AT_ONCE = 8
"""Hosts that are logged in to at the same time."""

FEW = 3
"""Reasons that are told."""

Pair = tuple[str, str]
"""Host.id from, Host.id to."""


class Linking:
    """One per engine."""

    def __init__(self, fleet: Fleet, reach: SeesPaths, backends: Mapping[str, Backend]) -> None:
        self._fleet, self._reach, self._backends = fleet, reach, backends
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def look(
        self,
        cluster: str,
        sources: Collection[str],
        targets: Sequence[str] | None = None,
        *,
        cached: bool = False,
        lately: float = FRESH,
    ) -> list[str]:
        """See to it that the ways between these hosts are known, and say in words what is not, and how old it is.

        `targets`: those that matter most first; None: all others, those with the most room first. `cached`: nobody is
        asked anew. `lately`: seconds for which a look with nothing bad in it will do. Raises nothing.
        """
        told = traits(self._kind(cluster)).links
        if told:
            return [told]
        if why := self._reach.why_not_paths(cluster):
            return [f"MTU and round trip of the links between hosts are not known: {why}."]
        up = self._up(cluster)
        near = [one for one in dict.fromkeys(sources) if one in up]
        far = [one for one in dict.fromkeys(self._by_room(up) if targets is None else targets) if one in up]
        pairs = _pairs(near, far)
        if not cached:
            await self._seen(cluster, pairs, lately)
        left_out = len(set(far) - set(near) - {one for pair in pairs for one in pair})
        return self._words(cluster, pairs, left_out=left_out, cached=cached)

    def _kind(self, cluster: str) -> str:
        state = self._fleet.cluster(cluster)
        return state.kind if state is not None else ""

    def _up(self, cluster: str) -> dict[str, Host]:
        hosts = self._fleet.table("hosts").values()
        return {host.id: host for host in hosts if host.cluster == cluster and host.state is HostState.UP}

    @staticmethod
    def _by_room(up: Mapping[str, Host]) -> list[str]:
        return sorted(up, key=lambda one: (-((up[one].memory or 0) - (up[one].memory_used or 0)), one))

    # --- looking ---------------------------------------------------------------------------------

    async def _seen(self, cluster: str, pairs: Sequence[Pair], lately: float) -> None:
        """Whoever asks the same at the same time waits for the same answers."""
        wanted = [pair for pair in pairs if not self._fresh(cluster, pair, lately)]
        began = clock.wall()
        try:
            async with asyncio.timeout(PATIENCE), self._locks[cluster]:
                wanted = [pair for pair in pairs if not self._fresh(cluster, pair, lately)]
                if wanted:
                    await self._looked(cluster, wanted)
        except TimeoutError:
            for source, target in wanted:
                look = self._fleet.links.get((cluster, source, target))
                if look is None or look.at < began:
                    why = f"no answer within {PATIENCE:g} s"
                    self._keep(cluster, source, {target: LinkLook(why=why, at=clock.wall())})

    def _fresh(self, cluster: str, pair: Pair, lately: float) -> bool:
        """Both directions are looked at anew when one of them is due: what differs is mended at either end."""
        one, other = pair
        looks = [self._fleet.links.get((cluster, *way)) for way in ((one, other), (other, one))]
        known = [look for look in looks if look is not None]
        if len(known) < len(looks):
            return False
        good = all(look.passed for look in known) and known[0].mtu == known[1].mtu
        limit = UNSEEN if any(look.why for look in known) else lately if good else MENDED
        return max(abs(clock.wall() - look.at) for look in known) < limit

    async def _looked(self, cluster: str, pairs: Sequence[Pair]) -> None:
        addresses = await self._addresses(cluster, {host for pair in pairs for host in pair})
        ways: dict[str, dict[str, str]] = {}
        for source, target in pairs:
            ways.setdefault(source, {})[target] = addresses[target]
        places = asyncio.Semaphore(AT_ONCE)

        async def one(source: str, to: Mapping[str, str]) -> None:
            async with places:
                self._keep(cluster, source, await self._from(cluster, source, to))

        await asyncio.gather(*(one(source, to) for source, to in ways.items()))

    async def _from(self, cluster: str, source: str, to: Mapping[str, str]) -> dict[str, LinkLook]:
        """By Host.id of the targets."""
        try:
            found = await self._reach.paths(cluster, source, set(to.values()))
        except BackendError as error:
            why = error.problem.happened.rstrip(".")
            return {target: LinkLook(why=why, at=clock.wall()) for target in to}
        return {target: found[address] for target, address in to.items()}

    async def _addresses(self, cluster: str, hosts: Collection[str]) -> dict[str, str]:
        """Where each takes migrations in: as its platform says, else at its own address."""
        backend: object = self._backends.get(cluster)
        told: Mapping[str, str] = {}
        if isinstance(backend, KnowsMigrationNetwork):
            try:
                async with asyncio.timeout(ASKING):
                    told = await backend.migration_addresses(sorted(hosts))
            except (BackendError, TimeoutError):
                pass  # the route to its own address is looked at instead; the look says which that was
        known = self._up(cluster)
        return {one: told.get(one) or known[one].address or known[one].name for one in hosts}

    def _keep(self, cluster: str, source: str, looks: Mapping[str, LinkLook]) -> None:
        now = clock.wall()
        kept = {key: look for key, look in self._fleet.links.items() if abs(now - look.at) <= KEPT}
        self._fleet.links = kept | {(cluster, source, target): look for target, look in looks.items()}

    # --- telling ---------------------------------------------------------------------------------

    def _words(self, cluster: str, pairs: Sequence[Pair], *, left_out: int, cached: bool) -> list[str]:
        looks = {pair: self._fleet.links.get((cluster, *pair)) for pair in pairs}
        known = [look for look in looks.values() if look is not None]
        words = list(self._unknown(cluster, looks, cached=cached))
        if left_out:
            words.append(
                f"Links to {left_out} more hosts were not looked at: {MOST_TARGETS} at most, those with the most room."
                " Name the one you mean (--to)."
            )
        age = max((clock.wall() - look.at for look in known), default=0.0)
        if age >= AGED:
            words.append(f"Links between hosts were looked at {age:.0f} s ago.")
        return words

    def _unknown(self, cluster: str, looks: Mapping[Pair, LinkLook | None], *, cached: bool) -> Iterator[str]:
        """Of what could not be seen, each reason once, and few of them."""
        unseen = {frozenset(pair) for pair, look in looks.items() if look is None}
        if unseen:
            why = "they were not looked at" if cached else "too many were asked about at once"
            yield f"MTU and round trip of {_counted(len(unseen))} between hosts are not known: {why}."
        names = {host.id: host.name for host in self._up(cluster).values()}
        lacking: dict[tuple[str, str], list[str]] = {}
        for (source, target), look in looks.items():
            if look is not None and look.why:
                lacking.setdefault((source, look.why), []).append(names.get(target, target))
        for (source, why), targets in islice(lacking.items(), FEW):
            yield f"Not all is known of the link from {names.get(source, source)} to {listed(targets)}: {why}."
        if len(lacking) > FEW:
            rest = sum(len(targets) for targets in list(lacking.values())[FEW:])
            yield f"Nor of {_counted(rest)} more."


def _pairs(near: Sequence[str], far: Sequence[str]) -> list[Pair]:
    """There and back, each once."""
    found: dict[Pair, None] = {}
    for one in near:
        for other in [host for host in far if host != one][:MOST_TARGETS]:
            found |= {(one, other): None, (other, one): None}
    return list(found)[:MOST]


def _counted(links: int) -> str:
    return f"{links} link{'s' * (links != 1)}"
