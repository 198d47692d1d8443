"""What people do about the ledger: have something put back, or say that it is taken care of."""

from __future__ import annotations

from evac.actions import StopVM, describe
from evac.api import OrderReply, OrderRequest
from evac.board import Board
from evac.intake import Intake, refuse
from evac.jobs import Actor
from evac.window.debts import undo
from evac.window.nouns import LedgerEntry


class LedgerActs:
    """Raises QueueRefusal, with the code and the words for the caller; then nothing was changed."""

    def __init__(self, board: Board, intake: Intake) -> None:
        self._board, self._intake = board, intake

    async def restore(self, name: str, actor: Actor) -> OrderReply:
        """Order what puts an entry back. While such an order is under way it is that one that is returned."""
        entry = self._owed(name, actor)
        under_way = self._under_way(entry)
        if under_way is not None:
            return under_way
        job = self._board.jobs.get(entry.job)
        if not entry.calls and job is not None and not job.state.ended:
            raise refuse(
                "conflict",
                f"Nothing has been switched for {name} yet: {job.id} has not begun ({job.state.value}).",
                f"Cancel {job.id} instead: evac queue cancel {job.id}.",
            )
        did = entry.did
        vm = self._board.fleet.vm(did.cluster, did.vm) if isinstance(did, StopVM) else None
        action = undo(entry, vm)
        if action is None:
            raise refuse(
                "conflict",
                f"evac cannot tell how to put {entry.name} back: the cluster does not show it.",
                f'Look at it there; if it is taken care of: evac restore settle {name} --why "…".',
            )
        # One token for each attempt: an answer that was lost cannot make it happen twice.
        request = OrderRequest(
            title=f"restore {name}: {describe(action)}",
            actions=(action,),
            token=f"{name}/restore/{entry.tries + 1}",
        )
        return await self._intake.order(request, actor)

    def _under_way(self, entry: LedgerEntry) -> OrderReply | None:
        job = self._board.jobs.get(entry.restoring)
        if job is None or job.state.ended:
            return None
        jobs = tuple(self._board.jobs[one] for one in self._board.of_order[job.order])
        return OrderReply(order=self._board.orders[job.order], jobs=jobs)

    async def settle(self, name: str, actor: Actor, why: str) -> LedgerEntry:
        """Somebody says, with a reason, that it is taken care of; evac does nothing on the cluster."""
        entry = self._owed(name, actor)
        if not why.strip():
            raise refuse("bad-request", f"Say how {name} is taken care of: the report will tell it.")
        change = self._board.ledger.settle(entry, actor.user, why.strip())
        board = self._board
        before = board.ledger.put(change)
        trouble = await board.journal.save(ledger=change.rows, records=change.records, needed=True)
        if trouble:
            board.ledger.take_back(before)
            raise refuse(
                "refusing", f"It could not be written down: {trouble}.", "Free the disk and try again."
            )
        words = f"{name} ({entry.name}, {entry.what}) settled by {actor.user}: {why.strip()}"
        board.tell("ledger", words, severity="warning", cluster=entry.cluster, by=actor.user)
        return change.rows[0]

    def _owed(self, name: str, actor: Actor) -> LedgerEntry:
        self._intake.only_admins(actor)
        entry = self._board.ledger.get(name)
        if entry is None:
            raise refuse("not-found", f"The ledger has no {name[:40]}.", "evac restore lists what is owed.")
        if not entry.state.owed:
            raise refuse("conflict", f"{name} is {entry.state.value} already.")
        return entry
