"""How a verb talks to the engine: starts it if none runs, reads the fleet once, turns its errors into exit codes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from evac import clock
from evac.api import Hello
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.lifecycle import EngineTrouble, ensure_engine
from evac.model import ClusterState, Problem
from evac.window.nouns import LedgerEntry, Window
from evac.window.owed import owed
from tui.commands import show
from tui.commands.exits import REFUSALS, Code, Stop
from tui.commands.reach import configured
from tui.commands.start import Start
from tui.store import Store

T = TypeVar("T")

FIRST_ANSWER = 45.0
"""Seconds a verb waits for each cluster's first answer: one read time-out (30 s) and a start of the engine."""


class View(Store):
    """The fleet as this command has read it."""

    def waiting_for(self, cluster: str = "") -> list[str]:
        """Clusters that have neither answered nor failed yet."""
        return [
            state.name
            for state in self.clusters.values()
            if cluster in ("", state.name) and state.fresh_stamp is None and not state.failures
        ]

    def silent(self, cluster: str = "") -> list[ClusterState]:
        """Clusters of which nothing is known: they have failed and never answered."""
        return [
            state
            for state in self.clusters.values()
            if cluster in ("", state.name) and state.fresh_stamp is None
        ]


@asynccontextmanager
async def engine(start: Start, *, nag: bool = True) -> AsyncIterator[EngineClient]:
    """A client of the engine, which is started if none runs. `nag`: say at the end what evac left switched too long."""
    where = start.where()
    if not configured(where):
        raise Stop(
            f"There is no config at {where.config}.",
            Code.USAGE,
            next_step="`evac demo` needs none; `evac import` reads clouds.yaml; `evac config template` prints one to edit.",
        )
    try:
        await ensure_engine(where, read_only=start.read_only)
    except EngineTrouble:
        from tui.commands.configuring import load_config  # noqa: PLC0415  # only for the unlucky

        load_config(where.config)  # its mistakes, one on each line, are the better answer
        raise

    async def attach() -> None:
        await ensure_engine(where, read_only=start.read_only)

    async with EngineClient(where.socket, via="cli", read_only=start.read_only, attach=attach) as client:
        yield client
        if nag:
            await _remind(client)


async def _remind(client: EngineClient) -> None:
    """One line on stderr. Its trouble is nobody's: the verb has ended."""
    with contextlib.suppress(EngineGone, EngineRefusal, TimeoutError):
        async with asyncio.timeout(2.0):
            entries = await client.rows("ledger", LedgerEntry)
            of_windows = any(entry.window and entry.state.owed for entry in entries)
            windows = await client.rows("windows", Window) if of_windows else ()
            words = owed(entries, {window.id: window for window in windows}, clock.wall())
            if words:
                show.note(f"evac: {words}")


async def read_fleet(client: EngineClient, *, cluster: str = "", patience: float = FIRST_ANSWER) -> View:
    """The fleet once every cluster (or the one named) has answered or failed; at the latest after `patience` seconds."""
    view = View()
    try:
        async with asyncio.timeout(patience):
            async for item in client.follow():
                if isinstance(item, Hello):
                    view.hello = item
                    continue
                view.apply(item)
                if not view.waiting_for(cluster):
                    break
    except TimeoutError:
        if view.rev < 0:
            raise Stop(
                "The engine sent nothing.", Code.UNREACHABLE, next_step="Look at `evac engine status`."
            ) from None
    if cluster and cluster not in view.clusters:
        raise Stop(
            f"There is no cluster {cluster!r}.",
            Code.USAGE,
            next_step=f"Choose one of: {', '.join(sorted(view.clusters))}."
            if view.clusters
            else "None is configured.",
        )
    return view


async def glance(client: EngineClient) -> View:
    """What the engine knows now; no cluster is waited for."""
    view = View()
    view.apply(await client.snapshot())
    return view


def unsearched(view: View, cluster: str = "") -> list[str]:
    """Clusters in which a host or VM could not be looked for, because they have never answered."""
    return sorted(state.name for state in view.silent(cluster) if not state.stores)


def unsearched_storage(view: View, cluster: str = "") -> list[str]:
    """The same for OSDs. What could not even be built may be a storage system; what failed when it was asked is none."""
    return sorted(
        state.name for state in view.silent(cluster) if state.stores or not state.failures or cluster
    )


def run(task: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a verb; whatever the engine refuses or fails to do becomes words and an exit code."""
    try:
        return asyncio.run(task())
    except EngineTrouble as trouble:
        raise Stop.of(trouble.problem, Code.UNREACHABLE) from None
    except EngineGone as gone:
        raise Stop.of(gone.problem, Code.UNREACHABLE) from None
    except EngineRefusal as refused:
        raise Stop.of(refused.refusal.problem, REFUSALS.get(refused.refusal.code, Code.FAILED)) from None
    except KeyboardInterrupt:
        raise Stop("Interrupted.", Code.INTERRUPTED) from None


def unread(view: View, cluster: str = "") -> list[Problem]:
    """Why some clusters' rows are missing: their problems, in words."""
    out: list[Problem] = []
    for state in view.silent(cluster):
        reasons = state.problems or (Problem(happened=f"{state.name} has not answered yet."),)
        out.extend(reasons)
    return out
