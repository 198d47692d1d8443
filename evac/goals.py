"""Whether a drained host is really empty: asked of the cluster twice, by different reads, after the last move has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from evac.actions import VMAction
from evac.backend import Backend
from evac.board import Board, Pace, finished
from evac.errors import BackendError
from evac.jobs import Order, OrderState

log = logging.getLogger(__name__)


class Goals:
    """Ends orders whose jobs have ended."""

    def __init__(
        self, board: Board, backends: Mapping[str, Backend], *, pace: Pace, now: Callable[[], float]
    ) -> None:
        self._board, self._backends, self._pace, self._now = board, backends, pace, now
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def settle(self) -> None:
        """End what can be ended."""
        for order in list(self._board.orders.values()):
            if order.state is OrderState.OPEN and order.id not in self._tasks and self._over(order):
                if order.empties:
                    task = asyncio.get_running_loop().create_task(self._prove(order.id, order.empties))
                    self._tasks[order.id] = task
                else:
                    self._end(order, ())

    async def stop(self) -> None:
        """Stop looking; the next engine looks anew."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _over(self, order: Order) -> bool:
        counts = self._board.counts(order.id)
        return sum(count for state, count in counts.items() if state.ended) == order.jobs

    async def _prove(self, order_id: str, empties: str) -> None:
        cluster, _, host = empties.partition("/")
        ended = self._now()
        try:
            while self._over(self._board.orders[order_id]):
                try:
                    left = await self._left(order_id, cluster, host, ended)
                except BackendError as error:
                    self._say(order_id, f"cannot see whether {host} is empty: {error.problem.happened}")
                except Exception:  # the boundary of one check: a fault of ours must not end the queue
                    log.exception("checking %s", empties)
                    self._say(
                        order_id,
                        f"evac failed while it looked whether {host} is empty; that is a fault of evac",
                    )
                else:
                    order = self._board.orders[order_id]
                    if self._over(order):  # a retry may have reopened it while we looked
                        self._end(order, left)
                    return
                await asyncio.sleep(self._pace.hold)
        finally:
            self._tasks.pop(order_id, None)
            self._board.changed.set()

    async def _left(self, order_id: str, cluster: str, host: str, ended: float) -> tuple[str, ...]:
        """Names of the guests that both reads find on the host; what stays there by its nature leaves it empty."""
        self._say(order_id, f"looking whether {host} is empty")
        backend = self._backends.get(cluster)
        here = await self._inventory(backend, cluster, host, ended)
        here |= {vm.id for vm in self._board.fleet.vms_on(cluster, host)}
        here |= {
            action.vm
            for job in self._board.of_order[order_id]
            if isinstance(action := self._board.jobs[job].action, VMAction) and action.host == host
        }
        if not here or backend is None:
            return ()
        at = self._now()
        sights = await backend.look(sorted(here))
        seen = [sight.vm for sight in sights.values() if sight.vm is not None]
        gone = [f"{cluster}/{vm}" for vm, sight in sights.items() if sight.vm is None]
        self._board.fleet.looked(seen, gone=gone, at=at)
        return tuple(sorted(vm.name for vm in seen if vm.host == host and not vm.stays))

    async def _inventory(self, backend: Backend | None, cluster: str, host: str, ended: float) -> set[str]:
        """VMs on the host by an inventory begun after the last move ended: the poller's if one comes soon, else our own."""
        deadline = self._now() + self._pace.goal_wait
        while self._now() < deadline or backend is None:
            state = self._board.fleet.cluster(cluster)
            fresh = state.fresh_stamp if state is not None else None
            if state is not None and fresh is not None and fresh - (state.took or 0.0) > ended:
                return {vm.id for vm in self._board.fleet.vms_on(cluster, host)}
            await asyncio.sleep(self._pace.tick)
            backend = self._backends.get(cluster)
        inventory = await backend.inventory()
        return {vm.id for vm in inventory.vms if vm.host == host}

    def _unseen(self, cluster: str) -> str:
        """A caution where the cluster's answers were not whole: VMs that may not be seen would leave any host empty."""
        state = self._board.fleet.cluster(cluster)
        problems = state.problems if state is not None else ()
        words = " ".join(f"{problem.happened} {problem.unaffected}".strip() for problem in problems)
        return f", as far as can be seen: {words}" if words else ""

    def _say(self, order_id: str, reason: str) -> None:
        order = self._board.orders[order_id]
        if order.reason != reason:
            self._board.put_order(replace(order, reason=reason))

    def _end(self, order: Order, left: tuple[str, ...]) -> None:
        fresh = finished(order, self._board.counts(order.id))
        host = order.empties.partition("/")[2]
        if left:
            words = f"{len(left)} still on {host}: {', '.join(left[:5])}{', …' if len(left) > 5 else ''}"
            reason = f"{fresh.reason}; {words}" if fresh.reason else words
            fresh = replace(fresh, state=OrderState.INCOMPLETE, reason=reason, left=left)
        elif host:
            reason = f"{host} is empty" + (f", though {fresh.reason}" if fresh.reason else "")
            reason += self._unseen(order.empties.partition("/")[0])
            fresh = replace(fresh, reason=reason, left=())
        self._board.put_order(replace(fresh, ended=self._board.wall()))
        good = fresh.state is OrderState.DONE
        text = f"{order.title}: {'done' if good else 'incomplete'}" + (
            f": {fresh.reason}" if fresh.reason else ""
        )
        self._board.tell("order", text, severity="good" if good else "error", by=order.by.user)
        self._board.changed.set()
