"""The platform's own balancers and backups: calm for the length of a window, and back at its end.

Each is turned by an order of the queue, so that it is checked, seen and owed (`evac.window.ledger`) like all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from evac.actions import TurnSwitch
from evac.backend import HasSwitches
from evac.errors import BackendError
from evac.jobs import Job, JobState
from evac.model import Switch
from evac.window.barred import barred
from evac.window.giving import Given, Tools
from evac.window.judging import judge_order
from evac.window.moving import listed
from evac.window.nouns import StepState

PATIENCE = 30.0
"""Seconds that one look at a cluster's switches may take."""

PERSON = (StepState.NEEDS_YOU, StepState.UNKNOWN)


async def calm(tools: Tools, window: str, cluster: str) -> str:
    """Why those of a cluster are not calm yet, in words; "" when they are. Raises Halt."""
    if not tools.book.plan(window).policy.switches or not _turns(tools, window, cluster):
        return ""
    return await _turned_calm(tools, window, cluster) or await _at_rest(tools, window, cluster)


async def _at_rest(tools: Tools, window: str, cluster: str) -> str:
    """What still runs of a balancer, in words, once it is turned: that ends by itself, and no host begins before."""
    token = f"{window}/{cluster}/rest/1"
    if token in tools.settled:
        return ""
    switches, silence = await _switches(tools, cluster)
    busy = listed(switch.busy for switch in switches if switch.busy)
    if silence or busy:
        return silence or f"{cluster} is not at rest yet: {busy}"
    tools.settled.add(token)
    return ""


async def _turned_calm(tools: Tools, window: str, cluster: str) -> str:
    token = f"{window}/{cluster}/calm/1"
    if token in tools.settled:
        return ""
    given = await tools.given(token)
    if given is None:
        switches, silence = await _switches(tools, cluster)
        if silence:
            return silence
        for unrest in filter(None, (switch.unrest for switch in switches)):
            words = f"{unrest}, which evac does not turn. Set them to the cluster's level in the platform, or watch them"
            tools.book.tell(window, words, severity="warning", cluster=cluster)
        for note in filter(None, (switch.note for switch in switches)):
            tools.book.tell(window, note, severity="warning", cluster=cluster)
        hosts = {run.host for run in tools.book.windows[window].hosts if run.cluster == cluster}
        restless = [
            switch for switch in switches if switch.value != switch.calm and switch.host in ("", *hosts)
        ]
        if not restless:
            tools.settled.add(token)
            return ""
        actions = [_turn(switch, switch.value, switch.calm) for switch in restless]
        names = listed(switch.name for switch in restless)
        given = await tools.give(window, token, actions, title=f"calm {names} for {window}")
    _keep(tools, window, given[0].id)
    return await _judged(tools, token, given, f"{cluster} is made calm")


def _turns(tools: Tools, window: str, cluster: str) -> bool:
    """A window's cluster that has, or may have, switches."""
    ours = any(run.cluster == cluster for run in tools.book.windows[window].hosts)
    return ours and (cluster not in tools.backends or isinstance(tools.backends[cluster], HasSwitches))


def _turn(switch: Switch, was: str, to: str, *, back: bool = False) -> TurnSwitch:
    return TurnSwitch(
        cluster=switch.cluster,
        name=switch.name,
        switch=switch.id,
        was=was,
        to=to,
        sort=switch.kind,
        back=back,
    )


def _keep(tools: Tools, window: str, order: str) -> None:
    found = tools.book.windows[window]
    if order not in found.switched:
        tools.book.put(replace(found, switched=(*found.switched, order)))


async def _judged(tools: Tools, token: str, given: Given, head: str) -> str:
    told = judge_order(*given, head)
    if told.state.over:
        tools.settled.add(token)
        return ""
    word = "NEEDS YOU: " if told.state in PERSON else ""
    short = next((job for job in given[1] if job.state in (JobState.FAILED, JobState.CANCELLED)), None)
    step = f"; evac queue retry {short.id} tries again" if short is not None else ""
    return f"{word}{head}: {told.reason}{step}"


async def _switches(tools: Tools, cluster: str) -> tuple[Sequence[Switch], str]:
    backend = tools.backends.get(cluster)
    if backend is None:
        return (), f"no connection to {cluster} is set up"
    if not isinstance(backend, HasSwitches):
        return (), ""
    try:
        async with asyncio.timeout(PATIENCE):
            return await backend.switches(), ""
    except BackendError as error:
        return (), f"cannot see the balancers of {cluster}: {error.problem.happened}"
    except TimeoutError:
        return (), f"{cluster} did not answer within {PATIENCE:g} s"


# --- the end ---------------------------------------------------------------------------------------


async def restless(tools: Tools, window: str) -> str:
    """Why they are not back yet, in words; "" when they are. Raises Halt."""
    turned: dict[str, list[TurnSwitch]] = {}
    for order in tools.book.windows[window].switched:
        found = await tools.found(order)
        for action in _turned(found[1] if found is not None else (), _owing(tools)):
            turned.setdefault(action.cluster, []).append(action)
    for cluster, actions in turned.items():
        if (told := barred(tools.fleet, tools.backends, cluster)) is not None:
            return told.reason
        why = await _back(tools, window, cluster, actions)
        if why:
            return why
    return ""


def _owing(tools: Tools) -> frozenset[str]:
    """Job.id of those whose switch somebody has to put back: what a person has settled is left to him."""
    return frozenset(row.job for row in tools.fleet.table("ledger").values() if row.state.owed)


def _turned(jobs: Sequence[Job], owing: frozenset[str]) -> list[TurnSwitch]:
    return [
        job.action
        for job in jobs
        if job.state is JobState.DONE and job.id in owing and isinstance(job.action, TurnSwitch)
    ]


async def _back(tools: Tools, window: str, cluster: str, turned: Sequence[TurnSwitch]) -> str:
    token = f"{window}/{cluster}/back/1"
    if token in tools.settled:
        return ""
    given = await tools.given(token)
    if given is None:
        switches, silence = await _switches(tools, cluster)
        if silence:
            return silence
        actions, foreign = _to_put_back({switch.id: switch for switch in switches}, turned)
        if foreign:
            tools.book.tell(window, foreign, severity="warning", cluster=cluster)
        if not actions:
            tools.settled.add(token)
            return ""
        title = f"put back {listed(action.name for action in actions)} after {window}"
        given = await tools.give(window, token, actions, title=title)
    return await _judged(tools, token, given, f"balancers and backups of {cluster} are put back")


def _to_put_back(now: dict[str, Switch], turned: Sequence[TurnSwitch]) -> tuple[list[TurnSwitch], str]:
    """What still stands as the window left it; what somebody has turned since is left alone, and said. Pure."""
    actions, foreign = [], []
    for action in turned:
        switch = now.get(action.switch)
        if switch is None or switch.value == action.was:
            continue
        if switch.value == action.to:
            actions.append(_turn(switch, action.to, action.was, back=True))
        else:
            foreign.append(f"{action.name} is {switch.value}: somebody has turned it, it is left so")
    return actions, "; ".join(foreign)
