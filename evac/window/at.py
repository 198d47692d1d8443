"""What a step has at hand while it is looked at: what is known, whom it may ask, and the one way to change anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from evac.actions import Action
from evac.api import OrderRequest
from evac.backend import Backend
from evac.fleet import Fleet
from evac.jobs import Job, Order
from evac.model import VM, Host
from evac.queue import Queue, QueueRefusal
from evac.window.book import Book
from evac.window.hooking import Hooks
from evac.window.nouns import HostRun, Step, StepKind, Window, WindowState
from evac.window.plan import PlannedHost, Policy
from evac.window.reach import Reach
from evac.window.told import Halt, held, needs


@dataclass(slots=True)
class Tools:
    """What every step of every window shares."""

    book: Book
    fleet: Fleet
    queue: Queue
    backends: Mapping[str, Backend]
    reach: Reach
    now: Callable[[], float]
    """The boot clock."""
    wall: Callable[[], float]
    hooks: Hooks = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)
    """Token → Order.id of orders that were given; "" where the queue knows none."""
    refused: dict[str, Halt] = field(default_factory=dict)
    """Token → what the queue said no to. It is not asked the same again."""

    def __post_init__(self) -> None:
        """Hooks run beside the looks."""
        self.hooks = Hooks(self.reach, self.now)


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
            found = self.tools.queue.jobs_of(order) or await self.tools.book.journal.order(order)
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
        found = self.tools.backends.get(cluster)
        if found is None:
            raise Halt(held(f"no connection to {cluster} is set up", f"See: evac doctor {cluster}"))
        return found

    def fresh(self, cluster: str) -> None:
        """Raises Halt while what is known of a cluster is too old to act on."""
        state = self.tools.fleet.cluster(cluster)
        if state is None or state.fresh_stamp is None:
            raise Halt(held(f"{cluster} has not answered yet"))
        age = self.tools.now() - state.fresh_stamp
        if age > state.stale_after:
            words = f"{cluster} has not answered for more than {state.stale_after:.0f} s; nothing else is held by that"
            raise Halt(held(words, "It goes on when it answers.", again=2.0))

    def polled(self, cluster: str, since: float) -> bool:
        """Whether a poll that began after `since` (boot clock) has come in."""
        state = self.tools.fleet.cluster(cluster)
        if state is None or state.fresh_stamp is None:
            return False
        return state.fresh_stamp - (state.took or 0.0) > since

    # --- changing --------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Nothing new may begin."""
        return self.window.state is not WindowState.RUNNING

    def may_begin(self) -> None:
        """Raises Halt while somebody has stopped the window."""
        if self.stopped:
            raise Halt(
                held(
                    f"{self.window_id} is stopped by {self.window.stopped_by}",
                    f"evac window resume {self.window_id}",
                )
            )

    def token(self, part: str = "") -> str:
        """The same after a crash: what was ordered once is not ordered twice."""
        return "/".join(
            filter(None, (self.window_id, self.key, self.kind.value, str(self.step.attempt), part))
        )

    async def given(self, part: str = "") -> tuple[Order, tuple[Job, ...]] | None:
        """The order this step has given already, as it stands; None: it has given none."""
        token = self.token(part)
        if token not in self.tools.tokens:
            self.tools.tokens[token] = await self.tools.book.journal.find(token)
        order = self.tools.tokens[token]
        if not order:
            return None
        self._keep(order)
        return self.tools.queue.jobs_of(order) or await self.tools.book.journal.order(order)

    async def order(
        self, actions: Sequence[Action], title: str, *, part: str = "", empties: str = ""
    ) -> tuple[Order, tuple[Job, ...]]:
        """Give an order to the queue. Raises Halt when it is not taken."""
        self.may_begin()
        token = self.token(part)
        if why := self.tools.fleet.queue.refusing:
            raise Halt(held(f"no new work is taken: {why}", "Free the disk; it goes on by itself."))
        if token in self.tools.refused:
            raise self.tools.refused[token]
        request = OrderRequest(
            title=title, actions=tuple(actions), token=token, empties=empties, ticket=self.window.ticket
        )
        try:
            reply = await self.tools.queue.order(request, self.window.by, window=self.window_id)
        except QueueRefusal as refusal:
            raise self._refused(token, refusal) from None
        self.tools.tokens[token] = reply.order.id
        self._keep(reply.order.id)
        return reply.order, reply.jobs

    def _refused(self, token: str, refusal: QueueRefusal) -> Halt:
        problem = refusal.refusal.problem
        if refusal.refusal.code == "refusing":
            return Halt(held(problem.happened, problem.next_step))
        step = problem.next_step or "See why; then retry the step, or skip it and say why."
        halt = Halt(needs(problem.happened, step))
        self.tools.refused[token] = halt
        return halt

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
