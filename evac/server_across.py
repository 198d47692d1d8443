"""What a preflight of a move to another cluster asks, and of whom. Changes nothing on either side.

evac's rules need no credential: both clusters are asked through evac's own connections. The platform's checker logs in at
the other side as the move would, so it is asked where a credential was given, and said not to have been asked where not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from evac import preflight
from evac.across import Credential, Crossing, Destination, Luggage, Reception
from evac.asking import Asking
from evac.backend import ChecksAcross, ReceivesMoves, TellsLuggage
from evac.jobs import Actor
from evac.model import VM, MoveCheck, Outlook
from evac.queue import QueueRefusal
from evac.reply import ACTOR, Refuse
from evac.rules import context_of
from evac.rules.across import Journey, judge_across

if TYPE_CHECKING:
    from evac.assembly import Engine

WITHOUT = "No checker of this platform judges a move to another cluster: evac's rules alone"
CHECKER = "checker"

LOOK = 8.0
"""Seconds in which both sides tell what they have; a client of the socket waits for 30 in all."""

CHECK = 18.0
"""Seconds the platform's checker gets after that."""


class Elsewhere:
    """One per engine."""

    def __init__(self, engine: Engine, ask: Asking) -> None:
        self._engine, self._asking = engine, ask

    async def checks(
        self, request: web.Request, vm: VM, far: str, targets: tuple[str, ...]
    ) -> tuple[MoveCheck, ...]:
        """Of every target at least one. `storage`, `network` and `credential` of the request say how it would go."""
        query = request.query
        credential = self._credential(query.get("credential", ""), request[ACTOR])
        networks = _pairs(query.getall("network", []))
        destination, luggage, receptions = await self._told(vm, far, targets)
        fleet = self._engine.fleet
        here, there = fleet.cluster(vm.cluster), fleet.cluster(far)
        assert here is not None  # their backends were found by them
        assert there is not None
        journey = Journey(
            context_of(fleet, here),
            context_of(fleet, there),
            vm,
            destination,
            luggage=luggage,
            receptions={one.host: one for one in receptions},
            networks=networks,
        )
        own = judge_across(journey, targets)
        going = None
        if destination is not None:
            going = Crossing(
                destination=destination, host="", storage=query.get("storage", ""), networks=networks
            )
        return (*own, *await self._asked(vm, far, targets, going, credential))

    def _credential(self, handle: str, actor: Actor) -> Credential | None:
        if not handle:
            return None
        found = self._engine.vault.get(handle, actor.uid)
        if found is None:
            step = "Give it again: POST /v1/credentials."
            raise Refuse("bad-request", "The credential is not in memory: it may have expired.", step)
        return found

    async def _told(
        self, vm: VM, far: str, targets: Sequence[str]
    ) -> tuple[Destination | None, Luggage | None, Sequence[Reception]]:
        """What both sides tell; who does not answer in time tells nothing, and the rules say so."""
        (destination, receptions), luggage = await asyncio.gather(
            self._far_side(vm, far, targets), self._luggage(vm, far)
        )
        return destination, luggage, receptions

    async def _far_side(
        self, vm: VM, far: str, targets: Sequence[str]
    ) -> tuple[Destination | None, Sequence[Reception]]:
        near, there = self._asking.backend(vm.cluster), self._asking.backend(far)
        destination: Destination | None = None
        receptions: Sequence[Reception] = ()
        async with self._quietly(far):
            if isinstance(there, ReceivesMoves):
                destination = await there.destination()
            if isinstance(near, TellsLuggage) and isinstance(there, TellsLuggage):
                receptions = await there.reception(targets)
        return destination, receptions

    async def _luggage(self, vm: VM, far: str) -> Luggage | None:
        near, there = self._asking.backend(vm.cluster), self._asking.backend(far)
        luggage: Luggage | None = None
        if isinstance(near, TellsLuggage) and isinstance(there, TellsLuggage):
            async with self._quietly(vm.cluster):
                luggage = await near.luggage(vm.id)
        return luggage

    @contextlib.asynccontextmanager
    async def _quietly(self, cluster: str) -> AsyncIterator[None]:
        with contextlib.suppress(TimeoutError, QueueRefusal):
            async with asyncio.timeout(LOOK), self._asking.asking(cluster):
                yield

    # --- the platform's own checker ------------------------------------------------------------------------------

    async def _asked(
        self,
        vm: VM,
        far: str,
        targets: Sequence[str],
        going: Crossing | None,
        credential: Credential | None,
    ) -> Sequence[MoveCheck]:
        near = self._asking.backend(vm.cluster)
        if not isinstance(near, ChecksAcross):
            return [
                MoveCheck(vm=vm.id, target="", outlook=Outlook.OK, rule=preflight.NO_CHECKER, why=WITHOUT)
            ]
        if going is None or not targets:
            return []
        if credential is None:
            why = f"{vm.cluster}'s own checker was not asked: it logs in to {far} to judge this, and no credential was given"
            return [
                _unasked(
                    vm,
                    why,
                    "Give one: evac preflight with --user; it is kept in memory only, until the answer.",
                )
            ]
        try:
            async with asyncio.timeout(CHECK), self._asking.asking(vm.cluster):
                said = await near.check_across(vm.id, going, targets, credential)
        except TimeoutError:
            why = f"{vm.cluster}'s own checker did not answer within {CHECK:g} s"
            return [_unasked(vm, why, "Ask again with fewer targets: --to.")]
        except QueueRefusal as refusal:
            problem = refusal.refusal.problem
            why = f"{vm.cluster}'s own checker was not asked: {problem.happened.rstrip('.')}"
            return [_unasked(vm, why, problem.next_step)]
        return said


def _unasked(vm: VM, why: str, fix: str) -> MoveCheck:
    """It holds for every target."""
    return MoveCheck(vm=vm.id, target="", outlook=Outlook.UNKNOWN, rule=CHECKER, why=why, fix=fix)


def _pairs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = [text.partition("=")[::2] for text in texts]
    if not all(here and there for here, there in found):
        raise Refuse("bad-request", '"network" is written HERE=THERE.')
    return tuple((here, there) for here, there in found)
