"""What a step has at hand while it is looked at: what is known, whom it may ask, and the one way to change anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from evac.actions import Action
from evac.backend import Backend
from evac.jobs import Job
from evac.model import VM, Host
from evac.window.barred import unlisted
from evac.window.giving import Given, Tools
from evac.window.nouns import HostRun, Step, StepKind, Window
from evac.window.plan import PlannedHost, Policy
from evac.window.told import Halt, held

LATELY = 10.0
"""Seconds for which a good look at a link will do when moves over it are about to be ordered."""

AGAIN = 60.0
"""The same while they wait for something else."""


@dataclass(slots=True)
class At:
    """One step of one host of one window. What it reads is as it stands at that moment."""

    tools: Tools
    window_id: str
    key: str
    kind: StepKind
    since: float
    """Boot-clock stamp of this engine's first look at this attempt of the step."""
    begun_here: bool
    """False: another engine began it."""
    notes: dict[str, Any]
    """What the step remembers from look to look, in this engine only."""

    # --- reading ---------------------------------------------------------------------------------

    @property
    def window(self) -> Window:
        """The window."""
        return self.tools.book.windows[self.window_id]

    @property
    def run(self) -> HostRun:
        """The host."""
        return self.tools.book.run(self.window_id, self.key)

    @property
    def planned(self) -> PlannedHost:
        """The host, as the plan has it."""
        return self.tools.book.planned(self.window_id, self.key)

    @property
    def policy(self) -> Policy:
        """The plan's."""
        return self.tools.book.plan(self.window_id).policy

    @property
    def step(self) -> Step:
        """The step itself."""
        return self.other(self.kind)

    def other(self, kind: StepKind) -> Step:
        """A step of the same host."""
        return next(step for step in self.run.steps if step.kind is kind)

    def command(self, verb: str, kind: StepKind) -> str:
        """What a person types to act on a step of this host."""
        return f"evac window {verb} {self.window_id} {self.planned.name} {kind.value}"

    async def jobs_of(self, kind: StepKind) -> list[Job]:
        """Every job that a step has ordered, in any attempt."""
        jobs: list[Job] = []
        for order in self.other(kind).orders:
            found = await self.tools.found(order)
            jobs += found[1] if found is not None else ()
        return jobs

    def host(self) -> Host | None:
        """As last polled."""
        return self.tools.fleet.host(self.planned.cluster, self.planned.host)

    def vms(self) -> list[VM]:
        """The VMs last seen on the host."""
        return self.tools.fleet.vms_on(self.planned.cluster, self.planned.host)

    def backend(self, cluster: str) -> Backend:
        """A cluster's. Raises Halt while there is none."""
        self._there(cluster)
        found = self.tools.backends.get(cluster)
        if found is None:
            raise Halt(held(f"no connection to {cluster} is set up", f"See: evac doctor {cluster}"))
        return found

    def fresh(self, cluster: str) -> None:
        """Raises Halt while what is known of a cluster is too old to act on."""
        self._there(cluster)
        state = self.tools.fleet.cluster(cluster)
        if state is None or state.fresh_stamp is None:
            raise Halt(held(f"{cluster} has not answered yet"))
        age = self.tools.now() - state.fresh_stamp
        if age > state.stale_after:
            words = f"{cluster} has not answered for more than {state.stale_after:.0f} s; nothing else is held by that"
            raise Halt(held(words, "It goes on when it answers.", again=2.0))

    def _there(self, cluster: str) -> None:
        if told := unlisted(self.tools.fleet, self.tools.backends, cluster):
            raise Halt(told)

    def polled(self, cluster: str, since: float) -> bool:
        """Whether a poll that began after `since` (boot clock) has come in. If not, one is asked for, once."""
        state = self.tools.fleet.cluster(cluster)
        if state is not None and state.fresh_stamp is not None:
            if state.fresh_stamp - (state.took or 0.0) > since:
                return True
            woken: set[tuple[str, float]] = self.notes.setdefault("woken", set())
            if (cluster, since) not in woken:
                woken.add((cluster, since))
                self.tools.wake(cluster)
        return False

    async def links(self, sources: Sequence[str], targets: Sequence[str] | None = None) -> None:
        """Look at the ways that moves will take, now: what broke since the last look must not be found by a move."""
        lately = AGAIN if "links" in self.notes else LATELY
        self.notes["links"] = True
        await self.tools.links(self.planned.cluster, sources, targets, lately=lately)

    # --- changing --------------------------------------------------------------------------------

    def may_begin(self) -> None:
        """Raises Halt while somebody has stopped the window, or the host's cluster may not be changed."""
        self.tools.may_begin(self.window_id, self.planned.cluster)

    def token(self, part: str = "") -> str:
        """The same after a crash: what was ordered once is not ordered twice."""
        parts = (self.window_id, self.key, self.kind.value, str(self.step.attempt), part)
        return "/".join(filter(None, parts))

    async def given(self, part: str = "") -> Given | None:
        """The order this step has given already, as it stands; None: it has given none."""
        found = await self.tools.given(self.token(part))
        if found is not None:
            self._keep(found[0].id)
        return found

    async def order(
        self, actions: Sequence[Action], title: str, *, part: str = "", empties: str = ""
    ) -> Given:
        """Give an order to the queue. Raises Halt when it is not taken."""
        given = await self.tools.give(self.window_id, self.token(part), actions, title=title, empties=empties)
        self._keep(given[0].id)
        return given

    def _keep(self, order: str) -> None:
        step = self.step
        if order not in step.orders:
            kept = replace(step, orders=(*step.orders, order))
            self.tools.book.put_step(self.window_id, self.key, kept)

    async def note(self, **fields: Any) -> None:
        """Change the host's record, on disk before anything else is done. Raises Halt when it cannot be written."""
        trouble = await self.tools.book.put_run(self.window_id, replace(self.run, **fields), needed=True)
        if trouble:
            raise Halt(held(f"it cannot be written down: {trouble}", "Free the disk; it goes on by itself."))
